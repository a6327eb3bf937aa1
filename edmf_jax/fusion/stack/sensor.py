"""Hot pixels: bright dots that belong to the sensor and not to the scene, found and replaced.

A hot pixel stays at one place of the sensor while the picture moves by breathing, by the hand or on a rail.  In the
result each one would stand once per shot, as a trail.  They are found from peaks of single pixels (`find_peaks`), which
are kept of every shot while it is sketched, and judged once it is known how the shots lie (`Peaks.hot_pixels`):

- **it repeats**: the same place peaks in two thirds of the shots, and in two at least.  Of these places only a
  fiftieth may be there by chance, which follows from how many peaks each shot has around there;
- **and the scene is not why**: the scene moved there between those shots, and the dot did not move along.  Where
  nothing moves, three shots and more are needed, and it peaks in all of them, in those in which its surroundings are
  sharp and in those in which they are defocused.  A star or a glint does neither.

So a dot stays where the pictures can't tell, as in two shots from a tripod; a dark frame can
(`sensor_repair.dark_frame_pixels`).
Dust is looked for by `dust`.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack.sketches import Sketch
from edmf_jax.registration import Registration

_MIN_PEAK = 0.05  # of white, above the brightest pixel of the ring around it: 13 levels of 255
_MIN_RATIO = 1.5  # of that height to the spread of the ring: in coarse texture a dot is nothing special
_MAX_PEAKS = 50_000  # of a shot; of more the highest are kept
_RING = np.zeros((5, 5), np.uint8)
_RING[[0, -1]] = _RING[:, [0, -1]] = 1
_STRIP_PX = 128
_MIN_SHARE = 2 / 3  # of the shots must peak
_MAX_BY_CHANCE = 0.02  # of the places found
_CELL_PX = 64  # a square over which peaks are taken to be equally likely: texture has them, sky has not
_MIN_MOTION_PX = 1.5  # a dot of 2×2 px that moves by 1 px peaks in the same place again
_MAX_EXPLAINED = 0.5  # share of the dots that may reappear where the scene's motion brings them
_COPY_WINDOW = 9  # of the small copies: the surroundings that are sharp in one shot and not in another
_MIN_DEFOCUS = 2.0  # ratio of their detail
_MIN_DETAIL = 0.01  # of white: with less the surroundings say nothing


def find_peaks(image: np.ndarray) -> np.ndarray:
    """Pixels that tower above their surroundings, as flat indices: sorted int64 `[N]`.

    The largest channel of such a pixel exceeds all pixels of the ring 2 px around it by 5 % of white and by 1.5 times
    the spread (largest less mean) of the ring.  A line runs through the ring, and a larger dot reaches it.

    Args:
      image: `[H, W, C]`, uint8, uint16 or float32 in [0, 1].
    """
    least = np.array(_MIN_PEAK * full_scale(image.dtype)).astype(image.dtype)  # in its type: faster to compare
    found, heights = [], []
    height, width = image.shape[:2]
    for top in range(0, height, _STRIP_PX):
        start = max(top - 2, 0)
        rows = image[start : top + _STRIP_PX + 2]
        first, *others = cv2.split(rows)
        plane = functools.reduce(cv2.max, others, first)
        above = cv2.subtract(plane, cv2.dilate(plane, _RING))[top - start : top - start + _STRIP_PX]  # integers: ≥ 0
        y, x = np.divmod(np.flatnonzero(above > least), width)  # on a plane np.nonzero takes twice as long
        within = (y + top >= 2) & (y + top < height - 2) & (x >= 2) & (x < width - 2)  # else the ring is not whole
        y, x = y[within], x[within]
        ring = around(plane, y + top - start, x, 2)
        spread = ring.max(1) - ring.mean(1)
        keep = above[y, x] > _MIN_RATIO * spread
        found.append((y[keep].astype(np.int64) + top) * width + x[keep])
        heights.append(above[y, x][keep])
    found, heights = np.concatenate(found), np.concatenate(heights)
    return found if len(found) <= _MAX_PEAKS else np.sort(found[np.argsort(-heights.astype(np.float32))[:_MAX_PEAKS]])


def ring_offsets(radius: int) -> list[tuple[int, int]]:
    """The pixels of the square ring with this radius."""
    span = range(-radius, radius + 1)
    return [(i, j) for i in span for j in span if max(abs(i), abs(j)) == radius]


def around(image: np.ndarray, y: np.ndarray, x: np.ndarray, radius: int) -> np.ndarray:
    """float32 values on the ring around each place, `[N, 8·radius(, C)]`; beyond the edge those opposite."""
    height, width = image.shape[:2]
    offsets = np.array(ring_offsets(radius)).T
    rows, columns = y[:, None] + offsets[0], x[:, None] + offsets[1]
    rows = np.where((rows < 0) | (rows >= height), y[:, None] - offsets[0], rows)
    columns = np.where((columns < 0) | (columns >= width), x[:, None] - offsets[1], columns)
    return image[rows, columns].astype(np.float32)


@dataclasses.dataclass
class Peaks:
    """The peaks of all shots, kept while they are read one after the other."""

    _found: dict[int, np.ndarray] = dataclasses.field(default_factory=dict)

    def see(self, number: int, image: np.ndarray) -> None:
        """Keeps the peaks of shot `number`, `[H, W, C]`."""
        self._found[number] = find_peaks(image)

    def hot_pixels(self, used: Sequence[int], registrations: Mapping[int, Registration | None],
                   sketches: Sequence[Sketch]) -> np.ndarray:
        """The hot pixels: flat indices into the shots, sorted int64 `[N]`.

        Args:
          used: the numbers of the shots that are used, the reference first.
          registrations: number → map from the reference; None: the shot is in its frame.
          sketches: of all shots.

        Returns:
          None of them (`[0]`) also if the shots differ in size.
        """
        shape = sketches[used[0]].shape
        if not self._found or any(sketches[number].shape != shape for number in used):
            return np.empty(0, np.int64)
        # In an order of their content, so that the order in which they are given has no effect.
        order = sorted(used, key=lambda number: sketches[number].digest)
        sets = [self._found[number] for number in order]
        maps = [np.eye(3) if registrations[n] is None else np.asarray(registrations[n].matrix) for n in order]
        places = repeated(sets, shape)
        moved = moved_without_the_scene(places, sets, maps, shape)
        copies = [sketches[number].copy for number in order]
        rest = places[~moved]
        rest = rest[np.all([np.isin(rest, peaks) for peaks in sets], axis=0)] if len(used) > 2 else rest[:0]
        still = rest[stay_sharp(rest, copies, shape)]
        return np.union1d(places[moved], still)


def repeated(sets: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Places that peak in at least two thirds of the shots, and more often than by chance.

    Args:
      sets: the peaks of each shot, flat indices.
      shape: of the shots.

    Returns:
      Sorted int64 `[N]`; with more shots required if too many places repeat by chance, or none.
    """
    least = max(2, int(np.ceil(_MIN_SHARE * len(sets))))
    places, counts = np.unique(np.concatenate(sets), return_counts=True)
    places, counts = places[counts >= least], counts[counts >= least]
    if not len(places):
        return places
    by_chance = expected_by_chance(sets, shape)
    for count in range(least, len(sets) + 1):
        enough = counts >= count
        if by_chance[count:].sum() <= _MAX_BY_CHANCE * enough.sum():
            return places[enough]
    return places[:0]


