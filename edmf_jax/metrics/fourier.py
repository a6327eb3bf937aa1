"""Discrete Fourier transforms of the valid part of padded planes, at its own size.

Where the valid size is a pair of Python integers, the transform is an ordinary FFT of that size, which compiles in a
tenth of a second. Where it is traced, Bluestein's algorithm (DOI 10.1109/TAU.1970.1162132) is used, four times the
work: it turns a transform of any length into a convolution with a chirp, which needs only FFTs of a fixed length.

Spectra are transposed, `[..., W, H]`: both passes of the transform then run along rows, with a single transposition.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize, is_static


def fft2(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The two-dimensional transform of the valid part.

    Args:
      x: planes `[..., H, W]`, 0 outside the valid part.
      valid_size: the size of the transform.

    Returns:
      The complex spectrum, transposed and padded with zeros: `[..., W, H]`.
    """
    if is_static(valid_size):
        return _static_size(jnp.fft.fft2, x, valid_size)
    rows = _bluestein_fft(x, valid_size.width)
    return _bluestein_fft(jnp.swapaxes(rows, -2, -1), valid_size.height)


def ifft2(spectrum: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The inverse of `fft2`: from spectra `[..., W, H]` to complex planes `[..., H, W]`."""
    if is_static(valid_size):
        return _static_size(jnp.fft.ifft2, spectrum, ValidSize(valid_size.width, valid_size.height))
    rows = _bluestein_fft(jnp.conj(spectrum), valid_size.height)
    return jnp.conj(_bluestein_fft(jnp.swapaxes(rows, -2, -1), valid_size.width)) / valid_size.pixels


@functools.partial(jax.jit, static_argnames=("transform", "valid_size"))
def _static_size(transform, x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """`transform` of the valid part, transposed, padded with zeros to the (transposed) shape of `x`."""
    rows, columns = x.shape[-2] - valid_size.height, x.shape[-1] - valid_size.width
    transformed = jnp.swapaxes(transform(x[..., : valid_size.height, : valid_size.width]), -2, -1)
    return jnp.pad(transformed, [(0, 0)] * (x.ndim - 2) + [(0, columns), (0, rows)])


def frequencies(length: int, size: int | jax.Array) -> jax.Array:
    """Integer cycles per period, from −size/2 to (size − 1)/2, in FFT order.

    Returns:
      `[length]` integers; those from `size` on are meaningless.
    """
    index = jnp.arange(length)
    return jnp.where(index < (size + 1) // 2, index, index - size)


def _bluestein_fft(x: jax.Array, size: jax.Array) -> jax.Array:
    """The transform of the first `size` samples of every row (the other samples must be 0)."""
    length = x.shape[-1]
    fft_length = _smooth_number(2 * length - 1)
    index = jnp.arange(length)
    # exp(−iπ k²/n) has period 2n in k²; whole periods are removed in integers, where that is exact.
    phase = (index * index % (2 * size)).astype(x.real.dtype) * (np.pi / size)
    chirp = jax.lax.complex(jnp.cos(phase), -jnp.sin(phase))
    kernel = jnp.concatenate(
        [jnp.conj(chirp), jnp.zeros(fft_length - 2 * length + 1, chirp.dtype), jnp.conj(chirp[:0:-1])]
    )
    row = lambda y: y.reshape((1,) * (x.ndim - 1) + (-1,))
    convolved = jnp.fft.ifft(jnp.fft.fft(x * row(chirp), fft_length) * row(jnp.fft.fft(kernel)))[..., :length]
    return jnp.where(row(index < size), convolved * row(chirp), 0)


def _smooth_number(minimum: int) -> int:
    """The smallest integer ≥ `minimum` with no prime factor above 5: a length for which FFTs are fast."""
    rest = minimum
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    return minimum if rest == 1 else _smooth_number(minimum + 1)
