"""Classical fusion methods to measure against, on the host (NumPy and OpenCV: no compile per picture size).

Every method takes two uint8 pictures of one shape, `[H, W]` or `[H, W, 3]` RGB, and
gives one of that shape.  What is decided, is decided on grey levels (MATLAB's
rgb2gray) and holds for all three colours.  Equal sources come back unchanged.
"""

from collections.abc import Callable

import cv2
import numpy as np

from edmf_jax.metrics import rgb_to_gray

SF_WINDOW_PX = 19
MAJORITY_PX = 61
SMALL_REGION = 0.01  # of the picture's area
PYRAMID_TOP_PX = 8  # the smallest side of a pyramid's last level


def average(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of the sources, halves rounded up."""
    return ((a.astype(np.uint16) + b + 1) >> 1).astype(np.uint8)


def max_sf_pixelwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Every pixel from the source of the larger spatial frequency about it; a tie belongs to A.

    Squared vertical and horizontal first differences, summed over 19×19 px with
    repeated edges.  Spatial frequency as a focus measure: Li, Kwok and Wang 2001,
    DOI 10.1016/S1566-2535(01)00038-0.
    """
    return _choose(_sharper_in_a(a, b), a, b)


def max_sf(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`max_sf_pixelwise` with a consistency check of its decision map.

    The majority in 61×61 px (mirrored edges) decides; then regions of A, and after
    them regions of B, of less than 1 % of the picture go to the source around them.
    """
    votes = _box_sum(_sharper_in_a(a, b).astype(np.float64), MAJORITY_PX, cv2.BORDER_REFLECT)
    majority = votes >= MAJORITY_PX**2 / 2
    smallest = SMALL_REGION * majority.size
    return _choose(~_without_small_regions(~_without_small_regions(majority, smallest), smallest), a, b)


def laplacian_pyramid(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Laplacian pyramids merged by the larger coefficient, their last levels averaged.

    As many levels as keep 8 px on the shorter side.  In colour the larger sum of
    the three magnitudes decides, for all three; ties are averaged.  Burt and
    Adelson 1983, DOI 10.1109/TCOM.1983.1095851; fusion by maximum: Toet 1989,
    DOI 10.1016/0167-8655(89)90003-2.
    """
    level_a, level_b = a.astype(np.float32), b.astype(np.float32)
    details = []
    while min(level_a.shape[:2]) >= 2 * PYRAMID_TOP_PX:
        size = level_a.shape[1::-1]
        next_a, next_b = cv2.pyrDown(level_a), cv2.pyrDown(level_b)
        details.append(_stronger(level_a - cv2.pyrUp(next_a, dstsize=size), level_b - cv2.pyrUp(next_b, dstsize=size)))
        level_a, level_b = next_a, next_b
    fused = (level_a + level_b) / 2
    for detail in reversed(details):
        fused = cv2.pyrUp(fused, dstsize=detail.shape[1::-1]) + detail
    return _levels(fused)


def guided_filter(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """GFF: weights by saliency, refined by the guided filter, for a base and a detail layer.

    Li, Kang and Hu 2013, DOI 10.1109/TIP.2013.2244222, with the paper's parameters:
    base = 31×31 mean; saliency = |Laplacian| under an 11×11 Gaussian of σ = 5;
    guided filters of r = 45, ε = 0.3 (base) and r = 7, ε = 10⁻⁶ (detail) on grey
    levels in [0, 1].  Ours: mirrored edges, and a tie in saliency gives both
    sources the weight 1 before the weights are normalised.
    """
    grey = [_grey(x).astype(np.float32) / 255 for x in (a, b)]
    saliency = [cv2.GaussianBlur(np.abs(cv2.Laplacian(g, cv2.CV_32F)), (11, 11), 5) for g in grey]
    largest = np.maximum(*saliency)
    masks = [(s >= largest).astype(np.float32) for s in saliency]
    layers = []
    for x in (a, b):
        base = cv2.blur(x.astype(np.float32), (31, 31))
        layers.append((base, x - base))
    fused = 0.0
    for layer, (radius_px, epsilon) in enumerate(((45, 0.3), (7, 1e-6))):
        weight_a, weight_b = (_guide(g, m, radius_px, epsilon).clip(0, 1) + 1e-12 for g, m in zip(grey, masks))
        share = weight_a / (weight_a + weight_b)
        share = share if a.ndim == 2 else share[..., None]
        fused = fused + share * layers[0][layer] + (1 - share) * layers[1][layer]
    return _levels(fused)


BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "average": average,
    "max-sf": max_sf,
    "max-sf-pixelwise": max_sf_pixelwise,
    "laplacian-pyramid": laplacian_pyramid,
    "guided-filter": guided_filter,
}
"""Name on the command line → method."""


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else rgb_to_gray(image)


def _levels(image: np.ndarray) -> np.ndarray:
    """Rounded and clipped to 8 bits."""
    return np.rint(image).clip(0, 255).astype(np.uint8)


def _choose(from_a: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(from_a if a.ndim == 2 else from_a[..., None], a, b)


def _box_sum(x: np.ndarray, window_px: int, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """Sums over squares; exact for integers in float64, so that equal windows have equal sums."""
    return cv2.boxFilter(x, cv2.CV_64F, (window_px, window_px), normalize=False, borderType=border)


def _sharper_in_a(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where A's windowed spatial frequency is at least B's: bool `[H, W]`."""
    energies = []
    for grey in (_grey(a).astype(np.float64), _grey(b).astype(np.float64)):
        energy = np.zeros_like(grey)
        energy[1:] += np.diff(grey, axis=0) ** 2
        energy[:, 1:] += np.diff(grey, axis=1) ** 2
        energies.append(_box_sum(energy, SF_WINDOW_PX))
    return energies[0] >= energies[1]


def _without_small_regions(mask: np.ndarray, smallest_px: float) -> np.ndarray:
    """The mask without its 8-connected regions of fewer than `smallest_px` pixels."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = statistics[:, cv2.CC_STAT_AREA] >= smallest_px
    kept[0] = False  # the background
    return kept[labels]


def _stronger(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The coefficients of the larger magnitude, over all channels together; the mean where they tie."""
    strength_a, strength_b = (np.abs(x) if x.ndim == 2 else np.abs(x).sum(-1, keepdims=True) for x in (a, b))
    return np.where(strength_a > strength_b, a, np.where(strength_a < strength_b, b, (a + b) / 2))


def _guide(guide: np.ndarray, image: np.ndarray, radius_px: int, epsilon: float) -> np.ndarray:
    """Guided filter of a plane by a plane: He, Sun and Tang 2013, DOI 10.1109/TPAMI.2012.213.

    In float64: ε = 10⁻⁶ is of the size of float32's rounding of the variances.
    """
    size = (2 * radius_px + 1, 2 * radius_px + 1)

    def mean(x):
        return cv2.blur(x, size)

    guide, image = guide.astype(np.float64), image.astype(np.float64)
    mean_guide, mean_image = mean(guide), mean(image)
    slope = (mean(guide * image) - mean_guide * mean_image) / (mean(guide**2) - mean_guide**2 + epsilon)
    return mean(slope) * guide + mean(mean_image - slope * mean_guide)
