"""Similarities, affine maps and homographies, parameterized by the images of corners of the unit square.

The control points are (0, 0), (1, 1) for a similarity; (0, 0), (1, 0), (0, 1) for an
affine map; (0, 0), (1, 0), (1, 1), (0, 1) for a homography.  Their images are the
parameters: lengths of similar size without constraints, which suits a particle
swarm.  `unit_matrix` brings positions in the reference into the unit square.

Functions with `xp` take NumPy and jax.numpy arrays alike; leading axes are batch axes.
"""

from types import ModuleType
from typing import Any

import numpy as np

Array = Any  # np.ndarray or jax.Array

CONTROL_POINTS = {
    "similarity": np.array([[0.0, 0], [1, 1]]),
    "affine": np.array([[0.0, 0], [1, 0], [0, 1]]),
    "homography": np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
}
"""Model → its control points `[K, 2]`."""


def check_model(model: str) -> None:
    """Raises ValueError if `model` is none of the three."""
    if model not in CONTROL_POINTS:
        raise ValueError(f"model must be one of {', '.join(CONTROL_POINTS)}, got {model!r}")


def from_controls(controls: Array, xp: ModuleType = np) -> Array:
    """Matrices `[..., 3, 3]` that map the control points to `controls`, `[..., 2 | 3 | 4, 2]`.

    The number of control points decides the model.  For four it is the closed form of the map from the unit square
    to a quadrilateral (Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, section 2.2.3).
    """
    p = [controls[..., i, :] for i in range(controls.shape[-2])]
    x, y = (lambda v: v[..., 0]), (lambda v: v[..., 1])
    zero = xp.zeros_like(x(p[0]))
    if len(p) == 2:  # (a + bi)(1 + i) = p1 − p0 as complex numbers
        d = p[1] - p[0]
        a, b = (x(d) + y(d)) / 2, (y(d) - x(d)) / 2
        rows = [a, -b, x(p[0]), b, a, y(p[0]), zero, zero, zero + 1]
    elif len(p) == 3:
        u, v = p[1] - p[0], p[2] - p[0]
        rows = [x(u), x(v), x(p[0]), y(u), y(v), y(p[0]), zero, zero, zero + 1]
    else:
        total = p[0] - p[1] + p[2] - p[3]
        d1, d2 = p[1] - p[2], p[3] - p[2]
        cross = x(d1) * y(d2) - y(d1) * x(d2)
        cross = xp.where(xp.abs(cross) < 1e-12, 1e-12, cross)
        g = (x(total) * y(d2) - y(total) * x(d2)) / cross
        h = (x(d1) * y(total) - y(d1) * x(total)) / cross
        u = p[1] - p[0] + g[..., None] * p[1]
        v = p[3] - p[0] + h[..., None] * p[3]
        rows = [x(u), x(v), x(p[0]), y(u), y(v), y(p[0]), g, h, zero + 1]
    return xp.stack(rows, -1).reshape(*controls.shape[:-2], 3, 3)


def project(matrices: Array, points: Array, xp: ModuleType = np) -> Array:
    """Maps `points` `[N, 2]` by `matrices` `[..., 3, 3]`: `[..., N, 2]`.

    Points on or behind the horizon (w ≤ 1e-6) are divided by 1e-6: they land far away instead of at infinity.
    """
    x, y = points[..., 0], points[..., 1]
    m = lambda i, j: matrices[..., i, j, None]
    # The matrices' batch axes are added explicitly, for strict rank promotion.
    x, y = (v.reshape((1,) * (matrices.ndim - 2) + v.shape) for v in (x, y))
    w = m(2, 0) * x + m(2, 1) * y + m(2, 2)
    w = xp.where(w > 1e-6, w, 1e-6)
    return xp.stack([(m(0, 0) * x + m(0, 1) * y + m(0, 2)) / w, (m(1, 0) * x + m(1, 1) * y + m(1, 2)) / w], -1)


def unit_matrix(shape: tuple[int, ...]) -> np.ndarray:
    """The 3×3 matrix from px in a picture of `shape` to the unit square: the longer side becomes 1, aspect is kept."""
    scale = 1 / max(*shape[:2], 2)
    return np.array([[scale, 0, scale / 2], [0, scale, scale / 2], [0, 0, 1.0]])


def normalize(matrix: np.ndarray) -> np.ndarray:
    """The same map, float64, with 1 in the lower right corner."""
    matrix = np.asarray(matrix, np.float64)
    return matrix / matrix[2, 2]


def is_invertible(matrix: np.ndarray) -> bool:
    """Whether a 3×3 matrix is finite and maps back."""
    return bool(np.isfinite(matrix).all()) and abs(np.linalg.det(matrix)) > 1e-12


def corners(shape: tuple[int, ...]) -> np.ndarray:
    """The four outer corners of a picture, (x, y) px `[4, 2]`, clockwise from the top left."""
    height, width = shape[:2]
    return np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5


def corner_errors(matrix: np.ndarray, truth: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Distance between the images of each corner of a reference of `shape` under two maps, `[4]`, px."""
    return np.linalg.norm(project(matrix, corners(shape)) - project(truth, corners(shape)), axis=-1)


def overlap(matrix: np.ndarray, reference: tuple[int, ...], moving: tuple[int, ...], steps: int = 64) -> float:
    """The share of the reference that the moving picture covers, [0, 1], counted on a grid of `steps`² points.

    Args:
      matrix: 3×3, reference px → moving px.
      reference, moving: the shapes of the two pictures.
    """
    grid = (np.arange(steps) + 0.5) / steps
    x, y = np.meshgrid(grid * reference[1] - 0.5, grid * reference[0] - 0.5)
    mapped = project(matrix, np.stack([x.ravel(), y.ravel()], -1))
    inside = (mapped >= -0.5) & (mapped <= np.array([moving[1], moving[0]]) - 0.5)
    return float(inside.all(-1).mean())


def stretch(matrix: np.ndarray, shape: tuple[int, ...]) -> tuple[float, float]:
    """The smallest and the largest factor on lengths, at the corners and the center of a picture of `shape`.

    They are singular values of the map's Jacobian; a negative smallest factor means a mirrored picture.
    """
    center = corners(shape).mean(0)
    smallest, largest = np.inf, 0.0
    for point in [center, *corners(shape)]:
        near = project(matrix, point + np.array([[0.0, 0], [1, 0], [0, 1]]))
        jacobian = np.stack([near[1] - near[0], near[2] - near[0]], -1)
        values = np.linalg.svd(jacobian, compute_uv=False)
        smallest = min(smallest, float(values[-1] * np.sign(np.linalg.det(jacobian))))
        largest = max(largest, float(values[0]))
    return smallest, largest


def relative_stretch(matrix: np.ndarray, shape: tuple[int, ...], moving: tuple[int, ...]) -> tuple[float, float]:
    """`stretch` in px, or in shares of the pictures' sizes if that is nearer to 1: one may be an export at half size.

    Args:
      matrix: 3×3, reference px → moving px.
      shape, moving: the shapes of reference and moving picture.
    """
    in_px = stretch(matrix, shape)
    ratio = float(np.sqrt(moving[0] * moving[1] / (shape[0] * shape[1])))
    in_sizes = tuple(value / ratio for value in in_px)
    distance = lambda values: max(abs(np.log(max(value, 1e-9))) for value in values)
    return min(in_px, in_sizes, key=distance)
