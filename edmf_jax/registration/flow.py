"""A smooth field of small displacements on top of a map, for scenes whose depth no single map explains.

Two hand-held shots of near and far objects see them from two places, so near ones move more.  Where the tiles
(`tiles`) agree on what remains after the best map, a cubic B-spline of few coefficients is fitted to it, with a
penalty on its second differences (as in Rueckert et al. 1999, DOI 10.1109/42.796284, where it is the bending energy).
Whether it is right is judged by prediction: each part of the picture is left out once, and the field from the others
must predict the tiles there better than the map alone.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from edmf_jax.registration import splines, transforms
from edmf_jax.registration.grid import block_numbers

_CELLS = 6  # of the spline along the longer side
_SMOOTHNESS = (0.01, 0.1, 1.0)  # of the penalty, tried in this order, relative to the tiles' information
_BLOCKS = 6  # along the longer side, each left out once
_ROUNDS = 4  # of reweighting
_OUTLIER_FACTOR = 5.0  # a tile farther off than this many medians has no weight
_MIN_LIMIT = 0.25  # in units of the tiles' own uncertainty and scatter
_MIN_TILES = 24
_LARGEST = 0.02  # displacement, of the diagonal
_INVERSE_ROUNDS = 4  # of the fixed point that inverts a flow, whose slopes are far below 1
_BETTER, _BETTER_PX = 0.8, 0.1  # the field must predict better than the map by this factor and by this many px


@dataclasses.dataclass(frozen=True)
class Flow:
    """Displacements, in px of the moving picture, as a function of the position in the reference.

    Attributes:
      coefficients: of the uniform cubic B-spline, `[R, C, 2]` (x, y), px of the moving picture.
      shape: height and width of the reference, px; the spline's cells divide it evenly.
    """

    coefficients: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def zero(cls, shape: tuple[int, ...], along: int = _CELLS) -> "Flow":
        """No displacement, with `along` cells along the longer side of a reference of `shape`."""
        rows, columns = (cells + 3 for cells in splines.cells_of(shape, along))
        return cls(np.zeros((rows, columns, 2)), tuple(shape[:2]))

    def design(self, points: np.ndarray) -> np.ndarray:
        """How much each coefficient, row by row, counts at `points` `[N, 2]`: `[N, R·C]`."""
        rows, columns = self._basis(points[:, 1], 0), self._basis(points[:, 0], 1)
        return np.einsum("nr,nc->nrc", rows, columns).reshape(len(points), -1)

    def sparse_design(self, points: np.ndarray) -> splines.Splines:
        """What `design` holds besides zeros."""
        rows, columns = (side - 3 for side in self.coefficients.shape[:2])
        row, down = splines.splines_at((points[:, 1] + 0.5) / self.shape[0] * rows, rows)
        column, across = splines.splines_at((points[:, 0] + 0.5) / self.shape[1] * columns, columns)
        places = (row[:, None] + np.arange(4)) * (columns + 3)
        places = places[:, :, None] + (column[:, None] + np.arange(4))[:, None, :]
        return splines.Splines(places.reshape(-1, 16), (down[:, :, None] * across[:, None, :]).reshape(-1, 16),
                               self.coefficients[..., 0].size)

    def at(self, points: np.ndarray) -> np.ndarray:
        """The displacements at `points` (x, y) `[N, 2]`, px of the reference: `[N, 2]`; outside as at the edge."""
        found = self.sparse_design(points)
        return np.stack([found.at(component) for component in self.coefficients.reshape(-1, 2).T], -1)

    def positions(self, matrix: np.ndarray, shape: tuple[int, int], top: float = 0, left: float = 0
                  ) -> tuple[np.ndarray, np.ndarray]:
        """Where the pixels of a part of the reference lie in the moving picture: x and y, float32 `shape` each.

        Args:
          matrix: 3×3, reference px → moving px, to which the displacements are added.
          shape: height and width of the part.
          top, left: its first row and column.
        """
        x, y = left + np.arange(shape[1], dtype=np.float64), top + np.arange(shape[0], dtype=np.float64)
        rows, columns = self._basis(y, 0), self._basis(x, 1)
        w = matrix[2, 0] * x[None] + matrix[2, 1] * y[:, None] + matrix[2, 2]
        w = np.where(w > 1e-6, w, 1e-6)
        return tuple(((matrix[d, 0] * x[None] + matrix[d, 1] * y[:, None] + matrix[d, 2]) / w
                      + rows @ self.coefficients[..., d] @ columns.T).astype(np.float32) for d in (0, 1))

    def rescaled(self, shape: tuple[int, int], factor: float) -> "Flow":
        """The same field for a copy of the reference, of `shape`, and one of the moving picture, larger by `factor`."""
        return Flow(self.coefficients * factor, tuple(shape[:2]))

    @property
    def largest_px(self) -> float:
        """An upper bound of its displacements in the reference: each cell stays within its Bézier points.

        It does within its coefficients too, but the outer ones stand for places outside, where no tile is.
        """
        rows, columns = (splines.bezier_points(side - 3) for side in self.coefficients.shape[:2])
        points = [rows @ component @ columns.T for component in np.moveaxis(self.coefficients, -1, 0)]
        return float(np.hypot(*points).max())

    def _basis(self, positions: np.ndarray, axis: int) -> np.ndarray:
        """The B-splines at `positions` along one axis, `[N, R or C]`."""
        cells = self.coefficients.shape[axis] - 3
        return splines.basis_at((positions + 0.5) / self.shape[axis] * cells, cells)


@dataclasses.dataclass(frozen=True)
class FlowFit:
    """A field, and the root mean square errors, px, with which it and the map alone predict left-out parts."""

    flow: Flow
    prediction_px: float
    map_px: float

    @property
    def is_better(self) -> bool:
        """Whether it predicts clearly better than the map alone, by displacements that hand-held shots can have."""
        return (self.prediction_px < _BETTER * self.map_px and self.map_px - self.prediction_px > _BETTER_PX
                and self.flow.largest_px < _LARGEST * float(np.hypot(*self.flow.shape)))


def fit(points: np.ndarray, displacements: np.ndarray, information: np.ndarray, shape: tuple[int, int]
        ) -> FlowFit | None:
    """The field through the displacements of tiles, as smooth as predicts best; None if there are too few tiles.

    Args:
      points: (x, y) in the reference, `[T, 2]`, px.
      displacements: from where the map puts them to where they are in the moving picture, `[T, 2]`, px.
      information: the inverses of their covariances, `[T, 2, 2]`, 1/px².
      shape: of the reference.
    """
    if len(points) < _MIN_TILES:
        return None
    empty = Flow.zero(shape)
    basis, (rows, columns) = empty.design(points), empty.coefficients.shape[:2]
    blocks = block_numbers(points, shape, splines.cells_of(shape, _BLOCKS))
    fits = [_fit_spline(basis, displacements, information, blocks, smoothness * splines.penalty(rows, columns))
            for smoothness in _SMOOTHNESS]
    coefficients, prediction, alone = min(fits, key=lambda one: one[1])
    return FlowFit(dataclasses.replace(empty, coefficients=coefficients.reshape(rows, columns, 2)), prediction, alone)


def _fit_spline(basis: np.ndarray, values: np.ndarray, information: np.ndarray, blocks: np.ndarray,
                penalty: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Robust least squares: coefficients `[K, 2]`, prediction error of left-out blocks, and that of no field, px."""
    weights, coefficients = np.ones(len(values)), np.zeros((basis.shape[1], 2))
    scale = np.trace(information, axis1=1, axis2=2).mean() / 2
    for _ in range(_ROUNDS):
        coefficients = _solve(basis, values, weights[:, None, None] * information, scale * penalty)
        rest = values - basis @ coefficients
        lengths = np.sqrt(np.einsum("ni,nij,nj->n", rest, information, rest))
        limit = max(_OUTLIER_FACTOR * float(np.median(lengths)), _MIN_LIMIT)
        weights = np.maximum(0, 1 - (lengths / limit) ** 2) ** 2
    weighted = weights[:, None, None] * information
    predicted = np.zeros_like(values)
    for label in np.unique(blocks):
        inside = blocks == label
        without = _solve(basis[~inside], values[~inside], weighted[~inside], scale * penalty)
        predicted[inside] = basis[inside] @ without
    total = max(float(np.trace(weighted, axis1=1, axis2=2).sum()), 1e-12)
    error = lambda rest: float(np.sqrt(2 * np.einsum("ni,nij,nj->", rest, weighted, rest) / total))
    return coefficients, error(values - predicted), error(values)