def expected_by_chance(sets: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """How many pixels would peak in 0, 1, … of the shots if their peaks were independent: `[len(sets) + 1]`.

    Within squares of 64 px each shot's peaks are taken to be spread evenly.

    Args:
      sets: the peaks of each shot, flat indices.
      shape: of the shots.
    """
    rows, columns = (np.bincount(np.arange(side) // _CELL_PX) for side in shape[:2])
    pixels = np.outer(rows, columns).ravel()
    expected = np.zeros((len(sets) + 1, len(pixels)))  # as a share of the pixels of each square
    expected[0] = 1
    for peaks in sets:
        y, x = np.divmod(peaks, shape[1])
        share = np.bincount(y // _CELL_PX * len(columns) + x // _CELL_PX, minlength=len(pixels)) / pixels
        expected[1:] = expected[1:] * (1 - share) + expected[:-1] * share
        expected[0] *= 1 - share
    return expected @ pixels


def moved_without_the_scene(places: np.ndarray, sets: Sequence[np.ndarray], maps: Sequence[np.ndarray],
                            shape: tuple[int, ...]) -> np.ndarray:
    """Where the scene moved between the shots that peak, and its motion does not bring one dot to another.

    Args:
      places: flat indices `[N]`.
      sets: the peaks of each shot.
      maps: of each shot, from the frame of the reference, 3×3.
      shape: of the shots.

    Returns:
      bool `[N]`.
    """
    if not len(places):
        return np.zeros(0, bool)
    y, x = np.divmod(places, shape[1])
    points = np.stack([x, y, np.ones_like(x)]).astype(np.float64)
    peaking = np.stack([np.isin(places, peaks) for peaks in sets])
    scene = np.stack([_project(np.linalg.inv(matrix), points) for matrix in maps])  # [shots, 2, N]
    masked = np.where(peaking[:, None], scene, np.nan)
    span = np.hypot(*(np.nanmax(masked, 0) - np.nanmin(masked, 0)))
    pairs, explained = np.zeros(len(places)), np.zeros(len(places))
    for k in range(len(sets)):
        after = (k + 1) % len(sets)  # the shot in which a dot of the scene would be at another place
        there = _project(maps[after] @ np.linalg.inv(maps[k]), points)
        moves = np.abs(there - points[:2]).max(0) >= _MIN_MOTION_PX
        inside, near = _near_peaks(np.rint(there).astype(np.int64), sets[after], places, shape)
        pairs += peaking[k] & moves & inside
        explained += peaking[k] & moves & near
    return (span >= _MIN_MOTION_PX) & (pairs > 0) & (explained <= _MAX_EXPLAINED * pairs)


def _project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped = matrix @ points
    return mapped[:2] / mapped[2]


def _near_peaks(points: np.ndarray, peaks: np.ndarray, places: np.ndarray, shape: tuple[int, ...]
                ) -> tuple[np.ndarray, np.ndarray]:
    """Which points (x, y), int64 `[2, N]`, lie well in the picture, and have one of the peaks within 3×3 px.

    The places that they moved from, `[N]`, do not count as peaks.
    """
    inside = ((points >= 3) & (points < np.array(shape[1::-1])[:, None] - 3)).all(0)  # there are no peaks at the edge
    near = np.zeros(len(places), bool)
    for down, right in [(0, 0), *ring_offsets(1)]:
        x, y = points[0] + right, points[1] + down
        index = y * shape[1] + x
        near |= (x >= 0) & (x < shape[1]) & (index != places) & np.isin(index, peaks)
    return inside, near & inside


def stay_sharp(places: np.ndarray, copies: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Where the surroundings of a dot are sharp in one shot and defocused in another: bool `[N]`.

    Args:
      places: flat indices `[N]`.
      copies: the small copies of the shots, `[h, w, C]`.
      shape: of the shots.
    """
    if not len(places):
        return np.zeros(0, bool)
    y, x = np.divmod(places, shape[1])
    details = np.stack([_detail(copy)[y * copy.shape[0] // shape[0], x * copy.shape[1] // shape[1]]
                        for copy in copies])
    least, most = details.min(0), details.max(0)
    return (most >= _MIN_DETAIL) & (most >= _MIN_DEFOCUS * least)


def _detail(copy: np.ndarray) -> np.ndarray:
    """How much detail the surroundings of each pixel have, in units of white; dots of a pixel do not count."""
    plane = cv2.medianBlur(np.ascontiguousarray(copy.mean(-1), np.float32) / np.float32(full_scale(copy.dtype)), 3)
    edges = np.abs(plane - cv2.GaussianBlur(plane, (0, 0), 1.5))
    return cv2.blur(edges, (_COPY_WINDOW, _COPY_WINDOW))
