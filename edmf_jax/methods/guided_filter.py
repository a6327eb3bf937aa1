"""GFF: two layers, each fused with weights that the guided filter refines."""

import cv2
import numpy as np

from edmf_jax.core.color import to_gray
from edmf_jax.methods.base import MethodInfo, PlainFuser
from edmf_jax.methods.levels import to_levels

INFO = MethodInfo(
    name="guided-filter", title="GFF", paper="Li, Kang, Hu, IEEE Trans. Image Processing 22", year=2013,
    doi="10.1109/TIP.2013.2244222", verified="by properties: equal, swapped and composite pictures")


def load(weights: None = None, *, as_published: bool = False) -> PlainFuser:
    """The method, ready to fuse; it has no weights, and no script of its authors to differ from."""
    return PlainFuser(INFO.name, guided_filter)


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
    return to_levels(fused)


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
