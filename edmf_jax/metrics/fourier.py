"""Discrete Fourier transforms of the true size inside padded planes.

Bluestein's algorithm (DOI 10.1109/TAU.1970.1162132): a transform of any length
is a convolution with a chirp, and that is done with transforms of a fixed
length, so that the true size may be traced.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics.frames import Frame, fills


def fft2(x: jax.Array, frame: Frame) -> jax.Array:
    """The transform of the frame of `x`, zero beyond it, at the frame's own frequencies; 0 beyond the frame."""
    if fills(x, frame):
        return jnp.fft.fft2(x)
    return _fft(_fft(x, frame.width, -1), frame.height, -2)


def ifft2(x: jax.Array, frame: Frame) -> jax.Array:
    """The inverse of `fft2`."""
    if fills(x, frame):
        return jnp.fft.ifft2(x)
    return jnp.conj(fft2(jnp.conj(x), frame)) / frame.pixels


def frequencies(length: int, size: int | jax.Array) -> jax.Array:
    """Whole cycles per period, −size/2 … (size−1)/2, in the order of the transform; beyond `size` of no meaning."""
    place = jnp.arange(length)
    return jnp.where(place < (size + 1) // 2, place, place - size)


def _fft(x: jax.Array, size: int | jax.Array, axis: int) -> jax.Array:
    """The transform of the first `size` samples along `axis`, the others being 0."""
    length = x.shape[axis]
    # A power of two, or one and a half of it, that holds the linear convolution.
    room = 2 ** int(np.ceil(np.log2(2 * length - 1)))
    room = room * 3 // 4 if room * 3 // 4 >= 2 * length - 1 else room
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    place = jnp.arange(length)
    # exp(−iπ k²/n) has period 2n in k²: taken off as integers.
    phase = (place * place % (2 * size)).astype(x.real.dtype) * (np.pi / size)
    chirp = jax.lax.complex(jnp.cos(phase), -jnp.sin(phase))
    kernel = jnp.concatenate([jnp.conj(chirp), jnp.zeros(room - 2 * length + 1, chirp.dtype), jnp.conj(chirp[:0:-1])])
    transformed = jnp.fft.fft(x * chirp.reshape(shape), room, axis) * jnp.fft.fft(kernel).reshape(shape)
    convolved = jax.lax.slice_in_dim(jnp.fft.ifft(transformed, axis=axis), 0, length, axis=axis % x.ndim)
    return jnp.where((place < size).reshape(shape), convolved * chirp.reshape(shape), 0)
