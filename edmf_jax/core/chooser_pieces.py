"""The network that chooses (`chooser`) on shots that lie on a device, in jax.numpy: what it sees, and its correction.

Twin of `fusion.stack.reduced` and of `fusion.stack.chooser.Network`; there is said what each step is for.
"""

import jax
import jax.numpy as jnp

from edmf_jax.core import chooser
from edmf_jax.core.blending import correction_margin, logits
from edmf_jax.core.chooser import MOST_CHANGE, Encoded, Params, Pooled, Shots
from edmf_jax.core.chooser_layout import CLIPPED, WHOLE_CELL
from edmf_jax.core.evidence_numbers import CELL_PX, RIM_PX
from edmf_jax.core.leveled import Leveling, leveled, white
from edmf_jax.core.measuring import MARGIN_PX, coarse, evidence, inner_pixels, planes_of, positions, without_rim
from edmf_jax.core.piecewise import Place, cell_means, inner, mirrored, repeated, take


def reduced(raw: jax.Array, valid: jax.Array, place: Place, factor: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A piece of a shot reduced by `factor`; `raw` and `valid` as of `measuring.measure`.

    Returns:
      Means of its own values, `[C, h / factor, w / factor]` in its dtype; which share of each is clipped, uint8 of 255;
      and whether the shot has all of it, bool.
    """
    raw = jnp.moveaxis(inner_pixels(raw, MARGIN_PX), -1, 0)
    clipped = (raw.max(0) >= jnp.asarray(CLIPPED * white(raw), jnp.float32)).astype(jnp.float32)
    planes = jnp.concatenate([raw.astype(jnp.float32), 255 * clipped[None],
                              inner(valid, MARGIN_PX)[None].astype(jnp.float32)])
    planes = cell_means(repeated(planes, (place.height, place.width), first=(place.top, place.left)), factor)
    rounded = (lambda x: jnp.floor(x + 0.5)) if factor == 2 else jnp.rint  # as OpenCV does
    own = rounded(planes[:-2]) if jnp.issubdtype(raw.dtype, jnp.integer) else planes[:-2]
    return own.astype(raw.dtype), rounded(planes[-2]).astype(jnp.uint8), planes[-1] > WHOLE_CELL


def seen(own: jax.Array, clipped: jax.Array, valid: jax.Array, leveling: Leveling, noise: jax.Array,
         sizes: tuple[jax.Array, jax.Array], sides: tuple[int, int], margin: int) -> Shots:
    """What the network sees of one shot, `[1, *sides, …]`: the frame continued mirrored, by `margin` at top and left.

    Args:
      own, clipped, valid: of all pieces, see `reduced`; larger than the frame, multiples of `CELL_PX`.
      leveling: the shot's.
      noise: the energy of the noise of these pixels, at the target exposure.
      sizes: height and width of the frame.
      sides: of what is returned.
      margin: see above.
    """
    place = Place(jnp.int32(0), jnp.int32(0), *sizes)
    pixels = leveled(jnp.moveaxis(own, 0, -1), leveling, *positions(place, valid.shape, 0), place)
    around = positions(place, tuple(side + 2 * MARGIN_PX for side in valid.shape), MARGIN_PX)
    planes = planes_of(pixels)
    fine = jnp.sqrt(evidence(take(planes, *around), without_rim(take(valid, *around), *around, place), noise))
    cells, covered = (cell_means(repeated(x, sizes), CELL_PX) for x in (planes, valid.astype(jnp.float32)))
    frame = coarse(cells, covered > WHOLE_CELL, noise, tuple(-(-size // CELL_PX) for size in sizes))
    hand = logits(fine.astype(jnp.float16), jnp.full(fine.shape, 255, jnp.uint8), frame, jnp.float32(0), place)
    hand = inner(hand, (hand.shape[0] - valid.shape[0]) // 2)
    continued = [mirrored(jnp.arange(side) - margin, size) for side, size in zip(sides, sizes)]
    # As in `measuring`, the frame's outermost pixels do not count: here, what is inside continues over them.
    within = [RIM_PX + mirrored(jnp.arange(side) - margin - RIM_PX, size - 2 * RIM_PX)
              for side, size in zip(sides, sizes)]
    pixels = jnp.clip(take(pixels, *within), 0, 1)
    return Shots(jnp.moveaxis(pixels, 0, -1)[None], take(hand, *continued)[None], take(valid, *continued)[None],
                 take(clipped, *within)[None].astype(jnp.float32) * (1 / 255))


def pooled(params: Params, shot: Shots, before: Pooled | None) -> Pooled:
    """The features of one more shot, pooled with those before."""
    encoded = _encoded(params, shot)
    found = chooser.pool(encoded, shot, (1, 1))
    return found if before is None else chooser.join(before, found)


def correction(params: Params, shot: Shots, over: Pooled, sizes: tuple[jax.Array, jax.Array],
               shape: tuple[int, int], margin: int, factor: int, most: jax.Array | float = MOST_CHANGE) -> jax.Array:
    """What the network adds to a shot's hand-made logits.

    Args:
      params: the network's.
      shot: `seen`.
      over: `pooled` over all shots.
      sizes: height and width of the frame that the network sees.
      shape: of the arrays that hold it.
      margin: see `seen`.
      factor: by how much it is reduced.
      most: no correction is larger, see `chooser_layout.most_change`.

    Returns:
      float16 of `shape` with `blending.correction_margin` around it, repeated at the true edges.
    """
    own = _encoded(params, shot)
    behind = jnp.where(shot.valid, shot.hand - over.hand, 0)
    mean = [total / jnp.maximum(count, 1) for total, count in zip(over.total, over.count)]
    largest = [jnp.where(count > 0, most, 0) for most, count in zip(over.largest, over.count)]
    with jax.default_matmul_precision("highest"):
        out = chooser.compare(params, own.features, largest, mean, behind)
    added = chooser.certainty(over.hand) * jnp.clip(chooser.relative_logits(out, behind) - behind, -most, most)
    around = correction_margin(factor)
    rows, columns = (margin + jnp.clip(jnp.arange(-around, side + around), 0, size - 1)
                     for side, size in zip(shape, sizes))
    return take(added[0], rows, columns).astype(jnp.float16)


def _encoded(params: Params, shot: Shots) -> Encoded:
    with jax.default_matmul_precision("highest"):
        return chooser.encode(params, shot)
