"""Reads a shot when it is needed, and refuses what is not a picture, in one line that names it."""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import check_image, full_scale, size_text, stretch, white_for
from edmf_jax.fusion.stack import holes


class Masked(NamedTuple):
    """A picture, and which of its pixels the shot has.

    Attributes:
      image: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB.
      mask: bool `[H, W]`, False where the shot has nothing (transparent pixels); None: it has all.
    """

    image: np.ndarray
    mask: np.ndarray | None


Shot = np.ndarray | Masked | Callable[[], np.ndarray | Masked]
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


def as_masked(shot: Shot) -> Masked:
    """The picture in the caller's shape and dtype and its mask, unchecked; a mask that is True everywhere is None."""
    found = shot() if callable(shot) else shot
    image, mask = found if isinstance(found, Masked) else (found, None)
    return Masked(np.asarray(image), None if mask is None or mask.all() else mask)


def find_white(given: Sequence[Shot], first: Masked) -> int | None:
    """The value that the whitest pixels of a uint16 stack may have: `pixels.white_for` all its shots.

    Other shots than the first one are read only as long as all values so far would fit into fewer than 16 bits.

    Returns:
      None if the first shot is not uint16: each uint16 shot beside it has its own white then.
    """
    if first.image.dtype != np.uint16:
        return None
    largest = _largest(first)
    for shot in given[1:]:
        if white_for(largest) == full_scale(first.image.dtype):
            break
        largest = max(largest, _largest(as_masked(shot)))
    return white_for(largest)


def _largest(shot: Masked) -> int:
    """The largest value of a uint16 picture where it has pixels; 0 for other dtypes and empty ones."""
    if shot.image.dtype != np.uint16:
        return 0
    values = shot.image if shot.mask is None or shot.mask.shape != shot.image.shape[:2] else shot.image[shot.mask]
    return int(values.max(initial=0))


def read(shot: Shot, name: str) -> np.ndarray:
    """The picture `[H, W, C]`, C = 1 or 3, checked; see `read_masked`.  uint16 is taken to use all 16 bits."""
    return read_masked(shot, name, np.iinfo(np.uint16).max).image


def read_masked(shot: Shot, name: str, white: int | None) -> Masked:
    """The picture `[H, W, C]`, C = 1 or 3, checked, with what it lacks filled (`holes.fill`); and its mask.

    uint8 and uint16 keep their dtype; floating point, in [0, 1], becomes float32.

    Args:
      shot: to read.
      name: for messages.
      white: from `find_white`: uint16 is stretched so that this value becomes 65535.  None: `white_for` this shot.

    Raises:
      UserError: see `pixels.check_image`; it is larger than OpenCV takes, black or transparent all over.
    """
    image, mask = as_masked(shot)
    check_image(image, name)
    if max(image.shape[:2]) > _LARGEST_SIDE_PX:
        raise UserError(f"{name}: {size_text(image)}, but a side may have {_LARGEST_SIDE_PX} px at most; use smaller "
                        "pictures")
    if mask is not None and not mask.any():
        raise UserError(f"{name}: this shot is transparent all over; leave it out")
    image = image[..., None] if image.ndim == 2 else image
    image = image if mask is None else holes.fill(image, mask)
    if image.dtype == np.uint16:
        image = stretch(image, white or white_for(int(image.max())))
    if image.max() <= _BLACK * full_scale(image.dtype):
        raise UserError(f"{name}: this shot is black all over; leave it out")
    # float64 would double the memory, and resampling is done in float32.
    floating = np.issubdtype(image.dtype, np.floating)
    return Masked(image.astype(np.float32) if floating and image.dtype != np.float32 else image, mask)


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


def digest(image: np.ndarray, mask: np.ndarray | None = None) -> bytes:
    """A hash of dtype, shape, values and mask: equal for equal pictures."""
    content = hashlib.blake2b(f"{image.dtype} {image.shape}".encode(), digest_size=16)
    content.update(np.ascontiguousarray(image))
    if mask is not None:
        content.update(np.ascontiguousarray(mask))
    return content.digest()


def number_type(count: int) -> type:
    """The smallest dtype that holds the numbers of `count` shots."""
    return np.uint8 if count <= 256 else np.uint16


def squeeze_gray(image: np.ndarray) -> np.ndarray:
    """`[H, W, 1]` as `[H, W]`, which is what OpenCV and `registration` take; color stays as it is."""
    return image[..., 0] if image.shape[2] == 1 else image
