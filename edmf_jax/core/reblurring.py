"""The choice at edges of depth, to the pixel, on shots that lie on a device, in jax.numpy.

Twin of `fusion.stack.reblur`; there is said what each step is for, and tests/fusion/test_device_blend.py compares the
two.  A round: `unlike` for every shot and piece, `model`, and for every piece `refined` weights.  What is said of whole
frames lies in arrays that are larger; `size` is the true height and width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.evidence_numbers import CELL_PX
from edmf_jax.core.filters import correlate1d, gaussian_kernel
from edmf_jax.core.measuring import positions
from edmf_jax.core.piecewise import Place, cell_means, inner, mirrored, repeated, take, windowed

BLURS_PX = (0.7, 1.4, 2.8, 5.6)  # σ of the Gaussians
ISLAND_PX = 24  # of area; no such island is wider
LEVELS = 65535  # of luma
_RADIUS = 3  # of Gaussians, in σ
_MODEL_REACH_PX = int(np.ceil(_RADIUS * BLURS_PX[-1]))
_FINE_PX, _WIDE_PX, _ANTIALIAS_PX = 0.5, 1.5, 0.5
_WIDE_REACH_PX, _FINE_REACH_PX = 5, 2
_CHOICE_PX = ISLAND_PX + _FINE_REACH_PX  # around what is kept, where the choice must be right
CONTEXT_PX = _CHOICE_PX + _WIDE_REACH_PX + _MODEL_REACH_PX
"""A pixel can change the weights of pixels up to this far away, besides through what `model` finds."""
_BAND_CELLS, _AROUND_CELLS = 2, 8
_BLUR_CELLS, _GATE_CELLS = 1.0, 3.0
_DEVIATION = 3 / 255 / np.sqrt(3)
_NOISE = (1 / 255) ** 2 / 3
_HIGH_GATE = 0.8
_LEAST_WEIGHT = 1e-4
_LEAST_TOTAL = 1e-30


class Near(NamedTuple):
    """Cells of a frame near borders between shots: `band`, where the gate may open; `needed`, to tell it; `[h, w]`.

    And for each shot `present`, where it may rise, and `around`, where it tells the gate: `[N, h, w]`.
    """

    band: jax.Array
    needed: jax.Array
    present: jax.Array
    around: jax.Array


class Model(NamedTuple):
    """How blurred each shot is, indices of `BLURS_PX`, uint8 `[N, h, w]`, and the gate, `[h, w]`, in cells."""

    blurs: jax.Array
    gate: jax.Array


def near(best: jax.Array, count: int, size: tuple[jax.Array, jax.Array]) -> Near:
    """From the index of the shot of the largest weight, `[H, W]`, of `count` shots."""
    rows, columns = (jnp.arange(side) for side in best.shape)
    inside = (rows < size[0])[:, None] & (columns < size[1])[None]
    best = best.astype(jnp.int32)
    highest = _over_cells(jnp.where(inside, best, -1), "max").astype(jnp.float32)
    lowest = _over_cells(jnp.where(inside, best, count), "min").astype(jnp.float32)
    window = (2 * _BAND_CELLS + 1,) * 2
    highest = jax.lax.reduce_window(highest, -jnp.inf, jax.lax.max, window, (1, 1), "SAME")
    lowest = jax.lax.reduce_window(lowest, jnp.inf, jax.lax.min, window, (1, 1), "SAME")
    own = inside[::CELL_PX, ::CELL_PX]
    band = (highest != lowest) & own
    present = jnp.stack([_over_cells(inside & (best == index), "max") for index in range(count)])
    return Near(band, _dilated(band[None], int(_RADIUS * _GATE_CELLS))[0] & own, _dilated(present, _BAND_CELLS),
                _dilated(present, _AROUND_CELLS))


def blurred(picture: jax.Array, place: Place, shape: tuple[int, int]) -> jax.Array:
    """The picture's luma `[H, W]` blurred by each of `BLURS_PX` in a piece of `shape`: `[4, h, w]`."""
    margin = _MODEL_REACH_PX
    some = take(picture, *positions(place, tuple(side + 2 * margin for side in shape), margin)).astype(jnp.float32)
    return _blurs(some)


