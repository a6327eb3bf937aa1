"""What cameras do to the shots of a sample, and what leveling leaves of it: `[B, N, H, W, 3]`, encoded, in [0, 1]."""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import linear_to_srgb, rgb_to_ycbcr, srgb_to_linear, ycbcr_to_rgb
from edmf_jax.core.filters import correlate1d, gaussian_kernel
from edmf_jax.simulate.draws import chance, even, trailing
from edmf_jax.simulate.ranges import Ranges

_CLIPPED = 0.995  # of the light at which a shot clips; `chooser_layout.CLIPPED` is of encoded values

# ISO/IEC 10918-1, Annex K: quantization of luminance and of chrominance at quality 50.
_LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], np.float32)
_CHROMINANCE = np.full((8, 8), 99, np.float32)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_COSINES = np.array([[np.sqrt((1 if i == 0 else 2) / 8) * np.cos((2 * j + 1) * i * np.pi / 16) for j in range(8)]
                     for i in range(8)], np.float32)


def clip(key: jax.Array, light: jax.Array, encoded: jax.Array, ranges: Ranges) -> tuple[jax.Array, jax.Array]:
    """Light `[B, N, H, W, 3]` as shots record it, and bool `[B, N, H, W]`: where they clip.

    A shot that was exposed longer clips at less light than the others; leveled, its white is darker than theirs.
    `encoded` bool [B] are samples whose `light` holds encoded values.
    """
    which, shot, stops = jax.random.split(key, 3)
    n, shots = light.shape[:2]
    longer = chance(which, ranges.clip_share, (n, 1)) & chance(shot, 0.5, (n, shots))
    cap = jnp.exp2(-jnp.where(longer, even(stops, ranges.clip_stops, (n, shots)), 0.0))
    cap = trailing(jnp.where(encoded[:, None], linear_to_srgb(cap, jnp), cap), 3)
    return jnp.minimum(light, cap), (light >= _CLIPPED * cap).any(-1)


def expose(key: jax.Array, light: jax.Array, encoded: jax.Array, ranges: Ranges) -> jax.Array:
    """Encoded pictures of light `[B, N, H, W, 3]` with the differences of exposure that leveling leaves.

    They are even over the shots: the truth has the mean exposure.  `encoded` as in `clip`.
    """
    keys = iter(jax.random.split(key, 9))
    n, shots = light.shape[:2]
    light = jnp.where(trailing(encoded, 4), srgb_to_linear(jnp.clip(light, 0, 1), jnp), jnp.maximum(light, 0))
    uneven = chance(next(keys), ranges.uneven_share, (n, 1)).astype(jnp.float32)

    def about(limits, *shape):
        return _about_mean(next(keys), uneven * even(next(keys), limits, (n, 1)), (n, shots, *shape))

    stops = trailing(about(ranges.stops), 3) + about(ranges.color_stops, 3)[:, :, None, None]
    field = _field(about(ranges.field_stops, 4), light.shape[2:4])
    log_gamma = trailing(about(ranges.gamma), 3)
    pictures = linear_to_srgb(jnp.clip(light * jnp.exp2(stops + field[..., None]), 0, 1), jnp)
    return jnp.where(log_gamma == 0, pictures, jnp.maximum(pictures, 1e-6) ** jnp.exp(log_gamma))


