"""Feature mutual information (FMI) in small windows."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.core.valid_size import ValidSize, as_float, full_size
from edmf_jax.metrics.bands import Planes, band_totals, cpu_fusion_barrier
from edmf_jax.metrics.gradient import central_differences

WINDOW_PX = 3
FEATURES = ("pixel", "gradient")
_PIXELS = WINDOW_PX**2


def feature_mutual_information(
    a: jax.Array,
    b: jax.Array,
    fused: jax.Array,
    *,
    valid_size: ValidSize | None = None,
    feature: str = "pixel",
    textbook: bool = False,
) -> jax.Array:
    """FMI: the mean over 3×3 windows of ½ (I(F, A) / mean entropy + I(F, B) / mean entropy).

    A window's feature values, rescaled to 0…1 and then to sum 1, are taken as a probability distribution over its nine
    pixels (column by column).  The joint distribution of two windows is a mixture of independence and of the Fréchet
    bound, with the weight that gives the windows' correlation.

    In about [0, 1] (the mixture may leave it a little), no unit; higher is better.  1 where all three pictures are
    equal, constant and black ones included.  Two windows of which one is constant count 0, unless they are equal.  NaN
    if a side is shorter than 3 px.

    Haghighat, Aghagolzadeh and Seyedarabi 2011, DOI 10.1016/j.compeleceng.2011.07.012; the windowed form ("Fast-FMI"):
    Haghighat and Razian 2014, DOI 10.1109/ICAICT.2014.7036000.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.
      feature: "pixel", the gray levels, which the help of the authors' `fmi.m` calls its default (its code takes
        MATLAB's `edge`, which we do not have); or "gradient".
      textbook: for "gradient", the gradient's magnitude, as in the paper, instead of its horizontal part alone, which
        is what the authors' MATLAB call returns.

    Returns:
      One number per plane, `[...]`.

    Raises:
      ValueError: an unknown feature.
    """
    if feature not in FEATURES:
        raise ValueError(f"feature_mutual_information: feature must be one of {FEATURES}, got {feature!r}")
    valid_size = full_size(fused) if valid_size is None else valid_size
    if min(fused.shape[-2:]) < WINDOW_PX:
        return jnp.full(fused.shape[:-2], jnp.nan)
    planes = (a, b, fused)
    if feature == "gradient":
        planes = tuple(_gradient(as_float(x), valid_size, textbook) for x in planes)
    valid_size = valid_size.shrink(WINDOW_PX - 1, WINDOW_PX - 1)
    return band_totals(_maps, planes, valid_size, halo=WINDOW_PX - 1)[0] / (2 * valid_size.pixels)


def _gradient(x: jax.Array, valid_size: ValidSize, magnitude: bool) -> jax.Array:
    """The gradient's magnitude, or its horizontal part."""
    down, right = central_differences(x, valid_size)
    return jnp.sqrt(down * down + right * right) if magnitude else right


class _Windows(NamedTuple):
    """Every window inside the planes as a distribution over its nine pixels, column by column.

    Attributes:
      samples: the feature values, nine planes.
      density: the probabilities, nine planes.
      cumulative: their cumulative sums, nine planes.
      deviation: standard deviation of the pixel's number (0…8), one plane.
      constant: whether all nine samples are equal, one plane.
    """

    samples: Planes
    density: Planes
    cumulative: Planes
    deviation: jax.Array
    constant: jax.Array


def _maps(a: jax.Array, b: jax.Array, fused: jax.Array) -> list[jax.Array]:
    # Stacked on a leading axis, so that one piece of machine code serves all three.
    windows = _windows(jnp.stack([a, b, fused]))
    sources, fused = (jax.tree.map(lambda x, at=at: x[at], windows) for at in (slice(2), slice(2, 3)))
    mixture = cpu_fusion_barrier(_mixture, sources, fused)
    information = cpu_fusion_barrier(_normalized_information, sources, fused, mixture)
    return [information[0] + information[1]]