def unlike(sharp: jax.Array, picture: jax.Array, best: jax.Array, luma: jax.Array, own: jax.Array, index: jax.Array,
           place: Place) -> jax.Array:
    """How a shot differs in a piece from the picture, where others were chosen: means of cells, `[5, h / 8, w / 8]`.

    Args:
      sharp: `blurred` of the piece.
      picture, best: of the frame, `[H, W]`: the picture's luma, and the index of the shot of the largest weight.
      luma, own: of all shots, `[N, H, W]`: uint16 of white `LEVELS`, and where they have pixels.
      index: the shot's.
      place: where the piece lies.

    Returns:
      Mean squares of the differences to the picture itself, and to it as it is blurred by each of `BLURS_PX`.
    """
    shape = sharp.shape[1:]
    cut = lambda x: jax.lax.dynamic_slice(x, (place.top, place.left), shape)
    cut_shot = lambda x: jax.lax.dynamic_slice(x, (index, place.top, place.left), (1, *shape))[0]
    others = cut_shot(own) & (cut(best) != index.astype(best.dtype))
    seen = cut_shot(luma).astype(jnp.float32) * (1 / LEVELS)
    differences = seen[None] - jnp.concatenate([cut(picture).astype(jnp.float32)[None], sharp])
    squares = jnp.square(differences) * others[None]
    return cell_means(repeated(squares, (place.height, place.width), first=(place.top, place.left)), CELL_PX)


def model(found: jax.Array, cells: Near, size: tuple[jax.Array, jax.Array]) -> Model:
    """How much each shot is blurred, and how well that explains it.

    Args:
      found: `unlike` of all shots and pieces, `[N, 5, h, w]`.
      cells: of the first round.
      size: how many rows and columns of cells there are.
    """
    some = cells.around & cells.needed[None]
    found = jnp.where(some[:, None], found, 0)
    differences, costs = found[:, 0].sum(0), found[:, 1:]
    around = _smooth_cells(costs, _BLUR_CELLS, size)
    blurs, known = jnp.argmin(around, 1), (around > 0).any(1)
    unexplained = jnp.take_along_axis(costs, blurs[:, None], 1)[:, 0].sum(0)
    # Beyond an edge no shot is sharper than the next one.
    none = len(BLURS_PX)
    least, second = jnp.sort(jnp.where(known, blurs, none), 0)[:2]
    of_others = jnp.where(known & (blurs == least[None]), second[None], least[None])
    blurs = jnp.where(of_others < none, jnp.maximum(blurs, of_others), blurs)
    ratio = ((_smooth_cells(unexplained, _GATE_CELLS, size) + _NOISE)
             / (_smooth_cells(differences, _GATE_CELLS, size) + _NOISE))
    return Model(blurs.astype(jnp.uint8), jnp.clip(1 - 2 * ratio, 0, 1) * cells.band)


def changed(gate: jax.Array) -> jax.Array:
    """The cells in which weights are others than at first, bool `[h, w]`: enlarged, the gate reaches half a cell."""
    return _dilated(gate[None] > 0, 1)[0]


