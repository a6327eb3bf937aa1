"""Structural similarity as a differentiable function (Wang et al. 2004, DOI 10.1109/TIP.2003.819861).

Planes are `[..., H, W]`, at least 11 px on each side; one number per plane.  The windowed moments of a plane are a
value of their own (`Moments`), so that a caller who compares one plane with many computes them once.  The loss uses
this one; `metrics.structure` has the SSIM that is reported.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.core.filters import gaussian_filter

WINDOW_PX = 11
SIGMA_PX = 1.5
K1, K2 = 0.01, 0.03


class Moments(NamedTuple):
    """Gaussian-windowed mean and mean square of a plane about every valid pixel, each `[..., H−10, W−10]`."""

    mean: jax.Array
    square: jax.Array


def moments(x: jax.Array) -> Moments:
    """Windowed first and second moments of a plane (11×11 Gaussian, σ = 1.5 px, valid region).

    Raises:
      ValueError: the plane is smaller than the window.
    """
    if min(x.shape[-2:]) < WINDOW_PX:
        raise ValueError(f"SSIM needs planes of at least {WINDOW_PX}×{WINDOW_PX} px, got {x.shape[-2]}×{x.shape[-1]}")
    mean, square = gaussian_filter(jnp.stack([x, x * x]), WINDOW_PX, SIGMA_PX)
    return Moments(mean, square)


def ssim_map(x: Moments, y: Moments, product: jax.Array, peak: float = 1.0) -> jax.Array:
    """SSIM about every valid pixel, from the moments of two planes and the windowed mean of their product."""
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    means = x.mean * y.mean
    squares = x.mean * x.mean + y.mean * y.mean
    covariance = product - means
    variances = x.square + y.square - squares
    return ((2 * means + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))


def ssim(x: jax.Array, y: jax.Array, *, peak: float = 1.0) -> jax.Array:
    """Mean SSIM over the valid region, one number per plane, in [−1, 1]; 1 for equal planes.

    Args:
      x, y: planes `[..., H, W]` that broadcast against each other, in [0, `peak`].
      peak: the dynamic range L.
    """
    product = gaussian_filter(x * y, WINDOW_PX, SIGMA_PX)
    return jnp.mean(ssim_map(moments(x), moments(y), product, peak), axis=(-2, -1))
