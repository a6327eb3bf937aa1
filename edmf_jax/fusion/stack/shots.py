"""Reads a shot when it is needed, and refuses what is not a picture, in one line that names it."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edmf_jax.core.limits import MIN_SIDE_PX
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.pixels import check_image, full_scale, size_text, stretch, white_for
from edmf_jax.fusion.stack import holes
from edmf_jax.fusion.stack.bad_shots import BadShot


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
_KEPT_BYTES = 0.1e9  # of shots that need not be read twice
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
        with contextlib.suppress(UserError):  # `read_masked` says what is wrong with a shot
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
      BadShot: it can't be read, is too small or larger than OpenCV takes, black or transparent all over.
      UserError: it is no picture; see `pixels.check_image`.
      MissingFileError: there is no such file.
    """
    try:
        image, mask = as_masked(shot)
    except MissingFileError:
        raise
    except UserError as error:  # of a damaged file
        raise BadShot(name, f"it can't be used: {str(error).removeprefix(f'{name}: ')}") from error
    _check_size(image, name)
    check_image(image, name)
    if mask is not None and not mask.any():
        raise BadShot(name, "it is transparent all over", "leave it out", image.shape)
    image = image[..., None] if image.ndim == 2 else image
    image = image if mask is None else holes.fill(image, mask)
    if image.dtype == np.uint16:
        image = stretch(image, white or white_for(int(image.max())))
    if image.max() <= _BLACK * full_scale(image.dtype):
        raise BadShot(name, "it is black all over", "leave it out", image.shape)
    # float64 would double the memory, and resampling is done in float32.
    floating = np.issubdtype(image.dtype, np.floating)
    return Masked(image.astype(np.float32) if floating and image.dtype != np.float32 else image, mask)


def _check_size(image: np.ndarray, name: str) -> None:
    """Raises BadShot if a side is too short or too long."""
    if image.ndim < 2:
        return
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise BadShot(name, f"it has {size_text(image)}, but fusion takes at least {MIN_SIDE_PX}×{MIN_SIDE_PX} px",
                      "use larger pictures", image.shape)
    if max(image.shape[:2]) > _LARGEST_SIDE_PX:
        raise BadShot(name, f"it has {size_text(image)}, but a side may have {_LARGEST_SIDE_PX} px at most",
                      "use smaller pictures", image.shape)


def incompatible(shape: tuple[int, ...], name: str, reference: tuple[int, ...], reference_name: str,
                 same_size: bool) -> BadShot | None:
    """What is wrong if a shot of `shape` (H, W, C) is color and the reference is not, or the other way round.

    With `same_size` also if their sizes differ.
    """
    if shape[2] != reference[2]:
        kinds = {1: "gray", 3: "color"}
        return BadShot(name, f"it is {kinds[shape[2]]} and the reference {reference_name} is {kinds[reference[2]]}",
                       "convert one to be like the other", shape)
    if same_size and shape != reference:
        return BadShot(name, f"it has {shape[1]}×{shape[0]} px and the reference {reference_name} has "
                       f"{reference[1]}×{reference[0]} px", "shots of different sizes need --align pso-sift", shape)
    return None


class Kept:
    """Shots that need not be read twice: the first ones, and as many others as are small; used by several threads."""

    def __init__(self, always: int):
        """With the first `always` shots, however large they are."""
        self._shots: dict[int, Masked] = {}
        self._always, self._bytes, self._lock = always, 0, threading.Lock()

    def keep(self, number: int, shot: Masked) -> None:
        """Keeps a shot if there is room for it."""
        size = sum(x.nbytes for x in shot if x is not None)
        with self._lock:
            if number < self._always or self._bytes + size <= _KEPT_BYTES:
                self._shots[number] = shot
                self._bytes += size

    def keep_only(self, used: Sequence[int]) -> None:
        """Lets go of the shots that are not used."""
        self._shots = {number: self._shots[number] for number in used if number in self._shots}

    def take(self, number: int) -> Masked | None:
        """A shot, which is not kept any longer; None if it was not."""
        return self._shots.pop(number, None)


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
