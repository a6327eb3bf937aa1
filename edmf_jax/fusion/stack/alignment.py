"""Registers shots and warps them into the reference's frame, in little more memory than the pictures themselves take.

A shot is registered on copies of at most `REGISTER_PX` pixels, which is also the limit to which `register`
itself refines.  It is warped strip by strip: the positions of all pixels of a 48 MP picture at once would take over
a gigabyte.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from edmf_jax.fusion.pixels import shrink_back
from edmf_jax.fusion.stack import shots as shots_
from edmf_jax.fusion.stack.options import PhotoOptions
from edmf_jax.fusion.stack.shots import Shot
from edmf_jax.registration import Registration, RegistrationConfig, register, require_confident, warp
from edmf_jax.registration.planes import reduced_shape, reduction_factor, scaling_matrix
from edmf_jax.registration.transforms import project
from edmf_jax.runtime.process import give_back_memory

REGISTER_PX = RegistrationConfig().refine_pixels
_STRIP_PX = 256


def align_photos(shots: Sequence[Shot], names: Sequence[str] | None = None, *, options: PhotoOptions,
                 progress: Callable[[str, float], None] | None = None
                 ) -> Iterator[tuple[int, np.ndarray, np.ndarray, Registration | None]]:
    """Warps each shot into the frame of the first one.

    Args:
      shots: the reference first; see `shots.Shot`.  Each is read once, when its turn comes.
      names: for messages; `shots[0]`, … where None.
      options: only `align` and `model` matter.
      progress: called with a few words and the share of the work that is done, in [0, 1].

    Yields:
      For each shot, in order: its number; the picture in the reference's height, width and layout and in the shot's own
      dtype (floats as float32); bool `[H, W]`, True where it covers the frame (the picture is 0 elsewhere); its
      registration, None for the reference and with `align="none"`.

    Raises:
      UserError: as `fuse_photos`.
    """
    options.check()
    names = shots_.checked_names(shots, names)
    report = progress or (lambda what, share: None)
    as_given = shots_.as_masked(shots[0])
    white, layout = shots_.find_white(shots, as_given), as_given.image.ndim
    reference, mask = shots_.read_masked(as_given, names[0], white)
    small = reduced_copy(reference)
    report(f"registering {names[0]}", 0.0)
    if mask is None:
        yield 0, as_given.image, np.ones(reference.shape[:2], bool), None
    else:
        yield 0, _without_holes(as_given.image, mask), mask, None
    for number in range(1, len(shots)):
        report(f"registering {names[number]}", number / len(shots))
        moving, mask = shots_.read_masked(shots[number], names[number], white)
        shots_.check_compatible(moving, names[number], reference.shape, names[0], options.align == "none")
        registration = register_shot(small, reference.shape, moving, (names[0], names[number]), options)
        image, valid = warp_to_reference(moving, registration, reference.shape, mask)
        if white is not None and image.dtype == np.uint16:
            image = shrink_back(image, white)
        image = image if mask is None else _without_holes(image, valid)
        yield number, image if layout == 3 else image[..., 0], valid, registration
    report("registered", 1.0)


def _without_holes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy that is 0 where `mask` is False."""
    return image * mask.reshape(mask.shape + (1,) * (image.ndim - 2))


def reduced_copy(image: np.ndarray, most_px: float = REGISTER_PX) -> np.ndarray:
    """A copy of `[H, W, C]` with at most about `most_px` pixels, by area averaging; a picture no larger is returned."""
    factor = reduction_factor(image.shape, most_px)
    if factor >= 1:
        return image
    height, width = reduced_shape(image.shape, factor)
    small = cv2.resize(shots_.squeeze_gray(image), (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, image.shape[2])


def register_shot(small: np.ndarray, shape: tuple[int, ...], moving: np.ndarray, names: tuple[str, str],
                  options: PhotoOptions) -> Registration | None:
    """The map from the reference to `moving` in pixels of both at full size; None with `align="none"`.

    Args:
      small: the reference's `reduced_copy`.
      shape: of the reference.
      moving: the other shot, `[h, w, C]`.
      names: of both, for messages.
      options: only `align` and `model` matter.

    Raises:
      UserError: no map can be trusted.
    """
    if options.align == "none":
        return None
    # Both are reduced by one factor, as `register` does: their scales differ by focus breathing only.
    factor = small.shape[0] * small.shape[1] / (shape[0] * shape[1])
    copy = reduced_copy(moving, min(REGISTER_PX, max(factor * moving.shape[0] * moving.shape[1], 1.0)))
    found = register(shots_.squeeze_gray(small), shots_.squeeze_gray(copy), model=options.model, method=options.align)
    give_back_memory()
    require_confident(found, *names)
    to_small, to_full = scaling_matrix(shape, small.shape), np.linalg.inv(scaling_matrix(moving.shape, copy.shape))
    matrix = to_full @ found.matrix @ to_small
    at_full_size = lambda points, matrix: None if points is None else project(matrix, points)
    return dataclasses.replace(found, matrix=matrix / matrix[2, 2], residual_px=found.residual_px / to_small[0, 0],
                               deviation_px=found.deviation_px * to_full[0, 0],
                               points=at_full_size(found.points, np.linalg.inv(to_small)),
                               targets=at_full_size(found.targets, to_full))


def warp_to_reference(moving: np.ndarray, registration: Registration | None, shape: tuple[int, ...],
                      mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`registration.warp` of `[h, w, C]` in strips of the result.

    Args:
      moving: the shot, without holes.
      registration: None: the shot is in the reference's frame.
      shape: of the reference.
      mask: bool `[h, w]`, which pixels the shot has; None: all.

    Returns:
      The warped picture `[H, W, C]` of height and width `shape[:2]`, 0 outside the shot; and where the shot has pixels,
      bool `[H, W]`.
    """
    height, width = shape[:2]
    if registration is None:
        return moving, np.ones((height, width), bool) if mask is None else mask
    image, valid = np.empty((height, width, moving.shape[2]), moving.dtype), np.empty((height, width), bool)
    source = shots_.squeeze_gray(moving)
    for top in range(0, height, _STRIP_PX):
        rows = slice(top, min(top + _STRIP_PX, height))
        from_strip = registration.matrix @ np.array([[1.0, 0, 0], [0, 1, top], [0, 0, 1]])
        strip, valid[rows] = warp(source, from_strip, (rows.stop - top, width))
        image[rows] = strip.reshape(image[rows].shape)
        if mask is not None:
            valid[rows] &= cv2.warpPerspective(mask.view(np.uint8), from_strip, (width, rows.stop - top),
                                               flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    return image, valid
