"""How a picture is cut into tiles, so that fusing them gives what fusing the whole picture gives."""

from collections.abc import Iterator
from typing import NamedTuple

from edmf_jax.fusion.stack import blend, borders, sharpness
from edmf_jax.fusion.tiling import HALO_PX, pieces, within

BLEND_TILE_PX = 524
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


def plan_tiles(shape: tuple[int, ...], use_network: bool) -> Iterator[TilePlan]:
    """The tiles of a picture of `shape`, for the network or for blending.

    The context has every pixel that the result depends on: around the piece for the network, whose own reach is the
    `HALO_PX` by which what is kept lies inside the piece; around what is kept for blending.
    """
    tile_px, reach_px = ((NETWORK_TILE_PX, NETWORK_REACH_PX) if use_network
                         else (BLEND_TILE_PX, blend.REACH_PX - HALO_PX))
    for rows, kept_rows in pieces(shape[0], tile_px):
        for columns, kept_columns in pieces(shape[1], tile_px):
            context = tuple(slice(max(part.start - reach_px, 0), min(part.stop + reach_px, side))
                            for part, side in zip((rows, columns), shape))
            yield TilePlan(context, (rows, columns), (kept_rows, kept_columns))


def inside(part: Part, whole: Part) -> Part:
    """`part` counted from the start of `whole`."""
    rows, columns = (within(p, w) for p, w in zip(part, whole))
    return rows, columns
