"""Q_P: how well the fused picture keeps the sources' edges and corners, as phase congruency finds them."""

import jax
import jax.numpy as jnp

from edmf_jax.core.filters import gaussian_kernel
from edmf_jax.core.valid_size import ValidSize, full_size, zero_outside
from edmf_jax.metrics.bands import Planes, band_totals
from edmf_jax.metrics.congruency import PhaseFeatures, phase_congruency
from edmf_jax.metrics.windows import window_moments

FEATURE_THRESHOLD = 0.1
WINDOW_PX, SIGMA_PX = 11, 1.5
_EPSILON = 1e-4


def phase_congruency_quality(a: jax.Array, b: jax.Array, fused: jax.Array, *,
                             valid_size: ValidSize | None = None) -> jax.Array:
    """Q_P: the product of three correlations, of phase congruency and of its maximum and minimum moments.

    For each of the three features, the windowed correlation (11×11 Gaussian, σ = 1.5 px, zero borders, constant 10⁻⁴)
    of the fused picture's feature is taken with A's, with B's and with that of the source of stronger congruency.  The
    largest of the three is averaged over the pixels where a source has a congruency above 0.1.

    In about [−1, 1], no unit; higher is better.  NaN where neither source has a feature (constant, black or tiny
    pictures).  The definition has two flaws: equal pictures score below 1 (0.7 to 0.9, or a little more), because only
    the sources' features are cut off at the threshold; and a constant fused picture scores 1, because its correlation
    is constant over constant.

    Takes two seconds of a CPU core for a megapixel outside `jit`, and twice that inside it with a traced valid size
    (`congruency`).

    Zhao, Laganière and Liu 2007, Int. J. Innovative Computing, Information and Control 3(6A), 1433–1447 (no DOI), with
    the constants of the usual implementation (`metricZhao` of zhengliu6699/imageFusionMetrics).

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    return _feature_quality(phase_congruency(jnp.stack([a, b, fused]), valid_size), valid_size)


@jax.jit
def _feature_quality(features: PhaseFeatures, valid_size: ValidSize) -> jax.Array:
    """Q_P from the features of A, B and the fused picture, which lie on a leading axis."""
    of_a, of_b, of_fused = (PhaseFeatures(*(zero_outside(f[i], valid_size) for f in features)) for i in range(3))
    a_is_stronger = of_a.congruency > of_b.congruency
    strongest = PhaseFeatures(*(jnp.where(a_is_stronger, p, q) for p, q in zip(of_a, of_b)))
    masks = [x.congruency > FEATURE_THRESHOLD for x in (of_a, of_b, strongest)]
    count = jnp.sum(jnp.sum(masks[2], axis=-1), axis=-1)
    quality = 1.0
    for *references, fused in zip(of_a, of_b, strongest, of_fused):
        masked = [jnp.where(m, x, 0) for m, x in zip(masks, references)]
        quality = quality * _correlation_total((*masked, fused), masks, valid_size) / count
    return quality


def _correlation_total(planes: Planes, masks: list[jax.Array], valid_size: ValidSize) -> jax.Array:
    """Sum over pixels of the largest of three windowed correlations.

    Args:
      planes: three references, and the plane that each is correlated with.
      masks: one per reference; its correlation counts as 0 where the mask is False.
      valid_size: true size of the planes.
    """
    halo, last = WINDOW_PX - 1, len(planes) - 1
    pad = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(halo // 2, halo // 2)] * 2)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))

    def maps(*band: jax.Array) -> list[jax.Array]:
        planes, masks = band[: last + 1], band[last + 1 :]
        covariances = window_moments(planes, pairs, gaussian_kernel(WINDOW_PX, SIGMA_PX)).covariances
        variances, with_last = covariances[: last + 1], covariances[last + 1 :]
        largest = 0.0
        for variance, covariance, mask in zip(variances, with_last, masks):
            norm = jnp.sqrt(jnp.maximum(variance * variances[last], 0))
            middle = mask[..., halo // 2 : -(halo // 2), halo // 2 : -(halo // 2)] > 0
            value = jnp.where(middle, (covariance + _EPSILON) / (norm + _EPSILON), 0)
            largest = value if variance is variances[0] else jnp.maximum(largest, value)
        return [largest]

    padded = [pad(x) for x in planes] + [pad(m.astype(jnp.uint8)) for m in masks]
    return band_totals(maps, tuple(padded), valid_size, halo)[0]
