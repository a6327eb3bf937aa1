"""The hand-made logit of each shot: its softmax over the shots is the choice that `edmf fuse` makes by default.

The twin of `fusion.stack.sharpness.focus_measure` in jax.numpy, for training; tests/core/test_hand_made.py compares
them.  `core.chooser` takes these logits as an input, so another measure can take their place.
"""

import jax
import jax.numpy as jnp

from edmf_jax.core.color import luma
from edmf_jax.core.filters import box_filter, correlate1d, gaussian_kernel, laplacian, reflect_pad

POWER = 8.0  # twice as sharp counts 256 times
FLOOR = 1e-3  # a quarter of an 8-bit level: flatter areas count as equally sharp in all shots
REACH_PX = 22
"""A pixel can change the logits of pixels up to this far away."""
_NOISE_SIGMA_PX, _NOISE_PX = 0.8, 7
_NEAR_PX, _FAR_PX = 7, 19  # box windows, each applied twice
_FAR_WEIGHT = 0.1


def gray(pixels: jax.Array) -> jax.Array:
    """Luma of `[..., 3]`, or the plane of `[..., 1]`, clipped to [0, 1]: `[...]`."""
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else luma(pixels)
    return jnp.clip(plane, 0, 1)


def log_focus_measure(plane: jax.Array) -> jax.Array:
    """Logarithm of the root of the mean squared Laplacian around each pixel of planes `[..., H, W]`, floored.

    The planes are slightly blurred first; the mean is the sum of one over a near window and a tenth of one over a far
    window, mirrored at the borders.  Sides of at least 10 px.
    """
    taps = gaussian_kernel(_NOISE_PX, _NOISE_SIGMA_PX)
    smooth = correlate1d(correlate1d(reflect_pad(plane, _NOISE_PX // 2), taps, -2), taps, -1)
    energy = jnp.square(laplacian(smooth))
    near, far = (box_filter(box_filter(energy, window), window) for window in (_NEAR_PX, _FAR_PX))
    return jnp.log(jnp.sqrt(near + _FAR_WEIGHT * far) + FLOOR)


def hand_made_logits(pixels: jax.Array) -> jax.Array:
    """8 · log(focus measure) of each shot's luma: pixels `[..., H, W, C]` in [0, 1] → `[..., H, W]`."""
    return POWER * log_focus_measure(gray(pixels))
