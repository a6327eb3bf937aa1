"""Coverages of layers: blobs, ellipses, polygons, bars and strands, with hard, soft, ragged or hairy edges.

A shape is a field that is positive inside, about as many px as the next edge is away; its coverage is the field's
ramp through zero.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.simulate.draws import chance, even, log_even, smooth_noise
from edmf_jax.simulate.ranges import Ranges

KINDS = ("blob", "ellipse", "polygon", "bars", "strands")
_SHARES = (0.32, 0.18, 0.25, 0.15, 0.10)
_FAR_PX = 40.0
_HAIR_STRETCH = 12.0  # hairs are so many times as long as wide
_HAIR_REACH = 3.0  # they end so many times `hairy_px` outside the shape


def slope(field: jax.Array) -> jax.Array:
    """The length of the gradient of fields `[n, H, W]`, which wrap around."""
    across = jnp.roll(field, -1, -1) - jnp.roll(field, 1, -1)
    down = jnp.roll(field, -1, -2) - jnp.roll(field, 1, -2)
    return 0.5 * jnp.sqrt(across * across + down * down + 1e-12)


def shapes(key: jax.Array, n: int, size: int, ranges: Ranges, kind: jax.Array | None = None) -> jax.Array:
    """Fields `[n, size, size]` of the shapes `kind` (int `[n, 1, 1]`, into `KINDS`; None: drawn)."""
    keys = iter(jax.random.split(key, 16))
    one = (n, 1, 1)
    axis = jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2
    y, x = axis.reshape(1, size, 1), axis.reshape(1, 1, size)
    half = size / 2
    smooth = smooth_noise(next(keys), size, log_even(next(keys), (5.0, max(6.0, size / 4)), (n,)))
    level = smooth - even(next(keys), (-0.6, 0.8), one)
    blob = level / jnp.maximum(slope(level), 1e-3)
    strands = log_even(next(keys), ranges.thin_px, one) / 2 - jnp.abs(level) / jnp.maximum(slope(level), 5e-3)
    dx, dy = (at - even(next(keys), (-0.7 * half, 0.7 * half), one) for at in (x, y))
    angle = even(next(keys), (0.0, 2 * np.pi), one)
    along, across = dx * jnp.cos(angle) + dy * jnp.sin(angle), dy * jnp.cos(angle) - dx * jnp.sin(angle)
    a, b = (log_even(next(keys), (5.0, 0.8 * half), one) for _ in range(2))
    inside = 1 - jnp.sqrt((along / a) ** 2 + (across / b) ** 2 + 1e-6)
    ellipse = inside / jnp.maximum(slope(inside), 1e-3)
    polygon = _polygon(next(keys), dx, dy, angle, half)
    bent = along + smooth * jnp.where(chance(next(keys), 0.5, one), even(next(keys), (0.0, 12.0), one), 0.0)
    period = log_even(next(keys), (18.0, 1.2 * size), one)
    bars = log_even(next(keys), ranges.thin_px, one) / 2 - jnp.abs((bent + period / 2) % period - period / 2)
    if kind is None:
        kind = jax.random.choice(next(keys), len(KINDS), one, p=jnp.array(_SHARES))
    fields = (blob, ellipse, polygon, bars, strands)
    return jnp.clip(jnp.select([kind == i for i in range(len(KINDS))], fields), -_FAR_PX, _FAR_PX)


def _polygon(key: jax.Array, dx: jax.Array, dy: jax.Array, angle: jax.Array, half: float) -> jax.Array:
    """The intersection of one to four half planes; a single one has its edge through the middle."""
    keys = iter(jax.random.split(key, 3))
    n = len(dx)
    sides = jax.random.randint(next(keys), (n, 1, 1, 1), 1, 5)
    number = jnp.arange(4).reshape(1, 4, 1, 1)
    turn = angle[:, None] + np.pi / 2 * number + even(next(keys), (0.0, 0.6 * np.pi), (n, 4, 1, 1))
    away = even(next(keys), (0.05 * half, 0.9 * half), (n, 4, 1, 1))
    away = jnp.where(sides == 1, 0.0, away)
    planes = away + dx[:, None] * jnp.cos(turn) + dy[:, None] * jnp.sin(turn)
    return jnp.where(number < sides, planes, 1e3).min(1)


def coverages(key: jax.Array, n: int, size: int, ranges: Ranges, kind: jax.Array | None = None) -> jax.Array:
    """Coverages `[n, size, size]` in [0, 1] of random shapes; `kind` as in `shapes`."""
    keys = iter(jax.random.split(key, 11))
    one = (n, 1, 1)
    field = shapes(next(keys), n, size, ranges, kind)
    rough = smooth_noise(next(keys), size, log_even(next(keys), (0.7, 5.0), (n,)))
    # Ragged: a fine field moves the edge.  Hairy: it moves it outward where it is strong, in streaks.
    how = jax.random.uniform(next(keys), one)
    ragged = even(next(keys), ranges.ragged_px, one) * rough
    streaks = smooth_noise(next(keys), size, log_even(next(keys), (0.5, 1.2), (n,)), _HAIR_STRETCH)
    length = even(next(keys), ranges.hairy_px, one)
    rooted = jnp.clip(1 + field / (_HAIR_REACH * length + 1e-3), 0, 1)  # none further out: hair is attached
    hairy = length * rooted * (jnp.abs(streaks) ** 1.5 - 0.7)
    is_hairy = how < ranges.hairy_share
    is_ragged = ~is_hairy & (how < ranges.hairy_share + ranges.ragged_share)
    field = field + jnp.where(is_ragged, ragged, jnp.where(is_hairy, hairy, 0.0))
    soft = chance(next(keys), ranges.soft_share, one)
    width = jnp.where(soft, log_even(next(keys), ranges.soft_edge_px, one), 1.0)
    return jnp.clip(field / (jnp.maximum(slope(field), 1.0) * width) + 0.5, 0, 1)
