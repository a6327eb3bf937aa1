"""How sharp a shot is about each pixel, and the colour that follows from it.

NumPy and OpenCV: no compile per size, float32.

The colour is a share of both shots' chroma by their sharpness.  Of the rules in `benchmarks/colour_rules.py`, the
paper's (by distance from neutral) among them, none is better by more than 0.01 ΔE 2000 against the truth:
docs/exposure.md.  The paper's stays for preset "paper", and so for Table 2.
"""

import cv2
import numpy as np

from edmf_jax.color import NEUTRAL, luma, rgb_to_ycbcr

WINDOW_PX = 19  # the paper's mask
FLOOR = 1e-3  # a quarter of an 8-bit level: what is flatter is equally sharp in all shots
REACH_PX = WINDOW_PX // 2 + 1
_SMOOTH_PX = 11
_POWER = 4
COLOUR_REACH_PX = REACH_PX + _SMOOTH_PX // 2
_NOISE_SIGMA_PX, _NOISE_PX = 0.8, 7  # blurred by this before the Laplacian, which answers to noise first
_NEAR_PX, _FAR_PX = 7, 19  # windows, each passed over twice: about Gaussians of σ = 2.8 and 7.7 px
_FAR_SHARE = 0.1
STRENGTH_REACH_PX = _NOISE_PX // 2 + 1 + 2 * (_FAR_PX // 2)


def luma_of(image: np.ndarray) -> np.ndarray:
    """The grey plane of `[h, w, 1]`, the luma of `[h, w, 3]`, cut to [0, 1]."""
    plane = image[..., 0] if image.shape[2] == 1 else luma(image)
    return np.clip(plane, 0, 1, dtype=np.float32)


def local_spatial_frequency(plane: np.ndarray) -> np.ndarray:
    """`focus.local_spatial_frequency` of one plane over 19×19 px, plus `FLOOR`."""
    energy = np.zeros_like(plane)
    energy[:, 1:] += np.square(plane[:, 1:] - plane[:, :-1])
    energy[1:] += np.square(plane[1:] - plane[:-1])
    mean = cv2.blur(energy, (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT_101)
    return np.sqrt(np.maximum(mean, 0)) + np.float32(FLOOR)


def strength(plane: np.ndarray) -> np.ndarray:
    """How much fine detail there is about each pixel of a plane, `[h, w]`: what `mixing` weights by.

    Root of the mean squared Laplacian of the slightly blurred plane, plus `FLOOR`.  The mean is over a near window
    and, at a tenth, over a far one: the rim of a defocused lamp is sharp too, and only further off does one see that
    the lamp itself is much sharper in another shot.
    """
    smooth = cv2.GaussianBlur(plane, (_NOISE_PX, _NOISE_PX), _NOISE_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    energy = np.square(cv2.Laplacian(smooth, cv2.CV_32F, borderType=cv2.BORDER_REFLECT_101))
    near, far = (_twice(energy, window) for window in (_NEAR_PX, _FAR_PX))
    return np.sqrt(np.maximum(near + np.float32(_FAR_SHARE) * far, 0)) + np.float32(FLOOR)


def _twice(plane: np.ndarray, window: int) -> np.ndarray:
    for _ in range(2):
        plane = cv2.blur(plane, (window, window), borderType=cv2.BORDER_REFLECT_101)
    return plane


def chroma_share(sharp: np.ndarray, other_sharp: np.ndarray) -> np.ndarray:
    """How much of the colour comes from the first shot, `[h, w]` in [0, 1], from the sharpness of both."""
    a, b = sharp**_POWER, other_sharp**_POWER
    return cv2.blur(a / (a + b), (_SMOOTH_PX, _SMOOTH_PX), borderType=cv2.BORDER_REFLECT_101)


def mixed_chroma(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cb and Cr offsets from neutral of two pictures `[h, w, 3]`, `share` of the first one."""
    (_, *a), (_, *b) = rgb_to_ycbcr(first), rgb_to_ycbcr(second)
    cb, cr = (share * (x - np.float32(NEUTRAL)) + (1 - share) * (y - np.float32(NEUTRAL)) for x, y in zip(a, b))
    return cb, cr


def coloured(plane: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> np.ndarray:
    """RGB `[h, w, 3]` of a luma plane and chroma offsets, `color.ycbcr_to_rgb` on the host."""
    blue, red = plane + np.float32(1.772) * cb, plane + np.float32(1.402) * cr
    green = (plane - np.float32(0.299) * red - np.float32(0.114) * blue) / np.float32(0.587)
    return np.stack([red, green, blue], -1)
