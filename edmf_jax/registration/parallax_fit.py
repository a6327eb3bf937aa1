"""The fit of `parallax`: maps and movements of all shots, and the depth of all places, to the tiles of all pairs."""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from edmf_jax.registration import splines, tilting, transforms
from edmf_jax.registration.flow import Flow, Step
from edmf_jax.registration.matches import TileMatches

CELLS = 14  # of the depth's spline along the longer side
_SMOOTHNESS = 0.01  # of the depth, relative to the tiles' information
_START_SMOOTHNESS = 0.5  # of what a single pair says about it
_TILT_RIDGE = 1.0  # pulls tilts that no tile speaks for to 0, in tiles
_OUTLIER_FACTOR = 2.0  # a tile that is off by this many medians of its pair has half the weight (Cauchy)
_MIN_MEDIAN = 0.3  # of a pair, in the tiles' own uncertainties
_CLIPPED = 3.0  # medians at the start, from which on a tile's error counts as that much

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class _State:
    """What all tiles say at the present maps, movements and depths.

    Attributes:
      at: where the tiles lie, `[N, 2]`, units of the reference.
      depth: there, `[N]`.
      rest: from where the tile is predicted to where it is, `[N, 2]`, px of the second shot.
      slopes: of the prediction by the six numbers of the second shot's map, `[N, 2, 6]`.
      first_slopes: by those of the first shot's, with the sign turned.
      turn: of a small step in the first shot to that in the second, `[N, 2, 2]`.
      squares: of `rest`, in the tiles' own uncertainties, `[N]`.
    """

    at: np.ndarray
    depth: np.ndarray
    rest: np.ndarray
    slopes: np.ndarray
    first_slopes: np.ndarray
    turn: np.ndarray
    squares: np.ndarray


