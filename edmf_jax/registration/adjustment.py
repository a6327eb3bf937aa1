"""Least squares over the maps of a stack: all pairs that were registered decide together where each shot lies.

A chain of maps from neighbor to neighbor adds up their errors.  Pairs that close loops (next-but-one neighbors, first
and last) contradict the chain by as much; the adjustment spreads that over all maps, by how uncertain each is.  After
it no shot is special: the reference only names the frame.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from edmf_jax.registration import fitting, transforms

_FLOOR_PX = 0.05  # no pair is more certain than this
_ROUNDS = 12
_CONVERGED = 1e-7  # largest step of a parameter, of the unit square
_DOUBTFUL = 3.0  # a pair that is off by this many of its deviations has half the weight (Cauchy)
_DAMPING = 1e-10  # of the largest diagonal element
_DENSE_PARAMETERS = 400  # up to so many (50 homographies) a dense matrix is as quick, and needs no import of SciPy


@dataclasses.dataclass(frozen=True)
class Link:
    """A registered pair: `matrix` maps px of shot `first` to px of `second`, with this deviation at the corners."""

    first: int
    second: int
    matrix: np.ndarray
    deviation_px: float


def adjust(links: Sequence[Link], start: dict[int, np.ndarray], reference: int, shape: tuple[int, int], model: str
           ) -> tuple[dict[int, np.ndarray], dict[int, float]]:
    """The maps that all links together support best.

    Args:
      links: registered pairs of the shots in `start`.
      start: for each shot the map from px of the reference to its px, from one chain of links.
      reference: the shot whose map stays as it is, the identity.
      shape: of the reference.
      model: of the maps.

    Returns:
      The maps, and each one's estimated standard deviation at the reference's worst corner, px; 0 for the reference.
    """
    problem = _Problem(links, {shot: start[shot] for shot in start if shot != reference}, shape, model)
    controls = problem.start
    for _ in range(_ROUNDS):
        solver, right = problem.normal_equations(controls)
        step = solver.solve(right).reshape(controls.shape)
        controls = controls + step
        if np.abs(step).max(initial=0) < _CONVERGED:
            break
    solver, _ = problem.normal_equations(controls)
    maps = {shot: problem.to_px(controls[row]) for shot, row in problem.rows.items()}
    deviations = {shot: problem.corner_deviation(solver, controls, row) for shot, row in problem.rows.items()}
    return maps | {reference: np.eye(3)}, deviations | {reference: 0.0}


class _Problem:
    """The residuals of all links at the corners of the reference, as functions of all maps but the reference's."""

    def __init__(self, links: Sequence[Link], start: dict[int, np.ndarray], shape: tuple[int, int], model: str):
        self._links, self._unit = links, transforms.unit_matrix(shape)
        self.rows = {shot: row for row, shot in enumerate(start)}
        self._points = transforms.project(self._unit, transforms.corners(shape))
        # Maps go from the unit square to px, so that differences are px.
        self.start = np.stack([fitting.to_controls(start[shot] @ np.linalg.inv(self._unit), model) for shot in start])
        self._scale = 1 / self._unit[0, 0]
        self.start = self.start / self._scale

    def to_px(self, controls: np.ndarray) -> np.ndarray:
        """The map, 3×3, from px of the reference."""
        return transforms.normalize(self._from_unit(controls) @ self._unit)

    def _from_unit(self, controls: np.ndarray) -> np.ndarray:
        return transforms.from_controls(controls * self._scale)

    def _ends(self, controls: np.ndarray, shot: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Where the corners lie in a shot, px `[4, 2]`, and their slopes `[4, 2, K]`; None for the reference."""
        if shot not in self.rows:
            return transforms.project(np.linalg.inv(self._unit), self._points), None
        own = controls[self.rows[shot]] * self._scale
        return (transforms.project(transforms.from_controls(own), self._points),
                fitting.jacobian(own, self._points) * self._scale)

    def normal_equations(self, controls: np.ndarray):
        """The factorized normal matrix and the right-hand side, at these maps."""
        linked = {shot for link in self._links for shot in (link.first, link.second)}
        ends = {shot: self._ends(controls, shot) for shot in linked}
        size = controls[0].size
        entries, right = [], np.zeros(controls.size)
        for link in self._links:
            (before, before_slopes), (after, after_slopes) = ends[link.first], ends[link.second]
            mapped = transforms.project(link.matrix, before)
            sigma = np.hypot(link.deviation_px, _FLOOR_PX) / np.sqrt(2)  # of one component
            rest = (mapped - after) / sigma
            weight = 1 / (1 + (np.square(rest).sum(-1).mean() / _DOUBTFUL**2))
            sides = []
            if after_slopes is not None:
                sides.append((self.rows[link.second], after_slopes / sigma))
            if before_slopes is not None:
                step = np.stack([transforms.project(link.matrix, before + e) - mapped for e in np.eye(2)], -1)
                sides.append((self.rows[link.first], -(step @ before_slopes) / sigma))
            flat = [(row, slopes.reshape(-1, size)) for row, slopes in sides]
            for row, slopes in flat:
                right[row * size : (row + 1) * size] += weight * (rest.ravel() @ slopes)
                entries += [(row, other, weight * (slopes.T @ others)) for other, others in flat]
        return _solver(entries, size, controls.size), right

    def corner_deviation(self, solver, controls: np.ndarray, row: int) -> float:
        """Standard deviation of a map at the reference's worst corner, px."""
        own = controls[row] * self._scale
        slopes = fitting.jacobian(own, self._points) * self._scale
        size = controls[0].size
        columns = np.zeros((controls.size, size))
        columns[row * size : (row + 1) * size] = np.eye(size)
        covariance = solver.solve(columns)[row * size : (row + 1) * size]
        # Eight residuals a link are as many as a homography has parameters, and more than it has for simpler maps.
        variance = np.einsum("pik,kl,pil->p", slopes, covariance, slopes).max() * slopes[:, :, 0].size / size
        return float(np.sqrt(variance))


class _Dense:
    """Solves by the inverse, as `scipy.sparse.linalg.SuperLU` does by factors."""

    def __init__(self, matrix: np.ndarray):
        self._inverse = np.linalg.inv(matrix)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The solution for one right-hand side or several columns."""
        return self._inverse @ right


def _solver(entries: list[tuple[int, int, np.ndarray]], size: int, total: int):
    """What solves with the damped normal matrix, from blocks `[size, size]` at block rows and columns."""
    if total <= _DENSE_PARAMETERS:
        blocks = np.zeros((total // size, size, total // size, size))
        for row, column, block in entries:
            blocks[row, :, column] += block
        matrix = blocks.reshape(total, total)
        return _Dense(matrix + np.eye(total) * _damping(matrix.diagonal()))
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import splu

    inner = np.arange(size)
    rows = np.concatenate([np.repeat(row * size + inner, size) for row, _, _ in entries])
    columns = np.concatenate([np.tile(column * size + inner, size) for _, column, _ in entries])
    matrix = coo_array((np.concatenate([block.ravel() for *_, block in entries]), (rows, columns)),
                       shape=(total, total)).tocsc()
    damping = np.full(total, _damping(matrix.diagonal()))
    return splu((matrix + coo_array((damping, (np.arange(total),) * 2), shape=(total, total))).tocsc())


def _damping(diagonal: np.ndarray) -> float:
    return _DAMPING * diagonal.max() + 1e-12
