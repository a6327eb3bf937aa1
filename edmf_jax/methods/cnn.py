"""CNN: a siamese network scores which picture is focused; the score becomes a cleaned, smoothed mask.

Liu, Chen, Peng, Wang, "Multi-focus image fusion with a deep convolutional neural network", Information Fusion 36, 2017,
pages 191–207.  Its authors' package holds the full network; a light one
with a single layer behind the branches is in circulation, too (repository xingchenzhang/VIFB).  Both are read.
"""

import dataclasses
import functools
import math
import os
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods.base import MethodInfo, check_images, check_tensors
from edmf_jax.methods.imported import weights_of
from edmf_jax.methods.layers import convolve, zero_beyond
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.pieces import LARGEST_PX, run_in_pieces
from edmf_jax.methods.planes import (
    LUMA_WEIGHTS,
    MATLAB_WEIGHTS,
    blend,
    gray_of,
    guided_filter,
    levels_rounded_up,
    without_small_regions,
)
from edmf_jax.weights.matlab_file import read_matlab

BLOCK_PX = 16  # what one score judges
REACH_PX = 24
_WIDTHS = (1, 64, 128, 256)
_SOURCE = ("cnnmodel.mat, in the package CNN_Fusion of the authors (full) or in methods/CNN/model of the repository "
           "xingchenzhang/VIFB (light)")

# Arrays of the authors' file; a kernel's window is one axis, column by column.
_MATLAB_TENSORS = {"weights_b1_1": (9, 64), "weights_b1_2": (64, 9, 128), "weights_b1_3": (128, 9, 256),
                   "biases_b1_1": (64, 1), "biases_b1_2": (128, 1), "biases_b1_3": (256, 1)}
_LIGHT_TENSORS = {"weights_output": (512, 64, 2)}
_FULL_TENSORS = {"weights_feature": (512, 64, 256), "weights_output": (256, 1, 2)}

INFO = MethodInfo(
    name="cnn", title="CNN", paper="Liu, Chen, Peng, Wang, Information Fusion 36", year=2017,
    doi="", license="none stated; \"free for research purposes only\"", source=_SOURCE,
    tensors={f"conv{i}/{kind}": shape for i in (1, 2, 3)
             for kind, shape in (("kernel", (3, 3, *_WIDTHS[i - 1 : i + 1])), ("bias", (_WIDTHS[i],)))}
    | {"score/kernel": (8, 8, 512, 2)},
    verified="layers against PyTorch with random weights; with --as-published, from the authors' score map on: mask "
             "and fused picture equal on Lytro 1; the network with the authors' weights was not run, because they "
             "may not be passed on")


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of `INFO.tensors` from the authors' file, of the full or the light network.

    The last two layers of the full one have nothing between them, so they become one, like the light one's.
    """
    table = read_matlab(path, hint=f"the published one is {_SOURCE}")
    is_full = "weights_feature" in table
    check_tensors(table, _MATLAB_TENSORS | (_FULL_TENSORS if is_full else _LIGHT_TENSORS), str(path),
                  hint=f"{INFO.title} needs {_SOURCE}")
    table = {name: x.astype(np.float32) for name, x in table.items()}
    score = table["weights_output"]
    if is_full:
        score = np.einsum("ckm,mo->cko", table["weights_feature"].astype(np.float64), score[:, 0]).astype(np.float32)
    weights = {"score/kernel": _kernel(score)}
    for i in (1, 2, 3):
        columns = table[f"weights_b1_{i}"]
        weights[f"conv{i}/kernel"] = _kernel(columns[None] if i == 1 else columns)
        weights[f"conv{i}/bias"] = table[f"biases_b1_{i}"][:, 0]
    return weights


def _kernel(columns: np.ndarray) -> np.ndarray:
    """`[I, column-major window, O]` → HWIO."""
    side = math.isqrt(columns.shape[1])
    windows = columns.reshape(columns.shape[0], side, side, columns.shape[2])  # I, column, row, O
    return np.ascontiguousarray(windows.transpose(2, 1, 0, 3))


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> "Cnn":
    """The method, ready to fuse.

    Args:
      weights: arrays as from `read_weights`; None: the imported ones.
      as_published: gray and rounding are MATLAB's (a difference of at most one level in few pixels).
    """
    return Cnn(weights_of(INFO, weights), as_published)


@dataclasses.dataclass(frozen=True)
class Cnn:
    """A `methods.base.Fuser` of two pictures of at least 16×16 px."""

    params: dict[str, np.ndarray]
    as_published: bool = False
    largest_px: int = LARGEST_PX

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        fused = blend(self._share(images), *(x.astype(np.float64) for x in images))
        return levels_rounded_up(fused) if self.as_published else to_levels(fused)

    def decision_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The share of the first picture, after the guided filter: float32 `[H, W]`."""
        return self._share(images).astype(np.float32)

    def _share(self, images: Sequence[np.ndarray]) -> np.ndarray:
        check_images(images, INFO.name, smallest_px=BLOCK_PX)
        gray = np.stack([gray_of(x, MATLAB_WEIGHTS if self.as_published else LUMA_WEIGHTS) for x in images])
        scores = score_map(self.params, gray[..., None].astype(np.float32), self.largest_px)
        mask = clean(focus_map(scores, gray.shape[1:]) > 0.5)
        return smooth(mask, *gray)


