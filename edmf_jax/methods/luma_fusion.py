"""Color for methods that fuse luminance only, in the range that the method's authors use (NumPy, float64).

    FULL_RANGE    BT.601 as in JPEG files (ITU-T T.871): Y 0…255; what every method uses unless it runs as published
    STUDIO_RANGE  the rounded numbers of MATLAB's rgb2ycbcr scripts: Y 16…235
"""

from typing import NamedTuple

import numpy as np


class YCbCr(NamedTuple):
    """A color space: levels `rgb @ forward + offset` and back, `(ycbcr - offset) @ backward`."""

    forward: np.ndarray
    offset: np.ndarray
    backward: np.ndarray


def _full_range() -> YCbCr:
    luma = np.array([0.299, 0.587, 0.114])
    rows = [luma, (np.array([0, 0, 1]) - luma) / 1.772, (np.array([1, 0, 0]) - luma) / 1.402]
    forward = np.stack(rows, 1)
    return YCbCr(forward, np.array([0.0, 128.0, 128.0]), np.linalg.inv(forward))


FULL_RANGE = _full_range()
STUDIO_RANGE = YCbCr(
    np.array([[0.257, 0.504, 0.098], [-0.148, -0.291, 0.439], [0.439, -0.368, -0.071]]).T,
    np.array([16.0, 128.0, 128.0]),
    np.array([[1.164, 0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0]]).T)


def luma_levels(image: np.ndarray, space: YCbCr) -> np.ndarray:
    """Y `[H, W]` in levels, float64, of a uint8 picture; a gray picture is its own Y."""
    if image.ndim == 2:
        return image.astype(np.float64)
    # Not a product of matrices: its order of additions differs, and one in a thousand levels is a half, to be rounded.
    red, green, blue = (float(weight) * image[..., c] for c, weight in enumerate(space.forward[:, 0]))
    return red + green + blue + space.offset[0]


def merge_chroma(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One chroma plane from two, in levels about 128, each weighted by its distance from neutral.

    C = (C1·|C1 − 128| + C2·|C2 − 128|) / (|C1 − 128| + |C2 − 128|), and 128 where both are neutral.
    """
    weight_a, weight_b = np.abs(a - 128), np.abs(b - 128)
    total = weight_a + weight_b
    return np.where(total == 0, 128.0, (a * weight_a + b * weight_b) / np.where(total == 0, 1, total))


def recolor(luma: np.ndarray, a: np.ndarray, b: np.ndarray, space: YCbCr) -> np.ndarray:
    """RGB levels `[H, W, 3]`, float64, not clipped, of a fused Y and the merged chroma of A and B.

    Args:
      luma: `[H, W]`, levels of `space`.
      a, b: uint8 sources; for gray ones Y comes back as it is.
      space: of `luma`.
    """
    if a.ndim == 2:
        return luma
    planes_a, planes_b = (x.astype(np.float64) @ space.forward + space.offset for x in (a, b))
    planes = np.concatenate([luma[..., None], merge_chroma(planes_a[..., 1:], planes_b[..., 1:])], -1)
    return (planes - space.offset) @ space.backward
