"""Scenes: layers of sharp pictures at several depths before a background, in linear light."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import srgb_to_linear
from edmf_jax.simulate import masks
from edmf_jax.simulate.atlas import Atlas, windows
from edmf_jax.simulate.draws import chance, even, log_even, smooth_noise, trailing
from edmf_jax.simulate.kernels import Aperture, blur, draw_apertures
from edmf_jax.simulate.ranges import Ranges

_LAMPS = 5
_NEAR, _BEYOND = -0.2, 1.15  # a background that runs away goes a little past both ends of the depth


class Scene(NamedTuple):
    """B scenes of F front layers, the first one furthest back.

    Attributes:
      back: light of the background `[B, S, S, 3]`; 1 is white, lamps are beyond.
      fronts: light of the front layers `[B, F, S, S, 3]`.
      covers: their coverages `[B, F, S, S]` in [0, 1].
      depths: theirs `[B, F]`, 0 near to 1 far.
      depth_back: the background's `[B, S, S]`.
      span: `[B]` px: radius of the blur that one end of the depth has when the other is in focus.
      aperture: `[B]`.
      encoded: bool `[B]`: what is called light are encoded values, which some data sets blur.
    """

    back: jax.Array
    fronts: jax.Array
    covers: jax.Array
    depths: jax.Array
    depth_back: jax.Array
    span: jax.Array
    aperture: Aperture
    encoded: jax.Array


def draw_scenes(key: jax.Array, atlas: Atlas, size: int, encoded: jax.Array, ranges: Ranges) -> Scene:
    """Random scenes of `size` px, as many as `encoded` bool [B] has entries; see `Scene`."""
    n = len(encoded)
    keys = iter(jax.random.split(key, 24))
    count = len(ranges.front_shares)
    pictures = windows(next(keys), atlas, n * (count + 1), size, ranges).reshape(n, count + 1, size, size, 3)
    fronts, back = _plain(next(keys), pictures[:, 1:], ranges), _smooth(next(keys), pictures[:, 0], ranges)
    covers = masks.coverages(next(keys), n * count, size, ranges).reshape(n, count, size, size)
    there = jax.random.uniform(next(keys), (n, count)) < jnp.array([ranges.front_shares])
    bright = even(next(keys), ranges.highlight_light, (n,))
    fronts, back = (_to_light(x, encoded, bright) for x in (fronts, back))
    lamps = _lamps(next(keys), n, size, ranges)
    back = back + jnp.where(trailing(encoded, 3), 0.0, lamps[..., None])
    # The frontmost layer that is there is mostly the near end of the depth.
    depths = -jnp.sort(-even(next(keys), (0.0, 1.0), (n, count)) ** 1.5, axis=1)
    frontmost = count - 1 - jnp.argmax(there[:, ::-1], axis=1)
    at_end = (jnp.arange(count)[None] == frontmost[:, None]) & chance(next(keys), 0.8, (n, 1))
    depths = jnp.where(at_end, 0.0, depths)
    depth_back = _background_depth(next(keys), n, size, ~there.any(1), ranges)
    return Scene(back, fronts, covers * trailing(there.astype(jnp.float32), 2), depths, depth_back,
                 log_even(next(keys), ranges.span_px, (n,)), draw_apertures(next(keys), n, ranges), encoded)


def _plain(key: jax.Array, pictures: jax.Array, ranges: Ranges) -> jax.Array:
    """Pictures `[n, F, S, S, 3]`, some of them reduced to nearly one tone."""
    which, tone = jax.random.split(key)
    shape = (*pictures.shape[:2], 1, 1)
    tones = even(tone, (0.0, 1.0), (*shape, 1))
    plain = chance(which, ranges.plain_share, (*shape, 1))
    return jnp.clip(jnp.where(plain, tones + 0.15 * (pictures - 0.5), pictures), 0, 1)


def _smooth(key: jax.Array, pictures: jax.Array, ranges: Ranges) -> jax.Array:
    """Pictures `[n, S, S, 3]`, some of them without detail everywhere or in parts, as sky and walls are."""
    which, where, length, radius = jax.random.split(key, 4)
    n, size = pictures.shape[:2]
    nothing = Aperture(jnp.ones(n, bool), jnp.zeros(n), jnp.zeros(n))
    planes = jnp.moveaxis(pictures, -1, 1)[:, None]
    soft = blur(planes, even(radius, (12.0, 40.0), (n, 1, 1)), nothing)[:, 0, 0]
    field = smooth_noise(where, size, even(length, (12.0, 40.0), (n,)))
    part = jnp.clip(4 * (field + 0.3), 0, 1)[..., None]
    smooth = chance(which, ranges.smooth_share, (n, 1, 1, 1))
    return jnp.where(smooth, pictures + part * (jnp.moveaxis(soft, 1, -1) - pictures), pictures)


def _to_light(pictures: jax.Array, encoded: jax.Array, bright: jax.Array) -> jax.Array:
    """Linear light of pictures `[n, …, S, S, 3]`; what is nearly white is beyond it by `bright`."""
    axes = pictures.ndim - 1
    top = jnp.clip((pictures - 0.75) / 0.25, 0, 1) ** 2
    light = srgb_to_linear(pictures, jnp) * (1 + trailing(bright, axes) * top)
    return jnp.where(trailing(encoded, axes), pictures, light)


def _lamps(key: jax.Array, n: int, size: int, ranges: Ranges) -> jax.Array:
    """Light `[n, size, size]` of a few lamps and glints: out of focus they are discs with a sharp rim."""
    keys = iter(jax.random.split(key, 5))
    there = chance(next(keys), ranges.lamp_share, (n, 1)) & chance(next(keys), 0.7, (n, _LAMPS))
    axis = jnp.arange(size, dtype=jnp.float32).reshape(1, 1, 1, size)
    at = even(next(keys), (0.0, float(size)), (2, n, _LAMPS, 1))
    wide = log_even(next(keys), (0.5, 1.8), (1, n, _LAMPS, 1))
    rows, columns = jnp.exp(-0.5 * ((axis - at) / wide) ** 2)
    power = jnp.where(there, log_even(next(keys), ranges.lamp_light, (n, _LAMPS)), 0.0)
    return jnp.einsum("nl,nli,nlj->nij", power, rows, columns, precision=jax.lax.Precision.HIGHEST)


def _background_depth(key: jax.Array, n: int, size: int, alone: jax.Array, ranges: Ranges) -> jax.Array:
    """Depth `[n, S, S]`: 1, or running away from the camera; always so where the background is `alone` [n]."""
    which, way, near = jax.random.split(key, 3)
    axis = (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2) / (size / 2)
    way = even(way, (-0.6, 0.6), (n, 1, 1))  # mostly, what is further up is further away
    slope = axis.reshape(1, size, 1) * jnp.cos(way) + axis.reshape(1, 1, size) * jnp.sin(way)
    runs = (chance(which, ranges.slope_share, (n,)) | (alone & (ranges.slope_share > 0)))[:, None, None]
    near = even(near, (_NEAR, 0.9), (n, 1, 1))
    return jnp.where(runs, jnp.clip(near + (1 - near) * (0.5 - 0.6 * slope), _NEAR, _BEYOND), 1.0)


def draw_focus(key: jax.Array, scene: Scene, shots: int, ranges: Ranges) -> jax.Array:
    """Focus distances `[B, N]` of the shots, in random order, evenly over the depth or over a part of it."""
    keys = iter(jax.random.split(key, 5))
    n = len(scene.span)
    part = chance(next(keys), ranges.unfocused_share, (n, 1))
    extent = jnp.where(part, even(next(keys), (0.1, 0.6), (n, 1)), 1.0)
    start = jax.random.uniform(next(keys), (n, 1)) * (1 - extent)
    steps = jnp.asarray(np.linspace(0, 1, shots), jnp.float32)[None]
    # Small spans are focused less exactly: nobody sees a pixel of blur.
    jitter = even(next(keys), ranges.focus_jitter, (n, 1)) * (1 + 4 / scene.span[:, None])
    shuffle, wiggle = jax.random.split(next(keys))
    focus = start + extent * steps + jnp.minimum(jitter, 0.15) * jax.random.normal(wiggle, (n, shots))
    return jax.random.permutation(shuffle, focus, axis=1, independent=True)


def composite(back: jax.Array, colors: jax.Array, covers: jax.Array) -> jax.Array:
    """Layers over a background, from the back: premultiplied `colors` `[…, F, S, S, 3]`, `covers` `[…, F, S, S]`."""
    for i in range(covers.shape[-3]):
        back = colors[..., i, :, :, :] + (1 - covers[..., i, :, :, None]) * back
    return back
