"""Layers of the published networks on padded pictures: exact up to the true edges, one program for many sizes.

Arrays are NHWC, kernels HWIO, both float32.  A picture lies at the top left of an array that may be larger; `size` is
its true size, whose numbers may be traced.  Before a layer the samples beyond the true edge are overwritten by those
that the layer's border rule would take, so the values inside are those of the picture alone.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize, is_static

BATCH_NORM_EPSILON = 1e-5  # PyTorch's


def from_torch(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kernels of PyTorch's layout OIHW as HWIO; arrays of other ranks are returned as they are."""
    return {name: np.ascontiguousarray(x.transpose(2, 3, 1, 0)) if x.ndim == 4 else x for name, x in weights.items()}


def convolve(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Cross-correlation over zeros, `[N, H, W, I]` → `[N, H, W, O]`.

    Other borders are written into the array beforehand (`fill_border`): on XLA's CPU backend a convolution of valid
    samples only takes three times as long as one of this kind.
    """
    out = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return out if bias is None else out + bias[None, None, None, :]


def pointwise(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A 1×1 convolution, as a product of matrices."""
    out = jnp.einsum("nhwi,io->nhwo", x, kernel[0, 0])
    return out if bias is None else out + bias[None, None, None, :]


def batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    """Batch normalization by stored statistics `[C]`."""
    gain = scale / jnp.sqrt(variance + BATCH_NORM_EPSILON)
    return x * gain[None, None, None, :] + (bias - mean * gain)[None, None, None, :]


def leaky_relu(x: jax.Array) -> jax.Array:
    """x where positive, else 0.2 x."""
    return jnp.maximum(x, 0.2 * x)


def zero_beyond(x: jax.Array, size: ValidSize) -> jax.Array:
    """`[N, H, W, C]` with 0 beyond the true size: the border rule of a zero-padded convolution."""
    if is_static(size) and tuple(size) == x.shape[1:3]:
        return x
    rows, columns = (jax.lax.broadcasted_iota(jnp.int32, (1, *x.shape[1:3], 1), axis) for axis in (1, 2))
    return jnp.where((rows < size.height) & (columns < size.width), x, jnp.zeros((), x.dtype))


def fill_border(x: jax.Array, size: ValidSize, mode: str, start: int = 1) -> jax.Array:
    """Overwrites the samples around the picture: the border of the next 3×3 convolution.

    Args:
      x: `[N, H, W, C]`, with the picture from sample (`start`, `start`) on, and at least one more sample on each side.
      size: the picture's true size.
      mode: "edge" repeats the edge sample, "reflect" the one before it.
      start: the picture's first row and column.
    """
    inward = {"edge": 1, "reflect": 2}[mode]
    places = [(axis, border, source) for axis, length in ((1, size.height), (2, size.width))
              for border, source in ((start - 1, start - 1 + inward), (start + length, start + length - inward))]
    lines = [jax.lax.dynamic_slice_in_dim(x, source, 1, axis) for axis, _, source in places]
    # The corners: rows are overwritten first, and columns come from there.
    for i, (_, border, _) in enumerate(places[:2]):
        for j in (2, 3):
            corner = jax.lax.dynamic_slice_in_dim(lines[i], places[j][2], 1, 2)
            lines[j] = jax.lax.dynamic_update_slice_in_dim(lines[j], corner, border, 1)
    # All lines are read before the first is written: otherwise XLA copies the array before every update.
    lines = jax.lax.optimization_barrier(lines)
    for line, (axis, border, _) in zip(lines, places):
        x = jax.lax.dynamic_update_slice_in_dim(x, line, border, axis)
    return x


def repeat_edge(x: jax.Array, size: ValidSize, pad: int) -> jax.Array:
    """Adds `pad` samples on every side of `[N, H, W, C]`; all samples outside the picture repeat its edge."""
    for axis, length in ((1, size.height), (2, size.width)):
        x = jnp.take(x, jnp.clip(jnp.arange(-pad, x.shape[axis] + pad), 0, length - 1), axis=axis)
    return x


def true_mean(x: jax.Array, size: ValidSize) -> jax.Array:
    """Mean over the pixels of `[N, H, W, C]`, which is 0 beyond the true size: `[N, C]`."""
    # As products with ones: one long sum in float32 would lose digits.
    rows = jnp.einsum("nhwc,w->nhc", x, jnp.ones(x.shape[2], x.dtype))
    return jnp.einsum("nhc,h->nc", rows, jnp.ones(x.shape[1], x.dtype)) / (size.height * size.width)


def box_sum(x: jax.Array, window_px: int, size: ValidSize) -> jax.Array:
    """Sum over an odd `window_px`×`window_px` square of `[N, H, W, C]`, zeros outside; same size out."""
    x = zero_beyond(x, size)
    for axis in (1, 2):
        window = [window_px if a == axis else 1 for a in range(4)]
        x = jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, window, (1, 1, 1, 1), "SAME")
    return x


def squared_differences(x: jax.Array) -> jax.Array:
    """Squared difference to the left neighbor plus that to the upper one, zeros outside; `[N, H, W, C]`."""
    left = jnp.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    above = jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    return (left - x) ** 2 + (above - x) ** 2