def _solve(basis: np.ndarray, values: np.ndarray, information: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """The coefficients `[K, 2]` that minimize Σ rᵀ A r + the penalty of each component."""
    count = basis.shape[1]
    normal = np.empty((2, count, 2, count))
    for i in (0, 1):
        for j in (0, 1):
            normal[i, :, j] = basis.T @ (information[:, i, j, None] * basis) + (penalty if i == j else 0)
    right = np.einsum("nk,nij,nj->ik", basis, information, values)
    return np.linalg.solve(normal.reshape(2 * count, -1), right.ravel()).reshape(2, count).T


@dataclasses.dataclass(frozen=True)
class Step:
    """One map of a chain, with its flow; `inverse` goes from the moving picture back to the reference."""

    matrix: np.ndarray
    flow: Flow | None
    inverse: bool = False

    def follow(self, points: np.ndarray, with_flow: bool) -> np.ndarray:
        """Where `points` `[N, 2]`, px, come to lie."""
        flow = self.flow if with_flow else None
        if not self.inverse:
            return transforms.project(self.matrix, points) + (0 if flow is None else flow.at(points))
        back = np.linalg.inv(self.matrix)
        found = transforms.project(back, points)
        for _ in range(_INVERSE_ROUNDS if flow is not None else 0):
            found = transforms.project(back, points - flow.at(found))
        return found


def compose(steps: Sequence[Step], shape: tuple[int, int]) -> Flow | None:
    """The field that stands for those of several maps in a row; None if no step has one.

    Args:
      steps: from the reference on.
      shape: of the reference.
    """
    if all(step.flow is None for step in steps):
        return None
    rows, columns = splines.cells_of(shape, 4 * _CELLS)
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns * shape[1] - 0.5,
                       (np.arange(rows) + 0.5) / rows * shape[0] - 0.5)
    exact = plain = np.stack([x.ravel(), y.ravel()], -1)
    grid = Flow.zero(shape)
    basis = grid.design(exact)
    for step in steps:
        exact, plain = step.follow(exact, True), step.follow(plain, False)
    solved = np.linalg.lstsq(basis, exact - plain, rcond=1e-6)[0]
    return dataclasses.replace(grid, coefficients=solved.reshape(grid.coefficients.shape))
