"""Windowed means, variances and covariances that stay accurate in float32.

The usual E[x²] − μ² loses up to 4·10⁻³ on gray levels 0…255 in float32, more than the stabilizing constants of SSIM
and VIF. Here every window is centered on its own middle sample before anything is squared. With d = x − x[middle],
which is 0 at the middle sample, of weight w₀:

    var = Σ w d² − (Σ w d)² ≥ w₀ Σ w d²

so at most a digit is lost, and a constant window gives exactly 0. A separable window needs this along one axis at a
time, by the law of total variance: the variance of the column means about the window's mean, plus the mean of the
column variances.
"""

from typing import NamedTuple

import jax
import numpy as np

from edmf_jax.metrics.bands import Planes, cpu_fusion_barrier

IndexPairs = tuple[tuple[int, int], ...]


class WindowMoments(NamedTuple):
    """Moments of every window: the mean of each plane, and the (co)variance of each pair of planes."""

    means: Planes
    covariances: Planes


def window_moments(planes: Planes, pairs: IndexPairs, weights: np.ndarray) -> WindowMoments:
    """Moments under a separable, symmetric window, for all windows that lie inside the planes.

    Args:
      planes: planes `[..., H, W]` of one shape.
      pairs: which covariances to compute, as indices into `planes`; `(i, i)` is a variance.
      weights: the window along one axis, `[n]` with n odd and sum 1; the window is its outer product with itself.

    Returns:
      Moments `[..., H − n + 1, W − n + 1]`.
    """
    radius = len(weights) // 2

    def along_rows(columns: WindowMoments) -> WindowMoments:
        return _raw_moments(columns.means, pairs, weights, -1, inner=columns.covariances)

    columns = cpu_fusion_barrier(lambda *x: _raw_moments(x, pairs, weights, -2), *planes)
    columns = cpu_fusion_barrier(lambda *x: _central_moments(x[0], x[1:], pairs, -2, radius), columns, *planes)
    raw = cpu_fusion_barrier(along_rows, columns)
    return _central_moments(raw, columns.means, pairs, -1, radius)


def _raw_moments(planes: Planes, pairs: IndexPairs, weights: np.ndarray, axis: int,
                 inner: Planes = ()) -> WindowMoments:
    """First and second moments about the window's middle sample, along one axis.

    The two taps at equal distance from the middle share a weight, because the window is symmetric.

    Args:
      planes, pairs, weights: as in `window_moments`.
      axis: the axis of the window.
      inner: (co)variances within each sample, whose weighted mean is added to the second moments.
    """
    middle = len(weights) // 2
    length = planes[0].shape[axis] - len(weights) + 1
    tap = lambda x, i: jax.lax.slice_in_dim(x, middle + i, middle + i + length, axis=axis % x.ndim)
    centers = [tap(x, 0) for x in planes]
    shifts = [0.0] * len(planes)
    squares = [float(weights[middle]) * tap(x, 0) for x in inner] or [0.0] * len(pairs)
    for distance in range(1, middle + 1):
        weight = float(weights[middle + distance])
        after, before = ([tap(x, i) - c for x, c in zip(planes, centers)] for i in (distance, -distance))
        shifts = [s + weight * (p + q) for s, p, q in zip(shifts, after, before)]
        products = [after[i] * after[j] + before[i] * before[j] for i, j in pairs]
        if inner:
            products = [p + (tap(x, distance) + tap(x, -distance)) for p, x in zip(products, inner)]
        squares = [s + weight * p for s, p in zip(squares, products)]
    return WindowMoments(tuple(shifts), tuple(squares))


def _central_moments(raw: WindowMoments, planes: Planes, pairs: IndexPairs, axis: int, radius: int) -> WindowMoments:
    """Means and (co)variances, from the moments about the middle samples of `planes`."""
    middles = [jax.lax.slice_in_dim(x, radius, x.shape[axis] - radius, axis=axis % x.ndim) for x in planes]
    means = tuple(middle + shift for middle, shift in zip(middles, raw.means))
    covariances = tuple(s - raw.means[i] * raw.means[j] for s, (i, j) in zip(raw.covariances, pairs))
    return WindowMoments(means, covariances)
