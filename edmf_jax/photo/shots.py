"""Shots: reading one when it is needed, and refusing what is no picture, in one line that names it."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.model import MIN_SIDE_PX

Shot = np.ndarray | Callable[[], np.ndarray]
"""A picture `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB, or what gives it whenever it is called."""

_BLACK = 4 / 255  # a picture that is nowhere brighter shows nothing
_MOST_PX = 32766  # OpenCV's limit on a side of what it resamples


def checked_names(shots: Sequence[Shot], names: Sequence[str] | None) -> list[str]:
    """A name for every shot, for messages.

    Raises:
      UserError: fewer than two shots, or another number of names.
    """
    if len(shots) < 2:
        raise UserError(f"two or more shots are fused, got {len(shots)}; give the reference first, then the others")
    if names is None:
        return [f"shots[{i}]" for i in range(len(shots))]
    if len(names) != len(shots):
        raise UserError(f"{len(names)} names for {len(shots)} shots; give one for each")
    return [str(name) for name in names]


def raw(shot: Shot) -> np.ndarray:
    """The picture as the caller has it."""
    return np.asarray(shot() if callable(shot) else shot)


def read(shot: Shot, name: str) -> np.ndarray:
    """The picture `[H, W, C]`, C 1 or 3, as it came: uint8, uint16 over their full range, or floats in [0, 1].

    Floats of other precisions come as float32.

    Raises:
      UserError: it is no such picture, smaller than 16 px, not finite, or black all over.
    """
    image = raw(shot)
    image = image[..., None] if image.ndim == 2 else image
    floating = np.issubdtype(image.dtype, np.floating)
    if image.dtype not in (np.uint8, np.uint16) and not floating:
        raise UserError(f"{name}: dtype is {image.dtype}; give uint8, uint16, or floats in [0, 1]")
    if image.ndim == 3 and image.shape[2] in (2, 4):
        raise UserError(f"{name}: {image.shape[2]} channels, shape {image.shape}; drop the alpha channel")
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise UserError(f"{name}: shape is {image.shape}; give [H, W], [H, W, 1] or [H, W, 3]")
    if min(image.shape[:2]) < MIN_SIDE_PX or max(image.shape[:2]) > _MOST_PX:
        raise UserError(f"{name}: {size(image)}; shots need {MIN_SIDE_PX} to {_MOST_PX} px a side, use others")
    least, most = image.min(), image.max()
    if floating and not (least >= 0 and most <= 1):  # written so that NaN fails too
        raise UserError(f"{name}: values from {least:g} to {most:g}; floats must be in [0, 1], no NaN")
    if most <= _BLACK * full_scale(image.dtype):
        raise UserError(f"{name}: this shot is black all over; leave it out")
    # float64 would double the memory, and resampling is done in float32.
    return image.astype(np.float32) if floating and image.dtype != np.float32 else image


def check_like(image: np.ndarray, name: str, reference: tuple[int, ...], reference_name: str, same_size: bool) -> None:
    """Holds a shot's shape against the reference's.

    Raises:
      UserError: one is colour and the other is not, or the sizes differ where they may not.
    """
    if image.shape[2] != reference[2]:
        kinds = {1: "grey", 3: "colour"}
        raise UserError(f"{name} is {kinds[image.shape[2]]} and the reference {reference_name} is "
                        f"{kinds[reference[2]]}; convert one to be like the other")
    if same_size and image.shape != reference:
        raise UserError(f"{name} is {size(image)} and the reference {reference_name} is "
                        f"{reference[1]}×{reference[0]} px; shots of different sizes need --align pso-sift")


def digest(image: np.ndarray) -> bytes:
    """Equal for equal pictures: of dtype, shape and values."""
    whole = hashlib.blake2b(f"{image.dtype} {image.shape}".encode(), digest_size=16)
    whole.update(np.ascontiguousarray(image))
    return whole.digest()


def size(image: np.ndarray) -> str:
    """Width and height in words."""
    return f"{image.shape[1]}×{image.shape[0]} px"


def full_scale(dtype: np.dtype) -> float:
    """The number that stands for white."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def to_unit(image: np.ndarray) -> np.ndarray:
    """As float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(full_scale(image.dtype))


def flat(image: np.ndarray) -> np.ndarray:
    """`[H, W, 1]` as `[H, W]`, which is what OpenCV and `registration` take; colour as it is."""
    return image[..., 0] if image.shape[2] == 1 else image
