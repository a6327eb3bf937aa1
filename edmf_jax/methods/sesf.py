"""SESF-Fuse: the sharper deep features decide, cleaned by morphology and smoothed by a guided filter.

Ma et al. 2021, DOI 10.1007/s00521-020-05358-9.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods.base import MethodInfo, check_images
from edmf_jax.methods.imported import weights_of
from edmf_jax.methods.layers import box_sum, from_torch, squared_differences
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.pieces import LARGEST_PX, run_in_pieces
from edmf_jax.methods.planes import (
    LUMA_WEIGHTS,
    SKIMAGE_WEIGHTS,
    blend,
    gray_of,
    levels_truncated,
    window_mean,
    without_small_regions,
)
from edmf_jax.methods.squeeze_encoder import (
    BLOCKS,
    REACH_PX,
    SHARPNESS_REACH_PX,
    SHARPNESS_WINDOW_PX,
    WIDTH,
    GatedBlock,
    block_tensors,
    encode,
    gate_tensors,
    gated_block,
    gates_of,
)
from edmf_jax.weights.torch_file import read_torch

MEAN, DEVIATION = 0.4500517361627943, 0.26465333914691797  # of the gray levels that the network was trained with
_NAMES = [("features.0", "features.2", "se_f"),
          *((f"conv_encode_{i}.0", f"conv_encode_{i}.2", f"se_{i}") for i in range(1, BLOCKS))]
_SOURCE = "nets/parameters/lp+lssim_se_sf_net_times30.pkl of the repository Keep-Passion/SESF-Fuse"


def _tensors() -> dict[str, tuple[int, ...]]:
    tensors = {}
    for i, (conv, norm, gate) in enumerate(_NAMES):
        tensors |= block_tensors(conv, norm, i * WIDTH or 1, WIDTH) | gate_tensors(gate)
    return tensors


INFO = MethodInfo(
    name="sesf", title="SESF-Fuse", paper="Ma et al., Neural Computing and Applications 33", year=2021,
    doi="10.1007/s00521-020-05358-9", license="LGPL-2.1", source=_SOURCE, tensors=_tensors(),
    verified="with --as-published: the authors' program on Lytro 1: raw and cleaned maps equal, fused picture within "
             "1 level")


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of the authors' file, under their names and in PyTorch's layout."""
    return read_torch(path, hint=f"the published one is {_SOURCE}")


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> "Sesf":
    """The method, ready to fuse.

    Args:
      weights: arrays as from `read_weights`; None: the imported ones.
      as_published: gray by scikit-image's weights, and levels cut off to integers, as in the authors' script.
        Otherwise gray is BT.601 Y, and levels are rounded.
    """
    return Sesf(parameters(weights_of(INFO, weights)), as_published)


def parameters(weights: Mapping[str, np.ndarray]) -> list[GatedBlock]:
    """The network's four blocks."""
    weights = from_torch(weights)
    return [gated_block(weights, *names) for names in _NAMES]


@dataclasses.dataclass(frozen=True)
class Sesf:
    """A `methods.base.Fuser` of two pictures."""

    blocks: list[GatedBlock]
    as_published: bool = False
    largest_px: int = LARGEST_PX

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        share = smooth(clean(self.raw_map(images)), *images)
        fused = blend(share, *(x.astype(np.float64) for x in images))
        return levels_truncated(fused) if self.as_published else to_levels(fused)

    def decision_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The share of the first picture, float32 `[H, W]`; the authors' guided filter leaves [0, 1] (−1.4…2.0)."""
        return smooth(clean(self.raw_map(images)), *images).astype(np.float32)

    def raw_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Where the features of the first picture are sharper: bool `[H, W]`."""
        check_images(images, INFO.name)
        weights = SKIMAGE_WEIGHTS if self.as_published else LUMA_WEIGHTS
        gray = np.stack([(gray_of(x, weights) - MEAN) / DEVIATION for x in images])[..., None].astype(np.float32)
        gates = gates_of(self.blocks, gray, self.largest_px)
        return run_in_pieces(functools.partial(_sharper, self.blocks, gates), gray,
                             reach_px=REACH_PX + SHARPNESS_REACH_PX, largest_px=self.largest_px)


@jax.jit
def _sharper(blocks: list[GatedBlock], gates: tuple[jax.Array, ...], gray: jax.Array, height: jax.Array,
             width: jax.Array) -> jax.Array:
    size = ValidSize(height, width)
    features = encode(blocks, gray, size, gates)
    # The windows are summed after the channels: the same sum, and a sixty-fourth of the work.
    sharpness = box_sum(jnp.sum(squared_differences(features), -1, keepdims=True), SHARPNESS_WINDOW_PX, size)
    return (sharpness[0] > sharpness[1])[..., 0]


def clean(mask: np.ndarray) -> np.ndarray:
    """A bool mask `[H, W]` opened and closed by a disk, without regions and holes under 1 % of the picture."""
    smallest_px = 0.01 * mask.size
    x, y = np.mgrid[-5:6, -5:6]
    disk = (x**2 + y**2 <= 25).astype(np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk) > 0
    opened = without_small_regions(opened, smallest_px, connectivity=4)
    closed = cv2.morphologyEx(opened.astype(np.uint8), cv2.MORPH_CLOSE, disk) > 0
    return ~without_small_regions(~closed, smallest_px, connectivity=4)


def smooth(mask: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The authors' guided filter (r = 4, ε = 0.1) of a mask by the picture that it composes, in levels: float64.

    The gain of every color is computed alone and all three are added, not solved for together, so the result
    overshoots; kept, because it is what their program does.
    """
    guide = np.where(mask if a.ndim == 2 else mask[..., None], a, b).astype(np.float64)
    guide = np.repeat(guide[..., None], 3, -1) if a.ndim == 2 else guide
    share = mask.astype(np.float64)
    mean_guide, mean_share = window_mean(guide, 4), window_mean(share, 4)
    covariance = window_mean(guide * share[..., None], 4) - mean_guide * mean_share[..., None]
    slope = covariance / (window_mean(guide * guide, 4) - mean_guide**2 + 0.1)
    offset = mean_share - (slope * mean_guide).sum(-1)
    return (window_mean(slope, 4) * guide).sum(-1) + window_mean(offset, 4)
