"""Windowed means, variances and covariances that float32 can bear.

The usual E[x²] − μ² loses up to 4·10⁻³ on 0…255 data in float32, more than the
constants of SSIM and VIF.  Here every window is centred on its own middle
sample before anything is squared: with d = x − x[middle], whose weight w₀ adds
nothing, var = Σ w d² − (Σ w d)² ≥ w₀ Σ w d², so that at most a digit is lost,
and a flat window gives exactly 0.  The separable window needs this along one
axis at a time (law of total variance): the variance of the column means about
the window's mean, plus the mean of the column variances.
"""

from typing import NamedTuple

import jax
import numpy as np

from edmf_jax.metrics.bands import Planes, stage

Pairs = tuple[tuple[int, int], ...]


class Moments(NamedTuple):
    """About every valid window: the mean of each plane, the (co)variance of each pair of planes."""

    means: Planes
    covariances: Planes


def window_moments(planes: Planes, pairs: Pairs, weights: np.ndarray) -> Moments:
    """Moments under the separable window `weights`ᵀ·`weights` (odd length, sum 1), valid region.

    Args:
      planes: planes `[..., H, W]` of one shape.
      pairs: which covariances, as indices into `planes`; `(i, i)` is a variance.
      weights: the window along one axis.
    """
    reach = len(weights) // 2

    def across(columns: Moments) -> Moments:
        return _raw_moments(columns.means, pairs, weights, -1, within=columns.covariances)

    columns = stage(lambda *x: _raw_moments(x, pairs, weights, -2), *planes)
    columns = stage(lambda *x: _central_moments(x[0], x[1:], pairs, -2, reach), columns, *planes)
    raw = stage(across, columns)
    return _central_moments(raw, columns.means, pairs, -1, reach)


def _raw_moments(planes: Planes, pairs: Pairs, weights: np.ndarray, axis: int, within: Planes = ()) -> Moments:
    """First and second moments about the middle sample of a window along one axis, `within` added to the second.

    The window is symmetric: two taps share a weight.
    """
    middle = len(weights) // 2
    length = planes[0].shape[axis] - len(weights) + 1
    tap = lambda x, i: jax.lax.slice_in_dim(x, middle + i, middle + i + length, axis=axis % x.ndim)
    centres = [tap(x, 0) for x in planes]
    shifts = [0.0] * len(planes)
    squares = [float(weights[middle]) * tap(x, 0) for x in within] or [0.0] * len(pairs)
    for distance in range(1, middle + 1):
        weight = float(weights[middle + distance])
        after, before = ([tap(x, i) - c for x, c in zip(planes, centres)] for i in (distance, -distance))
        shifts = [s + weight * (p + q) for s, p, q in zip(shifts, after, before)]
        products = [after[i] * after[j] + before[i] * before[j] for i, j in pairs]
        if within:
            products = [p + (tap(x, distance) + tap(x, -distance)) for p, x in zip(products, within)]
        squares = [s + weight * p for s, p in zip(squares, products)]
    return Moments(tuple(shifts), tuple(squares))


def _central_moments(raw: Moments, planes: Planes, pairs: Pairs, axis: int, reach: int) -> Moments:
    """Means and (co)variances from the moments about the middle samples of `planes`."""
    middles = [jax.lax.slice_in_dim(x, reach, x.shape[axis] - reach, axis=axis % x.ndim) for x in planes]
    means = tuple(middle + shift for middle, shift in zip(middles, raw.means))
    covariances = tuple(s - raw.means[i] * raw.means[j] for s, (i, j) in zip(raw.covariances, pairs))
    return Moments(means, covariances)
