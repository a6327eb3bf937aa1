"""Synthetic test pictures: two sources and their fusion."""

import numpy as np
from scipy.ndimage import gaussian_filter


def make_triple(height, width, seed=0):
    """Two sources, each sharp in one half, of different exposure, and their fusion; with constant and saturated parts.

    Returns:
      [a, b, fused], uint8 `[height, width]`.
    """
    rng = np.random.default_rng(seed)
    sharp = gaussian_filter(rng.random((height, width)), 0.8)
    sharp = (sharp - sharp.min()) / np.ptp(sharp) * 300 - 20
    blurred = gaussian_filter(sharp, 2)
    left = np.arange(width) < width // 2
    a, b = np.where(left, sharp, blurred), np.where(left, blurred, sharp) * 0.9 + 10
    fused = np.where(left, a, b)
    fused[: height // 4, : width // 3] = a[: height // 4, : width // 3] = 255
    a[-height // 5 :, -width // 4 :] = 0
    return [np.clip(x, 0, 255).round().astype(np.uint8) for x in (a, b, fused)]
