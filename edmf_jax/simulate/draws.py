"""Random numbers in a range, for arrays of any shape."""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.simulate.ranges import Range


def even(key: jax.Array, limits: Range, shape: tuple[int, ...]) -> jax.Array:
    """Evenly in `limits`."""
    return jax.random.uniform(key, shape, minval=limits[0], maxval=limits[1])


def log_even(key: jax.Array, limits: Range, shape: tuple[int, ...]) -> jax.Array:
    """With an evenly drawn logarithm, in `limits`, both positive."""
    return jnp.exp(even(key, (float(np.log(limits[0])), float(np.log(limits[1]))), shape))


def chance(key: jax.Array, share: float, shape: tuple[int, ...]) -> jax.Array:
    """True in a `share` of the places."""
    return jax.random.bernoulli(key, share, shape)


def trailing(x: jax.Array, axes: int) -> jax.Array:
    """`x` with so many axes of length 1 behind its own."""
    return x.reshape(*x.shape, *[1] * axes)


def smooth_noise(key: jax.Array, size: int, length_px: jax.Array, stretch: float = 1.0) -> jax.Array:
    """Smooth random fields `[n, size, size]` of mean 0 and deviation 1, correlated over `length_px` [n].

    In one direction, which is random, over `stretch` times as much.
    """
    key, turn = jax.random.split(key)
    angle = even(turn, (0.0, np.pi), (len(length_px), 1, 1))
    rows = jnp.asarray(np.fft.fftfreq(size), jnp.float32).reshape(1, size, 1)
    columns = jnp.asarray(np.fft.rfftfreq(size), jnp.float32).reshape(1, 1, -1)
    along, across = (rows * jnp.cos(angle) + columns * jnp.sin(angle), columns * jnp.cos(angle) - rows * jnp.sin(angle))
    squared = (stretch * along) ** 2 + across**2
    shade = jnp.exp(-2 * (np.pi * trailing(length_px, 2)) ** 2 * squared).at[:, 0, 0].set(0)
    white = jax.random.normal(key, (len(length_px), size, size))
    field = jnp.fft.irfft2(jnp.fft.rfft2(white) * shade, s=(size, size))
    return field / (field.std((-2, -1), keepdims=True) + 1e-6)
