"""The gradients of a layer's kernel and bias: sums over all pixels, split over programs and then added up."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from studies.device.kernels.pixels import (
    THIN,
    Layer,
    Pictures,
    Pixels,
    call,
    flat,
    full_channels,
    kernel_name,
    product,
    tile_count,
    tile_pixels,
)


@functools.partial(jax.jit, static_argnums=(0, 3))
def gradient_of_weights(layer: Layer, part: jax.Array, gradient: jax.Array, is_padded: bool
                        ) -> tuple[jax.Array, jax.Array]:
    """The gradients of the kernel's part `[3, 3, in, out]` and of the bias `[out]`, float32.

    Args:
      layer: what the kernel is compiled for.
      part: one of the inputs, `[B, H, W, in]`, or with its border.
      gradient: of the layer's sum, before its ReLU, `[B, h, w, out]`.
      is_padded: whether the part has its border.
    """
    pictures, rows, columns, features = gradient.shape
    size, into, full = part.shape[-1], full_channels(part.shape[-1]), full_channels(features)
    tiles = tile_count(layer.tiles.weights, pictures, rows, columns)
    each = pl.cdiv(tiles, min(tiles, layer.tiles.programs))
    programs = pl.cdiv(tiles, each)
    kind = "one out" if features == 1 else "few in" if size <= THIN else "products"
    tile = layer.tiles.weights
    tile = tile._replace(warps=tile.warps or max(1 if kind == "products" else 2, into * full // 256))
    shape = {"products": (into, full), "few in": (size, full), "one out": (1, into)}[kind]

    def body(part_ref, gradient_ref, kernel_ref, bias_ref):
        # A row of the kernel's samples: all nine at once need too many registers.
        program, row = pl.program_id(0), pl.program_id(1)
        inputs, gradients = Pictures(part_ref, part.shape[1:], is_padded), Pictures(gradient_ref, gradient.shape[1:])

        def add(i, sums):
            number = program + i * programs
            at = tile_pixels(tile, number, rows, columns)
            inside = (at.y < rows) & (at.x < columns) & (number < tiles)
            at = Pixels(jnp.minimum(at.picture, pictures - 1), at.y, at.x)
            clamped = Pixels(at.picture, jnp.minimum(at.y, rows - 1), jnp.minimum(at.x, columns - 1))
            one = kind == "one out"
            g = gradients.load_channel(clamped, 0, inside) if one else gradients.load(clamped, inside)
            terms = [_terms(kind, inputs, inputs.sampled(at, layer.stride, row - 1, dx), g) for dx in (-1, 0, 1)]
            terms.append(g if one else jnp.sum(g.astype(jnp.float32), 0))
            return jax.tree.map(jnp.add, sums, terms)

        zeros = [_zeros(kind, tile.rows * tile.columns, into, full, size)] * 3
        zeros.append(jnp.zeros(tile.rows * tile.columns if kind == "one out" else full, jnp.float32))
        *totals, bias = jax.lax.fori_loop(0, each, add, zeros)
        for column, total in enumerate(totals):
            if kind == "products":
                kernel_ref[program, row, column] = total[0]
            else:
                for c, terms in enumerate(total):
                    kernel_ref[program, row, column, c] = jnp.sum(terms, 0)
        bias_ref[program, row] = jnp.sum(bias) if kind == "one out" else bias

    results = [jax.ShapeDtypeStruct((programs, 3, 3, *shape), jnp.float32),
               jax.ShapeDtypeStruct((programs, 3) if kind == "one out" else (programs, 3, full), jnp.float32)]
    name = kernel_name("padded_weights" if is_padded else "weights", [part], features)
    kernels, biases = call(body, layer, tile, name, (programs, 3), results, flat(part), flat(gradient))
    kernel, bias = kernels.sum(0), biases[:, 0].sum(0)
    if kind == "one out":
        return kernel.swapaxes(2, 3)[:, :, :size], bias[None]
    return kernel[:, :, :size, :features], bias[:features]


def _zeros(kind: str, pixels: int, into: int, full: int, size: int) -> list[jax.Array]:
    """Sums to which `_terms` are added."""
    shape = {"products": (into, full), "few in": (pixels, full), "one out": (pixels, into)}[kind]
    return [jnp.zeros(shape, jnp.float32)] * (size if kind == "few in" else 1)


def _terms(kind: str, inputs: Pictures, sampled: Pixels, g) -> list[jax.Array]:
    """What a tile adds for one sample: `[in, out]`, or terms for each pixel that are added up at the end."""
    if kind == "products":
        return [product(inputs.load(sampled), g, 0)]
    if kind == "one out":
        return [inputs.load(sampled).astype(jnp.float32) * g[:, None]]
    return [inputs.load_channel(sampled, c)[:, None] * g.astype(jnp.float32) for c in range(inputs.shape[2])]
