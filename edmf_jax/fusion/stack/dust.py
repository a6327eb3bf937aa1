"""Dust on the sensor: soft dark spots that stay at their place while the scene moves, found and evened out.

A spot takes the same share of the light in every shot, so where it is known it is divided away; no pixel is made up.
Which dark spot is dust and not a dark spot of the scene is told on the sketches' small copies, of log luma:

- **it repeats**: at one place of the sensor every shot is darker than a ring around by 2 % or more, and by three times
  what the ring varies.  So spots are found in plain areas, where alone they show;
- **the scene is not why**: between shots the scene moved there by twice the spot's width, and where the motion takes
  the place of the spot, in either direction, nothing is as dark.

Where nothing moves, dust can't be told from the scene, and all stays as it is.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.fusion.pixels import full_scale, to_unit
from edmf_jax.fusion.stack.sharpness import luma_of
from edmf_jax.fusion.stack.sketches import Sketch
from edmf_jax.registration import Registration
from edmf_jax.registration.planes import scaling_matrix
from edmf_jax.registration.transforms import project

_WIDTHS_PX = (3, 5, 9, 17)  # of the copy, odd: spots about so wide
_GUARD, _RING = 2, 4  # the ring around a spot lies between so many times its width
_MOTION = 2.0  # widths
_LEAST_DEPTH = 0.02  # of log luma
_LEAST_RATIO = 3.0  # of the depth to the deviation in the ring
_FLOOR = 0.004  # of that deviation: noise and 8 bits
_LEAST_LUMA = 0.08  # of white, in the ring: in the dark nothing shows
_ALIKE = 0.5  # the shallowest shot's depth against the deepest one's
_GONE, _STILL_THERE = 0.4, 0.6  # of the depth, where the scene's motion takes the place
_MOST_SPOTS = 200  # more are no dust
_OFFSET = 0.02  # of white, so that the logarithm of black is finite


class Spot(NamedTuple):
    """A spot on the small copies: its first row and column, and the share of light that it lets through, `[h, w]`."""

    top: int
    left: int
    share: np.ndarray


def find(used: Sequence[int], registrations: Mapping[int, Registration | None], sketches: Sequence[Sketch]
         ) -> list[Spot]:
    """The spots that all shots have.

    Args:
      used: the numbers of the shots that are used, the reference first.
      registrations: number → map from the reference; None: the shot is in its frame.
      sketches: of all shots.

    Returns:
      Widest first; none if the shots differ in size, or the scene did not move.
    """
    shape = sketches[used[0]].shape
    if len(used) < 2 or any(sketches[number].shape != shape for number in used):
        return []
    # In an order of their content, so that the order in which they are given has no effect.
    order = sorted(used, key=lambda number: sketches[number].digest)
    copies = [sketches[number].copy for number in order]
    to_full = scaling_matrix(copies[0].shape, shape)
    maps = [np.linalg.inv(to_full) @ (np.eye(3) if registrations[n] is None else registrations[n].matrix) @ to_full
            for n in order]
    between = {(i, j): maps[j] @ np.linalg.inv(maps[i]) for i, j in itertools.permutations(range(len(order)), 2)
               if j in ((i + 1) % len(order), (i - 1) % len(order))}
    taken = np.zeros(copies[0].shape[:2], bool)
    widths = [width for width in reversed(_WIDTHS_PX) if 2 * _RING * width <= min(taken.shape)
              and any(_moves(one, taken.shape, width) for one in between.values())]
    if not widths:
        return []
    logs = [np.log(luma_of(to_unit(copy)) + np.float32(_OFFSET)) for copy in copies]
    found = []
    for width in widths:
        depths = [_depths(log, width) for log in logs]
        for row, column in _candidates(depths, width):
            if not taken[row, column] and _is_dust(depths, between, row, column, width):
                spot = _measured(logs, row, column, width)
                found.append(spot)
                taken[spot.top : spot.top + spot.share.shape[0], spot.left : spot.left + spot.share.shape[1]] = True
    return found if len(found) <= _MOST_SPOTS else []


def even_out(image: np.ndarray, spots: Sequence[Spot], copy_shape: tuple[int, ...]) -> np.ndarray:
    """A copy of a shot without the spots; the shot itself if there are none.

    Args:
      image: `[H, W, C]`, uint8, uint16 or floats in [0, 1].
      spots: from `find`.
      copy_shape: of the small copies on which they were found.
    """
    if not spots:
        return image
    out, to_full = image.copy(), scaling_matrix(copy_shape, image.shape)
    for spot in spots:
        height, width = spot.share.shape
        corners = to_full[[0, 1], [0, 1]] * [[spot.left, spot.top], [spot.left + width - 1, spot.top + height - 1]]
        (left, top), (right, bottom) = (corners + to_full[:2, 2]).round().astype(int)
        left, top = max(left, 0), max(top, 0)
        some = out[top : bottom + 1, left : right + 1]
        share = cv2.resize(spot.share, some.shape[1::-1], interpolation=cv2.INTER_CUBIC)[..., None]
        white = full_scale(image.dtype)
        # The logarithm was taken of values plus an offset.
        lit = (some.astype(np.float32) / np.float32(white) + _OFFSET) / np.clip(share, 0.05, 1) - _OFFSET
        lit = np.clip(lit, 0, 1) * np.float32(white)
        some[:] = np.rint(lit) if np.issubdtype(image.dtype, np.integer) else lit
    return out


def _moves(matrix: np.ndarray, shape: tuple[int, ...], width: int) -> bool:
    """Whether the scene moves far enough somewhere."""
    places = np.array(list(itertools.product((0, shape[1] / 2, shape[1]), (0, shape[0] / 2, shape[0]))))
    return bool((np.linalg.norm(project(matrix, places) - places, axis=1) >= _MOTION * width).any())


def _depths(log: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """How much darker each place is than the ring around, and whether it stands out: `[h, w]`, bool `[h, w]`."""
    def box(plane: np.ndarray, side: int) -> np.ndarray:
        return cv2.boxFilter(plane, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_REFLECT_101)

    inner, outer = _GUARD * width | 1, _RING * width | 1
    count = np.float32(outer**2 - inner**2)
    ring = lambda plane: (box(plane, outer) - box(plane, inner)) / count
    mean = ring(log)
    deviation = np.sqrt(np.maximum(ring(np.square(log - mean.mean())) - np.square(mean - mean.mean()), 0))
    depth = mean - box(log, width) / np.float32(width**2)
    stands_out = (depth > _LEAST_DEPTH) & (depth > _LEAST_RATIO * np.maximum(deviation, _FLOOR))
    bright = cv2.erode(log, np.ones((outer, outer), np.uint8)) > np.log(_LEAST_LUMA + _OFFSET)
    return depth, stands_out & bright


def _candidates(depths: Sequence[tuple[np.ndarray, np.ndarray]], width: int) -> list[tuple[int, int]]:
    """Rows and columns at which every shot has a spot: the darkest place of each."""
    least = np.min([depth for depth, _ in depths], 0)
    most = np.max([depth for depth, _ in depths], 0)
    spots = np.all([there for _, there in depths], 0) & (least >= _ALIKE * most)
    peak = least == cv2.dilate(least, np.ones((_GUARD * width | 1,) * 2, np.uint8))
    rim = _GUARD * width
    spots[:rim], spots[-rim:], spots[:, :rim], spots[:, -rim:] = False, False, False, False
    return [(int(row), int(column)) for row, column in np.argwhere(spots & peak)]


def _is_dust(depths: Sequence[tuple[np.ndarray, np.ndarray]], between: Mapping[tuple[int, int], np.ndarray], row: int,
             column: int, width: int) -> bool:
    """Whether the scene's motion takes the place of the spot to where no other shot is as dark."""
    gone = 0
    for (i, j), matrix in between.items():
        x, y = project(matrix, np.array([[column, row]]))[0]
        if np.hypot(x - column, y - row) < _MOTION * width:
            continue
        x, y, reach = round(x), round(y), width // 2
        if not (reach <= y < depths[j][0].shape[0] - reach and reach <= x < depths[j][0].shape[1] - reach):
            continue
        # A spot of the scene may have moved by a little more or less.
        there = depths[j][0][y - reach : y + reach + 1, x - reach : x + reach + 1].max() / depths[i][0][row, column]
        if there > _STILL_THERE:
            return False
        gone += there < _GONE
    return gone > 0


def _measured(logs: Sequence[np.ndarray], row: int, column: int, width: int) -> Spot:
    """A spot's share of light, in the median of the shots."""
    reach = _GUARD * width
    top, left = row - reach, column - reach
    parts = np.stack([log[top : row + reach + 1, left : column + reach + 1] for log in logs])
    distance = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) / width
    around = (distance > 1.25) & (distance <= _GUARD)
    differences = np.median(parts - np.median(parts[:, around], axis=1)[:, None, None], axis=0).astype(np.float32)
    fade = np.clip((1.75 - distance) / 0.5, 0, 1)
    return Spot(top, left, np.exp(np.minimum(cv2.GaussianBlur(differences, (3, 3), 0), 0) * fade).astype(np.float32))
