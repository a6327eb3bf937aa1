"""Parts of a picture in arrays of one shape: positions, borders, windows, and means over cells, in jax.numpy.

A program is compiled for a shape, and pictures come in any size.  So a picture is worked on in pieces of one shape,
and what is made of whole pictures (of their cells) lies in arrays that are larger than they are.  True sizes and places
are traced numbers: what lies beyond the true edge is never read, because rows and columns are taken by index first,
mirrored or repeated at that edge.  Planes are `[..., h, w]`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Place(NamedTuple):
    """Where a piece lies: row and column of its first kept pixel, and height and width of the frame, int32 scalars."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array


def mirrored(index: jax.Array, size: jax.Array) -> jax.Array:
    """Positions in [0, size) for any: mirrored at the first and last sample, which are not repeated (Reflect101)."""
    period = jnp.maximum(2 * (size - 1), 1)
    index = index % period
    return jnp.minimum(index, period - index)


def take(plane: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Rows and columns of planes `[..., h, w]`, by index."""
    return jnp.take(jnp.take(plane, rows, -2, mode="clip"), columns, -1, mode="clip")


def repeated(plane: jax.Array, sizes: tuple[jax.Array, jax.Array], before: int = 0, after: int = 0,
             first: tuple[jax.Array, jax.Array] = (0, 0)) -> jax.Array:
    """Planes whose rows and columns beyond a picture's true edges are copies of the outermost ones.

    Args:
      plane: `[..., h, w]`; its first row and column are `first` in the picture.
      sizes: height and width of the picture.
      before, after: so many rows and columns are added at the start and at the end.
      first: see `plane`; may be negative.

    Returns:
      `[..., h + before + after, w + before + after]`.
    """
    rows, columns = (jnp.clip(jnp.arange(-before, length + after) + start, 0, size - 1) - start
                     for length, start, size in zip(plane.shape[-2:], first, sizes))
    return take(plane, rows, columns)


def inner(plane: jax.Array, by: int) -> jax.Array:
    """Planes without their outermost `by` rows and columns."""
    return plane[..., by : plane.shape[-2] - by, by : plane.shape[-1] - by] if by else plane


def windowed(planes: jax.Array, taps: np.ndarray) -> jax.Array:
    """Correlation with `taps` along both axes, `[..., h, w]` → `[..., h − n + 1, w − n + 1]`.

    As products with banded matrices in full precision: on a GPU they take less than what they read and write, and no
    compiler turns them into a sum over the whole window for each pixel.
    """
    rows, columns = (_band(taps, length) for length in planes.shape[-2:])
    return jnp.einsum("hv,...hw,wu->...vu", rows, planes, columns, precision=jax.lax.Precision.HIGHEST,
                      optimize=[(1, 2), (0, 1)])


def box_taps(window: int, times: int = 1) -> np.ndarray:
    """The taps of a box mean over `window` samples, `times` over."""
    box = taps = np.full(window, 1 / window)
    for _ in range(times - 1):
        taps = np.convolve(taps, box)
    return taps


def eroded(mask: jax.Array, by: int) -> jax.Array:
    """Where everything up to `by` px away (a square) is True: `[..., h, w]` → `[..., h − 2 by, w − 2 by]`."""
    count = (2 * by + 1) ** 2
    return windowed(mask.astype(jnp.float32), np.ones(2 * by + 1)) > count - 0.5


def _band(taps: np.ndarray, length: int) -> jax.Array:
    """`core.filters.band_matrix`, made on the device: as a constant of the program it would be megabytes."""
    shape = length, length - len(taps) + 1
    offset = jax.lax.broadcasted_iota(jnp.int32, shape, 0) - jax.lax.broadcasted_iota(jnp.int32, shape, 1)
    values = jnp.take(jnp.asarray(taps, jnp.float32), offset, mode="clip")
    return jnp.where((offset >= 0) & (offset < len(taps)), values, 0)


def cell_means(planes: jax.Array, cell: int) -> jax.Array:
    """Means of cells of `cell` × `cell` px: `[..., h, w]` → `[..., h / cell, w / cell]`."""
    *lead, height, width = planes.shape
    return planes.reshape(*lead, height // cell, cell, width // cell, cell).mean((-3, -1))


def enlarged(cells: jax.Array, factor: int) -> jax.Array:
    """Cells interpolated linearly, `[..., h, w]` → `[..., (h − 2) factor, (w − 2) factor]`: all but the outermost."""
    for axis in (-2, -1):
        length = cells.shape[axis] - 2
        before, own, after = (jax.lax.slice_in_dim(cells, i, i + length, axis=axis % cells.ndim) for i in range(3))
        phases = []
        for phase in range(factor):
            at = (phase + 0.5) / factor - 0.5
            phases.append((1 - abs(at)) * own + abs(at) * (before if at < 0 else after))
        shape = list(cells.shape)
        shape[axis] = length * factor
        cells = jnp.stack(phases, axis % cells.ndim + 1).reshape(shape)
    return cells


def pulled_and_pushed(known: jax.Array, certainty: jax.Array, sizes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Means of cells, the uncertain ones from further off, as `fusion.stack.choice` takes them.

    Args:
      known: values times certainty, `[h, w]`.
      certainty: `[h, w]` in (0, 1].
      sizes: how many rows and columns of them there are.
    """
    levels = [(jnp.stack([known, certainty]), sizes)]
    while min(levels[-1][0].shape[1:]) > 2:
        planes, sizes = levels[-1]
        odd = [(0, side % 2) for side in planes.shape[1:]]
        planes = jnp.pad(repeated(planes, sizes), ((0, 0), *odd), mode="edge")
        levels.append((cell_means(planes, 2), tuple((size + 1) // 2 for size in sizes)))
    spread = half_sizes = None
    for (known, certainty), sizes in reversed(levels):
        mean = known / certainty
        if spread is not None:
            larger = enlarged(repeated(spread, half_sizes, 1, 1), 2)[: known.shape[0], : known.shape[1]]
            mean = jnp.where(jnp.minimum(*sizes) > 2, known + (1 - certainty) * larger, mean)
        spread, half_sizes = mean, sizes
    return spread


def filled(planes: jax.Array, known: jax.Array, sizes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Planes `[C, h, w]` whose pixels that are not `known`, bool `[h, w]`, come from around: twin of `holes.fill`."""
    weight = known[None].astype(planes.dtype)
    return jnp.where(known[None], planes, _filled(jnp.concatenate([planes * weight, weight]), sizes))


def _filled(weighted: jax.Array, sizes: tuple[jax.Array, jax.Array]) -> jax.Array:
    """The filled planes, from planes times weight and, as the last one, the weight."""
    values, weight = weighted[:-1], weighted[-1:]
    if max(weight.shape[-2:]) == 1:
        return values / jnp.maximum(weight, 1e-12)
    halves = tuple((size + 1) // 2 for size in sizes)
    coarse = _filled(_area_halved(weighted, sizes, halves), halves)
    for axis in (-2, -1):
        coarse = _stretched(coarse, axis, halves[axis], sizes[axis], weight.shape[axis])
    return values + (1 - weight) * coarse


def _area_halved(x: jax.Array, sizes: tuple[jax.Array, jax.Array], halves: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Means over equal parts of the true size, as OpenCV's INTER_AREA has them where that is odd."""
    for axis in (-2, -1):
        scale = sizes[axis] / halves[axis]
        start = jnp.arange((x.shape[axis] + 1) // 2) * scale
        first = jnp.floor(start + 1e-4).astype(jnp.int32)  # what rounding leaves of a part is no part
        terms = []
        for tap in range(3):
            share = jnp.minimum(start + scale, first + tap + 1.0) - jnp.maximum(start, first * 1.0 + tap)
            terms.append(_along(jnp.clip(share, 0, 1) / scale, axis, x.ndim)
                         * jnp.take(x, jnp.minimum(first + tap, sizes[axis] - 1), axis, mode="clip"))
        x = terms[0] + terms[1] + terms[2]
    return x


def _stretched(x: jax.Array, axis: int, half: jax.Array, size: jax.Array, length: int) -> jax.Array:
    """An axis of `half` true samples interpolated linearly to `size`."""
    at = jnp.clip((jnp.arange(length) + 0.5) * (half / size) - 0.5, 0, half - 1.0)
    first = jnp.floor(at).astype(jnp.int32)
    share = _along(at - first, axis, x.ndim)
    low, high = (jnp.take(x, jnp.minimum(first + i, half - 1), axis, mode="clip") for i in (0, 1))
    return low + share * (high - low)


def _along(weights: jax.Array, axis: int, ndim: int) -> jax.Array:
    return weights.reshape([-1 if a == axis % ndim else 1 for a in range(ndim)])
