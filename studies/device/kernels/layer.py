"""A layer by kernels, as a differentiable function."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from studies.device.kernels.forward import forward
from studies.device.kernels.inputs import gradient_of_inputs
from studies.device.kernels.pixels import Layer
from studies.device.kernels.weights import gradient_of_weights

_MOST_CHANNELS = 32  # of the gradients that one kernel computes: more need too many registers


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def layer_by_kernels(layer: Layer, parts: tuple[jax.Array, ...], kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """relu(3×3 convolution of the concatenated `parts` over a reflected border + bias).

    Args:
      layer: stride, whether there is a ReLU, how many of the last parts have their border already, and the tiles.
      parts: `[B, H, W, C_i]`, those with a border `[B, H + 2, W + 2, C_i]`.
      kernel: `[3, 3, in, out]`, of the parts' dtype.
      bias: `[out]`, float32.
    """
    return forward(layer, parts, kernel, bias)


def _forward(layer, parts, kernel, bias):
    out = forward(layer, parts, kernel, bias)
    return out, (parts, kernel, out if layer.relu else None)


def _backward(layer, saved, gradient):
    parts, kernel, out = saved
    if layer.relu:
        gradient = jnp.where(out > 0, gradient, jnp.zeros((), gradient.dtype))
    plain = len(parts) - layer.padded
    weights = [gradient_of_weights(layer, part, gradient, number >= plain) for number, part in enumerate(parts)]
    inputs, start = [], 0
    for group, is_padded in _groups(parts, plain):
        size = sum(part.shape[-1] for part in group)
        inputs += gradient_of_inputs(layer, gradient, kernel[:, :, start : start + size], group, is_padded)
        start += size
    kernels, biases = zip(*weights, strict=True)
    return tuple(inputs), jnp.concatenate(kernels, 2).astype(kernel.dtype), biases[0]


def _groups(parts: Sequence[jax.Array], plain: int) -> list[tuple[list[jax.Array], bool]]:
    """Parts whose gradients one kernel computes, and whether they are padded."""
    groups: list[tuple[list[jax.Array], bool]] = []
    for number, part in enumerate(parts):
        is_padded = number >= plain
        if groups and groups[-1][1] == is_padded and sum(
                p.shape[-1] for p in (*groups[-1][0], part)) <= _MOST_CHANNELS:
            groups[-1][0].append(part)
        else:
            groups.append(([part], is_padded))
    return groups


layer_by_kernels.defvjp(_forward, _backward)
