"""How near the pictures of some weights come to the paper's, as differences to MUFusion's on the same pairs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edmf_jax.core.model import make_model
from edmf_jax.fusion.pixels import from_unit
from edmf_jax.fusion.tiling import TILE_PX, fuse_mufusion
from edmf_jax.metrics import evaluate

PAPER = {"EN": -0.046, "MI": 0.274, "SF": 1.251, "VIF": 0.122, "Qabf": 0.090, "SSIM": 0.027, "AG": -0.205,
         "PSNR": 0.175}
"""The paper's EDMF minus its MUFusion (Table 2)."""
SPREAD = {"EN": 0.168, "MI": 3.235, "SF": 9.094, "VIF": 0.296, "Qabf": 0.146, "SSIM": 0.093, "AG": 2.711,
          "PSNR": 3.008}
"""How far the six methods of docs/results.md (Baselines on the same 500 pairs, lossless) lie apart in each metric."""


class Network(NamedTuple):
    """Parameters and the width of the network that they belong to."""

    params: Mapping
    width: int


def middle(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle of planes `[2, H, W]`, `[2, h, w]`: pairs of one size cost one compile.

    Raises:
      ValueError: the planes are smaller.
    """
    spare = [have - want for have, want in zip(planes.shape[1:], size)]
    if min(spare) < 0 or min(size) < TILE_PX:
        raise ValueError(f"a pair of {planes.shape[1:]} has no middle of {size}, or that is below {TILE_PX} px")
    top, left = (n // 2 for n in spare)
    return planes[:, top : top + size[0], left : left + size[1]]


def mean_scores(network: Network, pairs: Sequence[np.ndarray]) -> dict[str, float]:
    """Means over pairs of Table 2's metrics: gray, in MUFusion's tiles, rounded to 8 bits (stored losslessly).

    Args:
      network: what fuses.
      pairs: uint8 `[2, H, W]` each.
    """
    model, rows = make_model(network.width), []
    for a, b in pairs:
        fused = fuse_mufusion(model, network.params, *(x.astype(np.float32) / 255 for x in (a, b)))
        rows.append(evaluate(a, b, from_unit(fused, np.dtype(np.uint8))))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def differences(scores: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """Scores minus MUFusion's."""
    return {name: scores[name] - base[name] for name in PAPER}


def distance(difference: Mapping[str, float]) -> float:
    """How far differences to MUFusion are from the paper's: mean absolute deviation, in units of `SPREAD`; 0: equal."""
    return float(np.mean([abs(difference[name] - PAPER[name]) / SPREAD[name] for name in PAPER]))
