"""Color conversions: YCbCr and the paper's chroma fusion, gray levels, bit depth, and the sRGB curve.

Color pictures are RGB `[..., H, W, 3]`, planes are `[..., H, W]`.  YCbCr is for arrays of NumPy and of JAX.
Every gray that the package fuses, measures or registers is one of these:

    function       input → output                           weights of R, G, B    who uses it
    -------------  ---------------------------------------  --------------------  ------------------------------------
    luma           float RGB → Y, float, any range          0.299, 0.587, 0.114   network input in `fusion.tiling`;
                                                                                  `registration`, `fusion.stack`
    rgb_to_ycbcr   float RGB in [0, 1] → that Y, Cb, Cr     the same              `fusion`, where color is put back
    luma_levels    8-bit RGB or gray → that Y, 8-bit        the same, as integers `data.training_pairs`;
                                                                                  masks in the evaluation's pictures
    rgb_to_gray    8-bit RGB → gray, 8-bit                  MATLAB's `RGB2GRAY`   `metrics`, as Table 2's toolbox
    to_gray        8/16-bit RGB or gray → that gray, 8-bit  the same              `evaluation`: scores; `methods`;
                                                                                  `data.pairs`, `reports`
"""

from typing import Any

import numpy as np

Array = Any  # np.ndarray or jax.Array; fusing photographs should not wait for the import of JAX

# YCbCr: BT.601 weights, full range, as in JPEG files (ITU-T T.871); the paper's color space (docs/paper.md, Color).

NEUTRAL = 128 / 255
"""Cb and Cr of a gray pixel.  Chroma planes are kept with this offset, as in a JPEG file."""
_KR, _KG, _KB = 0.299, 0.587, 0.114


def luma(rgb: Array) -> Array:
    """Y = 0.299 R + 0.587 G + 0.114 B of `[..., 3]`, in the input's range."""
    return _KR * rgb[..., 0] + _KG * rgb[..., 1] + _KB * rgb[..., 2]


def rgb_to_ycbcr(rgb: Array) -> tuple[Array, Array, Array]:
    """Planes Y in [0, 1] and Cb, Cr about `NEUTRAL` of RGB `[..., 3]` in [0, 1] (ITU-T T.871).

    Raises:
      ValueError: the last axis does not hold three channels.
    """
    if rgb.shape[-1] != 3:
        raise ValueError(f"rgb_to_ycbcr: three channels are needed on the last axis, got shape {rgb.shape}")
    y = luma(rgb)
    cb = (rgb[..., 2] - y) / (2 - 2 * _KB) + NEUTRAL
    cr = (rgb[..., 0] - y) / (2 - 2 * _KR) + NEUTRAL
    return y, cb, cr


def ycbcr_to_rgb(y: Array, cb: Array, cr: Array, xp=None) -> Array:
    """The inverse of `rgb_to_ycbcr`: planes → RGB `[..., 3]`, not clipped; `xp`: the array module (None: `y`'s)."""
    blue = y + (2 - 2 * _KB) * (cb - NEUTRAL)
    red = y + (2 - 2 * _KR) * (cr - NEUTRAL)
    green = (y - _KR * red - _KB * blue) / _KG
    return (xp or y.__array_namespace__()).stack([red, green, blue], axis=-1)


def fuse_chroma(chroma_a: Array, chroma_b: Array) -> Array:
    """One chroma plane (Cb or Cr) from two, each weighted by its distance from neutral (MUFusion's rule).

    In levels: C = (C1·|C1 − 128| + C2·|C2 − 128|) / (|C1 − 128| + |C2 − 128|), and 128 where both are neutral.
    Symmetric in its arguments; equal planes come back unchanged.
    """
    xp = chroma_a.__array_namespace__()
    weight_a = xp.abs(chroma_a - NEUTRAL)
    weight_b = xp.abs(chroma_b - NEUTRAL)
    total = weight_a + weight_b
    neutral = total == 0
    # Averages the offsets from neutral instead of the values: the same number, but exact where both planes are equal.
    offset = (chroma_a - NEUTRAL) * weight_a + (chroma_b - NEUTRAL) * weight_b
    return xp.where(neutral, NEUTRAL, NEUTRAL + offset / xp.where(neutral, 1.0, total))


# 8-bit gray levels, NumPy.

RGB2GRAY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
"""Weights of MATLAB's rgb2gray, to the last digit it prints.

With JPEG's 0.299, 0.587, 0.114 a few pixels in 100,000 would differ, by one level (2.5 in 20 pictures of EDMF; of
random colors, 0.5 % would).
"""


def luma_levels(image: np.ndarray) -> np.ndarray:
    """Y of an 8-bit RGB `[H, W, 3]` or gray `[H, W]` picture, rounded to a gray level (exact integer arithmetic).

    Raises:
      ValueError: not uint8.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"luma_levels: 8-bit pictures are expected, got {image.dtype}")
    if image.ndim == 2:
        return image
    red, green, blue = (image[..., c].astype(np.uint32) for c in range(3))
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)


def rgb_to_gray(rgb: np.ndarray) -> np.ndarray:
    """8-bit RGB `[..., 3]` → 8-bit gray: MATLAB's `rgb2gray`, rounded to nearest; equal channels keep their level.

    Raises:
      ValueError: not uint8, or not three channels.
    """
    if rgb.dtype != np.uint8 or rgb.shape[-1] != 3:
        raise ValueError(f"rgb_to_gray: uint8 RGB on the last axis is needed, got {rgb.dtype} {rgb.shape}")
    return np.floor(rgb.astype(np.float64) @ np.array(RGB2GRAY) + 0.5).astype(np.uint8)


def to_8_bits(picture: np.ndarray) -> np.ndarray:
    """uint16 over its full range → uint8, rounded to nearest; uint8 is returned as it is."""
    return picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_gray(picture: np.ndarray) -> np.ndarray:
    """8-bit gray levels, as the metrics take them, of RGB `[H, W, 3]` or gray `[H, W]` with 8 or 16 bits."""
    levels = to_8_bits(picture)
    return levels if levels.ndim == 2 else rgb_to_gray(levels)


# The sRGB curve (IEC 61966-2-1).  `tfds_edmf/edmf_synthetic/exposure.py` has a twin; tests/core/test_color.py compares.


def srgb_to_linear(encoded, xp=np):
    """Linear light of sRGB values in [0, 1]; beyond 1 the same formula goes on.

    Args:
      encoded: an array of any shape.
      xp: the array module, `numpy` or `jax.numpy`.
    """
    return xp.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear, xp=np):
    """The inverse of `srgb_to_linear`, for light ≥ 0."""
    # Below the threshold the root is not used; the maximum keeps it and its gradient finite there.
    power = xp.maximum(linear, 0.0031308) ** (1 / 2.4)
    return xp.where(linear <= 0.0031308, 12.92 * linear, 1.055 * power - 0.055)
