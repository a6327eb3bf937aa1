"""The gradients of a layer's inputs: a tile of them from nine loads of the output's gradient."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from studies.device.kernels.pixels import (
    TAPS,
    Layer,
    Pictures,
    Pixels,
    as_matrices,
    call,
    flat,
    full_channels,
    kernel_name,
    product,
    tile_count,
    tile_origin,
    tile_pixels,
)


@functools.partial(jax.jit, static_argnums=(0, 4))
def gradient_of_inputs(layer: Layer, gradient: jax.Array, kernel: jax.Array, parts: Sequence[jax.Array], is_padded: bool
                       ) -> list[jax.Array]:
    """The gradients of `parts`.

    Args:
      layer: what the kernel is compiled for.
      gradient: of the layer's sum, before its ReLU, `[B, h, w, out]`.
      kernel: `[3, 3, in, out]`, whose inputs are the channels of these parts.
      parts: inputs `[B, H, W, C_i]`, or with their border; only shapes and dtypes count.
      is_padded: whether they have their border.
    """
    tile, count, (height, width) = layer.tiles.inputs, len(parts), parts[0].shape[1:3]
    sizes = [part.shape[-1] for part in parts]

    def body(gradient_ref, *refs):
        gradients, matrices = Pictures(gradient_ref, gradient.shape[1:]), refs[:count]
        at = tile_pixels(tile, pl.program_id(0), height, width)

        def sums(has_rim: bool):
            totals = [jnp.zeros((len(at.y), full_channels(size)), jnp.float32) for size in sizes]
            for number, tap in enumerate(TAPS):
                g = _gathered(gradients, at, tap, (height, width), layer.stride, is_padded, has_rim)
                totals = [total + _share(g, matrix, number) for total, matrix in zip(totals, matrices, strict=True)]
            return totals

        if is_padded:
            totals = sums(False)
        else:
            # Few tiles have samples that the border took a second time.
            _, y, x = tile_origin(tile, pl.program_id(0), height, width)
            has_rim = (y <= 1) | (y + tile.rows >= height - 1) | (x <= 1) | (x + tile.columns >= width - 1)
            totals = jax.lax.cond(has_rim, lambda: sums(True), lambda: sums(False))
        for total, ref, size in zip(totals, refs[count:], sizes, strict=True):
            Pictures(ref, (height, width, size)).store(at, total)

    results = [jax.ShapeDtypeStruct((part.size // part.shape[-1], part.shape[-1]), part.dtype) for part in parts]
    name = kernel_name("padded_inputs" if is_padded else "inputs", parts, gradient.shape[-1])
    found = call(body, layer, tile, name, (tile_count(tile, len(gradient), height, width),), results, flat(gradient),
                 *as_matrices(kernel, sizes))
    return [x.reshape(part.shape) for x, part in zip(found, parts, strict=True)]


def _share(g, matrix, number: int):
    """The gradient `[m, in]` by one sample of the kernel, from that of its outputs, `[m, out]` or `[m]` of one."""
    if g.ndim == 1:
        return g[:, None] * matrix[number, :, 0].astype(jnp.float32)[None]
    return product(g, matrix[number], 1, 1)


def _gathered(gradients: Pictures, at: Pixels, tap: tuple[int, int], size: tuple[int, int], stride: int,
              is_padded: bool, has_rim: bool):
    """The gradients of the outputs that took the inputs `at` for `tap`: one each, or up to four where they are rim."""
    rows, columns, features = gradients.shape
    total = None
    for y, y_counts in _takers(at.y, tap[0], size[0], rows, stride, is_padded, has_rim):
        for x, x_counts in _takers(at.x, tap[1], size[1], columns, stride, is_padded, has_rim):
            taken = Pixels(at.picture, jnp.clip(y, 0, rows - 1), jnp.clip(x, 0, columns - 1))
            counts = y_counts & x_counts
            one = gradients.load_channel(taken, 0, counts) if features == 1 else gradients.load(taken, counts)
            total = one if total is None else total + one
    return total


def _takers(i, d: int, size: int, outputs: int, stride: int, is_padded: bool, has_rim: bool) -> list[tuple]:
    """Along one axis: the outputs that took input i for the sample d, and where that is so."""
    j = i - d - is_padded
    found = [(j // stride, (j >= 0) & (j % stride == 0) & (j // stride < outputs))]
    last = outputs - 1
    if has_rim and d < 0:  # output 0 took input 1 for the border
        found.append((jnp.zeros_like(i), i == 1))
    if has_rim and d > 0 and stride * last + 1 == size:  # the last output the last input but one, if it reached out
        found.append((jnp.full_like(i, last), i == size - 2))
    return found
