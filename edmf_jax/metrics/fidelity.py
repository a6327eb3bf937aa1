"""Statistics of the fused picture against its sources: PSNR, SD, CC, SCD.

Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes
(`frames`).  One number per plane.
"""

import jax
import jax.numpy as jnp

from edmf_jax.metrics.frames import Frame, mean, whole

PEAK = 255.0


def psnr(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None, textbook: bool = False
) -> jax.Array:
    """PSNR of the fused picture, in dB, from the mean of its two squared errors: MSE = ½ MSE(F, A) + ½ MSE(F, B).

    One logarithm of the mean error, not the mean of two.  Higher is better; +∞
    where all three are equal (so is then a mean over pictures).

    The toolbox of Table 2 scales the data to 0…1 and keeps the peak 255, so that
    its values lie 20 log10 255 = 48.1308 dB above the usual ones: the default,
    48.13 dB at least.  `textbook=True` gives 10 log10(255² / MSE), 0 dB at least.
    """
    frame = whole(fused) if frame is None else frame
    error = (mean(jnp.square(fused - a), frame) + mean(jnp.square(fused - b), frame)) / 2
    peak = PEAK if textbook else PEAK**2
    return 20 * jnp.log10(peak / jnp.sqrt(error))
