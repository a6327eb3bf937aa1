"""Sub-pixel refinement on the pictures' content: tiles are correlated, and the model is fitted to their shifts.

Each tile's normalised correlation has a peak and a curvature there.  The curvature
says how well the tile knows its shift, and in which direction: along an edge it knows
nothing.  Tiles that one shot shows too blurred, that moved, or that lie at another
depth disagree with the rest and lose their weight, which a global correlation (ECC) cannot do.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.registration import fitting, transforms
from edmf_jax.registration.blurs import BLURS, Bank
from edmf_jax.registration.correlation import NOISE, correlate, window

_MOST_TILES = 400
_HINT = 0.3  # the correlation from which on a tile has a say in the fit
_LEAST_TILES = 8
_SETTLED_PX = 0.02
_RARE = 0.02  # a blur that fewer tiles take is not tried again
_ALIKE = 12.0  # tiles that overlap by half say most things four times, and neighbours share what blur does to both
_BLOCKS = 3  # by as many is the reference cut for the jackknife: depth is shared by things as large as that
_SAMPLES = 50  # about as many independent ones does a tile have, which scales the curvature to a variance
_OUTLYING = 7.0  # times the median length: wide, for where depth bends the scene a narrower fit has several optima


@dataclasses.dataclass(frozen=True)
class Shifts:
    """What the tiles say about a map; a tile that the moving picture does not cover is not among them.

    Attributes:
      points: middles in the reference, `[T, 2]`, px.
      shifts: where content at x of the reference is in the warped moving picture, less x, `[T, 2]`, px.
      information: `[T, 2, 2]`, 1/px², the inverse of the shift's covariance up to one factor.
      peaks: the correlation at the shift, −1…1, `[T]`.
      still: the correlation at no shift, `[T]`.
      blurs: the standard deviation, px, of the Gaussian that the reference was blurred with, negative: the moving
        picture was, `[T]`.
    """

    points: np.ndarray
    shifts: np.ndarray
    information: np.ndarray
    peaks: np.ndarray
    still: np.ndarray
    blurs: np.ndarray


def measure(reference: Bank, moving: Bank, matrix: np.ndarray, reach_px: int = 8,
            blurs: Sequence[float] = BLURS) -> Shifts:
    """Correlates tiles of the reference with the moving picture as `matrix` warps it, both at one blur.

    Args:
      reference, moving: the shots.
      matrix: reference px → moving px.
      reach_px: the largest shift looked for.
      blurs: what is tried, see `Shifts`.
    """
    size, places = _grid(reference.luma.shape)
    places = places[_covered(reference, moving, matrix, places, size)]
    if not len(places):
        return Shifts(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0), np.zeros(0))
    a, b, chosen = _alike(reference, moving, matrix, places, size, blurs)
    shifts, information, peaks, still = correlate(a, b, min(reach_px, size // 4))
    return Shifts(places + (size - 1) / 2, shifts, information, peaks, still, chosen)


def _covered(reference: Bank, moving: Bank, matrix: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Which tiles both shots have all pixels of, bool `[T]`."""
    height, width = reference.luma.shape
    real = reference.known * cv2.warpPerspective(moving.known, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT,
                                                 flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.array([real[y : y + size, x : x + size].min() > 0.99 for x, y in places], bool)


def _alike(reference: Bank, moving: Bank, matrix: np.ndarray, places: np.ndarray, size: int, blurs: Sequence[float]
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles `[T, S, S]` of both shots and the blurs `[T]`: one of them blurred as it agrees best with the other.

    They are compared where they lie.  While a tile is off by some px a wide blur agrees best, so that the first
    rounds go from coarse to fine.
    """
    root = np.sqrt(window(size))
    cut = lambda sigma: np.stack([reference.band(sigma)[y : y + size, x : x + size] for x, y in places])
    warped = lambda sigma: np.stack([_warped_tile(moving.band(sigma), matrix, place, size) for place in places])
    sharp = [(tiles, _standardised(tiles, root)) for tiles in (cut(0.0), warped(0.0))]
    best, chosen = [tiles.copy() for tiles, _ in sharp], np.zeros(len(places))
    agreement = np.einsum("tn,tn->t", sharp[0][1], sharp[1][1])
    for blur in blurs:
        side = int(blur < 0)
        tiles = (cut, warped)[side](abs(blur))
        found = np.einsum("tn,tn->t", _standardised(tiles, root), sharp[1 - side][1])
        better = found > agreement
        agreement[better], chosen[better] = found[better], blur
        best[side][better], best[1 - side][better] = tiles[better], sharp[1 - side][0][better]
    return best[0], best[1], chosen


def _standardised(tiles: np.ndarray, root: np.ndarray) -> np.ndarray:
    """`[T, N]` of weighted mean 0 and sum of squares 1, under the square of `root` `[S, S]`; flat tiles stay small."""
    root = root.ravel()
    tiles = tiles.reshape(len(tiles), -1)
    centred = (tiles - (tiles @ root**2)[:, None]) * root
    return centred / np.sqrt(np.einsum("tn,tn->t", centred, centred) + np.float32(NOISE**2))[:, None]


def _warped_tile(plane: np.ndarray, matrix: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    shift = np.array([[1.0, 0, place[0]], [0, 1, place[1]], [0, 0, 1]])
    return cv2.warpPerspective(plane, matrix @ shift, (size, size), borderMode=cv2.BORDER_REPLICATE,
                               flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def _grid(shape: tuple[int, int]) -> tuple[int, np.ndarray]:
    """The tiles' side, px, and their upper left corners `[T, 2]` as (x, y): half overlapping, 400 at most."""
    size = int(np.clip(2 ** round(np.log2(max(min(shape) / 8, 1))), 32, 64))
    size = min(size, *shape)
    columns, rows = (max(1, 2 * n // size - 1) for n in shape[::-1])
    fewer = min(1.0, np.sqrt(_MOST_TILES / (columns * rows)))
    x, y = (np.linspace(0, n - size, max(1, int(count * fewer))).round().astype(int)
            for n, count in ((shape[1], columns), (shape[0], rows)))
    return size, np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def lengths_of(shifts: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Lengths of shifts, px, `[T]`, counting each direction by what the tile knows of it: along an edge, nothing."""
    size = np.trace(information, axis1=1, axis2=2) + 1e-12
    return np.sqrt(np.einsum("ti,tij,tj->t", shifts, information, shifts) / size)


def _with_scatter(shifts: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Information in which no tile knows better than the tiles' scatter.

    Depth and a hand-held camera move sharp tiles by more than their own error; without this the few
    sharpest would pull the map to the depth that they happen to lie at.
    """
    scatter = max(float(np.median(lengths_of(shifts, information))), 1e-3)
    values, vectors = np.linalg.eigh(information)
    values = 1 / (1 / np.maximum(_SAMPLES * values, 1e-6) + scatter**2)
    return np.einsum("tij,tj,tkj->tik", vectors, values, vectors)


@dataclasses.dataclass(frozen=True)
class Support:
    """How far the tiles agree with a map.

    Attributes:
      tiles: how many tiles have something to say: a correlation of 0.5 or more at their peak.
      agreeing: how many of them put the peak within the limit.
      residual_px: root of the weighted mean square of the agreeing tiles' shifts, px.
    """

    tiles: int
    agreeing: int
    residual_px: float


def support(found: Shifts, limit_px: float) -> Support:
    """Counts the tiles with a clear peak, and those of them whose peak is where the map says."""
    clear = found.peaks >= 0.5
    lengths = lengths_of(found.shifts, found.information)
    agreeing = clear & (lengths < limit_px)
    weights = np.trace(found.information, axis1=1, axis2=2) * agreeing
    residual = np.sqrt((weights * lengths**2).sum() / max(weights.sum(), 1e-12))
    return Support(int(clear.sum()), int(agreeing.sum()), float(residual) if agreeing.any() else float("inf"))


def refine(reference: Bank, moving: Bank, matrix: np.ndarray, model: str, *,
           rounds: int = 6, blurs: Sequence[float] = BLURS) -> tuple[np.ndarray, float, list[float]]:
    """The map fitted to the tiles' shifts, over and over from the last one; its deviation at the corners, px; blurs.

    The deviation is of the moving picture's px, the largest of the four corners; infinite where too few tiles say
    anything.  Where the tiles end up farther apart than they were, the map that was given is returned.
    """
    first, middle, step, deviation = matrix, [], np.inf, float("inf")
    for number in range(rounds):
        found = measure(reference, moving, matrix, blurs=blurs)
        clear = found.peaks >= _HINT
        if clear.sum() < _LEAST_TILES:
            return first, float("inf"), list(blurs)
        middle.append(float(np.median(lengths_of(found.shifts, found.information)[clear])))
        if step < _SETTLED_PX:
            break
        if number:  # in the first round the tiles are too far off to tell
            blurs = [blur for blur in blurs if (found.blurs[clear] == blur).mean() > _RARE]
        fitted, deviation = _fit(found, clear, matrix, reference.luma.shape, model)
        step = float(transforms.corner_errors(fitted, matrix, reference.luma.shape).max())
        matrix = fitted
    return (matrix if middle[-1] <= 1.1 * middle[0] + _SETTLED_PX else first), deviation, list(blurs)


def _fit(found: Shifts, clear: np.ndarray, matrix: np.ndarray, shape: tuple[int, int],
         model: str) -> tuple[np.ndarray, float]:
    """One round: the map through the shifted tiles, and its deviation at the corners, px.

    Of two estimates the larger: from the tiles' scatter, and from what leaving out a part of the picture changes.
    The first knows what blur does to all tiles alike, the second that depth moves whole things.
    """
    unit = transforms.unit_matrix(shape)
    back, scale = np.linalg.inv(unit), unit[0, 0]
    points, shifts = found.points[clear], found.shifts[clear]
    information = _with_scatter(shifts, found.information[clear])
    lengths = np.sqrt(np.einsum("ti,tij,tj->t", shifts, information, shifts))
    given = transforms.project(unit, points), transforms.project(unit, transforms.project(matrix, points + shifts))
    how = {"information": information, "limit": _OUTLYING * max(float(np.median(lengths)), 1e-3) * scale}
    fitted, _, covariance = fitting.fit(unit @ matrix @ back, *given, model, **how)
    parts = fitting.jackknife(fitted, *given, model, _blocks(points, shape), **how)
    corners = transforms.project(unit, transforms.corners(shape))
    deviation = max(fitting.corner_deviation(fitted, c, model, corners).max() for c in (covariance * _ALIKE, parts))
    return transforms.normalised(back @ fitted @ unit), float(deviation / scale)


def _blocks(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which of 3 × 3 parts of a picture of `shape` each of `points` `[N, 2]`, px, lies in, `[N]`."""
    column, row = np.clip((points + 0.5) * _BLOCKS // np.array(shape[::-1]), 0, _BLOCKS - 1).astype(int).T
    return row * _BLOCKS + column
