"""Every pixel from the picture of larger local spatial frequency, with a check of the map's consistency.

On the host (NumPy and OpenCV), so that no picture size compiles.  The decision is made on gray levels (MATLAB's
rgb2gray) and applies to all three channels.
"""

import cv2
import numpy as np

from edmf_jax.core.color import to_gray
from edmf_jax.core.differences import squared_differences
from edmf_jax.methods.base import MaskFuser, MethodInfo

INFO = MethodInfo(
    name="max-sf", title="Max-SF", paper="after Li, Kwok, Wang, Information Fusion 2", year=2001,
    doi="10.1016/S1566-2535(01)00038-0", verified="equal to its definition, written with SciPy")
SF_WINDOW_PX = 19
MAJORITY_PX = 61
SMALL_REGION = 0.01  # of the picture's area


def load(weights: None = None, *, as_published: bool = False) -> MaskFuser:
    """The method, ready to fuse; it has no weights, and no script of its authors to differ from."""
    return MaskFuser(INFO.name, consistent_mask)


def consistent_mask(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`sharper_mask` after a majority vote and without small regions: bool `[H, W]`.

    The majority in 61×61 px (mirrored edges) decides.  Then regions of A that are smaller than 1 % of the picture
    become B, and after that such regions of B become A.
    """
    votes = _box_sum(sharper_mask(a, b).astype(np.float64), MAJORITY_PX, cv2.BORDER_REFLECT)
    majority = votes >= MAJORITY_PX**2 / 2
    smallest = SMALL_REGION * majority.size
    return ~_remove_small_regions(~_remove_small_regions(majority, smallest), smallest)


def sharper_mask(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where A's local spatial frequency is at least B's, so that A wins ties: bool `[H, W]`.

    The spatial frequency is the sum of squared vertical and horizontal first differences over 19×19 px, with repeated
    edges.  As a focus measure: Li, Kwok and Wang 2001, DOI 10.1016/S1566-2535(01)00038-0.
    """
    energies = []
    for gray in (to_gray(a).astype(np.float64), to_gray(b).astype(np.float64)):
        energies.append(_box_sum(squared_differences(gray, np), SF_WINDOW_PX))
    return energies[0] >= energies[1]


def _box_sum(x: np.ndarray, window_px: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """Sums over square windows, in float64: exact for integers, so equal windows have equal sums."""
    return cv2.boxFilter(x, cv2.CV_64F, (window_px, window_px), normalize=False, borderType=border)


def _remove_small_regions(mask: np.ndarray, smallest_px: float) -> np.ndarray:
    """The mask without its 8-connected regions of fewer than `smallest_px` pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    is_kept = statistics[:, cv2.CC_STAT_AREA] >= smallest_px
    is_kept[0] = False  # label 0 is the background
    return is_kept[labels]
