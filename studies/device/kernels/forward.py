"""The layer: a tile of outputs from nine loads of each part of the inputs."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from studies.device.kernels.pixels import (
    TAPS,
    THIN,
    Layer,
    Pictures,
    as_matrices,
    call,
    flat,
    full_channels,
    kernel_name,
    product,
    tile_count,
    tile_pixels,
)


@functools.partial(jax.jit, static_argnums=0)  # traced once for all layers of a shape
def forward(layer: Layer, parts: Sequence[jax.Array], kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """relu(3×3 convolution + bias): parts `[B, H, W, C_i]` or, padded, `[B, H + 2, W + 2, C_i]` → `[B, h, w, out]`."""
    tile, count, stride = layer.tiles.forward, len(parts), layer.stride
    plain = count - layer.padded
    height, width = (size - (0 if plain else 2) for size in parts[0].shape[1:3])
    pictures, features = parts[0].shape[0], kernel.shape[-1]
    rows, columns, full = pl.cdiv(height, stride), pl.cdiv(width, stride), full_channels(features)

    def body(*refs):
        inputs = [Pictures(ref, part.shape[1:], number >= plain)
                  for number, (ref, part) in enumerate(zip(refs[:count], parts, strict=True))]
        matrices, bias_ref = refs[count : 2 * count], refs[2 * count]
        at = tile_pixels(tile, pl.program_id(0), rows, columns)
        terms = _sums(inputs, matrices, at, stride, full, features == 1)
        total = sum(jnp.sum(term, 1) for term in terms) + bias_ref[0] if features == 1 else sum(terms) + bias_ref[...]
        Pictures(refs[-1], (rows, columns, features)).store(at, jnp.maximum(total, 0.0) if layer.relu else total)

    out = jax.ShapeDtypeStruct((pictures * rows * columns, features), parts[0].dtype)
    padded_bias = jnp.pad(bias.astype(jnp.float32), (0, full - features))
    padded_bias = padded_bias if features == 1 else padded_bias[None]
    matrices = as_matrices(kernel, [part.shape[-1] for part in parts])
    grid = (tile_count(tile, pictures, rows, columns),)
    found = call(body, layer, tile, kernel_name("forward", parts, features), grid, out, *map(flat, parts), *matrices,
                 padded_bias)
    return found.reshape(pictures, rows, columns, features)


def _sums(inputs: list[Pictures], matrices, at, stride: int, full: int, is_one: bool) -> list[jax.Array]:
    """The convolution of each part `[m, out]`; of a single channel its terms `[m, in]`, to be added up."""
    totals = [jnp.zeros((len(at.y), full_channels(part.shape[2]) if is_one else full), jnp.float32) for part in inputs]
    for tap, (dy, dx) in enumerate(TAPS):
        for number, (part, matrix) in enumerate(zip(inputs, matrices, strict=True)):
            sampled = part.sampled(at, stride, dy, dx)
            if is_one:
                totals[number] += part.load(sampled).astype(jnp.float32) * matrix[tap, :, 0].astype(jnp.float32)[None]
            elif part.shape[2] <= THIN:
                for c in range(part.shape[2]):
                    totals[number] += part.load_channel(sampled, c)[:, None] * matrix[tap, c].astype(jnp.float32)[None]
            else:
                totals[number] += product(part.load(sampled), matrix[tap])
    return totals
