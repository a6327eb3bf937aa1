"""Errors of registration: each shot lies a fraction of a pixel off, turned and scaled a little."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.simulate.atlas import cubic
from edmf_jax.simulate.draws import chance, even, trailing
from edmf_jax.simulate.ranges import Ranges


class Misfit(NamedTuple):
    """Where each shot lies: px down and right `[B, N, 2]`; rotation (rad) and scale less 1, `[B, N]`."""

    shift: jax.Array
    turn: jax.Array
    scale: jax.Array


def draw_misfit(key: jax.Array, n: int, shots: int, ranges: Ranges) -> Misfit:
    """Random errors, small ones more often; none in the other samples."""
    keys = iter(jax.random.split(key, 6))
    share = jnp.where(chance(next(keys), ranges.shift_share, (n, 1)), jax.random.uniform(next(keys), (n, 1)) ** 2, 0.0)
    least, most = ranges.shift_px
    amount = jnp.where(share > 0, least + (most - least) * share, 0.0)
    shift = amount[..., None] * even(next(keys), (-1.0, 1.0), (n, shots, 2))
    deviation = share * even(next(keys), ranges.turn, (n, 1))
    turn, scale = deviation[None] * jax.random.normal(next(keys), (2, n, shots))
    return Misfit(shift, turn, scale)


def move(pictures: jax.Array, misfit: Misfit) -> jax.Array:
    """Pictures `[B, N, H, W, C]`, or `[B, 1, …]`, as each shot has them: `[B, N, H, W, C]`; mirrored at the borders.

    Two cubic passes, along rows and along columns, each with offsets that grow along both axes: for turns so small
    that is a rotation.
    """
    n, shots = misfit.turn.shape
    pictures = jnp.broadcast_to(pictures, (n, shots, *pictures.shape[2:]))
    height, width = pictures.shape[2:4]
    y = (jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2).reshape(1, 1, height, 1)
    x = (jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2).reshape(1, 1, 1, width)
    turn, scale, down, right = (trailing(v, 2) for v in (misfit.turn, misfit.scale, misfit.shift[..., 0],
                                                         misfit.shift[..., 1]))
    pictures = _resample(pictures, right + scale * x - turn * y, 3)
    return _resample(pictures, down + scale * y + turn * x, 2)


def _resample(pictures: jax.Array, offset: jax.Array, axis: int) -> jax.Array:
    """Samples `offset` `[B, N, H, W]` px further along an axis of `[B, N, H, W, C]`."""
    size = pictures.shape[axis]
    at = jnp.arange(size).reshape(*[size if i == axis else 1 for i in range(4)])
    whole = jnp.floor(offset)
    part = offset - whole
    first = at + whole.astype(jnp.int32)
    total = 0.0
    for tap in (-1, 0, 1, 2):
        index = first + tap
        index = jnp.abs(index)
        index = size - 1 - jnp.abs(size - 1 - index)
        value = jnp.take_along_axis(pictures, index[..., None], axis)
        total = total + cubic(part - tap)[..., None] * value
    return total
