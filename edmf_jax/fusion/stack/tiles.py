"""How a picture is cut into tiles, so that fusing them gives what fusing the whole picture gives."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from edmf_jax.fusion.pieces import pieces, within
from edmf_jax.fusion.stack import borders, sharpness
from edmf_jax.registration.threads import on_all_cores

BLEND_TILE_PX = (256, 1024)  # multiples of `evidence.CELL_PX`; wide, because rows lie one after the other in memory
# With the margin 272 px, a shape of `core.buckets`; 528 px take 0.3 GB more and a third more time.
NETWORK_TILE_PX = 268
NETWORK_REACH_PX = borders.REACH_PX + sharpness.COLOR_REACH_PX

Part = tuple[slice, slice]
"""Rows and columns."""


class TilePlan(NamedTuple):
    """Rows and columns of one tile.

    Attributes:
      context: what is read of the shots.
      piece: what the network gets; within `context`.
      kept: what is written to the result; within `piece`.
    """

    context: Part
    piece: Part
    kept: Part


class BlendTile(NamedTuple):
    """Rows and columns of one tile: what is read of the shots, and the part of it that is written."""

    context: Part
    kept: Part


def plan_tiles(shape: tuple[int, ...]) -> Iterator[TilePlan]:
    """The tiles of a picture of `shape`, for the network.

    The context has every pixel that the result depends on around the piece for the network, whose own reach is the
    `HALO_PX` by which what is kept lies inside the piece.
    """
    for rows, kept_rows in pieces(shape[0], NETWORK_TILE_PX):
        for columns, kept_columns in pieces(shape[1], NETWORK_TILE_PX):
            yield TilePlan(grown((rows, columns), NETWORK_REACH_PX, shape), (rows, columns), (kept_rows, kept_columns))


def over_tiles(work: Callable[[BlendTile], None], shape: tuple[int, ...], reach_px: int) -> None:
    """Calls `work` once for every tile of a picture of `shape` (H, W, …), on all cores.

    The kept parts cover the picture once, and the context has `reach_px` more on each side, within the picture.  So
    `work` may write to the kept part of an array of that shape.
    """
    (rows, height), (columns, width) = ((range(0, side, step), side)
                                        for side, step in zip(shape[:2], BLEND_TILE_PX))
    kept = [(slice(top, min(top + rows.step, height)), slice(left, min(left + columns.step, width)))
            for top in rows for left in columns]
    on_all_cores(lambda part: work(BlendTile(grown(part, reach_px, shape), part)), kept)


def kept_whole(plane: Callable[[Part], np.ndarray], shape: tuple[int, ...]) -> Callable[[Part], np.ndarray]:
    """A float32 plane of a picture of `shape` (H, W, …), given as a function of rows and columns, computed once."""
    whole = np.empty(shape[:2], np.float32)

    def look(tile: BlendTile) -> None:
        whole[tile.kept] = plane(tile.kept)

    over_tiles(look, shape, 0)
    return whole.__getitem__


def grown(part: Part, reach_px: int, shape: tuple[int, ...]) -> Part:
    """`part` with `reach_px` more on each side, within a picture of `shape`."""
    rows, columns = (slice(max(p.start - reach_px, 0), min(p.stop + reach_px, side)) for p, side in zip(part, shape))
    return rows, columns


def cells_of(part: Part, cell_px: int) -> Part:
    """The cells of `cell_px` × `cell_px` px that hold rows and columns `part`."""
    rows, columns = (slice(p.start // cell_px, -(-p.stop // cell_px)) for p in part)
    return rows, columns


def inside(part: Part, whole: Part) -> Part:
    """`part` counted from the start of `whole`."""
    rows, columns = (within(p, w) for p, w in zip(part, whole))
    return rows, columns
