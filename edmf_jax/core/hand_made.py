"""The hand-made logit of each shot: its softmax over the shots is what `edmf fuse` chooses by without a network.

For training: the evidence of `measuring`, of a whole batch of patches.  Two things are not as in `fusion.stack`, whose
choice tests/core/test_hand_made.py compares: a patch's edges may be none of its shot's (`rim`), and noise is told by
the patch alone (`noise_energy`).  `core.chooser` takes these logits as an input, so another measure can take their
place.
"""

import functools

import jax
import jax.numpy as jnp

from edmf_jax.core.chooser_layout import WHOLE_CELL
from edmf_jax.core.color import luma
from edmf_jax.core.evidence_numbers import (
    CELL_PX,
    ENERGY_REACH_PX,
    NOISE_WINDOW_PX,
    QUIET_FACTOR,
    QUIET_SHARE,
    RIM_PX,
    WINDOWS_REACH_PX,
)
from edmf_jax.core.measuring import coarse_evidence, energy, evidence, planes_of, positions, strength_logit, without_rim
from edmf_jax.core.piecewise import Place, box_taps, cell_means, enlarged, eroded, repeated, windowed


def gray(pixels: jax.Array) -> jax.Array:
    """Luma of `[..., 3]`, or the plane of `[..., 1]`, clipped to [0, 1]: `[...]`."""
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else luma(pixels)
    return jnp.clip(plane, 0, 1)


def hand_made_logits(pixels: jax.Array, valid: jax.Array | None = None, noise: jax.Array | float = 0.0, *,
                     rim: bool = True) -> jax.Array:
    """log(strength¹⁰) of each shot.

    Args:
      pixels: `[..., H, W, C]` in [0, 1]; sides are multiples of `CELL_PX`.
      valid: bool `[..., H, W]`: the shot has this pixel; None: everywhere.
      noise: `[...]`, each shot's `noise_energy`.
      rim: the picture's edge is the shot's, so its outermost 6 px do not count, nor its outermost cells.

    Returns:
      `[..., H, W]`; what is not valid has no meaning.
    """
    valid = jnp.ones(pixels.shape[:-1], bool) if valid is None else valid
    each = jnp.vectorize(functools.partial(_logits, rim=rim), signature="(h,w,c),(h,w),()->(h,w)")
    return each(pixels, valid, jnp.asarray(noise, jnp.float32))


def noise_energy(pixels: jax.Array) -> jax.Array:
    """The energy of each shot's noise, `[...]`: the mean energy in the quietest twentieth of `[..., H, W, C]`."""
    return jnp.vectorize(_noise, signature="(h,w,c)->()")(pixels)


def _logits(pixels: jax.Array, valid: jax.Array, noise: jax.Array, *, rim: bool) -> jax.Array:
    """Of one shot."""
    planes, margin = planes_of(jnp.moveaxis(pixels, -1, 0)), WINDOWS_REACH_PX + RIM_PX
    own, place = _mirrored(valid, margin), Place(0, 0, *valid.shape)
    usable = without_rim(own, *positions(place, own.shape, margin), place) if rim else eroded(own, RIM_PX)
    fine = evidence(_mirrored(planes, WINDOWS_REACH_PX + ENERGY_REACH_PX), usable, noise)
    covered = cell_means(valid.astype(jnp.float32), CELL_PX) > WHOLE_CELL
    coarse = coarse_evidence(cell_means(planes, CELL_PX), covered, noise, covered.shape, rim=rim)
    return strength_logit(fine, enlarged(repeated(coarse, covered.shape, 1, 1), CELL_PX))


def _noise(pixels: jax.Array) -> jax.Array:
    """Of one shot."""
    planes = _mirrored(planes_of(jnp.moveaxis(pixels, -1, 0)), ENERGY_REACH_PX)
    return QUIET_FACTOR * jnp.quantile(windowed(energy(planes), box_taps(NOISE_WINDOW_PX)), QUIET_SHARE)


def _mirrored(plane: jax.Array, margin: int) -> jax.Array:
    """Planes `[..., h, w]` continued on each side; by index, on a CPU, it would take three times as long."""
    return jnp.pad(plane, [(0, 0)] * (plane.ndim - 2) + [(margin, margin)] * 2, mode="reflect")