def _about_mean(key: jax.Array, deviation: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal numbers of the `deviation` `[B, 1]`, less their mean over the shots (axis 1)."""
    x = trailing(deviation, len(shape) - 2) * jax.random.normal(key, shape)
    return x - x.mean(1, keepdims=True)


def _field(coefficients: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Smooth fields `[B, N, H, W]` of the coefficients `[B, N, 4]`: two slopes, a saddle and a bowl."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    y, x = np.broadcast_arrays(y[:, None], x[None])
    return jnp.einsum("bnc,cij->bnij", coefficients, np.stack([y, x, x * y, y * y + x * x]),
                      precision=jax.lax.Precision.HIGHEST)


def add_noise(key: jax.Array, pictures: jax.Array, ranges: Ranges) -> jax.Array:
    """Noise that grows in the dark and differs by shot, half of it in grains of more than a pixel; hot pixels."""
    keys = iter(jax.random.split(key, 10))
    n, shots = pictures.shape[:2]
    noisy = chance(next(keys), ranges.noise_share, (n, 1))
    sigma = jnp.where(noisy, even(next(keys), ranges.noise_levels, (n, 1)) / 255, 0.0)
    spread = even(next(keys), ranges.noise_spread, (n, 1))
    sigma = trailing(sigma * jnp.exp(spread * jax.random.normal(next(keys), (n, shots))), 3)
    white = jax.random.normal(next(keys), pictures.shape)
    grain = _along_both(white, np.array([0.25, 0.5, 0.25])) / 0.375  # the deviation is 1 again
    noise = jnp.where(chance(next(keys), 0.5, (n, 1, 1, 1, 1)), grain, white)
    pictures = pictures + sigma * (0.6 + 1.2 * (1 - jnp.clip(pictures, 0, 1)) ** 2) * noise
    # Hot pixels sit on the sensor: the same in all shots, in one color.
    density = jnp.where(chance(next(keys), ranges.hot_share, (n, 1, 1, 1, 1)),
                        even(next(keys), ranges.hot_density, (n, 1, 1, 1, 1)), 0.0)
    place, level = jax.random.uniform(next(keys), (2, n, 1, *pictures.shape[2:]))
    return jnp.where(place < density, jnp.maximum(pictures, 0.4 + 0.6 * level), pictures)


def _along_both(x: jax.Array, taps: np.ndarray) -> jax.Array:
    """`[…, H, W, 3]` filtered by symmetric `taps` both ways, mirrored at the borders."""
    n = len(taps) // 2
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(n, n), (n, n), (0, 0)], mode="reflect")
    return correlate1d(correlate1d(x, taps, -3), taps, -2)


def draw_sharpening(key: jax.Array, n: int, ranges: Ranges) -> jax.Array:
    """Amounts `[n]` of unsharp masking, one a sample: a phone treats all its shots alike, and so the truth."""
    which, amount = jax.random.split(key)
    return jnp.where(chance(which, ranges.sharpen_share, (n,)), even(amount, ranges.sharpen, (n,)), 0.0)


def sharpen(pictures: jax.Array, amount: jax.Array) -> jax.Array:
    """`[B, …, H, W, 3]` with its difference from its blur of σ = 1 px strengthened by `amount` [B]."""
    amount = trailing(amount, pictures.ndim - 1)
    return pictures + amount * (pictures - _along_both(pictures, gaussian_kernel(7, 1.0)))


def compress(key: jax.Array, pictures: jax.Array, ranges: Ranges) -> jax.Array:
    """8 bits, for some samples out of a JPEG file; sides are multiples of 8."""
    which, quality = jax.random.split(key)
    n, shots = pictures.shape[:2]
    rounded = jnp.round(jnp.clip(pictures, 0, 1) * 255) / 255
    if not ranges.jpeg_share:
        return rounded
    quality = jnp.repeat(even(quality, ranges.jpeg_quality, (n,)), shots)
    decoded = jpeg(rounded.reshape(n * shots, *pictures.shape[2:]), quality).reshape(pictures.shape)
    return jnp.where(chance(which, ranges.jpeg_share, (n, 1, 1, 1, 1)), decoded, rounded)


def jpeg(pictures: jax.Array, quality: jax.Array) -> jax.Array:
    """`[M, H, W, 3]` in [0, 1] as JPEG files of `quality` [M] 1 to 100 give them back: 4:4:4, 8 bits."""
    m, h, w, _ = pictures.shape
    y, cb, cr = rgb_to_ycbcr(pictures)
    scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    planes = []
    for plane, table in ((y, _LUMINANCE), (cb, _CHROMINANCE), (cr, _CHROMINANCE)):
        steps = jnp.clip(jnp.floor((table[None] * trailing(scale, 2) + 50) / 100), 1, 255)[:, None, :, None, :]
        blocks = (jnp.round(255 * plane) - 128).reshape(m, h // 8, 8, w // 8, 8)
        turn = lambda how, x: jnp.einsum(how, _COSINES, x, _COSINES, precision=jax.lax.Precision.HIGHEST)
        kept = jnp.round(turn("ai,mpiqj,bj->mpaqb", blocks) / steps) * steps
        levels = turn("ai,mpaqb,bj->mpiqj", kept).reshape(m, h, w) + 128
        planes.append(jnp.round(jnp.clip(levels, 0, 255)) / 255)
    return jnp.round(jnp.clip(ycbcr_to_rgb(*planes, jnp), 0, 1) * 255) / 255
