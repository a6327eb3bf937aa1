"""Tiles of pixels: where they are in pictures, how a kernel reads and writes them, and what kernels share besides."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

TAPS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
THIN = 2
"""Channels that are too few for a tensor core."""


class Tile(NamedTuple):
    """A tile of rows × columns pixels, powers of two, and how a kernel runs on it."""

    rows: int
    columns: int
    warps: int  # 0 for weight gradients: as many as have no work twice
    stages: int = 2


class Tiles(NamedTuple):
    """The tiles of the three kernels of a layer, and over how many programs the sums of a weight gradient are split."""

    forward: Tile = Tile(4, 32, 4)
    inputs: Tile = Tile(4, 32, 4)
    weights: Tile = Tile(2, 32, 0, 1)
    programs: int = 1056


class Layer(NamedTuple):
    """What a layer's kernels are compiled for; `padded` parts (the last ones) have their border already."""

    stride: int = 1
    relu: bool = True
    padded: int = 0
    tiles: Tiles = Tiles()
    interpret: bool = False  # run the kernels as plain JAX


class Pixels(NamedTuple):
    """Pixels `[m]` of one picture: row and column of each."""

    picture: jax.Array
    y: jax.Array
    x: jax.Array


class Pictures(NamedTuple):
    """Pictures of `shape` [H, W, C] in a reference `[pixels, C]` of a kernel."""

    ref: jax.Array
    shape: tuple[int, ...]
    is_padded: bool = False

    def _at(self, at: Pixels, channels: int):
        number = (at.picture * self.shape[0] + at.y) * self.shape[1] + at.x
        c = jax.lax.broadcasted_iota(jnp.int32, (len(at.y), channels), 1)
        return self.ref.at[jnp.broadcast_to(number[:, None], c.shape), c], c < self.shape[2]

    def load(self, at: Pixels, inside=None):
        """Samples `[m, C]`, 0 where not `inside`, with channels filled up."""
        full = full_channels(self.shape[2])
        where, mask = self._at(at, full)
        if inside is not None:
            mask = mask & jnp.broadcast_to(inside[:, None], mask.shape)
        elif full == self.shape[2]:
            return plgpu.load(where)
        return plgpu.load(where, mask=mask, other=0.0)

    def load_channel(self, at: Pixels, channel: int, inside=None):
        """Samples of one channel, float32 `[m]`, 0 where not `inside`."""
        number = (at.picture * self.shape[0] + at.y) * self.shape[1] + at.x
        where = self.ref.at[number, jnp.full_like(number, channel)]
        loaded = plgpu.load(where) if inside is None else plgpu.load(where, mask=inside, other=0.0)
        return loaded.astype(jnp.float32)

    def store(self, at: Pixels, value) -> None:
        """Writes samples `[m, C]`, or `[m]` of one channel, where they are within the picture."""
        inside = (at.y < self.shape[0]) & (at.x < self.shape[1])
        if value.ndim == 1:
            number = jnp.where(inside, (at.picture * self.shape[0] + at.y) * self.shape[1] + at.x, len(self.ref))
            plgpu.store(self.ref.at[number, jnp.zeros_like(number)], value.astype(self.ref.dtype), mask=inside)
            return
        where, mask = self._at(at, value.shape[1])
        plgpu.store(where, value.astype(self.ref.dtype), mask=mask & jnp.broadcast_to(inside[:, None], mask.shape))

    def sampled(self, at: Pixels, stride: int, dy, dx) -> Pixels:
        """The pixels that a layer's outputs `at` take for the sample (dy, dx)."""
        y, x = stride * at.y + dy, stride * at.x + dx
        if self.is_padded:
            return Pixels(at.picture, jnp.minimum(y + 1, self.shape[0] - 1), jnp.minimum(x + 1, self.shape[1] - 1))
        return Pixels(at.picture, _reflect(y, self.shape[0]), _reflect(x, self.shape[1]))


def _reflect(i, size: int):
    """Index i, from −1 to beyond `size`, reflected into a plane; far beyond it (no result is there) clamped."""
    i = jnp.abs(i)
    return jnp.maximum(size - 1 - jnp.abs(size - 1 - i), 0)


def full_channels(count: int) -> int:
    """`count` filled up for a tensor core: a power of two, at least 16."""
    return max(16, 1 << (count - 1).bit_length())


def tile_count(tile: Tile, pictures: int, rows: int, columns: int) -> int:
    """How many tiles cover pictures of rows × columns pixels."""
    return pictures * pl.cdiv(rows, tile.rows) * pl.cdiv(columns, tile.columns)


def tile_origin(tile: Tile, number, rows: int, columns: int):
    """Tile `number` of pictures of rows × columns: its picture, first row and first column."""
    across, down = pl.cdiv(columns, tile.columns), pl.cdiv(rows, tile.rows)
    return number // (across * down), number // across % down * tile.rows, number % across * tile.columns


def tile_pixels(tile: Tile, number, rows: int, columns: int) -> Pixels:
    """The pixels of tile `number`; some may be beyond the picture's end."""
    picture, y, x = tile_origin(tile, number, rows, columns)
    m = jax.lax.iota(jnp.int32, tile.rows * tile.columns)
    return Pixels(picture, y + m // tile.columns, x + m % tile.columns)


def flat(x: jax.Array) -> jax.Array:
    """`[B, H, W, C]` → `[B · H · W, C]`."""
    return x.reshape(-1, x.shape[-1])


def product(a, b, of_a: int = 1, of_b: int = 0):
    """The sum over axis `of_a` of a and `of_b` of b, in float32; float32 factors in TF32."""
    precision = jax.lax.Precision.HIGH if a.dtype == jnp.float32 else None
    return jax.lax.dot_general(a, b, (((of_a,), (of_b,)), ((), ())), precision, jnp.float32)


def as_matrices(kernel: jax.Array, sizes: Sequence[int]) -> list[jax.Array]:
    """The kernel `[3, 3, in, out]` as one `[9, in, out]` for each part of the inputs, channels filled up with zeros."""
    parts, start, out = [], 0, kernel.shape[-1]
    for size in sizes:
        part = kernel[:, :, start : start + size].reshape(9, size, out)
        parts.append(jnp.pad(part, ((0, 0), (0, full_channels(size) - size), (0, full_channels(out) - out))))
        start += size
    return parts


def call(body, layer: Layer, tile: Tile, name: str, grid: tuple[int, ...], out_shape, *arrays: jax.Array):
    """Runs a kernel.  Equal kernels should have equal names: XLA compiles them once."""
    many = isinstance(out_shape, list)
    anywhere = pl.BlockSpec(memory_space=pl.ANY)
    return pl.pallas_call(
        body, grid=grid, in_specs=[anywhere] * len(arrays), out_specs=[anywhere] * len(out_shape) if many else anywhere,
        out_shape=out_shape, interpret=layer.interpret, name=name,
        compiler_params=plgpu.CompilerParams(num_warps=tile.warps, num_stages=tile.stages))(*arrays)


def kernel_name(kind: str, parts: Sequence[jax.Array], features: int) -> str:
    """A name that says what a kernel does, on which size and channels."""
    return f"{kind}_{parts[0].shape[1]}px_{'_'.join(str(part.shape[-1]) for part in parts)}_to_{features}"
