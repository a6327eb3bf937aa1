"""Exposure fusion, as users know it from enfuse: pyramids blended by contrast, saturation and exposedness."""

import cv2
import numpy as np

from edmf_jax.methods.base import MethodInfo, check_images
from edmf_jax.methods.levels import to_levels

INFO = MethodInfo(
    name="exposure-fusion", title="Exposure fusion", paper="Mertens, Kautz, Van Reeth, Computer Graphics Forum 28",
    year=2009, doi="10.1111/j.1467-8659.2008.01171.x",
    verified="OpenCV's MergeMertens; its weights against the paper's formulas")


def load(weights: None = None, *, as_published: bool = False) -> "ExposureFusion":
    """The method, ready to fuse any number of pictures; it has no weights."""
    return ExposureFusion()


class ExposureFusion:
    """OpenCV's MergeMertens with the paper's three measures, each to the power 1 (enfuse weighs them 0, 0.2 and 1).

    Weights: |Laplacian| of gray × standard deviation of R, G, B (not of gray pictures) × exp(−(x − 0.5)² / (2·0.2²))
    of every channel x in [0, 1]; normalized, and blended in Laplacian pyramids of all levels.
    """

    def __call__(self, images):
        """The fused picture; see `methods.base.Fuser`."""
        check_images(images, INFO.name, most=None)
        merge = cv2.createMergeMertens(contrast_weight=1, saturation_weight=1, exposure_weight=1)
        return to_levels(255 * np.asarray(merge.process(list(images))))
