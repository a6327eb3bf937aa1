"""Full-range BT.601 (JPEG) YCbCr and the fusion of chroma (NOTES, Method 1).

Colour images are `[..., H, W, 3]` RGB in [0, 1]; planes are `[..., H, W]`.
Chroma is kept with its offset: neutral is `NEUTRAL` (128/255), as in a JPEG file.
"""

import jax
import jax.numpy as jnp

NEUTRAL = 128 / 255
_KR, _KG, _KB = 0.299, 0.587, 0.114


def luma(rgb: jax.Array) -> jax.Array:
    """Y = 0.299 R + 0.587 G + 0.114 B of `[..., 3]`; works on jnp and NumPy arrays alike."""
    return _KR * rgb[..., 0] + _KG * rgb[..., 1] + _KB * rgb[..., 2]


def rgb_to_ycbcr(rgb: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Y in [0, 1] and Cb, Cr about `NEUTRAL`, three planes (ITU-T T.871).

    Raises:
      ValueError: the last axis does not hold three channels.
    """
    if rgb.shape[-1] != 3:
        raise ValueError(f"rgb_to_ycbcr: three channels are needed on the last axis, got shape {rgb.shape}")
    y = luma(rgb)
    cb = (rgb[..., 2] - y) / (2 - 2 * _KB) + NEUTRAL
    cr = (rgb[..., 0] - y) / (2 - 2 * _KR) + NEUTRAL
    return y, cb, cr


def ycbcr_to_rgb(y: jax.Array, cb: jax.Array, cr: jax.Array) -> jax.Array:
    """The inverse of `rgb_to_ycbcr`: planes → `[..., 3]`, not clipped."""
    blue = y + (2 - 2 * _KB) * (cb - NEUTRAL)
    red = y + (2 - 2 * _KR) * (cr - NEUTRAL)
    green = (y - _KR * red - _KB * blue) / _KG
    return jnp.stack([red, green, blue], axis=-1)


def fuse_chroma(chroma_a: jax.Array, chroma_b: jax.Array) -> jax.Array:
    """One chroma plane from two, each weighted by its distance from neutral.

    C = (C1·|C1 − 128| + C2·|C2 − 128|) / (|C1 − 128| + |C2 − 128|), 128 where
    both are neutral.  Symmetric in its arguments; equal planes come back unchanged.
    """
    weight_a = jnp.abs(chroma_a - NEUTRAL)
    weight_b = jnp.abs(chroma_b - NEUTRAL)
    total = weight_a + weight_b
    neutral = total == 0
    # Offsets from neutral are averaged, not the values: the same number, exact where both are equal.
    offset = (chroma_a - NEUTRAL) * weight_a + (chroma_b - NEUTRAL) * weight_b
    return jnp.where(neutral, NEUTRAL, NEUTRAL + offset / jnp.where(neutral, 1.0, total))
