"""True sizes inside padded planes, and sums that see nothing else.

A plane is `[..., H, W]`.  Photographs come in hundreds of sizes and every shape
costs a compile, so planes may be padded at the bottom and on the right to a
shape many share (`buckets`), with the true size given as a `Frame`.  Its numbers
may be traced, so one compile serves every size; what lies beyond the frame must
be finite and never changes a result.  One frame holds for all leading axes;
`jax.vmap` serves batches of different sizes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Frame(NamedTuple):
    """Height and width [px] of the true picture, which starts at the top left; Python or traced integers."""

    height: int | jax.Array
    width: int | jax.Array

    @property
    def pixels(self) -> int | jax.Array:
        return self.height * self.width

    def shrink(self, rows: int, columns: int) -> "Frame":
        """The frame of what a filter or difference leaves: so many rows and columns fewer, 0 at least."""
        left = lambda size, less: max(size - less, 0) if isinstance(size, int) else jnp.maximum(size - less, 0)
        return Frame(left(self.height, rows), left(self.width, columns))


def real(x: jax.Array) -> jax.Array:
    """Grey levels as floating point numbers.

    8-bit planes stay so until a metric needs them: a quarter of the memory.
    """
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def whole(x: jax.Array) -> Frame:
    """The frame of a plane without padding."""
    return Frame(*x.shape[-2:])


def is_known(frame: Frame) -> bool:
    """Whether the frame's size is a number to Python, not a traced one."""
    return isinstance(frame.height, int) and isinstance(frame.width, int)


def fills(x: jax.Array, frame: Frame) -> bool:
    """Whether the frame is known, while tracing, to be the whole plane."""
    return is_known(frame) and tuple(frame) == x.shape[-2:]


def inside(x: jax.Array, frame: Frame) -> jax.Array:
    """True within the frame, of the shape of `x`."""
    rows = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 2)
    columns = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return (rows < frame.height) & (columns < frame.width)


def blacken(x: jax.Array, frame: Frame) -> jax.Array:
    """0 beyond the frame."""
    return x if fills(x, frame) else jnp.where(inside(x, frame), x, jnp.zeros((), x.dtype))


def replicate(x: jax.Array, frame: Frame, pad: int | tuple[tuple[int, int], tuple[int, int]]) -> jax.Array:
    """Samples more on every side, all that lies outside the frame repeating the frame's nearest edge sample.

    Args:
      x: planes.
      frame: their true size.
      pad: how many samples more, one number or ((above, below), (left, right)).
    """
    if not fills(x, frame):
        for axis, size in ((x.ndim - 2, frame.height), (x.ndim - 1, frame.width)):
            last = jax.lax.dynamic_slice_in_dim(x, size - 1, 1, axis=axis)
            x = jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, axis) < size, x, last)
    sides = ((pad, pad), (pad, pad)) if isinstance(pad, int) else pad
    return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + list(sides), mode="edge")
