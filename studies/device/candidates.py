"""The paper's network written in other ways for a GPU: in blocks of 2×2 pixels, or with kernels of our own.

Each is a function (params, sources `[B, H, W, 2]`) → fused Y `[B, H, W]`, equal to `FusionNet` but for rounding; blocks
are for even sizes only.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import reflect_pad
from edmf_jax.core.model import make_model
from edmf_jax.core.upsampling import upsample2_padded, upsampled_phases
from edmf_jax.weights.exporting.contract import apply_network
from studies.device.kernels.layer import layer_by_kernels
from studies.device.kernels.pixels import Layer, Tile, Tiles


class Written(NamedTuple):
    """A network as a training step takes it: `apply({"params": params}, sources)`."""

    name: str
    function: Callable

    def apply(self, variables: Mapping, sources: jax.Array) -> jax.Array:
        return self.function(variables["params"], sources)


def library(dtype: str) -> Written:
    """As it is in the package on GPUs."""
    model = make_model(16, dtype, "gpu")
    return Written("library", lambda params, x: model.apply({"params": params}, x))


def to_blocks(x: jax.Array) -> jax.Array:
    """Pixels to channels: `[B, H, W, C]` → `[B, H/2, W/2, 4 C]`."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def to_pixels(x: jax.Array) -> jax.Array:
    """The inverse of `to_blocks`."""
    b, h, w, c = x.shape
    return x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)


def _taps(offsets: tuple[int, ...], outputs: int) -> np.ndarray:
    """One axis: 1 where block offset u, input phase c and output phase a are kernel sample t, `[u, c, a, t]`."""
    chosen = np.zeros((len(offsets), 2, outputs, 3), np.float32)
    for i, u in enumerate(offsets):
        for c in range(2):
            for a in range(outputs):
                if abs(2 * u + c - a) <= 1:
                    chosen[i, c, a, 2 * u + c - a + 1] = 1
    return chosen


def block_kernel(kernel: jax.Array, offsets: tuple[int, ...] = (-1, 0, 1), outputs: int = 2) -> jax.Array:
    """A 3×3 kernel HWIO as one over blocks: `[u, v, 4 I, outputs² O]`; 1 output phase is a stride of 2 pixels."""
    taps = _taps(offsets, outputs)
    _, _, into, out = kernel.shape
    n = len(offsets)
    total = 0.0
    for t in range(3):
        for s in range(3):
            where = np.einsum("uca,vdb->uvcdab", taps[..., t], taps[..., s])
            # [u, v, c, d, I, a, b, O]
            sample = kernel[t, s].reshape(1, 1, 1, 1, into, 1, 1, out)
            total += jnp.asarray(where[:, :, :, :, None, :, :, None]) * sample
    return total.reshape(n, n, 4 * into, outputs**2 * out)


def upsample_blocks(x: jax.Array) -> jax.Array:
    """Bicubic upsampling ×2 of `[B, H, W, C]`, in blocks: `[B, H, W, 4 C]`."""
    for axis in (1, 2):
        x = jnp.stack(upsampled_phases(x, axis), 3 if axis == 1 else 4)
    return x.reshape(*x.shape[:3], -1)  # [B, H, W, 2, 2, C]


def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The library's, valid region: `[B, H, W, in]` and HWIO → `[B, h, w, out]`."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def blocks(dtype: str) -> Written:
    """Layers at full resolution over blocks of 2×2 pixels: 64 channels at half the side instead of 16."""
    dtype = jnp.dtype(dtype)

    def edge(x, after=1):
        return jnp.pad(x, ((0, 0), (1, after), (1, after), (0, 0)), mode="edge")  # reflects pixels, see `_taps`

    def layer(p, parts, strided=False):
        offsets, outputs = ((-1, 0), 1) if strided else ((-1, 0, 1), 2)
        total, start = None, 0
        for part in parts:
            kernel = block_kernel(p["kernel"][:, :, start : start + part.shape[-1] // 4], offsets, outputs)
            term = convolution(edge(part, 0 if strided else 1), kernel.astype(dtype))
            total = term if total is None else total + term
            start += part.shape[-1] // 4
        return total + jnp.tile(p["bias"], outputs**2).astype(dtype)[None, None, None]

    def inner(p, *parts):
        parts = [reflect_pad(x, 1, axes=(1, 2)) for x in parts]
        out = convolution(jnp.concatenate(parts, -1), p["kernel"].astype(dtype))
        return out + p["bias"].astype(dtype)[None, None, None]

    def conv(params, name, *parts, stride=1, activation="relu"):
        p = params[name]
        return _activated(inner(p, *parts) if name in HALF_SIZE else layer(p, parts, stride == 2), activation)

    def network(params, sources):
        fused = apply_network(to_blocks(sources.astype(dtype)), functools.partial(conv, params),
                              lambda x, like: upsample_blocks(x))
        return to_pixels(fused)[..., 0]

    return Written("blocks", network)


def _activated(x: jax.Array, activation: str) -> jax.Array:
    return nn.relu(x) if activation == "relu" else jnp.tanh(x.astype(jnp.float32))


HALF_SIZE = ("conv4", "conv5", "conv6", "conv66", "conv55", "conv44", "conv33")
LAYERS = ("conv1", "conv2", "conv3", *HALF_SIZE, "conv22", "conv11")
SQUARE = tuple(name for name in LAYERS if name not in ("conv1", "conv3", "conv11"))
"""Layers of stride 1 with 16 or 32 channels on both sides."""


def kernels(dtype: str, tiles: Callable[[str], Tiles] = lambda layer: Tiles(), layers: tuple[str, ...] = SQUARE, *,
            interpret: bool = False) -> Written:
    """With our kernels in some layers, the library's convolution in the others.

    Args:
      dtype: of the convolutions.
      tiles: of each layer, by its name.
      layers: those with kernels.
      interpret: run the kernels as plain JAX, to try them on a CPU.
    """
    dtype = jnp.dtype(dtype)

    def conv(params, name, *parts, stride=1, activation="relu"):
        p = params[name]
        kernel, padded = p["kernel"].astype(dtype), int(name == "conv22")  # what is upsampled has its border already
        if name in layers:
            how = Layer(stride, activation == "relu", padded, tiles(name), interpret)
            out = layer_by_kernels(how, parts, kernel, p["bias"])
            return out if activation == "relu" else _activated(out, activation)
        own = len(parts) - padded
        parts, start, total = [*(reflect_pad(x, 1, axes=(1, 2)) for x in parts[:own]), *parts[own:]], 0, None
        for part in parts:
            term = jax.lax.conv_general_dilated(part, kernel[:, :, start : start + part.shape[-1]], (stride, stride),
                                                "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            total = term if total is None else total + term
            start += part.shape[-1]
        return _activated(total + p["bias"].astype(dtype)[None, None, None], activation)

    def network(params, sources):
        return apply_network(sources.astype(dtype), functools.partial(conv, params),
                             lambda x, like: upsample2_padded(x, like.shape[1:3]))[..., 0]

    return Written("kernels", network)


def all_ways(dtype: str, *, interpret: bool = False) -> dict[str, Written]:
    """The ways that are compared with the package's, by their names."""
    other = Tiles(Tile(2, 32, 4), Tile(2, 32, 4), Tile(1, 32, 0, 3))
    return {
        "kernels": kernels(dtype, interpret=interpret),
        "blocks": blocks(dtype),
        "kernels, conv3 too, other tiles": kernels(dtype, lambda layer: other, (*SQUARE, "conv3"), interpret=interpret),
        "kernels everywhere": kernels(dtype, layers=LAYERS, interpret=interpret),
    }
