"""Sub-pixel refinement by content: tiles of both pictures are correlated, and the map is fitted to their shifts.

Each tile's normalized correlation has a peak, and a curvature at the peak that tells how
precise the tile's shift is in each direction: along an edge it is undetermined.  Tiles that are too
blurred in one shot, that moved, or that lie at another depth disagree with the rest and lose their weight, which a
global correlation (ECC) cannot do.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.registration import fitting, transforms
from edmf_jax.registration.blurs import BLURS, BlurCache
from edmf_jax.registration.correlation import NOISE_FLOOR, correlate, hann_window

_MAX_TILES = 400
_MIN_CORRELATION = 0.3  # a tile with a lower peak is left out of the fit
_CLEAR_CORRELATION = 0.5  # a tile with a lower peak is left out of the verdict
_MIN_TILES = 8
_CONVERGED_PX = 0.02
_RARE_BLUR = 0.02  # a blur that a smaller share of tiles chooses is not tried again
# Divides the number of independent tiles: they overlap by half, so that most content is counted four times, and
# neighbors have the errors from blur in common.
_REDUNDANCY = 12.0
_BLOCKS = 3  # per side, for the jackknife: about the size of objects, within which depth is shared
_SAMPLES_PER_TILE = 50  # about as many independent samples has a tile; turns curvature into an inverse variance
# The fit's limit, in units of the median length of shifts.  Wide: where depth bends the scene, a narrower fit has
# several optima.
_OUTLIER_FACTOR = 7.0


@dataclasses.dataclass(frozen=True)
class TileShifts:
    """The shifts of the tiles that remain after a map; only tiles that both pictures cover entirely.

    Attributes:
      centers: (x, y) in the reference, `[T, 2]`, px.
      shifts: from the content's position in the reference to its position in the warped moving picture, `[T, 2]`, px.
      information: `[T, 2, 2]`, 1/px², the inverse of the shift's covariance up to one factor.
      peaks: the correlation at the shift, 0…1, `[T]`.
      blurs: standard deviation of the Gaussian that the reference was blurred with, `[T]`, px; negative if the moving
        picture was blurred instead.
    """

    centers: np.ndarray
    shifts: np.ndarray
    information: np.ndarray
    peaks: np.ndarray
    blurs: np.ndarray


def measure_shifts(reference: BlurCache, moving: BlurCache, matrix: np.ndarray, max_shift_px: int = 8,
                   blurs: Sequence[float] = BLURS) -> TileShifts:
    """Correlates tiles of the reference with the moving picture as warped by `matrix`, both at one blur.

    Args:
      reference, moving: the shots.
      matrix: reference px → moving px.
      max_shift_px: the largest shift searched for.
      blurs: the candidates, see `TileShifts`.
    """
    size, origins = _tile_grid(reference.luma.shape)
    origins = origins[_covered(reference, moving, matrix, origins, size)]
    if not len(origins):
        return TileShifts(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0))
    a, b, chosen = _equally_blurred(reference, moving, matrix, origins, size, blurs)
    shifts, information, peaks = correlate(a, b, min(max_shift_px, size // 4))
    return TileShifts(origins + (size - 1) / 2, shifts, information, peaks, chosen)


def _covered(reference: BlurCache, moving: BlurCache, matrix: np.ndarray, origins: np.ndarray, size: int) -> np.ndarray:
    """bool `[T]`: whether all pixels of a tile are valid in both shots."""
    height, width = reference.luma.shape
    valid = reference.valid * cv2.warpPerspective(moving.valid, matrix, (width, height),
                                                  borderMode=cv2.BORDER_CONSTANT,
                                                  flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.array([valid[y : y + size, x : x + size].min() > 0.99 for x, y in origins], bool)


def _equally_blurred(reference: BlurCache, moving: BlurCache, matrix: np.ndarray, origins: np.ndarray, size: int,
                     blurs: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles `[T, S, S]` of both shots, one of the two blurred for the best correlation; and the blurs `[T]`.

    Tiles are compared without searching for a shift.  While the map is off by a few px a wide blur correlates best, so
    the first rounds of `refine` work coarse to fine.
    """
    root = np.sqrt(hann_window(size))
    cut = lambda sigma: np.stack([reference.band(sigma)[y : y + size, x : x + size] for x, y in origins])
    warped = lambda sigma: np.stack([_warped_tile(moving.band(sigma), matrix, origin, size) for origin in origins])
    sharp = [(tiles, _standardize(tiles, root)) for tiles in (cut(0.0), warped(0.0))]
    best, chosen = [tiles.copy() for tiles, _ in sharp], np.zeros(len(origins))
    best_correlation = np.einsum("tn,tn->t", sharp[0][1], sharp[1][1])
    for blur in blurs:
        side = int(blur < 0)
        tiles = (cut, warped)[side](abs(blur))
        correlation = np.einsum("tn,tn->t", _standardize(tiles, root), sharp[1 - side][1])
        better = correlation > best_correlation
        best_correlation[better], chosen[better] = correlation[better], blur
        best[side][better], best[1 - side][better] = tiles[better], sharp[1 - side][0][better]
    return best[0], best[1], chosen


