"""Where pictures end: shots that cover only a part of the frame, and pictures that are continued mirrored."""

import jax
import jax.numpy as jnp

from edmf_jax.simulate.draws import chance, even
from edmf_jax.simulate.ranges import Ranges

_SLANT = 0.03  # standard deviation of an edge's slope: warped shots end a little aslant


def draw_coverage(key: jax.Array, n: int, shots: int, size: int, ranges: Ranges) -> jax.Array:
    """Bool `[n, shots, size, size]`: the pixels that each shot has.  The first, the reference, has all."""
    keys = iter(jax.random.split(key, 4))
    shape = (4, n, shots, 1, 1)
    ends = chance(next(keys), ranges.uncovered_share, (1, *shape[1:])) & chance(next(keys), 0.4, shape)
    ends = ends & (jnp.arange(shots) > 0).reshape(1, 1, shots, 1, 1)
    depth = jnp.where(ends, even(next(keys), ranges.uncovered_px, shape), -1.0)
    slant = jnp.where(ends, _SLANT * jax.random.normal(next(keys), shape), 0.0)
    at = jnp.arange(size, dtype=jnp.float32)
    y, x = at.reshape(1, 1, size, 1), at.reshape(1, 1, 1, size)
    across = (y, size - 1 - y, x, size - 1 - x)
    along = (x, x, y, y)
    inside = [a > depth[i] + slant[i] * b for i, (a, b) in enumerate(zip(across, along))]
    return inside[0] & inside[1] & inside[2] & inside[3]


def draw_frames(key: jax.Array, n: int, size: int, margin: int, ranges: Ranges) -> tuple[jax.Array, jax.Array]:
    """First and last row and column of the pictures in a canvas, int32 `[n, 2]` each; `margin` px are cut off later."""
    keys = iter(jax.random.split(key, 3))
    ends = chance(next(keys), ranges.frame_share, (1, n, 1)) & chance(next(keys), 0.3, (2, n, 2))
    depth = jax.random.randint(next(keys), (2, n, 2), margin + 2, max(margin + 3, size // 3))
    depth = jnp.where(ends, depth, 0)
    return depth[0], size - 1 - depth[1]


def inside_frames(first: jax.Array, last: jax.Array, size: int) -> jax.Array:
    """Bool `[n, size, size]`: the pictures."""
    at = jnp.arange(size)[None, None]
    rows, columns = jnp.moveaxis((at >= first[..., None]) & (at <= last[..., None]), 1, 0)
    return rows[:, :, None] & columns[:, None, :]


def mirrored(pictures: jax.Array, first: jax.Array, last: jax.Array) -> jax.Array:
    """`[n, N, S, S, …]` continued mirrored beyond the pictures' ends, as fusion continues a picture."""
    at = jnp.arange(pictures.shape[2])[None, None]
    low, high = first[..., None], last[..., None]
    at = jnp.where(at < low, 2 * low - at, at)
    at = jnp.clip(jnp.where(at > high, 2 * high - at, at), 0, pictures.shape[2] - 1)
    return jax.vmap(lambda picture, index: picture[:, index[0]][:, :, index[1]])(pictures, at)
