"""The larger coefficient of two Laplacian pyramids."""

import cv2
import numpy as np

from edmf_jax.methods.base import MethodInfo, PlainFuser
from edmf_jax.methods.levels import to_levels

INFO = MethodInfo(
    name="laplacian-pyramid", title="Laplacian pyramid",
    paper="Burt, Adelson, IEEE Trans. Communications 31; Toet, Pattern Recognition Letters 9", year=1983,
    doi="10.1109/TCOM.1983.1095851", verified="by properties: equal, swapped and composite pictures")
PYRAMID_TOP_PX = 8  # the smallest side of a pyramid's last level


def load(weights: None = None, *, as_published: bool = False) -> PlainFuser:
    """The method, ready to fuse; it has no weights, and no script of its authors to differ from."""
    return PlainFuser(INFO.name, laplacian_pyramid)


def laplacian_pyramid(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Merges Laplacian pyramids by the larger coefficient, and averages their last levels.

    There are as many levels as leave at least 8 px on the shorter side.  In color, the larger sum of the three
    magnitudes decides for all three channels.  Ties are averaged.  Burt and Adelson 1983, DOI
    10.1109/TCOM.1983.1095851; fusion by maximum: Toet 1989, "Image fusion by a ratio of low-pass pyramid", Pattern
    Recognition Letters.
    """
    level_a, level_b = a.astype(np.float32), b.astype(np.float32)
    details = []
    while min(level_a.shape[:2]) >= 2 * PYRAMID_TOP_PX:
        size = level_a.shape[1::-1]
        next_a, next_b = cv2.pyrDown(level_a), cv2.pyrDown(level_b)
        details.append(_larger(level_a - cv2.pyrUp(next_a, dstsize=size), level_b - cv2.pyrUp(next_b, dstsize=size)))
        level_a, level_b = next_a, next_b
    fused = (level_a + level_b) / 2
    for detail in reversed(details):
        fused = cv2.pyrUp(fused, dstsize=detail.shape[1::-1]) + detail
    return to_levels(fused)


def _larger(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The coefficients of larger magnitude (summed over the channels); the mean where they tie."""
    size_a, size_b = (np.abs(x) if x.ndim == 2 else np.abs(x).sum(-1, keepdims=True) for x in (a, b))
    return np.where(size_a > size_b, a, np.where(size_a < size_b, b, (a + b) / 2))
