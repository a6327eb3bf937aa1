"""Reads a shot when it is needed, and refuses what is not a picture, in one line that names it."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import check_image, full_scale, size_text

Shot = np.ndarray | Callable[[], np.ndarray]
"""A picture `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB, or a function that returns one whenever it is called."""

_BLACK = 4 / 255  # a picture that is nowhere brighter counts as black
_LARGEST_SIDE_PX = 32766  # OpenCV's limit for what it resamples


def checked_names(shots: Sequence[Shot], names: Sequence[str] | None) -> list[str]:
    """A name for every shot, for messages; `shots[0]`, … where None.

    Raises:
      UserError: fewer than two shots, or a different number of names.
    """
    if len(shots) < 2:
        raise UserError(f"two or more shots are fused, got {len(shots)}; give the reference first, then the others")
    if names is None:
        return [f"shots[{i}]" for i in range(len(shots))]
    if len(names) != len(shots):
        raise UserError(f"{len(names)} names for {len(shots)} shots; give one for each")
    return [str(name) for name in names]


def as_array(shot: Shot) -> np.ndarray:
    """The picture in the caller's shape and dtype, unchecked."""
    return np.asarray(shot() if callable(shot) else shot)


def read(shot: Shot, name: str) -> np.ndarray:
    """The picture `[H, W, C]`, C = 1 or 3, checked.

    uint8 and uint16 keep their dtype; floating point, in [0, 1], becomes float32.

    Raises:
      UserError: see `pixels.check_image`; it is larger than OpenCV takes, or black all over.
    """
    image = as_array(shot)
    check_image(image, name)
    if max(image.shape[:2]) > _LARGEST_SIDE_PX:
        raise UserError(f"{name}: {size_text(image)}, but a side may have {_LARGEST_SIDE_PX} px at most; use smaller "
                        "pictures")
    if image.max() <= _BLACK * full_scale(image.dtype):
        raise UserError(f"{name}: this shot is black all over; leave it out")
    image = image[..., None] if image.ndim == 2 else image
    # float64 would double the memory, and resampling is done in float32.
    floating = np.issubdtype(image.dtype, np.floating)
    return image.astype(np.float32) if floating and image.dtype != np.float32 else image


def check_compatible(image: np.ndarray, name: str, reference: tuple[int, ...], reference_name: str,
                     same_size: bool) -> None:
    """Compares a shot `[H, W, C]` with the reference's shape; `same_size`: their sizes must be equal.

    Raises:
      UserError: one is color and the other is not, or the sizes differ where they must be equal.
    """
    if image.shape[2] != reference[2]:
        kinds = {1: "gray", 3: "color"}
        raise UserError(f"{name} is {kinds[image.shape[2]]} and the reference {reference_name} is "
                        f"{kinds[reference[2]]}; convert one to be like the other")
    if same_size and image.shape != reference:
        raise UserError(f"{name} is {size_text(image)} and the reference {reference_name} is "
                        f"{reference[1]}×{reference[0]} px; shots of different sizes need --align pso-sift")


def digest(image: np.ndarray) -> bytes:
    """A hash of dtype, shape and values: equal for equal pictures."""
    content = hashlib.blake2b(f"{image.dtype} {image.shape}".encode(), digest_size=16)
    content.update(np.ascontiguousarray(image))
    return content.digest()


def squeeze_gray(image: np.ndarray) -> np.ndarray:
    """`[H, W, 1]` as `[H, W]`, which is what OpenCV and `registration` take; color stays as it is."""
    return image[..., 0] if image.shape[2] == 1 else image