def _windows(x: jax.Array) -> _Windows:
    height, width = x.shape[-2] - 2, x.shape[-1] - 2
    shifted = lambda i, j: x[..., i : i + height, j : j + width]
    samples = tuple(shifted(i, j) for j in range(WINDOW_PX) for i in range(WINDOW_PX))

    def scale(*samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The smallest sample, and the factor that gives the samples minus it the sum 1; 0 for a constant window."""
        low = functools.reduce(jnp.minimum, samples)
        above = sum(x - low for x in samples)
        return low, jnp.where(above > 0, 1 / jnp.where(above > 0, above, 1), 0)

    def describe(low: jax.Array, factor: jax.Array, *samples: jax.Array) -> _Windows:
        constant = factor == 0
        density = tuple(jnp.where(constant, 1 / _PIXELS, (x - low) * factor) for x in samples)
        cumulative = tuple(itertools.accumulate(density))
        mean = sum(i * p for i, p in enumerate(density))
        deviation = jnp.sqrt(sum(jnp.square(i - mean) * p for i, p in enumerate(density)))
        return _Windows(samples, density, cumulative, deviation, constant)

    return cpu_fusion_barrier(describe, *cpu_fusion_barrier(scale, *samples), *samples)


def _mixture(x: _Windows, y: _Windows) -> tuple[jax.Array, jax.Array]:
    """The weight of the Fréchet bound in the joint distribution, and whether it is the lower bound."""
    p, q = ([d - 1 / _PIXELS for d in w.density] for w in (x, y))
    product = lambda p, q: sum(s * t for s, t in zip(p, q))
    constant = x.constant | y.constant
    norm = jnp.sqrt(product(p, p) * product(q, q))
    correlation = jnp.where(constant, 0, product(p, q) / jnp.where(constant, 1, norm))
    is_lower = correlation < 0
    covariance = sum(_frechet_bound(p, q, is_lower) - p * q for p in x.cumulative for q in y.cumulative)
    deviations = x.deviation * y.deviation
    usable = (correlation != 0) & (deviations > 0) & (covariance != 0)
    return jnp.where(usable, correlation * deviations / jnp.where(usable, covariance, 1), 0), is_lower


def _normalized_information(x: _Windows, y: _Windows, mixture: tuple[jax.Array, jax.Array]) -> jax.Array:
    """2 I / (H(x) + H(y)) of two sets of windows: 1 where they are equal, 0 where they share nothing."""
    weight, is_lower = mixture

    # A scan over the pixels of x: unrolled, its 81 terms take ten times as long to compile.
    def add_pixel(value: tuple[jax.Array, Planes], pixel: tuple[jax.Array, jax.Array]) -> tuple[tuple, None]:
        entropy, bound_before = value
        p, cumulative_p = pixel
        bound = tuple(_frechet_bound(cumulative_p, q, is_lower) for q in y.cumulative)
        steps = [after - before for after, before in zip(bound, bound_before)]
        for q, step, step_before in zip(y.density, steps, [0.0, *steps]):
            entropy += _entropy_term(weight * (step - step_before) + (1 - weight) * (p * q))
        return (entropy, bound), None

    zero = jnp.zeros_like(weight)
    pixels = jnp.stack(x.density), jnp.stack(x.cumulative)
    (joint_entropy, _), _ = jax.lax.scan(add_pixel, (zero, (zero,) * _PIXELS), pixels)
    marginal = sum(_entropy_term(p) for p in x.density + y.density)
    value = jnp.where(marginal > 0, 2 * (marginal - joint_entropy) / jnp.where(marginal > 0, marginal, 1), 0)
    equal = functools.reduce(jnp.logical_and, [p == q for p, q in zip(x.samples, y.samples)])
    return jnp.where(equal, 1, value)


def _frechet_bound(p: jax.Array, q: jax.Array, is_lower: jax.Array) -> jax.Array:
    """The lower or upper Fréchet bound of a joint distribution with the cumulative marginals p and q."""
    return jnp.where(is_lower, jnp.maximum(p + q - 1, 0), jnp.minimum(p, q))


def _entropy_term(p: jax.Array) -> jax.Array:
    """−p log2 |p|; the absolute value because a mixture may have slightly negative entries."""
    return -p * jnp.log2(jnp.where(p == 0, 1, jnp.abs(p)))
