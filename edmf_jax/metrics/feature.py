"""Feature mutual information (FMI) in small windows.

Haghighat, Aghagolzadeh and Seyedarabi 2011, DOI 10.1016/j.compeleceng.2011.07.012;
windowed form ("fast FMI"): Haghighat and Razian 2014, DOI 10.1109/ICAICT.2014.7036000.
Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes.
"""

import jax
import jax.numpy as jnp

from edmf_jax.metrics.bands import band_totals, stage
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
      feature: "pixel", grey levels, the default of the authors' `fmi.m`; or "gradient".
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


def _maps(a: jax.Array, b: jax.Array, fused: jax.Array) -> list[jax.Array]:
    windows_f = stage(_windows, fused)
    shared = [stage(_normalized_information, stage(_windows, x), windows_f) for x in (a, b)]
    return [shared[0] + shared[1]]


def _windows(x: jax.Array) -> jax.Array:
    """The nine samples of every valid window, column by column: `[9, ..., H−2, W−2]`."""
    height, width = x.shape[-2] - 2, x.shape[-1] - 2
    return jnp.stack([x[..., i : i + height, j : j + width] for j in range(WINDOW_PX) for i in range(WINDOW_PX)])


def _normalized_information(x: jax.Array, y: jax.Array) -> jax.Array:
    """2 I / (H(x) + H(y)) of two sets of windows; 1 where they are equal, 0 where nothing is shared."""
    p, q = _distribution(x), _distribution(y)
    cumulated_p, cumulated_q = _cumulate(p), _cumulate(q)
    correlation = _correlation(x, y, p, q)
    bound = _frechet_bound(cumulated_p, cumulated_q, correlation < 0)
    spread = _deviation(p) * _deviation(q)
    covariance = sum(bound(i).sum(0) for i in range(_PLACES)) - cumulated_p.sum(0) * cumulated_q.sum(0)
    usable = (correlation != 0) & (spread > 0) & (covariance != 0)
    mixture = jnp.where(usable, correlation * spread / jnp.where(usable, covariance, 1), 0)

    def add_place(i: jax.Array, value: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        entropy, before = value
        here = bound(i)
        rise = here - before
        joint = rise - jnp.concatenate([jnp.zeros_like(rise[:1]), rise[:-1]])
        joint = mixture * joint + (1 - mixture) * p[i] * q
        return entropy + _entropy(joint), here

    entropy, _ = jax.lax.fori_loop(0, _PLACES, add_place, (jnp.zeros_like(p[0]), jnp.zeros_like(q)))
    marginal = _entropy(p) + _entropy(q)
    information = marginal - entropy
    value = jnp.where(marginal > 0, 2 * information / jnp.where(marginal > 0, marginal, 1), 0)
    return jnp.where(jnp.all(x == y, axis=0), 1, value)


def _distribution(x: jax.Array) -> jax.Array:
    """Windows rescaled to 0…1, then to sum 1; even where they are constant."""
    low, high = x.min(0), x.max(0)
    flat = low == high
    scaled = jnp.where(flat, 1, (x - low) / jnp.where(flat, 1, high - low))
    return scaled / scaled.sum(0)


def _cumulate(p: jax.Array) -> jax.Array:
    sums = [p[0]]
    for i in range(1, _PLACES):
        sums.append(sums[-1] + p[i])
    return jnp.stack(sums)


def _correlation(x: jax.Array, y: jax.Array, p: jax.Array, q: jax.Array) -> jax.Array:
    """Pearson's correlation over the nine places; 0 where a window is constant."""
    flat = (x.min(0) == x.max(0)) | (y.min(0) == y.max(0))
    p, q = p - 1 / _PLACES, q - 1 / _PLACES
    norm = jnp.sqrt((p * p).sum(0) * (q * q).sum(0))
    return jnp.where(flat, 0, (p * q).sum(0) / jnp.where(flat, 1, norm))


def _deviation(p: jax.Array) -> jax.Array:
    """Standard deviation of the place, in places."""
    place = jnp.arange(_PLACES, dtype=p.dtype).reshape(-1, *[1] * (p.ndim - 1))
    mean = (place * p).sum(0)
    return jnp.sqrt((jnp.square(place - mean) * p).sum(0))


def _frechet_bound(p: jax.Array, q: jax.Array, lower: jax.Array):
    """Joint cumulated distribution with place i of p and all of q: the upper bound, or the lower one."""
    return lambda i: jnp.where(lower, jnp.maximum(p[i] + q - 1, 0), jnp.minimum(p[i], q))


def _entropy(p: jax.Array) -> jax.Array:
    """−Σ p log2 |p| along the first axis; a mixture may have slightly negative entries."""
    return -(p * jnp.log2(jnp.where(p == 0, 1, jnp.abs(p)))).sum(0)
