"""Similarities, affine maps and homographies, parameterized by the images of corners of the unit square.

The control points are (0, 0), (1, 1) for a similarity; (0, 0), (1, 0), (0, 1) for an
affine map; (0, 0), (1, 0), (1, 1), (0, 1) for a homography.  Their images are the
parameters: lengths of similar size without constraints, which suits a particle
swarm.  `unit_matrix` brings positions in the reference into the unit square.

Leading axes are batch axes.  A fit calls the first two functions hundreds of times with few points each, so they are
written for few calls of NumPy.
"""

import numpy as np

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


def from_controls(controls: np.ndarray) -> np.ndarray:
    """Matrices `[..., 3, 3]` that map the control points to `controls`, `[..., 2 | 3 | 4, 2]`, in their dtype.

    The number of control points decides the model.  For four it is the closed form of the map from the unit square
    to a quadrilateral (Heckbert 1989, Fundamentals of Texture Mapping and Image Warping, section 2.2.3).
    """
    x, y = ([controls[..., i, axis] for i in range(controls.shape[-2])] for axis in (0, 1))
    matrices = np.zeros((*controls.shape[:-2], 3, 3), controls.dtype)
    matrices[..., 0, 2], matrices[..., 1, 2], matrices[..., 2, 2] = x[0], y[0], 1
    if len(x) == 2:  # (a + bi)(1 + i) = p1 − p0 as complex numbers
        dx, dy = x[1] - x[0], y[1] - y[0]
        a, b = (dx + dy) / 2, (dy - dx) / 2
        columns = (a, b), (-b, a)
    elif len(x) == 3:
        columns = (x[1] - x[0], y[1] - y[0]), (x[2] - x[0], y[2] - y[0])
    else:
        totals = x[0] - x[1] + x[2] - x[3], y[0] - y[1] + y[2] - y[3]
        first, second = (x[1] - x[2], y[1] - y[2]), (x[3] - x[2], y[3] - y[2])
        cross = first[0] * second[1] - first[1] * second[0]
        cross = np.where(np.abs(cross) < 1e-12, 1e-12, cross)
        g = (totals[0] * second[1] - totals[1] * second[0]) / cross
        h = (first[0] * totals[1] - first[1] * totals[0]) / cross
        matrices[..., 2, 0], matrices[..., 2, 1] = g, h
        columns = (x[1] - x[0] + g * x[1], y[1] - y[0] + g * y[1]), (x[3] - x[0] + h * x[3], y[3] - y[0] + h * y[3])
    for column, (top, bottom) in enumerate(columns):
        matrices[..., 0, column], matrices[..., 1, column] = top, bottom
    return matrices


def project(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Maps `points` `[N, 2]` by `matrices` `[..., 3, 3]`: `[..., N, 2]`.

    Points on or behind the horizon (w ≤ 1e-6) are divided by 1e-6: they land far away instead of at infinity.
    """
    x, y = points[..., 0], points[..., 1]
    rows = [[matrices[..., i, j, None] for j in range(3)] for i in range(3)]
    horizontal, vertical, w = (a * x + b * y + c for a, b, c in rows)
    w = np.where(w > 1e-6, w, 1e-6)
    mapped = np.empty((*w.shape, 2), np.result_type(horizontal, w))
    np.divide(horizontal, w, out=mapped[..., 0])
    np.divide(vertical, w, out=mapped[..., 1])
    return mapped


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
