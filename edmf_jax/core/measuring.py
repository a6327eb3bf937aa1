"""How much sharp detail a piece of a shot shows, in jax.numpy: the first step of `edmf fuse` on a GPU (`blending`).

Twin of `fusion.stack.evidence`; there is said what each step is for, and tests/core/test_measuring.py compares them.
Training takes it from `hand_made`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.chooser_layout import FLOOR, POWER, WHOLE_CELL
from edmf_jax.core.color import NEUTRAL, rgb_to_ycbcr
from edmf_jax.core.evidence_numbers import (
    BLUR_PX,
    CELL_PX,
    CHROMA_WEIGHT,
    COARSE_WEIGHT,
    ENERGY_REACH_PX,
    RAMP_SHARE,
    RIM_PX,
    SIGMA_PX,
    WINDOWS,
    WINDOWS_REACH_PX,
    most_noise,
)
from edmf_jax.core.filters import correlate1d, gaussian_kernel
from edmf_jax.core.leveled import FEATHER_REACH_PX, Leveling, leveled, weights
from edmf_jax.core.piecewise import (
    Place,
    box_taps,
    cell_means,
    eroded,
    filled,
    inner,
    mirrored,
    repeated,
    take,
    windowed,
)

CONTEXT_PX = 16  # a multiple of every kind of cell
CELL_MARGIN = CONTEXT_PX // CELL_PX + 1  # of coarse evidence around the frame: to interpolate in the context
MARGIN_PX = CONTEXT_PX + WINDOWS_REACH_PX + RIM_PX
"""So many pixels are around what is kept of a raw piece; none further away can change the evidence in the context."""


class Measured(NamedTuple):
    """What a piece of a shot shows: see `evidence.Evidence`.

    Attributes:
      fine: float16 `[h + 32, w + 32]`: `CONTEXT_PX` more than is kept, on each side.
      weight: uint8, the same.
      cells: means of its planes over 8 × 8 px, `[C, h / 8, w / 8]`.
      covered: bool `[h / 8, w / 8]`: the shot has all of the cell.
    """

    fine: jax.Array
    weight: jax.Array
    cells: jax.Array
    covered: jax.Array


class Coarse(NamedTuple):
    """The coarse evidence and the ramp of a whole frame, `[h + 2 CELL_MARGIN, …]`, repeated at its true edges."""

    evidence: jax.Array
    ramp: jax.Array


def positions(place: Place, shape: tuple[int, ...], margin: int) -> tuple[jax.Array, jax.Array]:
    """The rows and columns of the frame that a piece of `shape` (h, w) with a margin shows."""
    return (mirrored(jnp.arange(shape[0]) + (place.top - margin), place.height),
            mirrored(jnp.arange(shape[1]) + (place.left - margin), place.width))


def planes_of(pixels: jax.Array) -> jax.Array:
    """Luma, and Cb and Cr scaled so that their squares count half, of `[C, …]` clipped to [0, 1]: `[C, …]`."""
    pixels = jnp.clip(pixels, 0, 1)
    if len(pixels) == 1:
        return pixels
    y, *chroma = rgb_to_ycbcr(jnp.moveaxis(pixels, 0, -1))
    return jnp.stack([y, *((x - NEUTRAL) * np.float32(np.sqrt(CHROMA_WEIGHT)) for x in chroma)])


def measure(raw: jax.Array, valid: jax.Array, leveling: Leveling, noise: jax.Array, place: Place) -> Measured:
    """The evidence of a piece of a shot.

    Args:
      raw: `[h + 80, w + 80, C]`, the shot's own values, with `MARGIN_PX` around what is kept; h and w are multiples of
        `CONTEXT_PX`.
      valid: bool `[h + 80, w + 80]`.
      leveling: the shot's.
      noise: the energy of its noise at the target exposure.
      place: where the piece lies.
    """
    rows, columns = positions(place, raw.shape, MARGIN_PX)
    pixels = leveled(raw, leveling, rows, columns, place)
    weight, _ = weights(inner_pixels(raw, MARGIN_PX - CONTEXT_PX),
                        inner(valid, MARGIN_PX - CONTEXT_PX - FEATHER_REACH_PX), leveling)
    # Rounded up: a pixel that the shot has does not get 0.  Less what float rounding adds to a whole weight.
    eighth = jnp.clip(jnp.ceil(255 * weight - 1e-3), 0, 255).astype(jnp.uint8)
    planes = planes_of(pixels)
    fine = jnp.sqrt(evidence(planes, without_rim(valid, rows, columns, place), noise))
    ends = (place.height, place.width), (place.top, place.left)
    kept = repeated(inner(planes, MARGIN_PX), ends[0], first=ends[1])
    own = repeated(inner(valid, MARGIN_PX).astype(jnp.float32), ends[0], first=ends[1])
    return Measured(fine.astype(jnp.float16), eighth, cell_means(kept, CELL_PX), cell_means(own, CELL_PX) > WHOLE_CELL)


def inner_pixels(raw: jax.Array, by: int) -> jax.Array:
    """Pixels `[h, w, C]` without their outermost `by` rows and columns."""
    return raw[by : raw.shape[0] - by, by : raw.shape[1] - by]


def without_rim(valid: jax.Array, rows: jax.Array, columns: jax.Array, place: Place) -> jax.Array:
    """`valid` without the outermost `RIM_PX` of the shot and of the frame, that much smaller on each side."""
    found = eroded(valid, RIM_PX)
    for axis, at, side in zip((0, 1), (rows, columns), (place.height, place.width)):
        inside = ((at >= RIM_PX) & (at < side - RIM_PX))[RIM_PX:-RIM_PX]
        found &= inside[:, None] if axis == 0 else inside[None]
    return found


def evidence(planes: jax.Array, usable: jax.Array, noise: jax.Array) -> jax.Array:
    """The evidence of planes by their `usable` pixels.

    Args:
      planes: `[C, …]`, with `WINDOWS_REACH_PX + ENERGY_REACH_PX` or more around what is returned.
      usable: bool, with `WINDOWS_REACH_PX` around it.
      noise: see `measure`.
    """
    squares, usable = energy(planes), usable.astype(jnp.float32)
    both = jnp.stack([inner(squares, (squares.shape[0] - usable.shape[0]) // 2) * usable, usable])
    found = 0.0
    for window, share in WINDOWS:
        reach = 2 * (window // 2)
        weighted, total = windowed(inner(both, WINDOWS_REACH_PX - reach), box_taps(window, 2))
        mean = weighted / jnp.maximum(total, 1e-3)
        found = found + share * jnp.maximum(mean - noise * float(most_noise(window)), 0)
    return found


def energy(planes: jax.Array) -> jax.Array:
    """The energy of detail of planes `[C, …]`, as far as they tell it: `ENERGY_REACH_PX` less on each side."""
    taps = gaussian_kernel(BLUR_PX, SIGMA_PX)
    smooth = correlate1d(correlate1d(planes, taps, -2), taps, -1)
    sides = smooth[..., :-2, 1:-1] + smooth[..., 2:, 1:-1] + smooth[..., 1:-1, :-2] + smooth[..., 1:-1, 2:]
    return jnp.square(sides - 4 * smooth[..., 1:-1, 1:-1]).sum(0)


def strength_logit(fine: jax.Array, large: jax.Array) -> jax.Array:
    """log(strength¹⁰) of the fine evidence and the coarse one, interpolated to its pixels."""
    return POWER / 2 * jnp.log(fine + COARSE_WEIGHT * large + FLOOR**2)


def coarse(cells: jax.Array, covered: jax.Array, noise: jax.Array, sizes: tuple[jax.Array, jax.Array]) -> Coarse:
    """The coarse evidence of a frame, and its ramp, from the cells of all pieces.

    Args:
      cells, covered: `[C, h, w]` and `[h, w]`, see `Measured`; larger than the frame.
      noise: see `measure`.
      sizes: how many rows and columns of cells there are.
    """
    found, more = coarse_evidence(cells, covered, noise, sizes), (CELL_MARGIN, CELL_MARGIN)
    ramp = _ramp(covered | ~_inside(covered.shape, sizes, 0), sizes)
    return Coarse(repeated(found, sizes, *more), repeated(ramp, sizes, *more))


def coarse_evidence(cells: jax.Array, covered: jax.Array, noise: jax.Array, sizes: tuple[jax.Array, jax.Array], *,
                    rim: bool = True) -> jax.Array:
    """The coarse evidence of cells, `[h, w]`; see `coarse`.

    `rim`: the frame's outermost cells do not count, for they hold the shot's rim.
    """
    usable = covered & _inside(covered.shape, sizes, int(rim))
    cells = jnp.where(usable.any(), filled(cells, usable, sizes), cells)
    margin = WINDOWS_REACH_PX + ENERGY_REACH_PX
    around = [mirrored(jnp.arange(-margin, side + margin), size) for side, size in zip(covered.shape, sizes)]
    usable = take(usable, *(at[ENERGY_REACH_PX:-ENERGY_REACH_PX] for at in around))
    return evidence(take(cells, *around), usable, noise / CELL_PX**2)


def _inside(shape: tuple[int, ...], sizes: tuple[jax.Array, jax.Array], by: int) -> jax.Array:
    """Which rows and columns of `shape` are at least `by` within a frame of `sizes`, bool `[h, w]`."""
    rows, columns = ((at >= by) & (at < size - by) for at, size in zip(map(jnp.arange, shape), sizes))
    return rows[:, None] & columns[None]


def _ramp(covered: jax.Array, sizes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """`Evidence.ramp`: how far away the next cell is that a shot does not cover, as a share of a tenth of the frame."""
    width = jnp.maximum(RAMP_SHARE * jnp.minimum(*sizes), 2.0)
    far = 2.0 * max(covered.shape)
    rows = jnp.arange(covered.shape[0], dtype=jnp.float32)[:, None]
    above = rows - jax.lax.cummax(jnp.where(covered, -far, rows), axis=0)
    below = jax.lax.cummin(jnp.where(covered, 2 * far, rows), axis=0, reverse=True) - rows
    square = jnp.square(jnp.minimum(above, below))
    columns = jnp.arange(covered.shape[1])

    def nearer(i: jax.Array, found: jax.Array) -> jax.Array:
        left, right = (jnp.take(square, columns + step, 1, mode="clip") for step in (-i, i))
        return jnp.minimum(found, jnp.minimum(left, right) + jnp.float32(i) ** 2)

    square = jax.lax.fori_loop(1, jnp.int32(width) + 2, nearer, square)
    return jnp.clip((jnp.sqrt(square) - 1) / width, 0, 1)
