"""The targets that the loss compares the output with: the sources, or sources made easier to learn from.

The paper compares with the sources.  The altered targets are ours (docs/paper.md, "What the shipped weights use").
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.core.filters import box_filter, correlate1d, gaussian_kernel, reflect_pad

DETAIL_SIGMA_PX = 1.0
EXPOSURE_WINDOW_PX = 19


class TargetConfig(NamedTuple):
    """How targets are made; with all fields 0 they are the sources, as in the paper.  See `configs/edmf.py`."""

    exposure_share: float = 0.0  # see `equalize_exposure`
    detail_gain: float = 0.0  # see `unsharp_mask`
    detail_floor: float = 0.0
    blend_exponent: float = 0.0  # see `sharpness_weighted_target`
    blend_floor: float = 0.0


def make_targets(config: TargetConfig, planes: jax.Array, activities: jax.Array) -> jax.Array:
    """The planes `[B, 2, H, W]` that Eqs. 2, 4 and 6 compare the output with.

    Args:
      config: which changes to make, and how strong; all zero: the sources are returned.
      planes: the sources, `[B, 2, H, W]` in [0, 1].
      activities: how sharp the sources are about each pixel, in the same shape (see `focus.ACTIVITIES`).
    """
    targets = planes
    if config.exposure_share:
        targets = equalize_exposure(targets, config.exposure_share)
    if config.detail_gain:
        targets = unsharp_mask(targets, config.detail_gain, config.detail_floor)
    if config.blend_exponent:
        targets = sharpness_weighted_target(targets, activities, config.blend_exponent, config.blend_floor)
    return targets


def equalize_exposure(planes: jax.Array, share: float) -> jax.Array:
    """Brings both sources of pairs `[..., 2, H, W]` toward the mean of their exposures; each keeps its own detail.

    I_k + share · S((I_1 + I_2) / 2 − I_k), clipped to [0, 1].  S is the mean over 19×19 px with reflected borders,
    applied twice: wider than common defocus, so that differences in focus alone are not carried over.  Sources that
    differ by a constant become equal at share 1; equal sources are unchanged.

    Args:
      planes: `[..., 2, H, W]` in [0, 1], sides of at least 10 px.
      share: from 0 (exposures as they are) to 1 (both at the mean).
    """
    difference = planes.mean(-3, keepdims=True) - planes
    return jnp.clip(planes + share * box_filter(box_filter(difference, EXPOSURE_WINDOW_PX), EXPOSURE_WINDOW_PX), 0, 1)


def unsharp_mask(x: jax.Array, gain: float, floor: float) -> jax.Array:
    """Amplifies the fine detail of planes, but not weak detail, which may be noise; clipped to [0, 1].

    x + gain · soft(x − G(x)), G a Gaussian of σ = 1 px over 7×7 with reflected borders and
    soft(d) = sign(d) · max(|d| − floor, 0).  Constant planes are unchanged.

    Args:
      x: `[..., H, W]` in [0, 1].
      gain: ≥ 0.
      floor: ≥ 0, in the planes' unit.
    """
    weights = gaussian_kernel(7, DETAIL_SIGMA_PX)
    smooth = correlate1d(correlate1d(reflect_pad(x, 3), weights, -2), weights, -1)
    detail = x - smooth
    detail = jnp.sign(detail) * jnp.maximum(jnp.abs(detail) - floor, 0)
    return jnp.clip(x + gain * detail, 0, 1)


def sharpness_weighted_target(targets: jax.Array, activities: jax.Array, exponent: float, floor: float) -> jax.Array:
    """Replaces both targets of pairs `[..., 2, H, W]` by one mean of them, weighted by the sharpness of the sources.

    The weight of target k is proportional to (A_k + floor)^exponent, with A_k the activity about every pixel.  A
    source that is clearly sharper has nearly all the weight.  Where neither is sharp (flat parts, far defocus), the
    mean of both halves the power of the noise and shows no seam.  For a large exponent and no floor this becomes the
    choice of `focus_masks`.

    Args:
      targets: `[..., 2, H, W]`; equal targets are unchanged.
      activities: of the sources, `[..., 2, H, W]`, ≥ 0 (see `focus.ACTIVITIES`).
      exponent: > 0.
      floor: > 0, in the planes' unit; differences in activity far below it have no effect.
    """
    weights = jax.nn.softmax(exponent * jnp.log(activities + floor), axis=-3)
    return jnp.broadcast_to(jnp.sum(weights * targets, axis=-3, keepdims=True), targets.shape)
