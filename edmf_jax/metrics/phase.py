"""Q_P: edges and corners, found by phase congruency, kept from the sources.

Zhao, Laganière and Liu 2007, Int. J. Innovative Computing, Information and
Control 3(6A), 1433–1447 (no DOI), with the constants of the usual implementation
(`metricZhao` of zhengliu6699/imageFusionMetrics).  Planes are `[..., H, W]` in
0…255; `frame` gives the true size of padded planes (`frames`).
"""

import jax
import jax.numpy as jnp

from edmf_jax.filters import gaussian_kernel
from edmf_jax.metrics.bands import Planes, band_totals
from edmf_jax.metrics.congruency import Features, phase_congruency
from edmf_jax.metrics.frames import Frame, blacken, whole
from edmf_jax.metrics.windows import window_moments

FEATURE_THRESHOLD = 0.1
WINDOW_PX, SIGMA_PX = 11, 1.5
_EPSILON = 1e-4


def phase_congruency_quality(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """Q_P: the product of three correlations, of phase congruency and of its maximum and minimum moments.

    Each is the largest windowed correlation (11×11 Gaussian, σ = 1.5 px, zero
    borders, constant 10⁻⁴) of the fused picture's feature with A's, B's and the
    stronger one of both, averaged over the pixels where a source has a
    congruency above 0.1.  About [−1, 1], higher is better, with two flaws that
    come with the definition: equal pictures score below 1 (some 0.7 to 0.9),
    because only the sources' features are cut off at the threshold, and a
    constant fused picture scores 1, because its correlation is constant over
    constant.  NaN where neither source has a feature (constant, tiny pictures).
    Two seconds of a CPU core for a megapixel outside of `jit`; within, with a
    traced frame, twice that (`congruency`).
    """
    frame = whole(fused) if frame is None else frame
    return _feature_quality(phase_congruency(jnp.stack([a, b, fused]), frame), frame)


@jax.jit
def _feature_quality(features: Features, frame: Frame) -> jax.Array:
    """The product of the correlations, of the features of A, B and the fused picture on a leading axis."""
    of_a, of_b, of_f = (Features(*(blacken(f[i], frame) for f in features)) for i in range(3))
    stronger = of_a.congruency > of_b.congruency
    strongest = Features(*(jnp.where(stronger, p, q) for p, q in zip(of_a, of_b)))
    masks = [x.congruency > FEATURE_THRESHOLD for x in (of_a, of_b, strongest)]
    count = jnp.sum(jnp.sum(masks[2], axis=-1), axis=-1)
    quality = 1.0
    for in_a, in_b, in_both, in_f in zip(of_a, of_b, strongest, of_f):
        masked = [jnp.where(m, x, 0) for m, x in zip(masks, (in_a, in_b, in_both))]
        quality = quality * _correlation_total((*masked, in_f), masks, frame) / count
    return quality


def _correlation_total(planes: Planes, masks: list[jax.Array], frame: Frame) -> jax.Array:
    """Σ of the largest of three windowed correlations with the last plane, each where its mask holds, else 0."""
    halo, last = WINDOW_PX - 1, len(planes) - 1
    pad = lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(halo // 2, halo // 2)] * 2)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))

    def maps(*cut: jax.Array) -> list[jax.Array]:
        planes, masks = cut[: last + 1], cut[last + 1 :]
        covariances = window_moments(planes, pairs, gaussian_kernel(WINDOW_PX, SIGMA_PX)).covariances
        variances, shared = covariances[: last + 1], covariances[last + 1 :]
        largest = 0.0
        for variance, covariance, mask in zip(variances, shared, masks):
            norm = jnp.sqrt(jnp.maximum(variance * variances[last], 0))
            middle = mask[..., halo // 2 : -(halo // 2), halo // 2 : -(halo // 2)] > 0
            value = jnp.where(middle, (covariance + _EPSILON) / (norm + _EPSILON), 0)
            largest = value if variance is variances[0] else jnp.maximum(largest, value)
        return [largest]

    padded = [pad(x) for x in planes] + [pad(m.astype(jnp.uint8)) for m in masks]
    return band_totals(maps, tuple(padded), frame, halo)[0]