def _standardize(tiles: np.ndarray, root: np.ndarray) -> np.ndarray:
    """`[T, N]` of mean 0 and sum of squares 1, weighted by the square of `root` `[S, S]`; flat tiles stay small."""
    root = root.ravel()
    tiles = tiles.reshape(len(tiles), -1)
    centered = (tiles - (tiles @ root**2)[:, None]) * root
    return centered / np.sqrt(np.einsum("tn,tn->t", centered, centered) + np.float32(NOISE_FLOOR**2))[:, None]


def _warped_tile(plane: np.ndarray, matrix: np.ndarray, origin: np.ndarray, size: int) -> np.ndarray:
    """The tile `[size, size]` at `origin` (x, y) of the plane as warped by `matrix`."""
    shift = np.array([[1.0, 0, origin[0]], [0, 1, origin[1]], [0, 0, 1]])
    return cv2.warpPerspective(plane, matrix @ shift, (size, size), borderMode=cv2.BORDER_REPLICATE,
                               flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def _tile_grid(shape: tuple[int, int]) -> tuple[int, np.ndarray]:
    """The tiles' side, px, and their top left corners (x, y) `[T, 2]`: overlapping by half, 400 tiles at most."""
    size = int(np.clip(2 ** round(np.log2(max(min(shape) / 8, 1))), 32, 64))
    size = min(size, *shape)
    columns, rows = (max(1, 2 * n // size - 1) for n in shape[::-1])
    reduction = min(1.0, np.sqrt(_MAX_TILES / (columns * rows)))
    x, y = (np.linspace(0, n - size, max(1, int(count * reduction))).round().astype(int)
            for n, count in ((shape[1], columns), (shape[0], rows)))
    return size, np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def weighted_lengths(shifts: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Lengths of shifts, px, `[T]`, each direction weighted by the tile's information; along an edge it is 0."""
    total = np.trace(information, axis1=1, axis2=2) + 1e-12
    return np.sqrt(np.einsum("ti,tij,tj->t", shifts, information, shifts) / total)


def _limit_information(shifts: np.ndarray, information: np.ndarray) -> np.ndarray:
    """The inverse covariance of each shift, with the tiles' common scatter added to its own error, `[T, 2, 2]`.

    Depth and a hand-held camera move sharp tiles by more than their own error.  Without the scatter the few
    sharpest tiles would pull the map to the depth that they happen to have.
    """
    scatter = max(float(np.median(weighted_lengths(shifts, information))), 1e-3)
    values, vectors = np.linalg.eigh(information)
    values = 1 / (1 / np.maximum(_SAMPLES_PER_TILE * values, 1e-6) + scatter**2)
    return np.einsum("tij,tj,tkj->tik", vectors, values, vectors)


@dataclasses.dataclass(frozen=True)
class TileAgreement:
    """How well the tiles agree with a map.

    Attributes:
      tiles: tiles with a correlation of 0.5 or more at their peak.
      agreeing: those of them whose shift is below the limit.
      residual_px: root of the weighted mean square of the agreeing tiles' shifts, px; infinite without any.
    """

    tiles: int
    agreeing: int
    residual_px: float


def measure_agreement(found: TileShifts, limit_px: float) -> TileAgreement:
    """Counts the tiles with a clear peak, and those of them whose shift is shorter than `limit_px`."""
    clear = found.peaks >= _CLEAR_CORRELATION
    lengths = weighted_lengths(found.shifts, found.information)
    agreeing = clear & (lengths < limit_px)
    weights = np.trace(found.information, axis1=1, axis2=2) * agreeing
    residual = np.sqrt((weights * lengths**2).sum() / max(weights.sum(), 1e-12))
    return TileAgreement(int(clear.sum()), int(agreeing.sum()), float(residual) if agreeing.any() else float("inf"))


def refine(reference: BlurCache, moving: BlurCache, matrix: np.ndarray, model: str, *,
           rounds: int = 6, blurs: Sequence[float] = BLURS) -> tuple[np.ndarray, float, list[float]]:
    """Fits the map to the tiles' shifts, repeatedly, starting from `matrix`.

    Returns:
      The map, or `matrix` itself if the shifts grew; its deviation, px of the moving picture, at the worst of the four
      corners, infinite if fewer than 8 tiles correlate; the blurs that tiles still choose.
    """
    start, medians, step, deviation = matrix, [], np.inf, float("inf")
    for number in range(rounds):
        found = measure_shifts(reference, moving, matrix, blurs=blurs)
        used = found.peaks >= _MIN_CORRELATION
        if used.sum() < _MIN_TILES:
            return start, float("inf"), list(blurs)
        medians.append(float(np.median(weighted_lengths(found.shifts, found.information)[used])))
        if step < _CONVERGED_PX:
            break
        if number:  # in the first round the tiles are too far off to choose their blur well
            blurs = [blur for blur in blurs if (found.blurs[used] == blur).mean() > _RARE_BLUR]
        fitted, deviation = _fit(found, used, matrix, reference.luma.shape, model)
        step = float(transforms.corner_errors(fitted, matrix, reference.luma.shape).max())
        matrix = fitted
    return (matrix if medians[-1] <= 1.1 * medians[0] + _CONVERGED_PX else start), deviation, list(blurs)


def _fit(found: TileShifts, used: np.ndarray, matrix: np.ndarray, shape: tuple[int, int],
         model: str) -> tuple[np.ndarray, float]:
    """One round: the map fitted to the shifted tiles, and its deviation at the worst corner, px.

    The deviation is the larger of two estimates: residual scatter (blur) and block jackknife (parallax, which is
    correlated within objects).

    Args:
      used: which tiles are fitted to, bool `[T]`.
      matrix: the map that the tiles were warped with.
      shape: of the reference.
    """
    unit = transforms.unit_matrix(shape)
    to_px, scale = np.linalg.inv(unit), unit[0, 0]
    centers, shifts = found.centers[used], found.shifts[used]
    information = _limit_information(shifts, found.information[used])
    lengths = np.sqrt(np.einsum("ti,tij,tj->t", shifts, information, shifts))
    matches = transforms.project(unit, centers), transforms.project(unit, transforms.project(matrix, centers + shifts))
    options = {"information": information, "limit": _OUTLIER_FACTOR * max(float(np.median(lengths)), 1e-3) * scale}
    fitted, _, covariance = fitting.fit(unit @ matrix @ to_px, *matches, model, **options)
    block_covariance = fitting.jackknife(fitted, *matches, model, _block_numbers(centers, shape), **options)
    corners = transforms.project(unit, transforms.corners(shape))
    deviation = max(fitting.corner_deviation(fitted, c, model, corners).max()
                    for c in (covariance * _REDUNDANCY, block_covariance))
    return transforms.normalize(to_px @ fitted @ unit), float(deviation / scale)


def _block_numbers(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The number 0…8, of 3 × 3 blocks of a picture of `shape`, that each of `points` `[N, 2]`, px, lies in: `[N]`."""
    column, row = np.clip((points + 0.5) * _BLOCKS // np.array(shape[::-1]), 0, _BLOCKS - 1).astype(int).T
    return row * _BLOCKS + column
