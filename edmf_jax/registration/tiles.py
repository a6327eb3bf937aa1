"""Sub-pixel refinement by content: tiles of both pictures are correlated, and the map is fitted to their shifts.

Each tile's normalized correlation has a peak, and a curvature at the peak that tells how
precise the tile's shift is in each direction: along an edge it is undetermined.  Tiles that are too
blurred in one shot, that moved, or that lie at another depth disagree with the rest and lose their weight, which a
global correlation (ECC) cannot do.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from edmf_jax.registration import fitting, transforms
from edmf_jax.registration import flow as flow_fitting
from edmf_jax.registration.blurs import COARSE_BLURS, SIGMAS_PX, BlurCache, rescale_blurs
from edmf_jax.registration.flow import Flow
from edmf_jax.registration.grid import block_numbers
from edmf_jax.registration.matches import TileMatches
from edmf_jax.registration.shifts import TileShifts, measure_shifts, weighted_lengths

_MIN_CORRELATION = 0.3  # a tile with a lower peak is left out of the fit
_MIN_TILES = 8
_RICHEST = "homography"  # contains every map to start from
_CONVERGED_PX = 0.05
_CONVERGED_SHARE = 0.2  # of the deviation: a smaller step gains nothing
_SETTLED_PX = 2.0
_SMALL_STEP_PX = 0.3
_FIT_STEPS = 6  # of Gauss–Newton in each round; the rounds converge together
_EQUALLY_WELL = 1.02
_BENDING_PX = 0.15  # a map whose tiles are off by less in the median is left as it is
_RARE_BLUR = 0.02  # a blur that a smaller share of tiles chooses is not tried again
# Divides the number of independent tiles: they overlap by half, so that most content is counted four times, and
# neighbors have the errors from blur in common.
_REDUNDANCY = 12.0
_BLOCKS = 3  # per side, for the jackknife: about the size of objects, within which depth is shared
_SAMPLES_PER_TILE = 50  # about as many independent samples has a tile; turns curvature into an inverse variance
_BLUR_ERROR = 0.04  # px of shift for each px² of blur, as measured on slanted surfaces
# The fit's limit, in units of the median length of shifts.  Wide: where depth bends the scene, a narrower fit has
# several optima.
_OUTLIER_FACTOR = 7.0


def _limit_information(found: TileShifts, used: np.ndarray) -> np.ndarray:
    """The inverse covariance of each used shift, `[T, 2, 2]`, with two errors added that tiles do not know of.

    Depth and a hand-held camera move sharp tiles by more than their own error.  Without the tiles' common scatter the
    few sharpest ones would pull the map to the depth that they happen to have.  And where a surface is slanted, or two
    depths meet, the blur differs within a tile, which moves its peak by more the larger the blur is.
    """
    shifts, information = found.shifts[used], found.information[used]
    scatter = max(float(np.median(weighted_lengths(shifts, information))), 1e-3)
    from_blur = _BLUR_ERROR * found.blurs[used] ** 2
    values, vectors = np.linalg.eigh(information)
    values = 1 / (1 / np.maximum(_SAMPLES_PER_TILE * values, 1e-6) + (scatter**2 + from_blur**2)[:, None])
    return np.einsum("tij,tj,tkj->tik", vectors, values, vectors)


@dataclasses.dataclass(frozen=True)
class Refinement:
    """A map fitted to the shifts of tiles, and the shifts that remain.

    Attributes:
      matrix: 3×3, reference px → moving px.
      model: the kind of map that was chosen.
      deviation_px: of the moving picture, at the worst of the four corners; infinite if fewer than 8 tiles correlate.
      blurs: the candidates that tiles still choose.
      remaining: the shifts of the tiles under `matrix`.
    """

    matrix: np.ndarray
    model: str
    deviation_px: float
    blurs: tuple[float, ...]
    remaining: TileShifts


def refine(reference: BlurCache, moving: BlurCache, matrix: np.ndarray, model: str, *, rounds: int = 6,
           blurs: Sequence[float] = COARSE_BLURS, verify: bool = True) -> Refinement:
    """Fits the map to the tiles' shifts, repeatedly, starting from `matrix`; keeps `matrix` if the shifts grow.

    Args:
      reference, moving: the shots.
      matrix: where to start, reference px → moving px.
      model: "similarity", "affine" or "homography"; or "auto": the simplest of the three that predicts parts of the
        picture that were left out as well as the best, up to 2 %.  A richer map predicts better only where the tiles
        carry it: what it explains is missing in the prediction of a simpler one, and what the tiles leave open makes
        its own worse.
      rounds: at most.
      blurs: the candidates, see `TileShifts`.
      verify: False: if the rounds are used up, the tiles are not measured once more; for a start that is nearly right.
    """
    start, first_found, found, step = matrix, None, None, np.inf
    chosen, deviation, converged = "similarity" if model == "auto" else model, 0.0, False
    for number in range(rounds + 1):
        # Once the map is right to about a pixel, tiles keep the blur that they chose.
        settled = found.grid_blurs if found is not None and number > 1 and step < _SETTLED_PX else None
        found = measure_shifts(reference, moving, matrix, blurs=blurs, chosen=settled)
        first_found = first_found or found
        used = found.peaks >= _MIN_CORRELATION
        if used.sum() < _MIN_TILES:
            return Refinement(start, _RICHEST if model == "auto" else model, float("inf"), tuple(blurs), first_found)
        if number == rounds or converged:
            break
        chosen_blurs = [blur for blur in blurs if (found.blurs[used] == blur).mean() > _RARE_BLUR]
        is_rough = number == 0 and tuple(blurs) == COARSE_BLURS
        if number:
            blurs = chosen_blurs
        elif is_rough:
            # In the first round the tiles may be too far off to choose their blur well, so all signs stay possible.
            blurs = rescale_blurs([*chosen_blurs, min(SIGMAS_PX), -min(SIGMAS_PX)], 1.0)
        fits = _fit(found, used, matrix, reference.luma.shape,
                    tuple(transforms.CONTROL_POINTS) if model == "auto" else (model,))
        best = _choose_model(fits)
        step, before = float(transforms.corner_errors(best.matrix, matrix, reference.luma.shape).max()), matrix
        matrix, chosen, deviation = best.matrix, best.model, best.deviation_px
        converged = step < max(_CONVERGED_PX, _CONVERGED_SHARE * deviation) and not is_rough
        # After a small step the tiles' shifts are known without measuring them again.
        if (converged and step < _SMALL_STEP_PX) or (number == rounds - 1 and not verify):
            found = found.under(before, matrix)
            break
    if _median_length(found) > 1.1 * _median_length(first_found) + _CONVERGED_PX:
        # The deviation is that of the fit that is not used, so the distance from it is added.
        deviation = float(np.hypot(deviation, transforms.corner_errors(start, matrix, reference.luma.shape).max()))
        matrix, found, chosen = start, first_found, _RICHEST if model == "auto" else model
    return Refinement(matrix, chosen, deviation, tuple(blurs), found)


@dataclasses.dataclass(frozen=True)
class BentMap:
    """A residual flow on top of a map, in px of the copies.

    Attributes:
      flow: the field.
      deviation_px: the error with which it predicts parts of the picture that were left out, root mean square.
      remaining: the shifts of the tiles under map and flow.
    """

    flow: Flow
    deviation_px: float
    remaining: TileShifts


def bend(reference: BlurCache, moving: BlurCache, refined: Refinement, rounds: int = 3) -> BentMap | None:
    """A smooth flow that explains what a map leaves; None if the map alone predicts left-out parts about as well.

    Args:
      reference, moving: the shots.
      refined: the map, and the tiles' shifts under it.
      rounds: of warping with the flow found so far and measuring again.
    """
    found, flow, fitted = refined.remaining, None, None
    if _median_length(found) < _BENDING_PX:
        return None
    for _ in range(rounds):
        if not np.isfinite(_median_length(found)):
            return None
        used = found.peaks >= _MIN_CORRELATION
        centers, shifts = found.centers[used], found.shifts[used]
        # From where the matrix puts a tile to where it is: shifts are measured in the warped picture.
        base = transforms.project(refined.matrix, centers)
        ends = centers + shifts
        displacements = transforms.project(refined.matrix, ends) + (0 if flow is None else flow.at(ends)) - base
        fitted = flow_fitting.fit(centers, displacements, _limit_information(found, used),
                                  reference.luma.shape)
        if fitted is None or not fitted.is_better:
            return None
        flow = fitted.flow
        found = measure_shifts(reference, moving, refined.matrix, flow=flow, chosen=found.grid_blurs)
    if _median_length(found) > _median_length(refined.remaining):
        return None
    return BentMap(flow, fitted.prediction_px, found)


def matches_of(found: TileShifts, matrix: np.ndarray, flow: Flow | None = None) -> TileMatches | None:
    """The tiles that correlate, as places of the reference and of the moving picture; None if there are few.

    Args:
      found: what remains under `matrix` and `flow`.
    """
    used = found.peaks >= _MIN_CORRELATION
    if used.sum() < _MIN_TILES:
        return None
    ends = found.centers[used] + found.shifts[used]
    targets = transforms.project(matrix, ends) + (0 if flow is None else flow.at(ends))
    return TileMatches(found.centers[used], targets, _limit_information(found, used), found.blurs[used])


def _median_length(found: TileShifts) -> float:
    """The median of the shifts of tiles that correlate, px; infinite if there are few."""
    used = found.peaks >= _MIN_CORRELATION
    if used.sum() < _MIN_TILES:
        return float("inf")
    return float(np.median(weighted_lengths(found.shifts, found.information)[used]))


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A map of one model, its deviation at the worst corner, and how well it predicts what it has not seen, both px."""

    matrix: np.ndarray
    model: str
    deviation_px: float
    prediction_px: float


