"""Which pixels a picture may have, and their conversion to floats in [0, 1] and back."""

import functools

import numpy as np
from numpy.typing import DTypeLike

from edmf_jax.core.limits import MIN_SIDE_PX
from edmf_jax.errors import UserError

_FULL_16 = 65535


def check_image(image: np.ndarray, name: str) -> None:
    """Checks shape, dtype and range of a picture that is to be fused; `name` is what the message calls it.

    Raises:
      UserError: it is not `[H, W]`, `[H, W, 1]` or `[H, W, 3]`, smaller than 16 × 16 px, not uint8, uint16 or
        floating point, or has floats outside [0, 1].
    """
    floating = np.issubdtype(image.dtype, np.floating)
    if image.dtype not in (np.uint8, np.uint16) and not floating:
        raise UserError(f"{name}: dtype is {image.dtype}; give uint8, uint16, or floats in [0, 1]")
    if image.ndim == 3 and image.shape[2] in (2, 4):
        raise UserError(f"{name}: {image.shape[2]} channels, shape {image.shape}; drop the alpha channel")
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] in (1, 3)):
        raise UserError(f"{name}: shape is {image.shape}; give [H, W], [H, W, 1] or [H, W, 3]")
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise UserError(f"{name}: {size_text(image)}, but fusion takes at least {MIN_SIDE_PX}×{MIN_SIDE_PX} px; use "
                        "larger pictures")
    if floating and not (image.min() >= 0 and image.max() <= 1):  # written so that NaN fails too
        raise UserError(f"{name}: values from {image.min():g} to {image.max():g}; floats must be in [0, 1], no NaN")


def size_text(image: np.ndarray) -> str:
    """Width and height for messages: "640×480 px"."""
    return f"{image.shape[1]}×{image.shape[0]} px"


def full_scale(dtype: np.dtype) -> float:
    """The value that stands for white: 255, 65535, or 1 for floating point."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def to_unit(image: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """A picture as floats in [0, 1] of the floating-point `dtype`."""
    return image.astype(dtype) / np.dtype(dtype).type(full_scale(image.dtype))


def white_for(largest: int) -> int:
    """The white of uint16 pictures whose largest value is this: that of 10, 12, 14 or 16 bits, whichever holds it.

    Cameras of microscopes and machines write 10 and 12 bits into files of 16 as they are, 0…1023 and 0…4095.
    """
    return next(2**bits - 1 for bits in (10, 12, 14, 16) if largest < 2**bits)


def stretch(image: np.ndarray, white: int) -> np.ndarray:
    """A uint16 picture with `white` brought to 65535; `shrink_back` restores its values exactly."""
    return image if white == _FULL_16 else _through_table(image, _FULL_16 / white)


def shrink_back(image: np.ndarray, white: int) -> np.ndarray:
    """A uint16 picture with 65535 brought to `white`."""
    return image if white == _FULL_16 else _through_table(image, white / _FULL_16)


def _through_table(image: np.ndarray, factor: float) -> np.ndarray:
    levels = np.minimum(np.rint(np.arange(_FULL_16 + 1) * factor), _FULL_16)
    return levels.astype(np.uint16)[image]


def from_unit(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The inverse of `to_unit`: floats, clipped to [0, 1], as `dtype`; integers are rounded half to even."""
    values = np.clip(values, 0, 1)
    if np.issubdtype(dtype, np.integer):
        values = np.rint(values * np.float32(full_scale(dtype)))
    return values.astype(dtype, copy=False)


def over_channels(which: np.ufunc, planes: np.ndarray) -> np.ndarray:
    """`which`, such as `np.maximum`, over the last axis of `[h, w, C]`: `[h, w]`, ten times as fast as `max(-1)`."""
    return functools.reduce(which, np.moveaxis(planes, -1, 0))
