"""Discrete Fourier transforms of the true size inside padded planes.

Bluestein's algorithm (DOI 10.1109/TAU.1970.1162132): a transform of any length
is a convolution with a chirp, and that is done with transforms of a fixed
length, so that the true size may be traced.

Spectra are transposed, `[..., W, H]`: both transforms then work along rows and
need a single transposition, which costs more than a transform.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics.frames import Frame, fills


def fft2(x: jax.Array, frame: Frame) -> jax.Array:
    """The transform of the frame of `x`, which must be 0 beyond it; 0 beyond the frame's own frequencies."""
    across = _fft(x, frame.width, fills(x, frame))
    return _fft(jnp.swapaxes(across, -2, -1), frame.height, fills(x, frame))


def ifft2(spectrum: jax.Array, frame: Frame) -> jax.Array:
    """The inverse of `fft2`."""
    known = fills(spectrum, Frame(frame.width, frame.height))
    across = _fft(jnp.conj(spectrum), frame.height, known)
    return jnp.conj(_fft(jnp.swapaxes(across, -2, -1), frame.width, known)) / frame.pixels


def frequencies(length: int, size: int | jax.Array) -> jax.Array:
    """Whole cycles per period, −size/2 … (size−1)/2, in the order of the transform; beyond `size` of no meaning."""
    place = jnp.arange(length)
    return jnp.where(place < (size + 1) // 2, place, place - size)


def _fft(x: jax.Array, size: int | jax.Array, whole: bool) -> jax.Array:
    """The transform of the first `size` samples of every row, the others being 0."""
    if whole:
        return jnp.fft.fft(x)
    length = x.shape[-1]
    room = _smooth_number(2 * length - 1)
    place = jnp.arange(length)
    # exp(−iπ k²/n) has period 2n in k²: taken off as integers.
    phase = (place * place % (2 * size)).astype(x.real.dtype) * (np.pi / size)
    chirp = jax.lax.complex(jnp.cos(phase), -jnp.sin(phase))
    kernel = jnp.concatenate([jnp.conj(chirp), jnp.zeros(room - 2 * length + 1, chirp.dtype), jnp.conj(chirp[:0:-1])])
    row = lambda y: y.reshape((1,) * (x.ndim - 1) + (-1,))
    convolved = jnp.fft.ifft(jnp.fft.fft(x * row(chirp), room) * row(jnp.fft.fft(kernel)))[..., :length]
    return jnp.where(row(place < size), convolved * row(chirp), 0)


def _smooth_number(least: int) -> int:
    """The smallest number from `least` on without prime factors beyond 5: lengths that transforms are fast for."""
    rest = least
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return least if rest == 1 else _smooth_number(least + 1)
