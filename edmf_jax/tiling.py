"""A weights' fusion of 8-bit pictures of any size with few compiles: the picture as a whole, or in MUFusion's tiles.

`whole` is what `fuse` gives: the network sees the whole picture.  Pictures are
padded to a few shapes (`metrics.buckets`), exactly (`framed`), and cut above
1036 px a side with the network's whole reach around each piece, exactly too.

`mufusion` is the protocol of MUFusion's authors, and so of Table 2's row: tiles of
128 px at every 124 px from the top left, one more row and column of tiles flush
with the bottom and right edge, each through the network alone; what overlaps is
averaged, a tile that is there twice counting twice.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.color import fuse_chroma, luma, rgb_to_ycbcr, ycbcr_to_rgb
from edmf_jax.errors import UserError
from edmf_jax.framed import MARGIN_PX, fuse_framed
from edmf_jax.metrics import bucket_size, pad_to_bucket
from edmf_jax.model import MIN_SIDE_PX, FusionNet, fuse_luma

TILINGS = ("whole", "mufusion")
TILE_PX, STRIDE_PX = 128, 124
TILES_AT_ONCE = 8  # a compile each for another number; on two cores no number is faster
# An output pixel sees 23 px around it, and one more by the alignment to half size: 24, even.
HALO_PX = 24
LARGEST_PX = 1036  # with the margin, 1040 px: a shape of `buckets`; 2 GB with MUFusion's network

_fuse_framed = jax.jit(fuse_framed, static_argnums=0)
_fuse_tiles = jax.jit(fuse_luma, static_argnums=0)


def fuse_levels(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray, tiling: str = "whole") -> np.ndarray:
    """Fuses two uint8 pictures `[H, W]` or `[H, W, 3]` RGB of one shape; one of that shape, rounded half to even.

    Raises:
      UserError: the pictures are too small for the tiling, or too large for the memory.
    """
    smallest = TILE_PX if tiling == "mufusion" else MIN_SIDE_PX
    if min(a.shape[:2]) < smallest:
        raise UserError(f"--tiling={tiling} takes pictures of at least {smallest}×{smallest} px, these are "
                        f"{a.shape[1]}×{a.shape[0]} px" + ("; use --tiling whole" if tiling == "mufusion" else ""))
    by_tiling = {"whole": fuse_whole, "mufusion": fuse_mufusion}[tiling]
    planes = [x.astype(np.float32) / 255 for x in (a, b)]
    try:
        # By default a GPU or TPU multiplies float32 numbers at less than float32 precision.
        with jax.default_matmul_precision("highest"):
            if a.ndim == 2:
                return _levels(by_tiling(model, params, *planes))
            return _recolor(by_tiling(model, params, *(luma(x) for x in planes)), a, b)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"{a.shape[1]}×{a.shape[0]} px take more memory than there is; use --tiling mufusion, which "
                        "takes little") from error


def fuse_whole(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray,
               largest_px: int | None = None) -> np.ndarray:
    """The network on planes `[H, W]` in [0, 1] as a whole: `[H, W]`, not clipped.

    `largest_px` is the side of the pieces that it is cut into, even, more than 48; None: `LARGEST_PX`.
    """
    largest_px = largest_px or LARGEST_PX
    fused = np.empty(a.shape, np.float32)
    shape = padded_shape(a.shape, largest_px)
    for rows, kept_rows in pieces(a.shape[0], largest_px):
        for columns, kept_columns in pieces(a.shape[1], largest_px):
            piece = fuse_piece(model, params, a[rows, columns], b[rows, columns], shape)
            fused[kept_rows, kept_columns] = piece[within(kept_rows, rows), within(kept_columns, columns)]
    return fused


def padded_shape(shape: tuple[int, int], largest_px: int) -> tuple[int, int]:
    """The shape that all pieces of a picture of `shape` are padded to: one compile."""
    height, width = (bucket_size(min(side, largest_px) + MARGIN_PX) for side in shape)
    return height, width


def fuse_piece(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The network on planes `[H, W]` in one piece, padded to `shape` to share its compile: `[H, W]`, not clipped."""
    padded = np.zeros((2, 1, *shape), np.float32)
    padded[:, 0, : a.shape[0], : a.shape[1]] = a, b
    return np.asarray(_fuse_framed(model, params, *padded, *a.shape))[0, : a.shape[0], : a.shape[1]]


def fuse_mufusion(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The network on planes `[H, W]` in [0, 1], tile by tile: `[H, W]`, not clipped."""
    corners = [(top, left) for top in tile_starts(a.shape[0]) for left in tile_starts(a.shape[1])]
    places = [(slice(top, top + TILE_PX), slice(left, left + TILE_PX)) for top, left in corners]
    tiles = np.zeros((2, -(-len(places) // TILES_AT_ONCE) * TILES_AT_ONCE, TILE_PX, TILE_PX), np.float32)
    for i, place in enumerate(places):
        tiles[:, i] = a[place], b[place]
    batches = [_fuse_tiles(model, params, *tiles[:, i : i + TILES_AT_ONCE])
               for i in range(0, tiles.shape[1], TILES_AT_ONCE)]
    total, count = np.zeros(a.shape), np.zeros(a.shape)
    for place, tile in zip(places, (tile for batch in batches for tile in np.asarray(batch))):
        total[place] += tile
        count[place] += 1
    return (total / count).astype(np.float32)


def tile_starts(length: int) -> list[int]:
    """Where MUFusion's tiles begin along a side of `length` px, the flush one last."""
    return [*range(0, length - TILE_PX + 1, STRIDE_PX), length - TILE_PX]


def pieces(length: int, largest_px: int) -> Iterator[tuple[slice, slice]]:
    """Overlapping pieces of a side, from even places on, and what each is trusted with.

    `largest_px` is even; what is trusted lies `HALO_PX` or more inside, but for the side's own ends.
    """
    step = largest_px - 2 * HALO_PX
    starts = range(0, max(length - 2 * HALO_PX, 1), step)
    for start in starts:
        stop = min(start + largest_px, length)
        first = start + HALO_PX if start else 0
        yield slice(start, stop), slice(first, length if start == starts[-1] else stop - HALO_PX)


def within(kept: slice, piece: slice) -> slice:
    """`kept` as counted from the start of `piece`."""
    return slice(kept.start - piece.start, kept.stop - piece.start)


def _levels(plane: np.ndarray) -> np.ndarray:
    return np.rint(255 * plane.clip(0, 1)).astype(np.uint8)


@jax.jit
def _recolored(fused: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """RGB levels from the fused Y `[H, W]` and the sources' chroma, `[3, H, W]` levels."""
    (_, cb_a, cr_a), (_, cb_b, cr_b) = (rgb_to_ycbcr(jnp.moveaxis(x, 0, -1).astype(jnp.float32) / 255) for x in (a, b))
    rgb = ycbcr_to_rgb(jnp.clip(fused, 0, 1), fuse_chroma(cb_a, cb_b), fuse_chroma(cr_a, cr_b))
    return jnp.round(255 * jnp.clip(rgb, 0, 1)).astype(jnp.uint8)


def _recolor(fused: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`_recolored`, compiled for padded shapes only."""
    planes, _ = pad_to_bucket(np.concatenate([fused[None], *(np.moveaxis(x, -1, 0) for x in (a, b))]))
    return np.asarray(_recolored(planes[0], planes[1:4], planes[4:]))[: a.shape[0], : a.shape[1]]
