"""The choice among leveled shots and their weighted mean, piece by piece, in jax.numpy: `edmf fuse` on a GPU.

Twin of `fusion.stack.choice` and of `weighted_mean`; there is said what each step is for, and
tests/fusion/test_device_blend.py compares them.  `fusion.stack.device_blend` puts the steps together:

    measuring.measure   a piece of a shot → its evidence, and means of cells, of which `coarse` makes the rest of it
    add, settle         the evidence of one shot after the other → what a softmax over all needs
    known               the same again → the shares of cells as far as they are certain, of which
                        `piecewise.pulled_and_pushed` makes those of all cells of the frame
    weigh               → the shot's weights
    sum_up, finish      → the picture

Evidence has `CONTEXT_PX` around what is kept of a piece.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from edmf_jax.core.chooser_layout import FLOOR, POWER
from edmf_jax.core.evidence_numbers import CELL_PX, NO_WEIGHT
from edmf_jax.core.hand_made import gray
from edmf_jax.core.leveled import FEATHER_REACH_PX, Leveling, leveled, weights, white
from edmf_jax.core.measuring import CELL_MARGIN, CONTEXT_PX, MARGIN_PX, Coarse, inner_pixels, positions, strength_logit
from edmf_jax.core.piecewise import Place, cell_means, enlarged, inner, repeated

SPREAD_PX, SPREAD_MARGIN = 4, 2  # cells of the shares that are filled from around, and their margin
_NEVER = -60000.0
_FULL_STRENGTH, _LEAST_CERTAINTY = 0.02, 1e-4
_LEAST_CONFIDENCE, _LEAST_TOTAL = 1e-3, 1e-30


class Total(NamedTuple):
    """The logits of all shots in a piece with its context: float16 largest, float32 sum relative to it or its log."""

    largest: jax.Array
    total: jax.Array


class Sums(NamedTuple):
    """The running sums over shots of a piece, see `fusion.stack.weighted_mean`; planes `[h, w]` or `[C, h, w]`."""

    pixels: jax.Array
    total: jax.Array
    shown_pixels: jax.Array
    shown_total: jax.Array
    best: jax.Array
    source: jax.Array
    common: jax.Array
    some: jax.Array
    several: jax.Array


class Finished(NamedTuple):
    """A piece of the result: `image` `[h, w, C]`; `source`; `confidence`; `seen`: bits covered, common, several."""

    image: jax.Array
    source: jax.Array
    confidence: jax.Array
    seen: jax.Array


def logits(fine: jax.Array, weight: jax.Array, frame: Coarse, bias: jax.Array, place: Place) -> jax.Array:
    """log(weight · strength¹⁰) + bias of a piece with its context, `[h + 32, w + 32]`; see `Measured`."""
    large = _of_frame(frame.evidence, CELL_PX, CELL_MARGIN, fine.shape, place)
    share = weight.astype(jnp.float32) * (1 / 255)
    log_weight = jnp.where(share > 0, jnp.log(jnp.maximum(share, 1e-9)), NO_WEIGHT)
    return strength_logit(jnp.square(fine.astype(jnp.float32)), large) + log_weight + bias


def corrected(hand: jax.Array, correction: jax.Array | None, factor: int, place: Place) -> jax.Array:
    """Logits and the network's correction of the frame, reduced by `factor`, with `correction_margin` around it."""
    if correction is None:
        return hand
    return hand + _of_frame(correction.astype(jnp.float32), factor, correction_margin(factor), hand.shape, place)


def correction_margin(factor: int) -> int:
    """How many pixels that the network sees are needed around the frame: to interpolate in the context."""
    return CONTEXT_PX // factor + 1


