"""Q_CB: how much of the sources' local contrast, as the eye perceives it, the fused picture keeps."""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import correlate1d
from edmf_jax.core.valid_size import ValidSize, as_float, full_size, valid_mask, zero_outside
from edmf_jax.metrics.bands import band_totals, cpu_fusion_barrier

# Contrast sensitivity S(r) = exp(−(r/F0)²) − A exp(−(r/F1)²); r in cycles per 1/15 of the picture.
F0, F1, A = 15.3870, 1.3456, 0.7622
CYCLES = 15
# Local contrast compares two Gaussian blurs (31×31 windows); masking turns the contrast C into C³ / (C² + Z).
NARROW_PX, WIDE_PX, RADIUS_PX = 2.0, 4.0, 15
Z = 1e-4


def chen_blum_quality(a: jax.Array, b: jax.Array, fused: jax.Array, *,
                      valid_size: ValidSize | None = None) -> jax.Array:
    """Q_CB: the mean of the preserved contrast, weighted by the sources' contrast.

    Each picture is stretched to 0…255, rounded, and filtered with the eye's contrast sensitivity (circular borders).
    Its local contrast is C = |G₂∗x / G₄∗x − 1|, and C′ the same after masking.  With Q_X = min(C′X, C′F) /
    max(C′X, C′F) and λ = C′A² / (C′A² + C′B²), the value is the mean of λ Q_A + (1 − λ) Q_B.

    In [0, 1], no unit; higher is better.  1 where all three pictures are equal, or all constant (also black).  Q_X is 1
    where neither picture has contrast, and λ is ½ where neither source has (0/0 in the usual implementation).  A
    constant picture counts as black.

    Chen and Blum 2009, DOI 10.1016/j.imavis.2007.12.002, with the constants of the usual implementation
    (`metricChenBlum` of zhengliu6699/imageFusionMetrics).

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    contrasts = tuple(_masked_contrast(x, valid_size) for x in (a, b, fused))

    def maps(a: jax.Array, b: jax.Array, fused: jax.Array) -> list[jax.Array]:
        weight = _divide(a * a, a * a + b * b, 0.5)
        preserved = [_divide(jnp.minimum(x, fused), jnp.maximum(x, fused), 1) for x in (a, b)]
        return [weight * preserved[0] + (1 - weight) * preserved[1]]

    return band_totals(maps, contrasts, valid_size)[0] / valid_size.pixels


def _divide(numerator: jax.Array, denominator: jax.Array, default: float) -> jax.Array:
    """The quotient, `default` where the denominator is 0."""
    is_zero = denominator == 0
    return jnp.where(is_zero, default, numerator / jnp.where(is_zero, 1, denominator))


def _masked_contrast(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """C′ of every valid pixel."""
    filtered = _contrast_sensitivity(_stretch(as_float(x), valid_size), valid_size)
    padding = [(0, 0)] * (x.ndim - 2) + [(RADIUS_PX, RADIUS_PX)] * 2
    filtered = jnp.pad(filtered, padding)
    narrow, wide = _blur(filtered, NARROW_PX), _blur(filtered, WIDE_PX)
    contrast = jnp.abs(jnp.where(wide == 0, 0, narrow / jnp.where(wide == 0, 1, wide) - 1))
    squared = contrast * contrast
    return contrast * squared / (squared + Z)


def _stretch(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The valid part stretched to 0…255 and rounded to gray levels; 0 outside, and where the picture is constant."""
    valid = valid_mask(x, valid_size)
    low = jnp.min(jnp.where(valid, x, jnp.inf), axis=(-2, -1), keepdims=True)
    high = jnp.max(jnp.where(valid, x, -jnp.inf), axis=(-2, -1), keepdims=True)
    constant = high == low
    # Half a level rounds up, as MATLAB's round.
    levels = jnp.floor((x - low) / jnp.where(constant, 1, high - low) * 255 + 0.5)
    return zero_outside(jnp.where(constant, 0, levels), valid_size)


def _contrast_sensitivity(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The valid part, as one period of a periodic picture, filtered with S(r).

    S is a difference of two functions that are separable in frequency, so each filter is one small circulant matrix
    per side: exact at any true size, without a Fourier transform of that size.
    """

    def low_pass(cut_off: float) -> jax.Array:
        rows, columns = (_circulant(x.shape[i], tuple(valid_size)[i], cut_off * CYCLES, x.dtype) for i in (-2, -1))
        product = lambda p, q: jnp.matmul(p, q, precision=jax.lax.Precision.HIGHEST)
        return product(product(rows, x), columns)

    return low_pass(F0) - A * low_pass(F1)


def _circulant(length: int, size: int | jax.Array, cut_off: float, dtype: jnp.dtype) -> jax.Array:
    """The matrix of a Gaussian low-pass filter on periods of `size` samples.

    It multiplies the frequency of k cycles per period by exp(−(k / cut_off)²).

    Returns:
      `[length, length]`; 0 outside the first `size` rows and columns.
    """
    index = jnp.arange(length)
    # Only frequencies ≥ 0 are summed: each stands for two, ±k, except 0 and the Nyquist frequency of an even size.
    frequency = index[: length // 2 + 1, None]
    count = jnp.where((frequency == 0) | (2 * frequency == size), 1, 2)
    response = jnp.where(2 * frequency <= size, count * jnp.exp(-jnp.square(frequency.astype(dtype) / cut_off)), 0)
    # Whole periods are removed in integers: float32 phases of 10⁶ radians would be noise.
    phase = ((frequency * index[None, :]) % size).astype(dtype) * (2 * np.pi / size)
    kernel = jnp.sum(response * jnp.cos(phase), axis=0) / size
    valid = index < size
    distance = (index[:, None] - index[None, :]) % size
    return jnp.where(valid[:, None] & valid[None, :], kernel[distance], 0)


def _blur(padded: jax.Array, sigma_px: float) -> jax.Array:
    """Gaussian blur without padding; as in the usual implementation, the weights do not add up to exactly 1."""
    offsets = np.arange(-RADIUS_PX, RADIUS_PX + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma_px**2)) / (np.sqrt(2 * np.pi) * sigma_px)
    columns = cpu_fusion_barrier(lambda x: correlate1d(x, weights, -2), padded)
    return cpu_fusion_barrier(lambda x: correlate1d(x, weights, -1), columns)
