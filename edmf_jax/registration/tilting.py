"""Maps of a picture that turns, zooms and tilts a little: six numbers (a, b, x, y, g, h).

A point at (u, v), in longer sides from the center of the reference, goes to the similarity (a, b, x, y) of
(u, v)/(1 + g·u + h·v).  This is what a camera does that turns about its lens.  An affine map could not be told from the
movement past a slanted surface.
"""

from collections.abc import Sequence

import numpy as np

from edmf_jax.registration import transforms


def times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Each of `[N, 2, 2]` times each of `[N, 2]`."""
    return (matrices @ vectors[..., None])[..., 0]


def squares(rest: np.ndarray, information: np.ndarray) -> np.ndarray:
    """rᵀ A r, `[N]`."""
    return (times(information, rest) * rest).sum(1)


def inverted(matrices: np.ndarray) -> np.ndarray:
    """The inverses of `[N, 2, 2]`, in closed form."""
    (a, b), (c, d) = np.moveaxis(matrices, 0, -1)
    return np.moveaxis(np.array([[d, -b], [-c, a]]) / (a * d - b * c), -1, 0)


def to_matrix(numbers: np.ndarray) -> np.ndarray:
    """The 3×3 map of six numbers (a, b, x, y, g, h), from units of the reference to px of the shot."""
    a, b, x, y, g, h = numbers
    return np.array([[a, -b, x], [b, a, y], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, 1, 0], [g, h, 1]])


def forward(maps: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where `at` `[N, 2]` lie under `maps` `[N, 6]`; the slopes by the six numbers, `[N, 2, 6]`, and by `at`."""
    a, b, x, y, g, h = maps.T
    w = np.maximum(1 + g * at[:, 0] + h * at[:, 1], 1e-6)
    u, v = at[:, 0] / w, at[:, 1] / w
    turned = np.stack([a * u - b * v, b * u + a * v], -1)
    one, zero = np.ones_like(u), np.zeros_like(u)
    slopes = np.stack([np.stack([u, -v, one, zero], -1), np.stack([v, u, zero, one], -1)], 1)
    tilts = -turned[:, :, None] * np.stack([u, v], -1)[:, None, :]
    # d(u, v)/d at = (I − (u, v)ᵀ(g, h))/w
    inner = (np.eye(2) - np.stack([u, v], -1)[:, :, None] * np.stack([g, h], -1)[:, None, :]) / w[:, None, None]
    turn = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], 1)
    return turned + np.stack([x, y], -1), np.concatenate([slopes, tilts], 2), turn @ inner


def inverse(maps: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What lies at `ends` `[N, 2]` under `maps` `[N, 6]`."""
    a, b, x, y, g, h = maps.T
    rest = ends - np.stack([x, y], -1)
    square = a**2 + b**2
    u, v = (a * rest[:, 0] + b * rest[:, 1]) / square, (a * rest[:, 1] - b * rest[:, 0]) / square
    return np.stack([u, v], -1) / np.maximum(1 - g * u - h * v, 1e-6)[:, None]


def nearest(matrix: np.ndarray, unit: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The six numbers of the map that is nearest to `matrix` all over the picture."""
    x, y = np.meshgrid(np.linspace(0, shape[1] - 1, 5), np.linspace(0, shape[0] - 1, 5))
    points = np.stack([x.ravel(), y.ravel()], -1)
    at, wanted = transforms.project(unit, points), transforms.project(matrix, points)
    ends, slopes, _ = forward(np.tile([1.0, 0, 0, 0, 0, 0], (len(at), 1)), at)
    linear = slopes[..., :4].reshape(-1, 4)
    numbers = np.r_[np.linalg.lstsq(linear, wanted.ravel(), rcond=None)[0], 0, 0]
    for _ in range(5):
        ends, slopes, _ = forward(np.tile(numbers, (len(at), 1)), at)
        numbers = numbers + np.linalg.lstsq(slopes.reshape(-1, 6), (wanted - ends).ravel(), rcond=None)[0]
    return numbers
