"""The first look at every shot, on small copies: where it lies, how it is exposed, what it does not have.

Everything that is decided for a picture as a whole is decided here, before a pixel is
fused; so the second pass may take tile by tile and shot by shot.
"""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.photo import alignment, borders, exposure, sharpness, shots, tone
from edmf_jax.photo.options import PhotoOptions
from edmf_jax.registration import Registration, warp

_COPY_PX = 0.4e6


@dataclasses.dataclass(frozen=True)
class Look:
    """What is kept of a shot.

    Attributes:
      digest: of its content.
      found: its registration; None for the reference and with `align="none"`.
      copy: small, in the reference's frame, `[h, w, C]` float32 in [0, 1].
      real: bool `[h, w]`, where the copy was warped from.
      dark: share of each cell that is nearly black, `[h, w]`.
    """

    digest: bytes
    found: Registration | None
    copy: np.ndarray
    real: np.ndarray
    dark: np.ndarray


@dataclasses.dataclass(frozen=True)
class Study:
    """What the looks at all shots add up to; one entry a shot.

    Attributes:
      looks: the looks.
      curves: `tone.estimate`'s, `[C, len(GRID)]`.
      stops: exposure relative to the reference.
      regions: where black edges are, bool `[h, w]`; None: there are none.
    """

    looks: list[Look]
    curves: list[np.ndarray]
    stops: tuple[float, ...]
    regions: list[np.ndarray | None]

    def target(self, how: str) -> np.ndarray:
        """The result's curve, `exposure.target_curve`."""
        order = sorted(range(len(self.looks)), key=lambda i: self.looks[i].digest)  # sums do not see the order given
        values = [[part[i] for i in order] for part in (self.curves, [look.copy for look in self.looks],
                                                        [look.real & (look.dark < 0.2) for look in self.looks])]
        if how == "reference":
            return self.curves[0]
        return exposure.target_curve(values[0], exposure.scene_values(*values), how)


def study(given: Sequence[shots.Shot], names: Sequence[str], reference: np.ndarray, options: PhotoOptions,
          keep: Callable[[int, np.ndarray], None], report: Callable[[str], None]) -> Study:
    """Looks at all shots, one after the other.

    Args:
      given, names: the shots.
      reference: the first one, read.
      keep: is shown every other shot as it was read.
      report: is told what comes next.

    Raises:
      UserError: a shot is no picture, not like the reference, not to be registered, or there twice.
    """
    small = alignment.reduced(reference)
    size = alignment.reduced(reference, _COPY_PX).shape[:2]
    looks = [_look(reference, None, reference.shape, size)]
    for number in range(1, len(given)):
        report(f"registering {names[number]}" if options.align != "none" else f"looking at {names[number]}")
        moving = shots.read(given[number], names[number])
        shots.check_like(moving, names[number], reference.shape, names[0], options.align == "none")
        _refuse_twice(shots.digest(moving), names[number], looks, names)
        found = alignment.find(small, reference.shape, moving, (names[0], names[number]), options)
        looks.append(_look(moving, found, reference.shape, size))
        keep(number, moving)
    return _add_up(looks)


def _refuse_twice(digest: bytes, name: str, looks: Sequence[Look], names: Sequence[str]) -> None:
    for other, look in zip(names, looks):
        if look.digest == digest:
            raise UserError(f"{name} is the same picture as {other}; give every shot once")


def _look(image: np.ndarray, found: Registration | None, shape: tuple[int, ...], size: tuple[int, int]) -> Look:
    """One shot's; `shape` is the reference's, `size` that of the copies."""
    # Registered shots share a copy's size: it follows from their own, not from that of another copy, which is rounded.
    factor = size[0] * size[1] / (shape[0] * shape[1])
    small = alignment.reduced(image, _COPY_PX if found is None else max(factor * image.shape[0] * image.shape[1], 1.0))
    dark = borders.dark_share(image, shots.full_scale(image.dtype), small.shape[:2])
    copy, real = shots.to_unit(small), np.ones(size, bool)
    if found is not None:
        ahead, back = alignment.to_copy(image.shape, small.shape), np.linalg.inv(alignment.to_copy(shape, size))
        matrix = ahead @ found.matrix @ back
        warped, real = warp(shots.flat(copy), matrix, size)
        copy = warped.reshape(*size, copy.shape[2])
        dark = cv2.warpPerspective(dark, matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return Look(shots.digest(image), found, copy, real, dark)


def _add_up(looks: list[Look]) -> Study:
    first = looks[0]
    curves, stops = [tone.own_curve(first.copy.shape[2])], [0.0]
    for look in looks[1:]:
        both = look.real & (look.dark < 0.2) & (first.dark < 0.2)
        curves.append(tone.estimate(first.copy, look.copy, both))
        stops.append(tone.stops_between(curves[-1], first.copy, both))
    lumas = np.stack([_harmonised_luma(look, curve, curves[0]) for look, curve in zip(looks, curves)])
    # The brightest of the others, without comparing all with all: the largest, or the second where that is one's own.
    order = np.sort(lumas, axis=0)
    regions = []
    for look, plane in zip(looks, lumas):
        others = np.where(plane == order[-1], order[-2], order[-1])
        region = borders.black_edges(look.dark, sharpness.luma_of(look.copy), others, look.real)
        regions.append(region if region.any() else None)
    return Study(looks, curves, tuple(stops), regions)


def _harmonised_luma(look: Look, curve: np.ndarray, target: np.ndarray) -> np.ndarray:
    return sharpness.luma_of(exposure.apply(look.copy, exposure.table(curve, target))) * look.real
