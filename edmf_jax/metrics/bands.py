"""How the work is cut up so that it stays in the processor's cache.

A megapixel's windowed moments are twenty planes of 4 MB; fetching fresh memory
for them costs more than the arithmetic.  Sums over a picture are therefore
taken in bands of rows: three to four times faster on a CPU, and a band beyond
the true height is never computed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from edmf_jax.metrics.frames import Frame, inside, real

BAND_ROWS = 128

Planes = tuple[jax.Array, ...]


def band_totals(function: Callable, planes: Planes, frame: Frame, halo: int = 0) -> jax.Array:
    """Sums over the frame of the maps that `function(*planes)` gives, `[maps, ...]`, band by band.

    Args:
      function: from planes `[..., H, W]` to a tuple of maps `[..., H − halo, W′]`, row by row the same.
      planes: arrays of one height; `function` gets them as floating point numbers.
      frame: where the maps, not the planes, are defined.
      halo: how many rows more the planes have than the maps.
    """
    # As jitted functions these are traced once, not for their shapes and for the loop; the same in `stage`.
    on_real = jax.jit(lambda *cut: function(*stage(lambda *x: tuple(map(real, x)), *cut)), inline=True)
    maps = jax.eval_shape(on_real, *_band(planes, halo))

    def add(sums: jax.Array, cut: Planes, counted: Callable) -> jax.Array:
        maps = on_real(*cut)
        kept = [jnp.where(counted(m), m, jnp.zeros((), m.dtype)) for m in maps]
        # Rows first, then their sums: float32 sums of a megapixel need the two stages.
        return sums + jnp.stack([jnp.sum(jnp.sum(m, axis=-1), axis=-1) for m in kept])

    return fold_bands(add, jnp.zeros((len(maps), *maps[0].shape[:-2]), maps[0].dtype), planes, frame, halo)


def fold_bands(add: Callable, initial: jax.Array, planes: Planes, frame: Frame, halo: int = 0) -> jax.Array:
    """`add(value, cut planes, counted)` over all bands of rows, from `initial` on.

    `counted(map)` tells which samples of a map of the band lie in the frame and
    in no earlier band.  The other arguments are those of `band_totals`.
    """
    height = planes[0].shape[-2] - halo
    rows = _band(planes, halo)[0].shape[-2] - halo

    def add_band(index: jax.Array, value: jax.Array) -> jax.Array:
        first = index * rows
        start = jnp.minimum(first, height - rows)  # the last band starts early rather than read beyond the plane
        cut = tuple(jax.lax.dynamic_slice_in_dim(x, start, rows + halo, axis=x.ndim - 2) for x in planes)

        def counted(x: jax.Array) -> jax.Array:
            row = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 2)
            return (row >= first - start) & inside(x, Frame(frame.height - start, frame.width))

        return add(value, cut, counted)

    return jax.lax.fori_loop(0, (frame.height + rows - 1) // rows, add_band, initial)


def _band(planes: Planes, halo: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The shapes of a band of the planes."""
    rows = min(BAND_ROWS + halo, planes[0].shape[-2])
    return tuple(jax.ShapeDtypeStruct((*x.shape[:-2], rows, x.shape[-1]), x.dtype) for x in planes)


def stage(function: Callable, *arrays: jax.Array):
    """`function(*arrays)`, computed and stored as a whole before anything uses it.

    XLA's CPU backend otherwise fuses a chain of windowed filters into one loop
    that computes the first again for every tap of the next: 10 to 50 times the
    work (`optimization_barrier` is dropped there before fusion).  A branch is a
    border that fusion does not cross.  The other side is never taken (it would
    need a first sample of 3·10³⁸) and gives NaN.
    """
    first = real(jax.tree.leaves(arrays)[0])
    always = first[(0,) * first.ndim] != jnp.finfo(first.dtype).max
    function = jax.jit(function, inline=True)
    shapes = jax.eval_shape(function, *arrays)
    undefined = lambda *_: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)
    return jax.lax.cond(always, function, undefined, *arrays)
