"""Blur by a lens: discs, Gaussians and cat's eyes from half a pixel to 60 px, as products of Fourier transforms.

A radius is that of the disc; a Gaussian has the same variance (σ = radius / 2).  What lies beyond the picture is its
mirror image.  Radii above `WIDE_PX` are blurred on a copy of a quarter of the size, which has room for them; only
the smaller discs show a lamp's rim as a step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.simulate.draws import even, trailing
from edmf_jax.simulate.ranges import Ranges

WIDE_PX = 16.0
MAX_RADIUS_PX = 60.0
_REDUCTION = 4
_PAD_PX = 19  # of the full-size path, more than WIDE_PX and half a pixel
_WIDE_PAD_PX = 104  # of the reduced one
# What averaging over 4 px and interpolating linearly add to the variance in each axis: (4² − 1) / 12 + 4² / 6.
_ADDED_VARIANCE = (_REDUCTION**2 - 1) / 12 + _REDUCTION**2 / 6


class Aperture(NamedTuple):
    """The shape of a sample's kernels: bool `[B]`; the part of the diameter that a cat's eye lacks, and its angle."""

    gaussian: jax.Array
    cut: jax.Array
    angle: jax.Array


def draw_apertures(key: jax.Array, n: int, ranges: Ranges) -> Aperture:
    """Random apertures of n samples."""
    kind, cut, angle = jax.random.split(key, 3)
    kind = jax.random.uniform(kind, (n,))
    is_gaussian = kind < ranges.gaussian_share
    is_cat_eye = ~is_gaussian & (kind < ranges.gaussian_share + ranges.cat_eye_share)
    return Aperture(is_gaussian, jnp.where(is_cat_eye, even(cut, ranges.cat_eye_cut, (n,)), 0.0),
                    even(angle, (0.0, 2 * np.pi), (n,)))


def kernels(radius: jax.Array, aperture: Aperture, size: int) -> jax.Array:
    """Kernels `[B, …, size, size]` of sum 1 around the corner [0, 0], wrapping around.

    Args:
      radius: `[B, …]` px; below half a pixel a disc is a single pixel.
      aperture: `[B]`.
      size: sides, even.
    """
    spread = lambda x: x.reshape(len(x), *[1] * (radius.ndim + 1))
    at = jnp.asarray(np.fft.fftfreq(size) * size, jnp.float32)
    y, x = (at.reshape(*[1] * radius.ndim, *shape) for shape in ((size, 1), (1, size)))
    r = trailing(radius, 2)
    # A cat's eye is what two discs have in common whose centers are so far apart.
    half = spread(aperture.cut) * r
    dy, dx = half * jnp.sin(spread(aperture.angle)), half * jnp.cos(spread(aperture.angle))
    further = jnp.sqrt(jnp.maximum((y - dy) ** 2 + (x - dx) ** 2, (y + dy) ** 2 + (x + dx) ** 2))
    flat = jnp.clip(r + 0.5 - further, 0, 1)
    bell = jnp.exp(-(y * y + x * x) / (2 * jnp.maximum(r / 2, 0.05) ** 2))
    shape = jnp.where(spread(aperture.gaussian), bell, flat)
    return shape / shape.sum((-2, -1), keepdims=True)


def blur(planes: jax.Array, radius: jax.Array, aperture: Aperture, shift: jax.Array | None = None) -> jax.Array:
    """Planes blurred by discs of several radii, and moved.

    Args:
      planes: `[B, L, C, S, S]`, or `[B, 1, C, S, S]`: the same for every layer; S a multiple of 4, at least 16.
      radius: of every layer in every shot, `[B, N, L]` px, at most `MAX_RADIUS_PX`.
      aperture: `[B]`.
      shift: `[B, N, L, 2]` px down and right, below 4; None: not moved.

    Returns:
      `[B, N, L, C, S, S]`.
    """
    size = planes.shape[-1]
    mirrored = np.pad(np.arange(size), _PAD_PX, mode="reflect")
    full = _transformed(planes[..., mirrored, :][..., mirrored], jnp.minimum(radius, WIDE_PX), aperture, shift)
    full = full[..., _PAD_PX : size + _PAD_PX, _PAD_PX : size + _PAD_PX]
    down, up = _resizing(size)
    product = lambda m, x: jnp.einsum("ij,...jk,lk->...il", m, x, m, precision=jax.lax.Precision.HIGHEST)
    reduced_radius = jnp.sqrt(jnp.maximum(radius**2 - 4 * _ADDED_VARIANCE, 1.0)) / _REDUCTION
    shift = None if shift is None else shift / _REDUCTION
    reduced = _transformed(product(down, planes), reduced_radius, aperture, shift)
    return jnp.where(trailing(radius, 3) > WIDE_PX, product(up, reduced), full)


def _transformed(planes, radius, aperture, shift):
    size = planes.shape[-1]
    spectra = jnp.fft.rfft2(kernels(radius, aperture, size))
    if shift is not None:
        rows = jnp.asarray(np.fft.fftfreq(size), jnp.float32).reshape(1, 1, 1, size, 1)
        columns = jnp.asarray(np.fft.rfftfreq(size), jnp.float32).reshape(1, 1, 1, 1, -1)
        turns = trailing(shift[..., 0], 2) * rows + trailing(shift[..., 1], 2) * columns
        spectra = spectra * jnp.exp(-2j * np.pi * turns)
    return jnp.fft.irfft2(spectra[..., None, :, :] * jnp.fft.rfft2(planes)[:, None], s=(size, size))


def _resizing(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices: from a line of `size` px to its mirrored, reduced copy, and linearly back."""
    pad = min(_WIDE_PAD_PX, (size - 1) // _REDUCTION * _REDUCTION)
    source = np.pad(np.arange(size), pad, mode="reflect")
    count = len(source) // _REDUCTION
    down = np.zeros((count, size), np.float32)
    np.add.at(down, (np.arange(len(source)) // _REDUCTION, source), 1 / _REDUCTION)
    place = (np.arange(size) + pad + 0.5) / _REDUCTION - 0.5
    up = np.maximum(1 - np.abs(place[:, None] - np.arange(count)[None]), 0).astype(np.float32)
    return down, up
