"""Shots brought into the reference's frame, with no more memory than the pictures themselves take.

A shot is registered on copies of at most `REGISTER_PX` pixels, which is as far as
`register` itself refines, and warped strip by strip: the positions of all pixels of a
48 MP picture at once would take over a gigabyte.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from edmf_jax.photo import shots as shots_
from edmf_jax.photo.options import PhotoOptions
from edmf_jax.photo.shots import Shot
from edmf_jax.registration import Registration, RegistrationConfig, register, require_confident, warp
from edmf_jax.registration.transforms import project
from edmf_jax.runtime import give_back_memory

REGISTER_PX = RegistrationConfig().refine_pixels
_STRIP_PX = 256


def align_photos(shots: Sequence[Shot], names: Sequence[str] | None = None, *, options: PhotoOptions,
                 progress: Callable[[str, float], None] | None = None
                 ) -> Iterator[tuple[int, np.ndarray, np.ndarray, Registration | None]]:
    """Each shot in the frame of the first one.

    Args:
      shots: the reference first; see `shots.Shot`.  Each is read once, when its turn comes.
      names: for messages; `shots[0]`, … where None.
      options: `align` and `model` count.
      progress: called with a few words and a number in [0, 1].

    Yields:
      Per shot, in order: its number; the picture in the reference's height and width, in
      its own dtype (floats as float32) and the reference's layout; where it is real, bool
      `[H, W]` (the picture is 0 elsewhere); how it was found, None for the reference and with `align="none"`.

    Raises:
      UserError: as `fuse_photos`.
    """
    options.check()
    names = shots_.checked_names(shots, names)
    report = progress or (lambda what, share: None)
    as_given = shots_.raw(shots[0])
    reference, layout = shots_.read(as_given, names[0]), as_given.ndim
    small = reduced(reference)
    report(f"registering {names[0]}", 0.0)
    yield 0, as_given, np.ones(reference.shape[:2], bool), None
    for number in range(1, len(shots)):
        report(f"registering {names[number]}", number / len(shots))
        moving = shots_.read(shots[number], names[number])
        shots_.check_like(moving, names[number], reference.shape, names[0], options.align == "none")
        found = find(small, reference.shape, moving, (names[0], names[number]), options)
        image, real = into_frame(moving, found, reference.shape)
        yield number, image if layout == 3 else image[..., 0], real, found
    report("registered", 1.0)


def reduced(image: np.ndarray, most_px: float = REGISTER_PX) -> np.ndarray:
    """A copy of `[H, W, C]` of at most about `most_px` pixels, by area; the picture itself where it is no larger."""
    factor = float(np.sqrt(most_px / (image.shape[0] * image.shape[1])))
    if factor >= 1:
        return image
    width, height = (max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
    small = cv2.resize(shots_.flat(image), (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, image.shape[2])


def to_copy(whole: tuple[int, ...], copy: tuple[int, ...]) -> np.ndarray:
    """The matrix from positions (x, y) in a picture of shape `whole` to those in a reduced copy of shape `copy`."""
    y, x = (copy[i] / whole[i] for i in (0, 1))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def find(small: np.ndarray, shape: tuple[int, ...], moving: np.ndarray, names: tuple[str, str],
         options: PhotoOptions) -> Registration | None:
    """The map from the reference, of `shape` and with the copy `small`, to `moving`; None with `align="none"`.

    Raises:
      UserError: there is none that could be trusted.
    """
    if options.align == "none":
        return None
    # One factor for both, as `register` does it: their scales differ by focus breathing only.
    factor = small.shape[0] * small.shape[1] / (shape[0] * shape[1])
    copy = reduced(moving, min(REGISTER_PX, max(factor * moving.shape[0] * moving.shape[1], 1.0)))
    found = register(shots_.flat(small), shots_.flat(copy), model=options.model, method=options.align)
    give_back_memory()
    require_confident(found, *names)
    ahead, back = to_copy(shape, small.shape), np.linalg.inv(to_copy(moving.shape, copy.shape))
    matrix = back @ found.matrix @ ahead
    whole = lambda points, outward: None if points is None else project(outward, points)
    return dataclasses.replace(found, matrix=matrix / matrix[2, 2], residual_px=found.residual_px / ahead[0, 0],
                               deviation_px=found.deviation_px * back[0, 0],
                               points=whole(found.points, np.linalg.inv(ahead)), targets=whole(found.targets, back))


def into_frame(moving: np.ndarray, found: Registration | None, shape: tuple[int, ...]
               ) -> tuple[np.ndarray, np.ndarray]:
    """`registration.warp` of `[h, w, C]` to `[H, W, C]` and where it is real; in strips of the result."""
    height, width = shape[:2]
    if found is None:
        return moving, np.ones((height, width), bool)
    image, real = np.empty((height, width, moving.shape[2]), moving.dtype), np.empty((height, width), bool)
    source = shots_.flat(moving)
    for top in range(0, height, _STRIP_PX):
        rows = slice(top, min(top + _STRIP_PX, height))
        lowered = found.matrix @ np.array([[1.0, 0, 0], [0, 1, top], [0, 0, 1]])
        strip, real[rows] = warp(source, lowered, (rows.stop - top, width))
        image[rows] = strip.reshape(image[rows].shape)
    return image, real
