"""The shifts that remain after a map: tiles of both pictures are correlated, each at a blur common to both.

Each tile's normalized correlation has a peak, and a curvature at the peak that tells how
precise the tile's shift is in each direction: along an edge it is undetermined.

All of this is done on every second pixel of planes that hold no finer detail (`planes.bandpass_plane`): a quarter of
the work for the same shifts.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.registration import transforms
from edmf_jax.registration.blurs import BLURS, BlurCache
from edmf_jax.registration.correlation import NOISE_FLOOR, correlate
from edmf_jax.registration.flow import Flow
from edmf_jax.registration.grid import TileGrid

_CLEAR_CORRELATION = 0.5  # a tile with a lower peak is left out of the verdict
_RARE_BLUR = 0.02  # a blur that a smaller share of tiles would choose is not used; each costs a plane


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
      grid_blurs: the same for all tiles of the grid, also those that are not covered, `[R, C]`.
    """

    centers: np.ndarray
    shifts: np.ndarray
    information: np.ndarray
    peaks: np.ndarray
    blurs: np.ndarray
    grid_blurs: np.ndarray

    def under(self, matrix: np.ndarray, moved: np.ndarray) -> "TileShifts":
        """What would be measured under the map `moved`, a fraction of a pixel from `matrix`, which was measured."""
        ends = transforms.project(np.linalg.inv(moved) @ matrix, self.centers + self.shifts)
        return dataclasses.replace(self, shifts=ends - self.centers)


def measure_shifts(reference: BlurCache, moving: BlurCache, matrix: np.ndarray, max_shift_px: int = 8,
                   blurs: Sequence[float] = BLURS, flow: Flow | None = None, chosen: np.ndarray | None = None
                   ) -> TileShifts:
    """Correlates tiles of the reference with the moving picture as warped by a map, both at one blur.

    Args:
      reference, moving: the shots.
      matrix: reference px → moving px.
      max_shift_px: the largest shift searched for.
      blurs: the candidates, see `TileShifts`.
      flow: added to the positions that `matrix` gives.
      chosen: `grid_blurs` of an earlier measurement, to be used again; None: each tile takes the best of `blurs`.
    """
    grid, warped = reference.grid.half, _WarpedShot(moving, matrix, reference.luma.shape, flow)
    covered = np.flatnonzero(grid.is_all(np.minimum(reference.valid[::2, ::2], warped.valid) > 0.99))
    if not len(covered):
        return TileShifts(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0), np.zeros(0),
                          np.zeros((len(grid.tops), len(grid.lefts))))
    grid_blurs = _choose_blurs(reference, warped, grid, blurs) if chosen is None else chosen
    chosen = grid_blurs.ravel()[covered]
    a, b = np.empty((2, len(covered), grid.size, grid.size), np.float32)
    for blur in np.unique(chosen):
        some = chosen == blur
        a[some] = grid.cut(reference.sparse_band(max(blur, 0.0)), covered[some])
        b[some] = grid.cut(warped.band(max(-blur, 0.0)), covered[some])
    shifts, information, peaks = correlate(a, b, min(max_shift_px, grid.size // 2), spacing=2)
    return TileShifts(2.0 * grid.origins[covered] + grid.size - 1, shifts, information, peaks, chosen, grid_blurs)


class _WarpedShot:
    """Every second pixel of the moving shot's planes in the frame of the reference, each warped when first used."""

    def __init__(self, moving: BlurCache, matrix: np.ndarray, shape: tuple[int, int], flow: Flow | None):
        self._moving, self._matrix, self._bands = moving, matrix @ np.diag([2.0, 2, 1]), {}
        self._size = (shape[1] + 1) // 2, (shape[0] + 1) // 2
        self._positions = None
        if flow is not None:
            self._positions = [np.ascontiguousarray(x[::2, ::2]) for x in flow.positions(matrix, shape)]
        self.valid = self._warp(moving.valid, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)

    def band(self, sigma_px: float) -> np.ndarray:
        """`BlurCache.band` at every second pixel of the reference, `[⌈H/2⌉, ⌈W/2⌉]`."""
        if sigma_px not in self._bands:
            self._bands[sigma_px] = self._warp(self._moving.band(sigma_px), cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        return self._bands[sigma_px]

    def _warp(self, plane: np.ndarray, interpolation: int, border: int) -> np.ndarray:
        if self._positions is not None:
            return cv2.remap(plane, *self._positions, interpolation, borderMode=border)
        return cv2.warpPerspective(plane, self._matrix, self._size, borderMode=border,
                                   flags=interpolation | cv2.WARP_INVERSE_MAP)


def _choose_blurs(reference: BlurCache, warped: _WarpedShot, grid: TileGrid, blurs: Sequence[float]) -> np.ndarray:
    """For each tile the blur of one of the two shots that makes them most alike, `[R, C]`; 0 is none.

    Tiles are compared without searching for a shift.  While the map is off by a few px a wide blur correlates best, so
    the first rounds of `refine` work coarse to fine.
    """
    candidates = np.array([0.0, *blurs])
    moments = {sigma: grid.moments(warped.band(sigma)) for sigma in {max(-blur, 0.0) for blur in candidates}}
    correlations = []
    for blur in candidates:
        of_first, of_second = max(blur, 0.0), max(-blur, 0.0)
        product = grid.means(reference.sparse_band(of_first) * warped.band(of_second))
        (mean_a, square_a), (mean_b, square_b) = reference.moments(of_first), moments[of_second]
        energies = [np.maximum(square - mean**2, 0) + NOISE_FLOOR**2
                    for mean, square in ((mean_a, square_a), (mean_b, square_b))]
        correlations.append((product - mean_a * mean_b) / np.sqrt(energies[0] * energies[1]))
    correlations = np.stack(correlations)
    shares = np.bincount(correlations.argmax(0).ravel(), minlength=len(candidates)) / correlations[0].size
    frequent = np.flatnonzero(shares > min(_RARE_BLUR, shares.max() / 2))
    return candidates[frequent][correlations[frequent].argmax(0)]


def weighted_lengths(shifts: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Lengths of shifts, px, `[T]`, each direction weighted by the tile's information; along an edge it is 0."""
    total = np.trace(information, axis1=1, axis2=2) + 1e-12
    return np.sqrt(np.einsum("ti,tij,tj->t", shifts, information, shifts) / total)


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
