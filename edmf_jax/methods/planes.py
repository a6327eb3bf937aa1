"""What published methods do with their decision maps: guided filters, small regions, blending (NumPy, float64).

Windows are truncated at the edges of the picture, and means divide by the true number of samples.
"""

import cv2
import numpy as np

from edmf_jax.core.color import RGB2GRAY

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Gray = full-range BT.601 Y: what every method gets unless it runs as published."""
SKIMAGE_WEIGHTS = (0.2125, 0.7154, 0.0721)
MATLAB_WEIGHTS = RGB2GRAY


def gray_of(image: np.ndarray, weights: tuple[float, float, float] = LUMA_WEIGHTS) -> np.ndarray:
    """Gray `[H, W]` in [0, 1], float64, of a uint8 picture `[H, W]` or `[H, W, 3]`."""
    image = image.astype(np.float64) / 255
    return image if image.ndim == 2 else image @ np.array(weights)


def window_mean(x: np.ndarray, radius_px: int) -> np.ndarray:
    """Mean of `[H, W]` or `[H, W, C]` over the part of a square of 2 r + 1 px that lies inside the picture."""
    # Not cv2.boxFilter: its running sums carry rounding errors into flat parts, where levels are cut off later.
    ones = np.ones(2 * radius_px + 1)
    total, count = (cv2.sepFilter2D(p, cv2.CV_64F, ones, ones, borderType=cv2.BORDER_CONSTANT)
                    for p in (x.astype(np.float64), np.ones(x.shape[:2])))
    return total / (count if x.ndim == 2 else count[..., None])


def guided_filter(guide: np.ndarray, image: np.ndarray, radius_px: int, epsilon: float) -> np.ndarray:
    """Guided filter of a plane by another (He, Sun, Tang 2013, DOI 10.1109/TPAMI.2012.213): `[H, W]`."""
    mean_guide, mean_image = window_mean(guide, radius_px), window_mean(image, radius_px)
    covariance = window_mean(guide * image, radius_px) - mean_guide * mean_image
    slope = covariance / (window_mean(guide * guide, radius_px) - mean_guide**2 + epsilon)
    return window_mean(slope, radius_px) * guide + window_mean(mean_image - slope * mean_guide, radius_px)


def without_small_regions(mask: np.ndarray, smallest_px: float, connectivity: int) -> np.ndarray:
    """A bool mask `[H, W]` without its connected regions of fewer than `smallest_px` pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    keep = statistics[:, cv2.CC_STAT_AREA] >= smallest_px
    keep[0] = False  # the background
    return keep[labels]


def blend(share: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """share·A + (1 − share)·B, float64; share `[H, W]`, pictures `[H, W]` or `[H, W, 3]`."""
    share = share if a.ndim == 2 else share[..., None]
    return share * a + (1 - share) * b


def levels_rounded_up(image: np.ndarray) -> np.ndarray:
    """Levels rounded to integers, halves up, and clipped to 0…255: MATLAB's uint8()."""
    return np.floor(image + 0.5).clip(0, 255).astype(np.uint8)


def levels_truncated(image: np.ndarray) -> np.ndarray:
    """Levels clipped to 0…255 and cut off to integers, as `.astype(uint8)` in the authors' scripts does."""
    return image.clip(0, 255).astype(np.uint8)


def levels_stretched(image: np.ndarray) -> np.ndarray:
    """Any values stretched from minimum…maximum to 0…255, as SciPy's old `imsave` does with floats."""
    low, high = float(image.min()), float(image.max())
    if high == low:
        return np.zeros(image.shape, np.uint8)
    return levels_rounded_up((image - low) * (255 / (high - low)))
