"""The recursive edge-preserving filter of the domain transform (Gastal, Oliveira 2011, DOI 10.1145/2010324.1964964)."""

import math

import jax
import jax.numpy as jnp

from edmf_jax.core.valid_size import ValidSize, valid_mask


def recursive_filter(x: jax.Array, guide: jax.Array, size: ValidSize, *, sigma_space: float, sigma_range: float,
                     iterations: int = 3) -> jax.Array:
    """Smooths planes but not across the edges of a guide.

    Args:
      x: planes `[N, H, W]`.
      guide: `[N, H, W]`.
      size: the true size; what lies beyond it does not count.
      sigma_space: the filter's standard deviation where the guide is flat [px].
      sigma_range: by how much the guide varies over an edge.
      iterations: of the passes along both axes, each with a narrower filter.

    Returns:
      `[N, H, W]`; its values beyond the true size have no meaning.
    """
    inside = valid_mask(guide, size)
    distances = [1 + sigma_space / sigma_range * jnp.abs(jnp.diff(guide, axis=axis)) for axis in (1, 2)]
    # The first distance is never used; the recursion does not go across the true edge.
    down, right = (jnp.pad(d, pad, constant_values=1)
                   for d, pad in zip(distances, (((0, 0), (1, 0), (0, 0)), ((0, 0), (0, 0), (1, 0)))))
    for i in range(iterations):
        sigma = sigma_space * math.sqrt(3) * 2 ** (iterations - i - 1) / math.sqrt(4**iterations - 1)
        feedback = math.exp(-math.sqrt(2) / sigma)
        x = _pass(x, jnp.where(inside, feedback**right, 0), axis=2)
        x = _pass(x, jnp.where(inside, feedback**down, 0), axis=1)
    return x


def _pass(x: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    """Forward and backward along an axis of `[N, H, W]`; `weights` join a sample and the one before it."""
    x, weights = jnp.moveaxis(x, axis, 0), jnp.moveaxis(weights, axis, 0)

    def forward(before, sample):
        value, weight = sample
        value = value + weight * (before - value)
        return value, value

    def backward(carry, sample):
        after, weight_after = carry
        value, weight = sample
        value = value + weight_after * (after - value)
        return (value, weight), value

    _, x = jax.lax.scan(forward, x[0], (x, weights))
    _, x = jax.lax.scan(backward, (x[-1], jnp.zeros_like(weights[-1])), (x, weights), reverse=True)
    return jnp.moveaxis(x, 0, axis)