def score_map(params: dict[str, np.ndarray], gray: np.ndarray, largest_px: int = LARGEST_PX) -> np.ndarray:
    """The probability that A is focused, for blocks of 16×16 px at every second pixel.

    Args:
      params: arrays of `INFO.tensors`.
      gray: A and B in [0, 1], `[2, H, W, 1]`, at least 16×16 px.
      largest_px: the largest side of a piece.

    Returns:
      float32 `[ceil(H / 2) − 7, ceil(W / 2) − 7]`.
    """
    scores = run_in_pieces(functools.partial(_scores, params), gray, reach_px=REACH_PX, largest_px=largest_px,
                           stride=2)
    return scores[:-7, :-7]


@jax.jit
def _scores(params: dict[str, jax.Array], gray: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    """`[H / 2, W / 2]`; the last seven rows and columns have no meaning."""
    size = ValidSize(height, width)
    x = gray
    for i in (1, 2):
        x = jax.nn.relu(convolve(x, params[f"conv{i}/kernel"], params[f"conv{i}/bias"]))
        x = zero_beyond(x, size)  # the appended row or column of an odd side, too
    x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    half = ValidSize((height + 1) // 2, (width + 1) // 2)
    x = jax.nn.relu(convolve(x, params["conv3/kernel"], params["conv3/bias"]))
    x = zero_beyond(x, half)
    pair = jnp.concatenate([x[:1], x[1:]], -1)
    # "SAME" centers the window of 8 on its fourth sample; a score belongs to the first.
    logits = convolve(jnp.pad(pair, ((0, 0), (0, 3), (0, 3), (0, 0))), params["score/kernel"])[:, 3:, 3:]
    return jax.nn.softmax(logits, -1)[0, ..., 1]


def focus_map(scores: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mean of the scores of all blocks that hold a pixel: float64 `[H, W]`; block (j, i) starts at (2 j, 2 i)."""
    total, count = np.zeros(shape), np.zeros(shape)
    rows, columns = scores.shape
    for y in range(BLOCK_PX):
        for x in range(BLOCK_PX):
            part = slice(y, y + 2 * rows, 2), slice(x, x + 2 * columns, 2)
            inside = total[part].shape
            total[part] += scores[: inside[0], : inside[1]]
            count[part] += 1
    return total / count


def clean(mask: np.ndarray) -> np.ndarray:
    """A bool mask `[H, W]` without regions and holes of fewer than 1 % of its pixels (8-connected)."""
    smallest_px = math.ceil(0.01 * mask.size)
    mask = without_small_regions(mask, smallest_px, connectivity=8)
    return ~without_small_regions(~mask, smallest_px, connectivity=8)


def smooth(mask: np.ndarray, gray_a: np.ndarray, gray_b: np.ndarray) -> np.ndarray:
    """The mask after a guided filter (r = 8, ε = 0.1) by the gray picture that it composes: float64 `[H, W]`."""
    share = mask.astype(np.float64)
    return guided_filter(blend(share, gray_a, gray_b), share, 8, 0.1)
