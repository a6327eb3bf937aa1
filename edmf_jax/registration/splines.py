"""Uniform cubic B-splines over a picture: their values at points, their Bézier points, and how rough they are."""

import dataclasses

import numpy as np

_RIDGE = 1e-3  # pulls coefficients to 0 where no point says anything


@dataclasses.dataclass(frozen=True)
class Splines:
    """The 16 B-splines that are not 0 at each of N points.

    Attributes:
      places: the number of each one's coefficient, row by row, `[N, 16]`.
      values: `[N, 16]`.
      count: of all coefficients, K.
    """

    places: np.ndarray
    values: np.ndarray
    count: int

    def part(self, rows: slice) -> "Splines":
        """Those of some points."""
        return Splines(self.places[rows], self.values[rows], self.count)

    def at(self, coefficients: np.ndarray) -> np.ndarray:
        """The field of `coefficients` `[K]` at the points, `[N]`."""
        return (self.values * coefficients[self.places]).sum(1)

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Bᵀ w of the basis B `[N, K]` and weights `[N]`: `[K]`."""
        return np.bincount(self.places.ravel(), (self.values * weights[:, None]).ravel(), self.count)

    def normal(self, weights: np.ndarray) -> np.ndarray:
        """Bᵀ diag(w) B, `[K, K]`."""
        places = self.places[:, :, None] * self.count + self.places[:, None, :]
        products = (self.values * weights[:, None])[:, :, None] * self.values[:, None, :]
        return np.bincount(places.ravel(), products.ravel(), self.count**2).reshape(self.count, -1)


def splines_at(u: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell of `u` in 0…`cells`, `[N]`, and the uniform cubic B-splines that are not 0 there, `[N, 4]`."""
    u = np.clip(u, 0, cells)
    cell = np.minimum(u.astype(int), cells - 1)
    t = u - cell
    return cell, np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], -1) / 6


def basis_at(u: np.ndarray, cells: int) -> np.ndarray:
    """The uniform cubic B-splines at `u` in 0…`cells`, `[N, cells + 3]`."""
    cell, values = splines_at(u, cells)
    basis = np.zeros((len(u), cells + 3))
    np.put_along_axis(basis, cell[:, None] + np.arange(4), values, 1)
    return basis


def bezier_points(cells: int) -> np.ndarray:
    """From the coefficients along one axis to the Bézier points of all cells, `[3·cells + 1, cells + 3]`."""
    points = np.zeros((3 * cells + 1, cells + 3))
    for knot in range(cells + 1):
        points[3 * knot, knot : knot + 3] = 1 / 6, 4 / 6, 1 / 6
    for cell in range(cells):
        points[3 * cell + 1 : 3 * cell + 3, cell + 1 : cell + 3] = np.array([[2, 1], [1, 2]]) / 3
    return points


def cells_of(shape: tuple[int, ...], along: int) -> tuple[int, int]:
    """Rows and columns when the longer side of `shape` is divided into `along` parts."""
    side = max(shape[:2])
    return tuple(max(2, round(along * n / side)) for n in shape[:2])


def penalty(rows: int, columns: int) -> np.ndarray:
    """Σ of squared second differences of coefficients `[rows, columns]`, mixed ones twice, as a quadratic form."""
    first, second = (lambda n: np.diff(np.eye(n), axis=0)), (lambda n: np.diff(np.eye(n), n=2, axis=0))
    parts = [np.kron(second(rows), np.eye(columns)), np.kron(np.eye(rows), second(columns)),
             np.sqrt(2) * np.kron(first(rows), first(columns))]
    return sum(part.T @ part for part in parts) + _RIDGE * np.eye(rows * columns)
