"""The hand-made logit of each shot: its softmax over the shots is what `edmf fuse` chooses by without a network.

The twin of `fusion.stack.evidence` in jax.numpy, for training; there is said what each step is for, and
tests/core/test_hand_made.py compares the two.  `core.chooser` takes these logits as an input, so another measure can
take their place.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.chooser_layout import FLOOR, POWER
from edmf_jax.core.color import luma
from edmf_jax.core.filters import correlate1d, gaussian_kernel, laplacian, reflect_pad

CELL_PX = 8
_COARSE_WEIGHT, _FAR_WEIGHT, _CHROMA_WEIGHT = 0.07, 0.1, 0.5
_SIGMA_PX, _BLUR_PX = 0.8, 7
_NEAR_PX, _FAR_PX = 7, 19  # box windows, each applied twice
_RIM_PX = 6
_NOISE_DEVIATIONS = 2.0
_NOISE_WINDOW_PX, _QUIET_SHARE, _QUIET_FACTOR = 9, 0.05, 1.2


def gray(pixels: jax.Array) -> jax.Array:
    """Luma of `[..., 3]`, or the plane of `[..., 1]`, clipped to [0, 1]: `[...]`."""
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else luma(pixels)
    return jnp.clip(plane, 0, 1)


def hand_made_logits(pixels: jax.Array, valid: jax.Array | None = None, noise: jax.Array | float = 0.0, *,
                     rim: bool = True) -> jax.Array:
    """log(strength¹⁰) of each shot.

    Args:
      pixels: `[..., H, W, C]` in [0, 1]; sides are multiples of `CELL_PX`.
      valid: bool `[..., H, W]`: the shot has this pixel; None: everywhere.  Cells of 8 × 8 px with others count by
        their valid part here, and are filled from around in `evidence`.
      noise: `[...]`, each shot's `noise_energy`.
      rim: the frame's edge is the shot's, so its outermost 6 px do not count.

    Returns:
      `[..., H, W]`; what is not valid has no meaning.
    """
    planes, noise = _planes(pixels), jnp.broadcast_to(noise, pixels.shape[:-3])[..., None, None]
    valid = jnp.ones(pixels.shape[:-1], bool) if valid is None else valid
    fine = _windowed(_energy(planes), _eroded(valid, _RIM_PX, outside=not rim), noise)
    share = valid.astype(planes.dtype)
    cells = _cell_means(planes * share[..., None, :, :]) / jnp.maximum(_cell_means(share), 1e-3)[..., None, :, :]
    covered = _cell_means(share) > 0.999
    mean = (cells * covered[..., None, :, :]).sum((-2, -1), keepdims=True)
    mean = mean / jnp.maximum(covered.sum((-2, -1))[..., None, None, None], 1)
    cells = jnp.where(_cell_means(share)[..., None, :, :] > 0, cells, mean)
    coarse = _windowed(_energy(cells), _eroded(covered, 1, outside=True), noise / CELL_PX**2)
    large = jax.image.resize(coarse, (*coarse.shape[:-2], *pixels.shape[-3:-1]), "linear")
    return POWER / 2 * jnp.log(fine + _COARSE_WEIGHT * large + FLOOR**2)


def noise_energy(pixels: jax.Array) -> jax.Array:
    """The energy of each shot's noise, `[...]`: the mean energy in the quietest twentieth of `[..., H, W, C]`."""
    rim = _NOISE_WINDOW_PX // 2
    mean = _box(_energy(_planes(pixels)), _NOISE_WINDOW_PX, 1)[..., rim:-rim, rim:-rim]
    return _QUIET_FACTOR * jnp.quantile(mean.reshape(*mean.shape[:-2], -1), _QUIET_SHARE, axis=-1)


def _planes(pixels: jax.Array) -> jax.Array:
    """Luma, and Cb and Cr scaled so that their squares count `_CHROMA_WEIGHT`: `[..., 3 or 1, H, W]`."""
    pixels = jnp.clip(pixels, 0, 1)
    if pixels.shape[-1] == 1:
        return pixels[..., 0][..., None, :, :]
    y, scale = luma(pixels), np.sqrt(_CHROMA_WEIGHT)
    return jnp.stack([y, (pixels[..., 2] - y) * (0.564 * scale), (pixels[..., 0] - y) * (0.713 * scale)], -3)


def _energy(planes: jax.Array) -> jax.Array:
    """Squared Laplacians of the slightly blurred planes `[..., C, H, W]`, added up: `[..., H, W]`."""
    taps = gaussian_kernel(_BLUR_PX, _SIGMA_PX)
    smooth = correlate1d(correlate1d(_mirrored(planes, _BLUR_PX // 2), taps, -2), taps, -1)
    return jnp.square(laplacian(smooth)).sum(-3)


def _mirrored(x: jax.Array, pad: int) -> jax.Array:
    if min(x.shape[-2:]) > pad:
        return reflect_pad(x, pad)
    rows, columns = (np.pad(np.arange(side), pad, mode="reflect") for side in x.shape[-2:])
    return x[..., rows, :][..., columns]


def _windowed(energy: jax.Array, usable: jax.Array, noise: jax.Array) -> jax.Array:
    usable = usable.astype(energy.dtype)
    found = 0.0
    for window, weight in ((_NEAR_PX, 1.0), (_FAR_PX, _FAR_WEIGHT)):
        mean = _box(energy * usable, window, 2) / jnp.maximum(_box(usable, window, 2), 1e-3)
        most_noise = noise * (1 + _NOISE_DEVIATIONS * float(np.sqrt(2 / (0.4 * window**2))))
        found = found + weight * jnp.maximum(mean - most_noise, 0)
    return found


def _box(x: jax.Array, window: int, times: int) -> jax.Array:
    """Box means of `[..., H, W]`, mirrored at the borders, `times` over: as products of matrices."""
    rows, columns = (_box_matrix(side, window, times) for side in x.shape[-2:])
    return jnp.einsum("ij,...jk,lk->...il", rows, x, columns, precision=jax.lax.Precision.HIGHEST)


def _box_matrix(side: int, window: int, times: int) -> np.ndarray:
    source = np.pad(np.arange(side), window // 2, mode="reflect")
    matrix = np.zeros((side, side))
    for offset in range(window):
        np.add.at(matrix, (np.arange(side), source[offset : offset + side]), 1 / window)
    return np.linalg.matrix_power(matrix, times).astype(np.float32)


def _eroded(mask: jax.Array, by: int, *, outside: bool) -> jax.Array:
    """Where everything up to `by` px away (a square) is True; `outside` says what lies beyond the array."""
    padded = jnp.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(by, by)] * 2, constant_values=outside)
    size = (1,) * (mask.ndim - 2) + (2 * by + 1,) * 2
    return jax.lax.reduce_window(padded, True, jax.lax.bitwise_and, size, (1,) * mask.ndim, "VALID")


def _cell_means(x: jax.Array) -> jax.Array:
    *lead, height, width = x.shape
    return x.reshape(*lead, height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX).mean((-3, -1))
