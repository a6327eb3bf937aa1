"""Q_CB: contrast as the eye sees it, kept from the sources.

Chen and Blum 2009, Image and Vision Computing 27(10), 1421–1432, with the constants
of the usual implementation (`metricChenBlum` of zhengliu6699/imageFusionMetrics).
Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.filters import correlate1d
from edmf_jax.metrics.bands import band_totals, stage
from edmf_jax.metrics.frames import Frame, blacken, inside, real, whole

# Contrast sensitivity S(r) = exp(−(r/F0)²) − A exp(−(r/F1)²); r in cycles per 1/15 of the picture.
F0, F1, A = 15.3870, 1.3456, 0.7622
CYCLES = 15
# Local contrast at two Gaussian scales [px], 31×31 windows, and its masking C³ / (C² + Z).
NARROW_PX, WIDE_PX, REACH_PX = 2.0, 4.0, 15
Z = 1e-4


def chen_blum_quality(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """Q_CB: preserved contrast, weighted with the sources' contrast and averaged.

    Each picture is stretched to 0…255 and rounded, filtered with the eye's
    contrast sensitivity (circular borders), and its masked local contrast C′
    taken, C = |G₂∗x / G₄∗x − 1|.  With Q_X = min(C′X, C′F) / max(C′X, C′F) and
    λ = C′A² / (C′A² + C′B²), the value is the mean of λ Q_A + (1 − λ) Q_B.
    [0, 1], higher is better; 1 where all three are equal.  Where neither
    picture has contrast Q_X = 1, where neither source has, λ = ½ (0/0 in the
    usual implementation); a constant picture counts as black.
    """
    frame = whole(fused) if frame is None else frame
    contrasts = tuple(_masked_contrast(x, frame) for x in (a, b, fused))

    def maps(a: jax.Array, b: jax.Array, fused: jax.Array) -> list[jax.Array]:
        share = _ratio(a * a, a * a + b * b, 0.5)
        kept = [_ratio(jnp.minimum(x, fused), jnp.maximum(x, fused), 1) for x in (a, b)]
        return [share * kept[0] + (1 - share) * kept[1]]

    return band_totals(maps, contrasts, frame)[0] / frame.pixels


def _ratio(part: jax.Array, all_of_it: jax.Array, of_nothing: float) -> jax.Array:
    nothing = all_of_it == 0
    return jnp.where(nothing, of_nothing, part / jnp.where(nothing, 1, all_of_it))


def _masked_contrast(x: jax.Array, frame: Frame) -> jax.Array:
    """C′ about every pixel of the frame."""
    seen = _contrast_sensitivity(_stretch(real(x), frame), frame)
    padding = [(0, 0)] * (x.ndim - 2) + [(REACH_PX, REACH_PX)] * 2
    seen = jnp.pad(seen, padding)
    narrow, wide = _blur(seen, NARROW_PX), _blur(seen, WIDE_PX)
    contrast = jnp.abs(jnp.where(wide == 0, 0, narrow / jnp.where(wide == 0, 1, wide) - 1))
    squared = contrast * contrast
    return contrast * squared / (squared + Z)


def _stretch(x: jax.Array, frame: Frame) -> jax.Array:
    """The frame stretched to 0…255 and rounded to levels; 0 beyond it, and where it is constant."""
    here = inside(x, frame)
    low = jnp.min(jnp.where(here, x, jnp.inf), axis=(-2, -1), keepdims=True)
    high = jnp.max(jnp.where(here, x, -jnp.inf), axis=(-2, -1), keepdims=True)
    flat = high == low
    # Half a level rounds up, as MATLAB's round.
    levels = jnp.floor((x - low) / jnp.where(flat, 1, high - low) * 255 + 0.5)
    return blacken(jnp.where(flat, 0, levels), frame)


def _contrast_sensitivity(x: jax.Array, frame: Frame) -> jax.Array:
    """S(r) applied to the picture as one period.

    S is a difference of two separable functions of frequency, so that each is
    one small circulant matrix per side: exact at any true size without a
    transform of that size.
    """

    def gaussian(cut_off: float) -> jax.Array:
        rows, columns = (_circulant(x.shape[i], tuple(frame)[i], cut_off * CYCLES, x.dtype) for i in (-2, -1))
        product = lambda p, q: jnp.matmul(p, q, precision=jax.lax.Precision.HIGHEST)
        return product(product(rows, x), columns)

    return gaussian(F0) - A * gaussian(F1)


def _circulant(length: int, size: int | jax.Array, cut_off: float, dtype: jnp.dtype) -> jax.Array:
    """The matrix that multiplies a period of `size` samples by exp(−(k / cut_off)²) at its k-th frequency; else 0."""
    place = jnp.arange(length)
    # Frequencies −size/2 … (size−1)/2: each but 0, and the last of an even size, stands for two.
    frequency = place[: length // 2 + 1, None]
    count = jnp.where((frequency == 0) | (2 * frequency == size), 1, 2)
    response = jnp.where(2 * frequency <= size, count * jnp.exp(-jnp.square(frequency.astype(dtype) / cut_off)), 0)
    # Whole periods are taken off as integers: float32 phases of 10⁶ radians would be noise.
    phase = ((frequency * place[None, :]) % size).astype(dtype) * (2 * np.pi / size)
    kernel = jnp.sum(response * jnp.cos(phase), axis=0) / size
    valid = place < size
    distance = (place[:, None] - place[None, :]) % size
    return jnp.where(valid[:, None] & valid[None, :], kernel[distance], 0)


def _blur(padded: jax.Array, sigma_px: float) -> jax.Array:
    """Gaussian sums of the valid region, not normalised to the window (as the usual implementation)."""
    offsets = np.arange(-REACH_PX, REACH_PX + 1)
    weights = np.exp(-(offsets**2) / (2 * sigma_px**2)) / (np.sqrt(2 * np.pi) * sigma_px)
    columns = stage(lambda x: correlate1d(x, weights, -2), padded)
    return stage(lambda x: correlate1d(x, weights, -1), columns)
