"""Sums over pictures, taken in bands of rows so that the intermediate arrays stay in the processor's cache.

The windowed moments of a megapixel picture are twenty planes of 4 MB. Fetching fresh memory for them costs more than
the arithmetic, so sums are taken over bands of 128 rows: three to four times faster on a CPU. Bands that lie below the
valid part are never computed.

Other platforms get the whole planes at once, in one fused program: a loop of small kernels would leave a GPU idle.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from edmf_jax.core.valid_size import ValidSize, as_float, valid_mask

BAND_ROWS = 128


def in_bands() -> bool:
    """Whether what is traced now is written for a CPU: JAX's default backend is one."""
    return jax.default_backend() == "cpu"


Planes = tuple[jax.Array, ...]


def band_totals(function: Callable, planes: Planes, valid_size: ValidSize, halo: int = 0) -> jax.Array:
    """Sums of the maps `function(*planes)` over the valid part, band by band.

    Args:
      function: takes float planes `[..., H, W]` and returns a sequence of maps `[..., H − halo, W′]`. It must treat
        all rows alike, because it is called once per band.
      planes: arrays of one height; integers are converted to floats.
      valid_size: the part of the maps (not of the planes) to sum over.
      halo: how many more rows the planes have than the maps.

    Returns:
      One sum per map, `[maps, ...]`.
    """
    # jax.jit makes JAX trace the function once instead of twice (for its shapes, and for the loop). The same holds in
    # `cpu_fusion_barrier`.
    on_floats = jax.jit(lambda *band: function(*cpu_fusion_barrier(lambda *x: tuple(map(as_float, x)), *band)),
                        inline=True)
    maps = jax.eval_shape(on_floats, *_band_shapes(planes, halo))

    def add(sums: jax.Array, band: Planes, is_counted: Callable) -> jax.Array:
        maps = on_floats(*band)
        counted = [jnp.where(is_counted(m), m, jnp.zeros((), m.dtype)) for m in maps]
        # Sum along rows first, then over rows: in float32, a megapixel needs the two stages.
        return sums + jnp.stack([jnp.sum(jnp.sum(m, axis=-1), axis=-1) for m in counted])

    return fold_bands(add, jnp.zeros((len(maps), *maps[0].shape[:-2]), maps[0].dtype), planes, valid_size, halo)


def fold_bands(add: Callable, initial: jax.Array, planes: Planes, valid_size: ValidSize, halo: int = 0) -> jax.Array:
    """Accumulates a value over all bands of rows: `value = add(value, band, is_counted)`, starting from `initial`.

    Where the platform is no CPU there is one band, the whole planes.

    Args:
      add: takes the value so far, the band's planes and `is_counted`. `is_counted(map)` is True for the samples of a
        map of this band that lie in the valid part and in no earlier band.
      initial: the value before the first band.
      planes, valid_size, halo: as in `band_totals`.
    """
    if not in_bands():
        return add(initial, planes, lambda x: valid_mask(x, valid_size))
    height = planes[0].shape[-2] - halo
    rows = _band_shapes(planes, halo)[0].shape[-2] - halo

    def add_band(index: jax.Array, value: jax.Array) -> jax.Array:
        first = index * rows
        start = jnp.minimum(first, height - rows)  # the last band starts early rather than read beyond the plane
        band = tuple(jax.lax.dynamic_slice_in_dim(x, start, rows + halo, axis=x.ndim - 2) for x in planes)

        def is_counted(x: jax.Array) -> jax.Array:
            row = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 2)
            return (row >= first - start) & valid_mask(x, ValidSize(valid_size.height - start, valid_size.width))

        return add(value, band, is_counted)

    return jax.lax.fori_loop(0, (valid_size.height + rows - 1) // rows, add_band, initial)


def _band_shapes(planes: Planes, halo: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """The planes' shapes and dtypes within one band."""
    rows = min(BAND_ROWS + halo, planes[0].shape[-2]) if in_bands() else planes[0].shape[-2]
    return tuple(jax.ShapeDtypeStruct((*x.shape[:-2], rows, x.shape[-1]), x.dtype) for x in planes)


def cpu_fusion_barrier(function: Callable, *arrays: jax.Array):
    """`function(*arrays)`, computed completely and stored before anything uses it.

    Without it, XLA's CPU backend fuses a chain of windowed filters into one loop that recomputes the first filter for
    every tap of the next: 10 to 50 times the work. (XLA's own `optimization_barrier` is dropped there before fusion.)
    Fusion does not cross a conditional branch, so the call is wrapped in one. The predicate is always true (unless the
    first sample is the largest finite float, 3·10³⁸); the dead branch, which gives NaN, only blocks fusion.

    Where the platform is no CPU it is a plain call: there a conditional would only stop the compiler.
    """
    if not in_bands():
        return function(*arrays)
    first = as_float(jax.tree.leaves(arrays)[0])
    always = first[(0,) * first.ndim] != jnp.finfo(first.dtype).max
    function = jax.jit(function, inline=True)
    shapes = jax.eval_shape(function, *arrays)
    undefined = lambda *_: jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)
    return jax.lax.cond(always, function, undefined, *arrays)
