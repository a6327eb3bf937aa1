"""The compiled steps of a blend on a GPU (`device_blend`), for pieces and frames: `core.blending` and its like.

Each is compiled once for a shape of pieces, a dtype, and gray or color; those of whole frames for a size of these.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core import blending, chooser_pieces, measuring, reblurring
from edmf_jax.core.leveled import Leveling, Light, levels_of
from edmf_jax.core.piecewise import Place, pulled_and_pushed, repeated
from edmf_jax.fusion.stack.leveling import BRIGHTEST
from edmf_jax.fusion.stack.leveling import Leveling as HostLeveling

measure = jax.jit(measuring.measure)
coarse = jax.jit(measuring.coarse)
nothing = jax.jit(blending.nothing, static_argnums=0)
no_sums = jax.jit(blending.no_sums, static_argnums=0)
sum_up = jax.jit(blending.sum_up)
finish = jax.jit(blending.finish, static_argnames=("dtype", "source_dtype"))
normalized = jax.jit(blending.normalized)
luma = jax.jit(blending.luma_of_shot)
picture_luma = jax.jit(blending.luma_of_picture)
reduced = jax.jit(chooser_pieces.reduced, static_argnames="factor")
seen = jax.jit(chooser_pieces.seen, static_argnames=("sides", "margin"))
pooled = jax.jit(chooser_pieces.pooled)
correction = jax.jit(chooser_pieces.correction, static_argnames=("shape", "margin", "factor"))
near = jax.jit(reblurring.near, static_argnames="count")
blurred = jax.jit(reblurring.blurred, static_argnames="shape")
unlike = jax.jit(reblurring.unlike)
model = jax.jit(reblurring.model)
changed = jax.jit(reblurring.changed)
refined = jax.jit(reblurring.refined, static_argnames="shape")


def on_device(leveling: HostLeveling, dtype: np.dtype) -> Leveling:
    """The leveling of a shot of this dtype, as the device takes it."""
    light = None
    if leveling.targets is not None:
        field, local = leveling.field, leveling.local
        nowhere = np.zeros((1, 1), np.float32)
        light = Light(np.zeros((4, 4), np.float32) if field is None else np.float32(field.coefficients),
                      np.float32((0, 0) if field is None else (field.lowest, field.highest)),
                      *((nowhere, nowhere) if local is None else (local.slope, local.offset)),
                      np.float32((0, 0) if local is None else (local.lowest, local.highest)),
                      np.float32(BRIGHTEST), leveling.targets)
    found = Leveling(levels_of(leveling.tables, dtype), np.float32(leveling.clipping_loss), light)
    return jax.tree.map(jnp.asarray, found)


@functools.partial(jax.jit, donate_argnums=0, static_argnames="cell")
def put(whole: jax.Array, piece: jax.Array, place: Place, cell: int, index: jax.Array | None = None) -> jax.Array:
    """A frame's cells of `cell` px, `[..., h, w]`, with those of a piece; `index`: along the first axis."""
    piece = piece.astype(whole.dtype)
    first = [jnp.int32(0)] * (whole.ndim - 2)
    if index is not None:
        first[0], piece = index, piece[None]
    return jax.lax.dynamic_update_slice(whole, piece, (*first, place.top // cell, place.left // cell))


@jax.jit
def without(weight: jax.Array, excluded: jax.Array) -> jax.Array:
    """A piece's `Measured.weight` that is 0 where a mask is True."""
    return jnp.where(excluded, 0, weight)


class Choosing(NamedTuple):
    """What a shot's logits in a piece are made of, but the piece's own evidence; see `blending.logits`.

    Attributes:
      frame: `measuring.coarse`.
      bias: added to the logits.
      correction: the network's, or None.
    """

    frame: measuring.Coarse
    bias: jax.Array
    correction: jax.Array | None


def _logit(fine: jax.Array, weight: jax.Array, by: Choosing, place: Place, factor: int) -> jax.Array:
    return blending.corrected(blending.logits(fine, weight, by.frame, by.bias, place), by.correction, factor, place)


@functools.partial(jax.jit, static_argnames="factor")
def add(total: blending.Total, fine: jax.Array, weight: jax.Array, by: Choosing, place: Place, factor: int
        ) -> blending.Total:
    """`blending.add`, of a piece's evidence; `factor` is that of the network's correction."""
    return blending.add(total, _logit(fine, weight, by, place, factor))


@jax.jit
def settle(total: blending.Total, place: Place) -> tuple[blending.Total, jax.Array]:
    """`blending.settle`, and the certainty of cells."""
    total = blending.settle(total)
    return total, blending.spread_cells(blending.certainty(total), place)


@functools.partial(jax.jit, static_argnames="factor")
def known(total: blending.Total, fine: jax.Array, weight: jax.Array, by: Choosing, place: Place, factor: int
          ) -> jax.Array:
    """`blending.known`, of a piece's evidence."""
    return blending.known(total, _logit(fine, weight, by, place, factor), place)


@jax.jit
def spread(known_cells: jax.Array, certainty: jax.Array, sizes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The shares of cells of a frame, the uncertain ones filled from around, with the margin that `weigh` takes."""
    margin = blending.SPREAD_MARGIN
    return repeated(pulled_and_pushed(known_cells, certainty, sizes), sizes, margin, margin)


@functools.partial(jax.jit, static_argnames="factor")
def weigh(total: blending.Total, fine: jax.Array, weight: jax.Array, by: Choosing, shares: jax.Array, place: Place,
          factor: int) -> jax.Array:
    """`blending.weigh`, of a piece's evidence."""
    logit = _logit(fine, weight, by, place, factor)
    return blending.weigh(total, logit, weight, shares, by.frame.ramp, place)