class DepthFit:
    """Maps (see `tilting`) and movements of all shots, the depth as a spline, and the tiles of all pairs in rows.

    Attributes:
      pairs: what was found of each first shot in the second.
      rows: of the tiles of each pair.
      numbers: for each shot that of its map; 0 is the reference's, which stays as it is.
      maps, moves: `[S, 6]`, from units of the reference to px of the shot; `[S, 2]`, px.
      depth: coefficients `[K]` of the spline `field`; their scatter is 1.
      unit: 3×3, from px of the reference to longer sides from its center.
    """

    def __init__(self, pairs: Mapping[Pair, TileMatches], start: Mapping[int, Step], reference: int,
                 shape: tuple[int, int]):
        self.pairs, side = pairs, max(shape)
        self.unit = np.array([[1 / side, 0, (1 - shape[1]) / (2 * side)], [0, 1 / side, (1 - shape[0]) / (2 * side)],
                              [0, 0, 1]])
        self._to_px = np.linalg.inv(self.unit)
        self.numbers = {reference: 0} | {shot: 1 + row for row, shot in enumerate(sorted(start))}
        self.maps = np.stack([tilting.nearest(matrix, self.unit, shape)
                              for matrix in (np.eye(3), *(start[shot].matrix for shot in sorted(start)))])
        self.moves = np.zeros((len(self.maps), 2))
        self.field = Flow.zero(shape, CELLS)
        self.depth = np.zeros(self.field.coefficients[..., 0].size)
        self._penalty = splines.penalty(*self.field.coefficients.shape[:2])
        sizes = [len(found.points) for found in pairs.values()]
        self.rows = [slice(*ends) for ends in itertools.pairwise(np.cumsum([0, *sizes]).tolist())]
        self._first, self._second = (np.repeat([self.numbers[pair[k]] for pair in pairs], sizes) for k in (0, 1))
        self._points, self._targets, self._information = (
            np.concatenate([getattr(found, name) for found in pairs.values()])
            for name in ("points", "targets", "information"))
        self._scale = np.trace(self._information, axis1=1, axis2=2).mean() / 2
        self._limits = np.full(len(self._points), np.inf)
        self._known: _State | None = None  # until anything is adjusted

    def _state(self) -> _State:
        if self._known is None:
            at, depth = self._at()
            ends, slopes, turn = tilting.forward(self.maps[self._second], at)
            _, first_slopes, first_turn = tilting.forward(self.maps[self._first], at)
            turn = turn @ tilting.inverted(first_turn)
            rest = self._targets - ends - self.moves[self._second] * depth[:, None]
            self._known = _State(at, depth, rest, slopes, turn @ first_slopes, turn,
                                 tilting.squares(rest, self._information))
        return self._known

    def _at(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the tiles lie, in units of the reference, and their depths."""
        at = tilting.inverse(self.maps[self._first], self._points)
        if not self.moves.any():
            return at, np.zeros(len(at))
        for _ in range(2):
            depth = self._splines(at).at(self.depth)
            at = tilting.inverse(self.maps[self._first], self._points - self.moves[self._first] * depth[:, None])
        return at, depth

    def _splines(self, at: np.ndarray) -> splines.Splines:
        """The depth's B-splines at places in units of the reference."""
        return self.field.sparse_design(transforms.project(self._to_px, at))

    def positions(self) -> np.ndarray:
        """Where the tiles lie in the reference, px `[N, 2]`."""
        return transforms.project(self._to_px, self._state().at)

    def _medians(self, squares: np.ndarray) -> np.ndarray:
        """For each tile the median length of its pair's residuals, in the tiles' uncertainties."""
        medians = np.empty(len(squares))
        for rows in self.rows:
            if rows.stop > rows.start:
                medians[rows] = max(float(np.sqrt(np.median(squares[rows]))), _MIN_MEDIAN)
        return medians

    def _weights(self, squares: np.ndarray, factor: float = _OUTLIER_FACTOR) -> np.ndarray:
        return 1 / (1 + squares / (factor * self._medians(squares)) ** 2)

    def remember_scatter(self) -> None:
        """The present scatter decides from now on what `error` clips."""
        self._limits = _CLIPPED * self._medians(self._state().squares)

    def error(self) -> float:
        """Root mean square of what is left, px, clipped at outliers."""
        return self._clipped(self._state().squares)

    def fair_error(self) -> float:
        """About the `error` of tiles that the depth was not fitted to: where pairs are few, it follows their errors."""
        free = len(self.depth) / (2 * len(self._points))
        return self.error() / np.sqrt(max(1 - free, 0.1))

    def typical_error(self) -> float:
        """Root mean square of what is left, px, with the weights of the fit, so that what moved hardly counts."""
        squares = self._state().squares
        weights = self._weights(squares)
        return float(np.sqrt((weights @ squares) / (weights.sum() * self._scale)))

    def _clipped(self, squares: np.ndarray) -> float:
        return float(np.sqrt(np.minimum(squares, self._limits**2).sum() / (self._scale * len(squares))))

    def error_of(self, start: Mapping[int, Step]) -> float:
        """The `error` of other maps, with flows."""
        rest = []
        for (first, second), rows in zip(self.pairs, self.rows):
            at = self._points[rows]
            if first in start:
                at = dataclasses.replace(start[first], inverse=True).follow(at, True)
            rest.append(self._targets[rows] - (start[second].follow(at, True) if second in start else at))
        return self._clipped(tilting.squares(np.concatenate(rest), self._information))

    def adjust_maps(self, with_movement: bool = True) -> None:
        """Least squares for all maps, and movements if wanted, at the present depth."""
        state, size, total = self._state(), 8 if with_movement else 6, len(self.maps)
        slopes, first_slopes = state.slopes, state.first_slopes
        if with_movement:
            depth = state.depth[:, None, None]
            slopes = np.concatenate([slopes, np.eye(2) * depth], 2)
            first_slopes = np.concatenate([first_slopes, state.turn * depth], 2)
        information = self._information * self._weights(state.squares)[:, None, None]
        normal, right = np.zeros((total, size, total, size)), np.zeros((total, size))
        for (first, second), rows in zip(self.pairs, self.rows):
            own = np.concatenate([slopes[rows], -first_slopes[rows]], 2)
            weighted = (information[rows] @ own).reshape(-1, 2 * size).T
            block, side = weighted @ own.reshape(-1, 2 * size), weighted @ state.rest[rows].ravel()
            ends = [(self.numbers[second], slice(size)), (self.numbers[first], slice(size, None))]
            for row, part in ends:
                right[row] += side[part]
                for other, others in ends:
                    normal[row, :, other] += block[part, others]
        self._add_ridges(normal, right)
        step = np.linalg.solve(normal[1:, :, 1:].reshape((total - 1) * size, -1), right[1:].ravel())
        step = step.reshape(-1, size)
        self.maps[1:] += step[:, :6]
        if with_movement:
            self.moves[1:] += step[:, 6:]
        self._known = None

    def _add_ridges(self, normal: np.ndarray, right: np.ndarray) -> None:
        """Pulls what no tile speaks for to 0; the movements by the part of the depth's penalty that is theirs."""
        for row in range(1, len(self.maps)):
            own = normal[row, :, row]
            own[np.diag_indices(6)] += 1e-6 * own.diagonal()[:6].max() + 1e-9
            ridge = np.zeros(len(own))
            ridge[4:6] = _TILT_RIDGE * self._scale
            if len(own) > 6:
                roughness = float(self.depth @ self._penalty @ self.depth)
                ridge[6:] = _SMOOTHNESS * self._scale * roughness / (len(self.maps) - 1) + 1e-9
            own[np.diag_indices(len(own))] += ridge
            right[row] -= ridge * np.r_[self.maps[row], self.moves[row]][: len(own)]

    def adjust_depth(self) -> None:
        """Least squares for the depth, at the present maps and movements."""
        state = self._state()
        moves = self.moves[self._second] - tilting.times(state.turn, self.moves[self._first])
        weighted = self._weights(state.squares)[:, None] * tilting.times(self._information, moves)
        power = (weighted * moves).sum(1)
        largest = max(float(np.square(self.moves[1:]).sum(1).mean()), 1e-6)
        basis = self._splines(state.at)
        right = basis.sums((weighted * state.rest).sum(1) + power * state.depth)
        self.depth = np.linalg.solve(basis.normal(power) + _SMOOTHNESS * self._scale * largest * self._penalty,
                                     right)
        self._rescale()

    def _rescale(self) -> None:
        scatter = max(float(self.depth.std()), 1e-9)
        self.depth, self.moves, self._known = self.depth / scatter, self.moves * scatter, None

    def guess_depth(self) -> None:
        """Depth and movements to start from: the first singular vector of what the pairs' maps leave."""
        state, side = self._state(), max(self.field.shape)
        origin = np.zeros((len(state.rest), 2))
        *_, turns = tilting.forward(self.maps[self._second], origin)
        rest = side * tilting.times(tilting.inverted(turns), state.rest)  # px of the reference
        weights = np.trace(self._information, axis1=1, axis2=2) * self._weights(state.squares, 3 * _OUTLIER_FACTOR)
        fields, basis = [], self._splines(state.at)
        for rows in self.rows:
            own = basis.part(rows)
            normal = own.normal(weights[rows]) + _START_SMOOTHNESS * self._scale * self._penalty
            right = np.stack([own.sums(weights[rows] * rest[rows, axis]) for axis in (0, 1)], -1)
            fields.append(np.linalg.solve(normal, right).T)
        left, values, right = np.linalg.svd(np.concatenate(fields), full_matrices=False)
        joins = np.zeros((len(self.pairs), len(self.maps)))
        for row, (first, second) in enumerate(self.pairs):
            joins[row, self.numbers[second]] += 1
            joins[row, self.numbers[first]] -= 1
        moves = np.linalg.lstsq(joins[:, 1:], (left[:, 0] * values[0]).reshape(-1, 2), rcond=1e-6)[0]
        *_, turns = tilting.forward(self.maps[1:], np.zeros((len(moves), 2)))
        self.moves[1:] = tilting.times(turns, moves) / side
        self.depth = right[0]
        self._rescale()
