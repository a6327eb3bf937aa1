"""Feature mutual information (FMI) in small windows.

Haghighat, Aghagolzadeh and Seyedarabi 2011, DOI 10.1016/j.compeleceng.2011.07.012;
windowed form ("Fast-FMI"): Haghighat and Razian 2014, 8th International Conference on
Application of Information and Communication Technologies (AICT), 1–3.
Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.metrics.bands import Planes, band_totals, stage
from edmf_jax.metrics.frames import Frame, real, whole
from edmf_jax.metrics.gradient import central_differences

WINDOW_PX = 3
FEATURES = ("pixel", "gradient")
_PLACES = WINDOW_PX**2


def feature_mutual_information(
    a: jax.Array,
    b: jax.Array,
    fused: jax.Array,
    *,
    frame: Frame | None = None,
    feature: str = "pixel",
    textbook: bool = False,
) -> jax.Array:
    """FMI, the mean over 3×3 windows of ½ (I(F, A) / mean entropy + I(F, B) / mean entropy).

    A window's feature values, rescaled to 0…1 and to sum 1, count as a
    distribution over its nine places (column by column); the joint distribution
    is the mixture of independence and of the Fréchet bound that has the
    windows' correlation.  About [0, 1] (the mixture may leave it a little),
    higher is better; 1 where all three are equal, constants and black included;
    NaN below 3 px on a side.

    Args:
      a, b, fused: planes of one shape.
      frame: true size of padded planes.
      feature: "pixel", grey levels, which the help of the authors' `fmi.m` calls its
        default (the code takes MATLAB's `edge` there, which we do not have); or "gradient".
      textbook: the gradient's magnitude, as in the paper, instead of its
        horizontal part alone, which is what the authors' MATLAB call returns.

    Raises:
      ValueError: an unknown feature.
    """
    if feature not in FEATURES:
        raise ValueError(f"feature_mutual_information: feature must be one of {FEATURES}, got {feature!r}")
    frame = whole(fused) if frame is None else frame
    if min(fused.shape[-2:]) < WINDOW_PX:
        return jnp.full(fused.shape[:-2], jnp.nan)
    planes = (a, b, fused)
    if feature == "gradient":
        planes = tuple(_gradient(real(x), frame, textbook) for x in planes)
    frame = frame.shrink(WINDOW_PX - 1, WINDOW_PX - 1)
    return band_totals(_maps, planes, frame, halo=WINDOW_PX - 1)[0] / (2 * frame.pixels)


def _gradient(x: jax.Array, frame: Frame, magnitude: bool) -> jax.Array:
    down, right = central_differences(x, frame)
    return jnp.sqrt(down * down + right * right) if magnitude else right


class _Windows(NamedTuple):
    """Every valid window as a distribution over its nine places, column by column: planes, or nine of them."""

    samples: Planes
    density: Planes
    cumulated: Planes
    spread: jax.Array  # standard deviation of the place, in places
    flat: jax.Array


def _maps(a: jax.Array, b: jax.Array, fused: jax.Array) -> list[jax.Array]:
    # On a leading axis, so that one piece of machine code serves all three.
    windows = _windows(jnp.stack([a, b, fused]))
    sources, fused = (jax.tree.map(lambda x, at=at: x[at], windows) for at in (slice(2), slice(2, 3)))
    shared = stage(_normalized_information, sources, fused, stage(_mixture, sources, fused))
    return [shared[0] + shared[1]]


def _windows(x: jax.Array) -> _Windows:
    height, width = x.shape[-2] - 2, x.shape[-1] - 2
    cut = lambda i, j: x[..., i : i + height, j : j + width]
    samples = tuple(cut(i, j) for j in range(WINDOW_PX) for i in range(WINDOW_PX))

    def scale(*samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The smallest sample, and what brings the others, less that, to sum 1; 0 for a constant window."""
        low = functools.reduce(jnp.minimum, samples)
        above = sum(x - low for x in samples)
        return low, jnp.where(above > 0, 1 / jnp.where(above > 0, above, 1), 0)

    def describe(low: jax.Array, factor: jax.Array, *samples: jax.Array) -> _Windows:
        flat = factor == 0
        density = tuple(jnp.where(flat, 1 / _PLACES, (x - low) * factor) for x in samples)
        cumulated = tuple(itertools.accumulate(density))
        mean = sum(i * p for i, p in enumerate(density))
        spread = jnp.sqrt(sum(jnp.square(i - mean) * p for i, p in enumerate(density)))
        return _Windows(samples, density, cumulated, spread, flat)

    return stage(describe, *stage(scale, *samples), *samples)


def _mixture(x: _Windows, y: _Windows) -> tuple[jax.Array, jax.Array]:
    """The share of the Fréchet bound in the joint distribution, and whether it is the lower bound."""
    p, q = ([d - 1 / _PLACES for d in w.density] for w in (x, y))
    product = lambda p, q: sum(s * t for s, t in zip(p, q))
    flat = x.flat | y.flat
    norm = jnp.sqrt(product(p, p) * product(q, q))
    correlation = jnp.where(flat, 0, product(p, q) / jnp.where(flat, 1, norm))
    lower = correlation < 0
    covariance = sum(_bound(p, q, lower) - p * q for p in x.cumulated for q in y.cumulated)
    spread = x.spread * y.spread
    usable = (correlation != 0) & (spread > 0) & (covariance != 0)
    return jnp.where(usable, correlation * spread / jnp.where(usable, covariance, 1), 0), lower


def _normalized_information(x: _Windows, y: _Windows, mixture: tuple[jax.Array, jax.Array]) -> jax.Array:
    """2 I / (H(x) + H(y)) of two sets of windows; 1 where they are equal, 0 where nothing is shared."""
    share, lower = mixture

    # A scan over the places of x: unrolled, its 81 terms compile ten times as long.
    def add_place(value: tuple[jax.Array, Planes], place: tuple[jax.Array, jax.Array]) -> tuple[tuple, None]:
        entropy, before = value
        p, cumulated_p = place
        here = tuple(_bound(cumulated_p, q, lower) for q in y.cumulated)
        rise = [now - then for now, then in zip(here, before)]
        for q, up, up_before in zip(y.density, rise, [0.0, *rise]):
            entropy += _surprise(share * (up - up_before) + (1 - share) * (p * q))
        return (entropy, here), None

    zero = jnp.zeros_like(share)
    places = jnp.stack(x.density), jnp.stack(x.cumulated)
    (joint_entropy, _), _ = jax.lax.scan(add_place, (zero, (zero,) * _PLACES), places)
    marginal = sum(_surprise(p) for p in x.density + y.density)
    value = jnp.where(marginal > 0, 2 * (marginal - joint_entropy) / jnp.where(marginal > 0, marginal, 1), 0)
    equal = functools.reduce(jnp.logical_and, [p == q for p, q in zip(x.samples, y.samples)])
    return jnp.where(equal, 1, value)


def _bound(p: jax.Array, q: jax.Array, lower: jax.Array) -> jax.Array:
    """The Fréchet bound, upper or lower, of a joint distribution with cumulated marginals p and q."""
    return jnp.where(lower, jnp.maximum(p + q - 1, 0), jnp.minimum(p, q))


def _surprise(p: jax.Array) -> jax.Array:
    """−p log2 |p|; a mixture may have slightly negative entries."""
    return -p * jnp.log2(jnp.where(p == 0, 1, jnp.abs(p)))
