"""How sharp a shot is around each pixel, and the blend of chroma that follows from it.

NumPy and OpenCV, in float32: nothing is compiled for each size.

The chroma is a mean of both shots' chroma, weighted by their sharpness.  Of the rules in `studies/color_rules.py`,
which include the paper's (by distance from neutral), none is better by more than 0.01 ΔE 2000 against the truth:
docs/exposure.md.  Preset "paper", and so Table 2, keeps the paper's rule.
"""

import cv2
import numpy as np

from edmf_jax.core.color import NEUTRAL, luma, rgb_to_ycbcr, ycbcr_to_rgb
from edmf_jax.core.differences import squared_differences

WINDOW_PX = 19  # as in the paper's focus mask
FLOOR = 1e-3  # a quarter of an 8-bit level: flatter areas count as equally sharp in all shots
REACH_PX = WINDOW_PX // 2 + 1
"""A pixel can change the `local_spatial_frequency` of pixels up to this far away."""
_SHARE_SMOOTH_PX = 11
_SHARE_POWER = 4
COLOR_REACH_PX = REACH_PX + _SHARE_SMOOTH_PX // 2
"""A pixel can change the `chroma_share` of pixels up to this far away."""


def luma_of(image: np.ndarray) -> np.ndarray:
    """The gray plane of `[h, w, 1]` or the luma of `[h, w, 3]`, clipped to [0, 1]: `[h, w]`."""
    plane = image[..., 0] if image.shape[2] == 1 else luma(image)
    return np.clip(plane, 0, 1, dtype=np.float32)


def local_spatial_frequency(plane: np.ndarray) -> np.ndarray:
    """`core.focus.local_spatial_frequency` of one plane over 19×19 px, plus `FLOOR`."""
    mean = cv2.blur(squared_differences(plane, np), (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT_101)
    return np.sqrt(np.maximum(mean, 0)) + np.float32(FLOOR)


def chroma_share(sharp: np.ndarray, other_sharp: np.ndarray) -> np.ndarray:
    """The share of the chroma that comes from the first shot, `[h, w]` in [0, 1], from the sharpness of both."""
    a, b = sharp**_SHARE_POWER, other_sharp**_SHARE_POWER
    return cv2.blur(a / (a + b), (_SHARE_SMOOTH_PX, _SHARE_SMOOTH_PX), borderType=cv2.BORDER_REFLECT_101)


def blend_chroma(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cb and Cr as offsets from neutral, `[h, w]` each: `share` of the first picture's, the rest of the second's."""
    (_, *a), (_, *b) = rgb_to_ycbcr(first), rgb_to_ycbcr(second)
    cb, cr = (share * (x - np.float32(NEUTRAL)) + (1 - share) * (y - np.float32(NEUTRAL)) for x, y in zip(a, b))
    return cb, cr


def colored(plane: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """RGB `[h, w, 3]` from luma and the offsets of Cb and Cr from neutral; `color.ycbcr_to_rgb` in NumPy."""
    return ycbcr_to_rgb(plane, cb + np.float32(NEUTRAL), cr + np.float32(NEUTRAL), np)