def _choose_model(fits: list[_Fit]) -> _Fit:
    """The simplest map that predicts left-out parts of the picture as well as the best, up to 2 %."""
    best = min(fit.prediction_px for fit in fits)
    return next(fit for fit in fits if fit.prediction_px <= _EQUALLY_WELL * best)


def _fit(found: TileShifts, used: np.ndarray, matrix: np.ndarray, shape: tuple[int, int],
         models: Sequence[str]) -> list[_Fit]:
    """One round: maps fitted to the shifted tiles.

    The deviation is the larger of two estimates: residual scatter (blur) and block jackknife (parallax, which is
    correlated within objects).

    Args:
      used: which tiles are fitted to, bool `[T]`.
      matrix: the map that the tiles were warped with.
      shape: of the reference.
      models: to fit, the simplest first.
    """
    unit = transforms.unit_matrix(shape)
    to_px, scale = np.linalg.inv(unit), unit[0, 0]
    centers, shifts = found.centers[used], found.shifts[used]
    information = _limit_information(found, used)
    lengths = np.sqrt(np.einsum("ti,tij,tj->t", shifts, information, shifts))
    matches = transforms.project(unit, centers), transforms.project(unit, transforms.project(matrix, centers + shifts))
    limit = _OUTLIER_FACTOR * max(float(np.median(lengths)), 1e-3) * scale
    options = {"information": information, "limit": limit}
    corners, blocks = transforms.project(unit, transforms.corners(shape)), _block_numbers(centers, shape)
    fits, weights = [], None
    for model in reversed(models):  # the richest first: its outliers are those of the others too
        fitted, own_weights, covariance = fitting.fit(unit @ matrix @ to_px, *matches, model, rounds=_FIT_STEPS,
                                                      **options)
        weights = own_weights if weights is None else weights
        block_covariance, predicted = fitting.leave_out(fitted, *matches, model, blocks, **options)
        deviation = max(fitting.corner_deviation(fitted, c, model, corners).max()
                        for c in (covariance * _REDUNDANCY, block_covariance))
        squares = np.einsum("ni,nij,nj->n", predicted, information, predicted)
        prediction = np.sqrt(weights @ squares / max(weights @ np.trace(information, axis1=1, axis2=2), 1e-12))
        fits.insert(0, _Fit(transforms.normalize(to_px @ fitted @ unit), model, float(deviation / scale),
                            float(prediction / scale)))
    return fits


def _block_numbers(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The number 0…8, of 3 × 3 blocks of a picture of `shape`, that each of `points` `[N, 2]`, px, lies in: `[N]`."""
    return block_numbers(points, shape, (_BLOCKS, _BLOCKS))
