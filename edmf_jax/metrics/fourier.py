"""Discrete Fourier transforms of the true size inside padded planes.

Where the frame is known, a number to Python, the transform is one of that size,
which compiles in a tenth of a second.  Where it is traced: Bluestein's algorithm
(DOI 10.1109/TAU.1970.1162132), four times the work.  A transform of any length is
a convolution with a chirp, and that is done with transforms of a fixed length.

Spectra are transposed, `[..., W, H]`: both transforms then work along rows and
need a single transposition.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics.frames import Frame, is_known


def fft2(x: jax.Array, frame: Frame) -> jax.Array:
    """The transform of the frame of `x`, which must be 0 beyond it; 0 beyond the frame's own frequencies."""
    if is_known(frame):
        return _known_size(jnp.fft.fft2, x, frame)
    across = _fft(x, frame.width)
    return _fft(jnp.swapaxes(across, -2, -1), frame.height)


def ifft2(spectrum: jax.Array, frame: Frame) -> jax.Array:
    """The inverse of `fft2`."""
    if is_known(frame):
        return _known_size(jnp.fft.ifft2, spectrum, Frame(frame.width, frame.height))
    across = _fft(jnp.conj(spectrum), frame.height)
    return jnp.conj(_fft(jnp.swapaxes(across, -2, -1), frame.width)) / frame.pixels


@functools.partial(jax.jit, static_argnames=("transform", "frame"))
def _known_size(transform, x: jax.Array, frame: Frame) -> jax.Array:
    """The transform of the frame of `x`, transposed, zeros all round as far as `x` goes."""
    rows, columns = x.shape[-2] - frame.height, x.shape[-1] - frame.width
    inner = jnp.swapaxes(transform(x[..., : frame.height, : frame.width]), -2, -1)
    return jnp.pad(inner, [(0, 0)] * (x.ndim - 2) + [(0, columns), (0, rows)])


def frequencies(length: int, size: int | jax.Array) -> jax.Array:
    """Whole cycles per period, −size/2 … (size−1)/2, in the order of the transform; beyond `size` of no meaning."""
    place = jnp.arange(length)
    return jnp.where(place < (size + 1) // 2, place, place - size)


def _fft(x: jax.Array, size: jax.Array) -> jax.Array:
    """The transform of the first `size` samples of every row, the others being 0, by Bluestein's algorithm."""
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
