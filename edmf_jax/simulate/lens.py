"""Shots of a scene: through a thin lens, or pasted from a sharp and a blurred picture as data sets are made."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import box_filter
from edmf_jax.simulate.draws import chance, even, log_even, trailing
from edmf_jax.simulate.kernels import MAX_RADIUS_PX, Aperture, blur
from edmf_jax.simulate.ranges import Ranges
from edmf_jax.simulate.scenes import Scene, composite

STEPS = 4  # blurred copies of a background that runs away, between which its blur is interpolated
_COARSE_PX, _ASIDE = 13, 0.15  # window that smooths a coarse mask, twice; 0.15 moves its edge by about 2 px
_APART_PX = 2.0  # a layer that is blurred by so much more than in its sharpest shot has its full parallax


class Seen(NamedTuple):
    """What N shots of B scenes show: light `[B, N, S, S, 3]`; the visible surface's radius of blur `[B, N, S, S]`."""

    light: jax.Array
    radius: jax.Array


def blur_radii(scene: Scene, focus: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Radii in px, for `focus` `[B, N]`: of the front layers `[B, N, F]`, of the background `[B, N, S, S]`."""
    radius = lambda depth, at: jnp.minimum(jnp.abs(depth - at) * trailing(scene.span, depth.ndim - 1), MAX_RADIUS_PX)
    return (radius(scene.depths[:, None], focus[:, :, None]),
            radius(scene.depth_back[:, None], focus[:, :, None, None]))


def through_lens(key: jax.Array, scene: Scene, focus: jax.Array, ranges: Ranges) -> Seen:
    """Shots focused at `focus` `[B, N]`.

    Every layer is blurred, color times coverage and coverage alike, and laid over what lies behind it: a defocused
    foreground spreads over a sharp background, and a sharp one receives nothing of a defocused background.
    """
    fronts, back = blur_radii(scene, focus)
    shift = _parallax(key, fronts, ranges)
    premultiplied = scene.covers[..., None] * scene.fronts
    planes = jnp.concatenate([jnp.moveaxis(premultiplied, -1, 2), scene.covers[:, :, None]], 2)
    layers = jnp.maximum(blur(planes, fronts, scene.aperture, shift), 0)
    colors, covers = jnp.moveaxis(layers[:, :, :, :3], 3, -1), jnp.minimum(layers[:, :, :, 3], 1)
    visible = back
    for i in range(scene.covers.shape[1]):
        visible = jnp.where(scene.covers[:, None, i] > 0.5, fronts[:, :, i, None, None], visible)
    return Seen(composite(_blurred_background(scene, back), colors, covers), visible)


def _blurred_background(scene: Scene, radius: jax.Array) -> jax.Array:
    """The background `[B, N, S, S, 3]` blurred by a `radius` that varies, `[B, N, S, S]`."""
    top = radius.max((-2, -1))
    steps = jnp.asarray(np.linspace(0, 1, STEPS), jnp.float32).reshape(1, 1, STEPS)
    copies = blur(jnp.moveaxis(scene.back, -1, 1)[:, None], top[..., None] * steps, scene.aperture)
    place = radius / jnp.maximum(trailing(top, 2), 1e-3) * (STEPS - 1)
    near = jnp.arange(STEPS, dtype=jnp.float32).reshape(1, 1, STEPS, 1, 1)
    share = jnp.maximum(1 - jnp.abs(place[:, :, None] - near), 0)
    return jnp.maximum(jnp.einsum("bntij,bntcij->bnijc", share, copies,
                                  precision=jax.lax.Precision.HIGHEST), 0)


def _parallax(key: jax.Array, radii: jax.Array, ranges: Ranges) -> jax.Array:
    """Shifts `[B, N, F, 2]` px of the front layers: none where a layer is sharpest, so that truth has one place."""
    which, most, angle = jax.random.split(key, 3)
    n, shots = radii.shape[:2]
    amount = jnp.where(chance(which, ranges.parallax_share, (n, 1, 1)), even(most, ranges.parallax_px, (n, 1, 1)), 0.0)
    amount = amount * jnp.clip((radii - radii.min(1, keepdims=True)) / _APART_PX, 0, 1)
    angle = even(angle, (0.0, 2 * np.pi), (n, shots, 1))
    return jnp.stack([amount * jnp.sin(angle), amount * jnp.cos(angle)], -1)


def pasted(key: jax.Array, seen: Seen, truth: jax.Array, inside: jax.Array, ranges: Ranges) -> Seen:
    """Shots that are the truth where theirs is the least blur, behind a hard mask, and its Gaussian blur elsewhere.

    Args:
      key: of the widths, of the masks, and of which samples have a dark rim or lines.
      seen: `through_lens`, for its radii.
      truth: `[B, S, S, 3]`.
      inside: bool `[B, S, S]`: the picture; beyond it is black to the blur, in a share of the samples.
      ranges: see `pasted_sigma_px`, `pasted_coarse_share`, `pasted_line_share`, `dark_rim_share`.
    """
    width, spread, rim, cut, line = jax.random.split(key, 5)
    n, shots = seen.radius.shape[:2]
    sigma = log_even(width, ranges.pasted_sigma_px, (n, 1, 1))
    sigma = sigma * jnp.exp(0.15 * jax.random.normal(spread, (n, shots, 1)))
    dark = chance(rim, ranges.dark_rim_share, (n, 1, 1))
    own = _own_shot(cut, seen.radius, ranges)[:, None] == jnp.arange(shots).reshape(1, shots, 1, 1)
    lit = jnp.where((inside | ~dark)[..., None], truth, 0)[:, None]
    # Some cut out what is blurred, and fill the rest with black or white, which then shines into the blur.
    which, fill = jax.random.split(line)
    lined = chance(which, ranges.pasted_line_share, (n, 1, 1, 1)) & own
    lit = jnp.where(lined[..., None], chance(fill, 0.5, (n, shots, 1, 1, 1)).astype(lit.dtype), lit)
    bell = Aperture(jnp.ones(n, bool), jnp.zeros(n), jnp.zeros(n))
    blurred = jnp.moveaxis(blur(jnp.moveaxis(lit, -1, 2), 2 * sigma[:, None, :, 0], bell)[:, 0], 2, -1)
    return Seen(jnp.where(own[..., None], truth[:, None], blurred),
                jnp.where(own, 0.0, jnp.broadcast_to(2 * sigma[..., None], own.shape)))


def _own_shot(key: jax.Array, radius: jax.Array, ranges: Ranges) -> jax.Array:
    """The shot that is sharp at each pixel, `[B, S, S]`: the least blurred one, its area cut coarsely in some samples.

    Masks drawn by hand are smooth, leave out thin parts, and run beside the outlines instead of along them.
    """
    which, aside = jax.random.split(key)
    n, shots = radius.shape[:2]
    own = jax.nn.one_hot(jnp.argmin(radius, 1), shots, axis=1)
    smooth = box_filter(box_filter(own, _COARSE_PX), _COARSE_PX)
    smooth = smooth + _ASIDE * jax.random.normal(aside, (n, shots, 1, 1))
    return jnp.argmax(jnp.where(chance(which, ranges.pasted_coarse_share, (n, 1, 1, 1)), smooth, own), 1)
