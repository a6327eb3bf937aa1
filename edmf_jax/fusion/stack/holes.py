"""Transparent pixels of a shot, which it does not have: filled with smooth colors that disturb no later step.

What is filled in is never shown: blending gives it no weight (`borders`).  But small copies average over it, resampling
interpolates into it, and registration looks for detail everywhere; next to black or any color that happens to be
stored, all of these would find an edge that is not in the scene.
"""

import cv2
import numpy as np


def fill(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of `[H, W, C]` with the pixels where bool `mask` `[H, W]` is False filled from those around them.

    By pull and push (Gortler et al. 1996, DOI 10.1145/237170.237200): means of the known pixels at half the size, and
    so on until none is missing; then each size is filled from the next smaller one.
    """
    out, holes = image.copy(), ~mask
    known = mask.astype(np.float32)
    for c in range(image.shape[2]):
        values = fill_plane(image[..., c].astype(np.float32) * known, known)[holes]
        out[..., c][holes] = np.rint(values) if np.issubdtype(image.dtype, np.integer) else values
    return out


def fill_plane(weighted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The filled plane `[h, w]`, from values times weight and weights in [0, 1]."""
    if weight.min() == 1:
        return weighted
    if weighted.size == 1:
        return weighted / np.maximum(weight, np.float32(1e-12))
    height, width = weighted.shape
    half = max((width + 1) // 2, 1), max((height + 1) // 2, 1)
    smaller = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA).reshape(half[::-1])
               for plane in (weighted, weight))
    coarse = cv2.resize(fill_plane(*smaller), (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width)
    return weighted + (1 - weight) * coarse
