"""How a frame is cut into pieces of one shape, for a GPU (`device_blend`).

All pieces of a frame have one shape, of a few there are, so few programs are compiled for all pictures.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.measuring import CONTEXT_PX, MARGIN_PX
from edmf_jax.core.piecewise import Place

SIDES_PX = (128, 256, 512, 1024)  # of pieces


def piece_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape of the pieces of a frame (H, W, …): the least sides that hold it, or the largest there are."""
    height, width = (next((px for px in SIDES_PX if px >= side), SIDES_PX[-1]) for side in shape[:2])
    return height, width


def covering(shape: tuple[int, ...], piece: tuple[int, int]) -> tuple[int, int]:
    """Height and width of whole pieces that cover a frame."""
    height, width = (-(-side // step) * step for side, step in zip(shape[:2], piece))
    return height, width


class At(NamedTuple):
    """Where a piece lies.

    Attributes:
      place: in Python's numbers.
      there: the same on the device, so that it need not be sent with every step.
      kept: the rows and columns of the frame that are kept of it.
    """

    place: Place
    there: Place
    kept: tuple[slice, slice]


def places(shape: tuple[int, ...], piece: tuple[int, int]) -> Iterator[At]:
    """Where the pieces of a frame lie."""
    for top in range(0, shape[0], piece[0]):
        for left in range(0, shape[1], piece[1]):
            place = Place(top, left, *shape[:2])
            rows, columns = (slice(first, min(first + side, size))
                             for first, side, size in zip(place[:2], piece, place[2:]))
            yield At(place, jax.tree.map(jnp.int32, place), (rows, columns))


def cut(array, place: Place, piece: tuple[int, int]) -> np.ndarray:
    """A piece of `[H, W, …]` (in memory or on disk) with `MARGIN_PX` around it, mirrored at the frame's edges.

    0 further beyond these, where nothing is needed.
    """
    out = np.zeros((*(side + 2 * MARGIN_PX for side in piece), *array.shape[2:]), array.dtype)
    rows, columns = (_runs(first, side, size) for first, side, size in zip(place[:2], piece, place[2:]))
    for down, into_rows in rows:
        for across, into_columns in columns:
            out[into_rows, into_columns] = array[down, across]
    return out


def _runs(first: int, side: int, size: int) -> list[tuple[slice, slice]]:
    """The samples of an axis that a piece shows, in runs forward and backward, and their places in it."""
    at = _positions(np.arange(first - MARGIN_PX, min(first + side, size) + MARGIN_PX), size)
    steps = np.diff(at)
    ends = [0, *(np.flatnonzero(np.diff(steps)) + 2).tolist(), len(at)]
    runs = []
    for begin, end in itertools.pairwise(ends):
        start, last, step = int(at[begin]), int(at[end - 1]), 1 if end - begin == 1 else int(steps[begin])
        stop = last + step
        runs.append((slice(start, None if stop < 0 else stop, step), slice(begin, end)))
    return runs


def _positions(index: np.ndarray, size: int) -> np.ndarray:
    """`piecewise.mirrored` in NumPy."""
    period = max(2 * (size - 1), 1)
    index = index % period
    return np.minimum(index, period - index)


def excluded_piece(mask: np.ndarray, place: Place, shape: tuple[int, ...]) -> np.ndarray:
    """A small copy's mask in a piece with its context, bool of `shape` (h, w): twin of `borders.enlarged_part`."""
    y, x = ((_positions(np.arange(side) + first - CONTEXT_PX, size) + 0.5) * cells / size
            for side, first, size, cells in zip(shape, place[:2], place[2:], mask.shape))
    return mask[y.astype(int)][:, x.astype(int)]
