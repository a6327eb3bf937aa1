"""The layers of `chooser`: convolutions, and steps between a resolution and half of it.

Arrays are `[M, H, W, C]`, computed in the dtype that they have, whatever the parameters' is.
"""

import jax
import jax.numpy as jnp

Params = dict[str, dict[str, jax.Array]]
"""By a layer's name its kernel, HWIO, and its bias `[O]`."""


def activate(x: jax.Array) -> jax.Array:
    """Leaky ReLU."""
    return jnp.where(x > 0, x, 0.1 * x)


def convolve(params: Params, name: str, x: jax.Array) -> jax.Array:
    """The convolution of that name, of the same size as x; where its kernel is one pixel, a product."""
    kernel, bias = (params[name][leaf].astype(x.dtype) for leaf in ("kernel", "bias"))
    if kernel.shape[0] == 1:
        return jnp.einsum("mhwc,cd->mhwd", x, kernel[0, 0]) + bias[None, None, None]
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                                        ) + bias[None, None, None]


def block(params: Params, name: str, x: jax.Array) -> jax.Array:
    """A residual block of two convolutions."""
    inner = activate(convolve(params, f"{name}_a", activate(x)))
    return x + convolve(params, f"{name}_b", inner)


def to_depth(x: jax.Array) -> jax.Array:
    """`[M, H, W, C]` → `[M, H/2, W/2, 4C]`."""
    m, h, w, c = x.shape
    return x.reshape(m, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(m, h // 2, w // 2, 4 * c)


def halved(x: jax.Array) -> jax.Array:
    """Means of 2×2 pixels: `[M, H, W, C]` → `[M, H/2, W/2, C]`."""
    m, h, w, c = x.shape
    return x.reshape(m, h // 2, 2, w // 2, 2, c).mean((2, 4))


def to_space(x: jax.Array) -> jax.Array:
    """The inverse of `to_depth`."""
    m, h, w, c = x.shape
    return x.reshape(m, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(m, 2 * h, 2 * w, c // 4)


def twice(x: jax.Array) -> jax.Array:
    """Each pixel repeated 2×2 times: `[M, H, W, C]` → `[M, 2H, 2W, C]`."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