def refined(weights: jax.Array, luma: jax.Array, picture: jax.Array, cells: Near, by: Model, cap: jax.Array,
            place: Place, shape: tuple[int, int]) -> jax.Array:
    """The weights of all shots in a piece of `shape`, `[N, h, w]`, of sum 1.

    Args:
      weights: at first, of the frame, `[N, H, W]`.
      luma: of the shots, `[N, H, W]`, uint16 of white `LEVELS`.
      picture: the picture's luma, `[H, W]`.
      cells: of the first round.
      by: of this round.
      cap: by how much a weight's logarithm may fall.
      place: where the piece lies.
      shape: of the piece.
    """
    around = positions(place, tuple(side + 2 * CONTEXT_PX for side in shape), CONTEXT_PX)
    sharp = _blurs(take(picture, *around).astype(jnp.float32))
    rows, columns = (at[_MODEL_REACH_PX:-_MODEL_REACH_PX] for at in around)
    seen = take(luma, rows, columns).astype(jnp.float32) * (1 / LEVELS)
    blurs, present = (take(x, rows // CELL_PX, columns // CELL_PX) for x in (by.blurs, cells.present))
    expected = sharp[0][None]
    for level in range(1, len(BLURS_PX)):
        expected = jnp.where(blurs == level, sharp[level][None], expected)
    unlikely = jnp.square(seen - expected) * np.float32(0.5 / _DEVIATION**2)
    rows, columns = (at[_WIDE_REACH_PX:-_WIDE_REACH_PX] for at in (rows, columns))
    gate = _interpolated(by.gate, rows, columns, (place.height, place.width))
    share = jnp.square(jnp.minimum(gate / _HIGH_GATE, 1))[None]
    mean = _gaussian(unlikely, _WIDE_PX)
    mean = mean + share * (inner(_gaussian(unlikely, _FINE_PX), _WIDE_REACH_PX - _FINE_REACH_PX) - mean)
    likely = jnp.where(inner(present, _WIDE_REACH_PX), mean, -jnp.inf)
    rise = gate[None] * jnp.maximum(likely - likely.max(0, keepdims=True), -cap)
    before = take(weights, rows, columns).astype(jnp.float32)
    before = before / jnp.maximum(before.sum(0, keepdims=True), _LEAST_TOTAL)
    found = _choose(before, rise)
    speckles = _islands(jnp.argmax(found, 0), jnp.argmax(before, 0), place)
    found = _choose(before, jnp.where(speckles[None], 0, rise))
    smooth = inner(_gaussian(found, _ANTIALIAS_PX), _CHOICE_PX - _FINE_REACH_PX)
    gate, before = inner(gate, _CHOICE_PX)[None], inner(before, _CHOICE_PX)
    return jnp.where(gate > 0, smooth * (before > 0), before)


def _choose(before: jax.Array, rise: jax.Array) -> jax.Array:
    logits = jnp.log(jnp.maximum(before, _LEAST_WEIGHT)) + rise
    weights = jnp.exp(logits - logits.max(0, keepdims=True)) * (before > 0)
    return weights / jnp.maximum(weights.sum(0, keepdims=True), _LEAST_TOTAL)


def _islands(best: jax.Array, before: jax.Array, place: Place) -> jax.Array:
    """Where the shot of the largest weight is another one than before, in a small island of its own: bool `[h, w]`.

    Every pixel takes the least number among its own and its neighbors' of the same shot, as often as an island can be
    wide.  Then an island has one number; what is larger has one, too, or each of its numbers has another next to it.
    """
    first = place.top - _CHOICE_PX, place.left - _CHOICE_PX
    rows, columns = (jnp.arange(side) + start for side, start in zip(best.shape, first))
    inside = ((rows >= 0) & (rows < place.height))[:, None] & ((columns >= 0) & (columns < place.width))[None]
    kind = jnp.where(inside, best, -1)
    none = best.size

    def beside(x: jax.Array, other: int) -> list[jax.Array]:
        wide = jnp.pad(x, 1, constant_values=other)
        return [wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]]

    alike = [one == kind for one in beside(kind, -2)]
    least = lambda i, number: jnp.minimum(number, jnp.stack(
        [jnp.where(same, one, none) for same, one in zip(alike, beside(number, none))]).min(0))
    number = jax.lax.fori_loop(0, ISLAND_PX - 1, least, jnp.arange(none, dtype=jnp.int32).reshape(best.shape))
    is_open = jnp.stack([same & (one != number) for same, one in zip(alike, beside(number, none))]).any(0)
    flat = number.reshape(-1)
    area = jnp.zeros(none, jnp.int32).at[flat].add(1)
    # An open number counts as large.
    area = area.at[flat].add(jnp.where(is_open, ISLAND_PX, 0).reshape(-1))
    small = (area[flat] < ISLAND_PX).reshape(best.shape) & (best != before) & inside
    rows, columns = (mirrored(at, size) - start
                     for at, size, start in zip((rows, columns), (place.height, place.width), first))
    return take(small, rows, columns)


def _gaussian(planes: jax.Array, sigma_px: float) -> jax.Array:
    taps = gaussian_kernel(2 * int(np.ceil(_RADIUS * sigma_px)) + 1, sigma_px)
    return correlate1d(correlate1d(planes, taps, -2), taps, -1)


def _blurs(plane: jax.Array) -> jax.Array:
    """`[h + 34, w + 34]` blurred by each of `BLURS_PX`: `[4, h, w]`."""
    found = []
    for sigma in BLURS_PX:
        radius = int(np.ceil(_RADIUS * sigma))
        found.append(windowed(inner(plane, _MODEL_REACH_PX - radius), gaussian_kernel(2 * radius + 1, sigma)))
    return jnp.stack(found)


def _smooth_cells(cells: jax.Array, sigma: float, size: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Gaussian means as OpenCV takes them without a given window."""
    radius = round(4 * sigma)
    rows, columns = (mirrored(jnp.arange(-radius, side + radius), true) for side, true in zip(cells.shape[-2:], size))
    return windowed(take(cells, rows, columns), gaussian_kernel(2 * radius + 1, sigma))


def _dilated(masks: jax.Array, by: int) -> jax.Array:
    wide = jnp.pad(masks.astype(jnp.float32), ((0, 0), (by, by), (by, by)))
    return windowed(wide, np.ones(2 * by + 1)) > 0.5


def _over_cells(plane: jax.Array, how: str) -> jax.Array:
    height, width = plane.shape
    return getattr(plane.reshape(height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX), how)((1, 3))


def _interpolated(cells: jax.Array, rows: jax.Array, columns: jax.Array, size: tuple[jax.Array, jax.Array]
                  ) -> jax.Array:
    """Cells interpolated linearly at rows and columns of pixels: `[h, w]`."""
    for axis, at, side in zip((0, 1), (rows, columns), size):
        last = -(-side // CELL_PX) - 1
        position = jnp.clip((at + 0.5) / CELL_PX - 0.5, 0, last)
        first = jnp.floor(position).astype(jnp.int32)
        share = (position - first)[:, None] if axis == 0 else (position - first)[None]
        low, high = (jnp.take(cells, jnp.minimum(first + i, last), axis, mode="clip") for i in (0, 1))
        cells = low + share * (high - low)
    return cells
