"""The valid part of padded planes, and operations that ignore the padding.

A plane is `[..., H, W]`.  Photographs come in hundreds of sizes, and every shape costs a compile.  So planes may be
padded at the bottom and on the right to a shape that many share (`buckets`); their true size comes as a `ValidSize`.
Its numbers may be traced, so one program serves every size.  The padding must be finite and never changes a result.
One `ValidSize` holds for all leading axes; for batches of different sizes use `jax.vmap`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class ValidSize(NamedTuple):
    """Height and width [px] of the true picture, which starts at the top left; Python integers or traced ones."""

    height: int | jax.Array
    width: int | jax.Array

    @property
    def pixels(self) -> int | jax.Array:
        return self.height * self.width

    def shrink(self, rows: int, columns: int) -> "ValidSize":
        """The valid size after a filter that loses `rows` and `columns`; not below 0."""
        left = lambda size, less: max(size - less, 0) if isinstance(size, int) else jnp.maximum(size - less, 0)
        return ValidSize(left(self.height, rows), left(self.width, columns))


def as_float(x: jax.Array) -> jax.Array:
    """Gray levels as floating point; planes are kept at 8 bits until a metric needs more: a quarter of the memory."""
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def full_size(x: jax.Array) -> ValidSize:
    """The valid size of a plane without padding."""
    return ValidSize(*x.shape[-2:])


def is_static(valid_size: ValidSize) -> bool:
    """Whether both numbers are Python integers, not traced."""
    return isinstance(valid_size.height, int) and isinstance(valid_size.width, int)


def is_unpadded(x: jax.Array, valid_size: ValidSize) -> bool:
    """Whether the whole plane is valid, as far as this is known while tracing."""
    return is_static(valid_size) and tuple(valid_size) == x.shape[-2:]


def valid_mask(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """bool, in the shape of `x`: True in the valid part."""
    rows = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 2)
    columns = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return (rows < valid_size.height) & (columns < valid_size.width)


def zero_outside(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """`x` with 0 outside the valid part."""
    return x if is_unpadded(x, valid_size) else jnp.where(valid_mask(x, valid_size), x, jnp.zeros((), x.dtype))


def replicate_edge(x: jax.Array, valid_size: ValidSize, pad: int | tuple[tuple[int, int], tuple[int, int]]
                   ) -> jax.Array:
    """Adds `pad` samples on every side; every sample outside the valid part repeats the nearest valid one.

    Args:
      x: planes.
      valid_size: their true size.
      pad: one number of samples for all sides, or ((above, below), (left, right)).
    """
    if not is_unpadded(x, valid_size):
        for axis, size in ((x.ndim - 2, valid_size.height), (x.ndim - 1, valid_size.width)):
            last = jax.lax.dynamic_slice_in_dim(x, size - 1, 1, axis=axis)
            x = jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, axis) < size, x, last)
    sides = ((pad, pad), (pad, pad)) if isinstance(pad, int) else pad
    return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + list(sides), mode="edge")
