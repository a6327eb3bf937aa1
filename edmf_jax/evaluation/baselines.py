"""Classical fusion methods to compare with, on the host (NumPy and OpenCV, so no compile per picture size).

Every method takes two uint8 pictures of one shape, `[H, W]` or RGB `[H, W, 3]`, and returns one of that shape.
Decisions are made on gray levels (MATLAB's rgb2gray) and apply to all three channels, unless the method says
otherwise.  Equal sources are returned unchanged.
"""

from collections.abc import Callable

import cv2
import numpy as np

from edmf_jax.core.color import to_gray
from edmf_jax.core.focus import squared_differences

SF_WINDOW_PX = 19
MAJORITY_PX = 61
SMALL_REGION = 0.01  # of the picture's area
PYRAMID_TOP_PX = 8  # the smallest side of a pyramid's last level


def average(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of the sources, with halves rounded up."""
    return ((a.astype(np.uint16) + b + 1) >> 1).astype(np.uint8)


def max_sf_pixelwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Takes every pixel from the source with the larger local spatial frequency; A wins ties.

    The spatial frequency is the sum of squared vertical and horizontal first differences over 19×19 px, with repeated
    edges.  As a focus measure: Li, Kwok and Wang 2001, DOI 10.1016/S1566-2535(01)00038-0.
    """
    return _choose(_a_is_sharper(a, b), a, b)


def max_sf(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`max_sf_pixelwise` with a consistency check of its decision map.

    The majority in 61×61 px (mirrored edges) decides.  Then regions of A that are smaller than 1 % of the picture
    become B, and after that such regions of B become A.
    """
    votes = _box_sum(_a_is_sharper(a, b).astype(np.float64), MAJORITY_PX, cv2.BORDER_REFLECT)
    majority = votes >= MAJORITY_PX**2 / 2
    smallest = SMALL_REGION * majority.size
    return _choose(~_remove_small_regions(~_remove_small_regions(majority, smallest), smallest), a, b)


def laplacian_pyramid(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Merges Laplacian pyramids by the larger coefficient, and averages their last levels.

    There are as many levels as leave at least 8 px on the shorter side.  In color, the larger sum of the three
    magnitudes decides for all three channels.  Ties are averaged.  Burt and Adelson 1983, DOI
    10.1109/TCOM.1983.1095851; fusion by maximum: Toet 1989, DOI 10.1016/0167-8655(89)90003-2.
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
    return _to_8_bits(fused)


def guided_filter(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """GFF: a base and a detail layer, each fused with weights from saliency, which the guided filter refines.

    Li, Kang and Hu 2013, DOI 10.1109/TIP.2013.2244222, with the paper's parameters: base = 31×31 mean; saliency =
    |Laplacian| smoothed by an 11×11 Gaussian of σ = 5; guided filters of r = 45, ε = 0.3 (base) and r = 7, ε = 10⁻⁶
    (detail) on gray levels in [0, 1].  Not in the paper: mirrored edges, and a tie in saliency gives both sources the
    weight 1 before the weights are normalized.
    """
    gray = [to_gray(x).astype(np.float32) / 255 for x in (a, b)]
    saliency = [cv2.GaussianBlur(np.abs(cv2.Laplacian(g, cv2.CV_32F)), (11, 11), 5) for g in gray]
    largest = np.maximum(*saliency)
    masks = [(s >= largest).astype(np.float32) for s in saliency]
    layers = []
    for x in (a, b):
        base = cv2.blur(x.astype(np.float32), (31, 31))
        layers.append((base, x - base))
    fused = 0.0
    for layer, (radius_px, epsilon) in enumerate(((45, 0.3), (7, 1e-6))):
        raw_a, raw_b = (_guided_filter(g, m, radius_px, epsilon).clip(0, 1) + 1e-12 for g, m in zip(gray, masks))
        weight = raw_a / (raw_a + raw_b)
        weight = weight if a.ndim == 2 else weight[..., None]
        fused = fused + weight * layers[0][layer] + (1 - weight) * layers[1][layer]
    return _to_8_bits(fused)


BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "average": average,
    "max-sf": max_sf,
    "max-sf-pixelwise": max_sf_pixelwise,
    "laplacian-pyramid": laplacian_pyramid,
    "guided-filter": guided_filter,
}
"""Name on the command line → method."""


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    """Rounds levels to integers and clips them to 0…255."""
    return np.rint(image).clip(0, 255).astype(np.uint8)


def _choose(from_a: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A where the mask `[H, W]` is True, else B."""
    return np.where(from_a if a.ndim == 2 else from_a[..., None], a, b)


def _box_sum(x: np.ndarray, window_px: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """Sums over square windows, in float64: exact for integers, so equal windows have equal sums."""
    return cv2.boxFilter(x, cv2.CV_64F, (window_px, window_px), normalize=False, borderType=border)


def _a_is_sharper(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where A's local spatial frequency is at least B's: bool `[H, W]`."""
    energies = []
    for gray in (to_gray(a).astype(np.float64), to_gray(b).astype(np.float64)):
        energies.append(_box_sum(squared_differences(gray, np), SF_WINDOW_PX))
    return energies[0] >= energies[1]


def _remove_small_regions(mask: np.ndarray, smallest_px: float) -> np.ndarray:
    """The mask without its 8-connected regions of fewer than `smallest_px` pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    is_kept = statistics[:, cv2.CC_STAT_AREA] >= smallest_px
    is_kept[0] = False  # label 0 is the background
    return is_kept[labels]


def _larger(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The coefficients of larger magnitude (summed over the channels); the mean where they tie."""
    size_a, size_b = (np.abs(x) if x.ndim == 2 else np.abs(x).sum(-1, keepdims=True) for x in (a, b))
    return np.where(size_a > size_b, a, np.where(size_a < size_b, b, (a + b) / 2))


def _guided_filter(guide: np.ndarray, image: np.ndarray, radius_px: int, epsilon: float) -> np.ndarray:
    """Guided filter of one plane `[H, W]` by another: He, Sun and Tang 2013, DOI 10.1109/TPAMI.2012.213.

    In float64, because float32 rounds the variances by about as much as ε = 10⁻⁶.
    """
    size = (2 * radius_px + 1, 2 * radius_px + 1)

    def mean(x):
        return cv2.blur(x, size)

    guide, image = guide.astype(np.float64), image.astype(np.float64)
    mean_guide, mean_image = mean(guide), mean(image)
    slope = (mean(guide * image) - mean_guide * mean_image) / (mean(guide**2) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_image - slope * mean_guide)