def _of_frame(cells: jax.Array, cell: int, margin: int, shape: tuple[int, ...], place: Place,
              context: int = CONTEXT_PX) -> jax.Array:
    """The cells of a frame, with `margin` more around it, interpolated in a piece with its context: `shape`."""
    start = [at // cell + margin - context // cell - 1 for at in (place.top, place.left)]
    some = jax.lax.dynamic_slice(cells, start, [side // cell + 2 for side in shape])
    return enlarged(some, cell)


def nothing(shape: tuple[int, int]) -> Total:
    """`Total` of no shots for a piece of `shape` (h, w)."""
    shape = tuple(side + 2 * CONTEXT_PX for side in shape)
    return Total(jnp.full(shape, _NEVER, jnp.float16), jnp.zeros(shape, jnp.float32))


def add(total: Total, logit: jax.Array) -> Total:
    """One more shot; float sums depend on the order of the shots."""
    before = total.largest.astype(jnp.float32)
    largest16 = jnp.maximum(before, logit).astype(jnp.float16)  # rounded, which the sums take as it is
    largest = largest16.astype(jnp.float32)
    return Total(largest16, total.total * jnp.exp(before - largest) + jnp.exp(logit - largest))


def settle(total: Total) -> Total:
    """After the last shot."""
    return Total(total.largest, jnp.log(total.total) + total.largest.astype(jnp.float32))


def certainty(total: Total) -> jax.Array:
    """How much a pixel's shares rest on the pixel itself, in (0, 1]."""
    strength2 = jnp.exp(total.largest.astype(jnp.float32) * (2 / POWER)) - FLOOR**2
    power = jnp.square(jnp.maximum(strength2, 0))
    return jnp.maximum(power / (power + _FULL_STRENGTH**4), _LEAST_CERTAINTY)


def known(total: Total, logit: jax.Array, place: Place) -> jax.Array:
    """Share · certainty of one shot, in means over cells of `SPREAD_PX`: `[h / 4, w / 4]`."""
    return spread_cells(jnp.exp(logit - total.total) * certainty(total), place)


def spread_cells(plane: jax.Array, place: Place) -> jax.Array:
    """Means over cells of 4 × 4 px of a piece with its context, in two steps, as `choice` takes them at the ends."""
    sizes, first = (place.height, place.width), (place.top, place.left)
    half = cell_means(repeated(inner(plane, CONTEXT_PX), sizes, first=first), 2)
    return cell_means(repeated(half, tuple((side + 1) // 2 for side in sizes), first=tuple(x // 2 for x in first)), 2)


def weigh(total: Total, logit: jax.Array, weight: jax.Array, spread: jax.Array, ramp: jax.Array, place: Place
          ) -> jax.Array:
    """The weights of a shot in a piece, `[h, w]`, not divided by their sum over shots.

    Args:
      total: `settle`d.
      logit: the shot's, as it was added.
      weight: `Measured.weight`.
      spread: the shares of cells of the frame, from `piecewise.pulled_and_pushed`, `SPREAD_MARGIN` more around it.
      ramp: of `Coarse`.
      place: where the piece lies.
    """
    near = CONTEXT_PX - 4  # all that is needed of the context: two pixels at half the size
    sizes, first = (place.height, place.width), (place.top, place.left)
    certain = inner(certainty(total), near)
    shares = inner(jnp.exp(logit - total.total), near)
    ends = lambda x: repeated(x, sizes, first=tuple(at - 4 for at in first))
    certain_ends = ends(certain)
    half, half_known = cell_means(certain_ends, 2), cell_means(ends(shares * certain), 2)
    half_known = half_known + (1 - half) * _spread_of(spread, half.shape, place)
    half_known = repeated(half_known, tuple((side + 1) // 2 for side in sizes),
                          first=tuple(at // 2 - 2 for at in first))
    doubled = enlarged(inner(half_known, 1), 2)
    own, certain = inner(weight, CONTEXT_PX).astype(jnp.float32) * (1 / 255), inner(certain, 4)
    chosen = inner(shares, 4) * certain + (1 - certain) * doubled
    ramp = _of_frame(ramp, CELL_PX, CELL_MARGIN, own.shape, place, context=0)
    return jnp.maximum(chosen, 0) * own * (1 - (1 - certain) * (1 - ramp))


def _spread_of(spread: jax.Array, shape: tuple[int, ...], place: Place) -> jax.Array:
    """The cells of a frame at half its size, in a piece with two such pixels around it."""
    start = [at // SPREAD_PX + SPREAD_MARGIN - 2 for at in (place.top, place.left)]
    return enlarged(jax.lax.dynamic_slice(spread, start, [side // 2 + 2 for side in shape]), 2)


def no_sums(shape: tuple[int, int, int]) -> Sums:
    """Of no shots, for a piece of `shape` (h, w, C)."""
    plane, planes, no = jnp.zeros(shape[:2]), jnp.zeros((shape[2], *shape[:2])), jnp.zeros(shape[:2], bool)
    return Sums(planes, plane, planes, planes, jnp.full(shape[:2], -1, jnp.float16), jnp.zeros(shape[:2], jnp.uint16),
                ~no, no, no)


def sum_up(sums: Sums, index: jax.Array, weight: jax.Array, raw: jax.Array, valid: jax.Array, leveling: Leveling,
           place: Place) -> Sums:
    """One more shot.

    Args:
      sums: of the shots before.
      index: of the shot, for `Sums.source`.
      weight: of `weigh`.
      raw, valid: see `measure`.
      leveling: the shot's.
      place: where the piece lies.
    """
    raw = inner_pixels(raw, MARGIN_PX)
    pixels = leveled(raw, leveling, *positions(place, raw.shape, 0), place)
    own, channels = weights(raw, inner(valid, MARGIN_PX - FEATHER_REACH_PX), leveling)
    shown = jnp.maximum(channels / jnp.maximum(own, 1e-9)[None], _LEAST_CONFIDENCE) * weight[None]
    has, better = own > 0, weight > sums.best.astype(jnp.float32)
    return Sums(sums.pixels + pixels * weight[None], sums.total + weight, sums.shown_pixels + pixels * shown,
                sums.shown_total + shown, jnp.where(better, weight.astype(jnp.float16), sums.best),
                jnp.where(better, index.astype(jnp.uint16), sums.source),
                sums.common & has, sums.some | has, sums.several | (sums.some & has))


def finish(sums: Sums, count: jax.Array, dtype: jnp.dtype, source_dtype: jnp.dtype) -> Finished:
    """The mean, in the `dtype` of the result, of `count` shots, and their numbers in `source_dtype`."""
    total = jnp.maximum(sums.total, _LEAST_TOTAL)
    pixels = jnp.maximum(sums.pixels / total[None], sums.shown_pixels / jnp.maximum(sums.shown_total, _LEAST_TOTAL))
    pixels = jnp.clip(pixels, 0, 1) * sums.some[None]
    if jnp.issubdtype(dtype, jnp.integer):
        pixels = jnp.rint(pixels * float(jnp.iinfo(dtype).max))
    excess = sums.best.astype(jnp.float32) / total * count - 1
    confidence = jnp.clip(excess / jnp.maximum(count - 1, 1), 0, 1) * sums.common
    seen = sums.some.astype(jnp.uint8) + 2 * sums.common.astype(jnp.uint8) + 4 * sums.several.astype(jnp.uint8)
    return Finished(jnp.moveaxis(pixels, 0, -1).astype(dtype), sums.source.astype(source_dtype),
                    confidence.astype(jnp.float16), seen)


def normalized(weight: jax.Array, total: jax.Array) -> jax.Array:
    """A weight divided by the sum of all, float16; 0 only where it is."""
    share = weight / jnp.maximum(total, _LEAST_TOTAL)
    return jnp.where(weight > 0, jnp.maximum(share, 1e-7), 0).astype(jnp.float16)


def luma_of_shot(raw: jax.Array, valid: jax.Array, leveling: Leveling, place: Place) -> tuple[jax.Array, jax.Array]:
    """A piece of a shot for `reblurring`: its luma, uint16 `[h, w]` of white 65535, and where it has pixels, bool."""
    raw = inner_pixels(raw, MARGIN_PX)
    pixels = leveled(raw, leveling, *positions(place, raw.shape, 0), place)
    return jnp.rint(gray(jnp.moveaxis(pixels, 0, -1)) * 65535).astype(jnp.uint16), inner(valid, MARGIN_PX)


def luma_of_picture(image: jax.Array) -> jax.Array:
    """The luma of a finished piece, float16 `[h, w]`."""
    return gray(image.astype(jnp.float32) * (1 / white(image))).astype(jnp.float16)
