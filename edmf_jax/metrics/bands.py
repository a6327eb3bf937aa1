"""How the work is cut up so that it stays in the processor's cache.

A megapixel's windowed moments are twenty planes of 4 MB; fresh memory for them
costs more than the arithmetic.  Totals over a picture are therefore taken in
bands of rows: three to four times faster on a CPU, and a band beyond the true
height is never computed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from edmf_jax.metrics.frames import Frame, inside

BAND_ROWS = 128


def band_totals(function: Callable, planes: tuple[jax.Array, ...], frame: Frame, halo: int) -> jax.Array:
    """Sums over the frame of the maps that `function(*planes)` gives, `[maps, ...]`, band by band.

    Args:
      function: from planes `[..., H, W]` to a tuple of maps `[..., H − halo, W′]`, row by row the same.
      planes: arrays of one height.
      frame: where the maps, not the planes, are defined.
      halo: how many rows more a map needs than it has.
    """
    height = planes[0].shape[-2] - halo
    rows = min(BAND_ROWS, height)

    def add_band(index: jax.Array, sums: jax.Array) -> jax.Array:
        first = index * rows
        start = jnp.minimum(first, height - rows)  # the last band starts early rather than read beyond the plane
        cut = [jax.lax.dynamic_slice_in_dim(x, start, rows + halo, axis=x.ndim - 2) for x in planes]
        maps = function(*cut)
        new = jax.lax.broadcasted_iota(jnp.int32, maps[0].shape, maps[0].ndim - 2) >= first - start
        counted = new & inside(maps[0], Frame(frame.height - start, frame.width))
        zero = jnp.zeros((), maps[0].dtype)
        return sums + jnp.stack([jnp.sum(jnp.sum(jnp.where(counted, m, zero), axis=-1), axis=-1) for m in maps])

    maps = jax.eval_shape(function, *planes)
    zeros = jnp.zeros((len(maps), *maps[0].shape[:-2]), maps[0].dtype)
    bands = (frame.height + rows - 1) // rows
    return jax.lax.fori_loop(0, bands, add_band, zeros)


def stage(function: Callable, *arrays: jax.Array):
    """`function(*arrays)`, computed and stored as a whole before anything uses it.

    XLA's CPU backend otherwise fuses a chain of windowed filters into one loop
    that computes the first again for every tap of the next: 10 to 50 times the
    work (`optimization_barrier` is dropped there before fusion).  A branch is a
    border that fusion does not cross.  The other side is never taken (it would
    need a first sample of 3·10³⁸) and gives NaN.
    """
    first = jax.tree.leaves(arrays)[0]
    always = first[(0,) * first.ndim] != jnp.finfo(first.dtype).max
    shapes = jax.eval_shape(function, *arrays)
    undefined = lambda *_: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)
    return jax.lax.cond(always, function, undefined, *arrays)
