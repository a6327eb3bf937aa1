"""The paper's fusion of two registered pictures of any size, with bounded memory and few compiles.

There are two tilings:

- `whole` gives the network's output for the whole picture, up to float rounding.  Pictures are padded to one of a
  few shapes (`core.buckets`) and cut into pieces above 524 px a side.  Neither changes the result: the
  network ignores the padding (`core.padded`), and every piece overlaps its neighbors by the network's receptive field.
  A CPU takes the pieces one by one; an accelerator several at once, also of several pictures.
- `mufusion` is the protocol of MUFusion's authors, and so that of the MUFusion row of the paper's Table 2: tiles of
  128 px at every 124 px from the top left, plus one more row and column of tiles flush with the bottom and right edge,
  each through the network alone.  Overlapping tiles are averaged; a tile that occurs twice counts twice.
"""

import collections
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.buckets import bucket_size
from edmf_jax.core.color import fuse_chroma, luma, rgb_to_ycbcr, ycbcr_to_rgb
from edmf_jax.core.limits import MIN_SIDE_PX
from edmf_jax.core.model import FusionNet, fuse_luma
from edmf_jax.core.padded import MARGIN_PX, fuse_padded
from edmf_jax.errors import UserError
from edmf_jax.fusion import engine
from edmf_jax.fusion.pieces import out_of_memory_as, pieces, within
from edmf_jax.fusion.pixels import from_unit, full_scale, size_text, to_unit

TILINGS = ("whole", "mufusion")
TILE_PX, STRIDE_PX = 128, 124
TILES_AT_ONCE = 8  # any other number means another compile; on two cores no number is faster
LARGEST_PX = 524  # with the margin, 528 px: a shape of `core.buckets`; one compile serves all larger pictures
_STRIP_PX = 512  # color is computed in strips of so many rows, which bounds its memory

Planes = tuple[np.ndarray, np.ndarray]  # of A and B
_fuse_padded = jax.jit(fuse_padded, static_argnums=0)
_fuse_tiles = jax.jit(fuse_luma, static_argnums=0)


def fuse_levels(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray, tiling: str = "whole") -> np.ndarray:
    """`fuse_pair` of two uint8 pictures, with the errors of `edmf evaluate --tiling`.

    Raises:
      UserError: the pictures are too small for the tiling, or too large for the memory.
    """
    return fuse_levels_of([(a, b)], model, params, tiling)[0]


def fuse_levels_of(pairs: Sequence[Planes], model: FusionNet, params: dict, tiling: str = "whole") -> list[np.ndarray]:
    """`fuse_levels` of several pairs of pictures, whose pieces an accelerator takes together."""
    smallest = TILE_PX if tiling == "mufusion" else MIN_SIDE_PX
    for a, _ in pairs:
        if min(a.shape[:2]) < smallest:
            raise UserError(f"--tiling={tiling} takes pictures of at least {smallest}×{smallest} px, these are "
                            f"{size_text(a)}" + ("; use --tiling whole" if tiling == "mufusion" else ""))
    largest = max((a for a, _ in pairs), key=np.size)
    with out_of_memory_as(f"{size_text(largest)} take more memory than there is; use --tiling mufusion, which takes "
                          "little"):
        return _fuse_pairs(pairs, model, params, tiling)


def fuse_pair(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray, tiling: str = "whole") -> np.ndarray:
    """Fuses two registered pictures: Y by the network, chroma by its distance from neutral (docs/paper.md, Color).

    Args:
      model, params: the network.
      a, b: `[H, W]` or `[H, W, 3]` RGB, of one shape and dtype: uint8 or uint16 over their full range, or floats in
        [0, 1].  At least 16 × 16 px, with "mufusion" 128 × 128 px.
      tiling: one of `TILINGS`.

    Returns:
      A picture of that shape and dtype, clipped to its range; integers are rounded half to even.  Computed in float32,
      or in float64 if the network is.
    """
    return _fuse_pairs([(a, b)], model, params, tiling)[0]


def _fuse_pairs(pairs: Sequence[Planes], model: FusionNet, params: dict, tiling: str) -> list[np.ndarray]:
    lumas = [tuple(_luma_plane(x, compute_dtype(model)) for x in pair) for pair in pairs]
    fused = (_fuse_whole_pairs(lumas, model, params, LARGEST_PX) if tiling == "whole"
             else [fuse_mufusion(model, params, *pair) for pair in lumas])
    return [from_unit(plane, a.dtype) if a.ndim == 2 else _recolor(plane, a, b) for plane, (a, b) in zip(fused, pairs)]


def compute_dtype(model: FusionNet) -> np.dtype:
    """The dtype of the network's input and output: float32, or float64 for a network that computes in float64."""
    return np.dtype(jnp.promote_types(jnp.float32, model.dtype))


def fuse_whole(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray,
               largest_px: int | None = None) -> np.ndarray:
    """The network on planes `[H, W]` in [0, 1] as a whole: `[H, W]`, not clipped.

    `largest_px` is the side of the pieces that the planes are cut into, even and more than 48; None: `LARGEST_PX`.
    """
    return _fuse_whole_pairs([(a, b)], model, params, largest_px or LARGEST_PX)[0]


def _fuse_whole_pairs(pairs: Sequence[Planes], model: FusionNet, params: dict, largest_px: int) -> list[np.ndarray]:
    """`fuse_whole` of several pairs of planes: pieces of one padded shape follow each other, whichever pair's."""
    fused = [np.empty(a.shape, compute_dtype(model)) for a, _ in pairs]
    cuts = collections.defaultdict(list)  # padded shape → number of the pair, piece, kept part
    for number, (a, _) in enumerate(pairs):
        for rows, columns in itertools.product(*(pieces(side, largest_px) for side in a.shape)):
            cuts[padded_shape(a.shape, largest_px)].append((number, *zip(rows, columns)))
    for shape, parts in cuts.items():
        given = ((pairs[number][0][piece], pairs[number][1][piece]) for number, piece, _ in parts)
        for (number, piece, kept), part in zip(parts, fuse_pieces(model, params, given, shape)):
            fused[number][kept] = part[tuple(map(within, kept, piece))]
    return fused


def padded_shape(shape: tuple[int, int], largest_px: int) -> tuple[int, int]:
    """The shape that all pieces of a picture of `shape` are padded to: one compile serves all of them."""
    height, width = (bucket_size(min(side, largest_px) + MARGIN_PX) for side in shape)
    return height, width


def fuse_piece(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The network on planes `[H, W]` in [0, 1] in one piece, padded to `shape`: `[H, W]`, not clipped.

    Pieces of one padded shape share its compile.
    """
    session = engine.onnx_session(model, params)
    if session is not None:
        return engine.run(session, a[None], b[None])[0]  # needs no compile, and so no padding
    padded = np.zeros((2, 1, *shape), compute_dtype(model))
    padded[:, 0, : a.shape[0], : a.shape[1]] = a, b
    # By default a GPU or TPU multiplies float32 numbers at less than float32 precision.
    with jax.default_matmul_precision("highest"):
        fused = _fuse_padded(model, params, *padded, *a.shape)
    return np.asarray(fused)[0, : a.shape[0], : a.shape[1]]


def fuse_pieces(model: FusionNet, params: dict, given: Iterable[Planes], shape: tuple[int, int]
                ) -> Iterator[np.ndarray]:
    """`fuse_piece` of any number of pieces, in order; every fusion of a whole picture comes down to this function.

    On an accelerator `engine.pieces_at_once()` go through the network at once (the last batch is filled up with empty
    ones), and the next ones are taken from `given` and sent while these are computed.  So what comes out lies up to
    twice as many behind what is taken.  It is that of `fuse_piece` up to float rounding.
    """
    given, at_once = iter(given), engine.pieces_at_once()
    batch, running = list(itertools.islice(given, at_once)), collections.deque()
    if len(batch) == 1:  # on a CPU always
        for a, b in itertools.chain(batch, given):
            yield fuse_piece(model, params, a, b, shape)
        return
    while batch:
        running.append((_send(model, params, batch, shape, at_once), [a.shape for a, _ in batch]))
        if len(running) > 1:
            yield from _received(*running.popleft())
        batch = list(itertools.islice(given, at_once))
    for sent in running:
        yield from _received(*sent)


@functools.partial(jax.jit, static_argnums=0)
def _fuse_several(model: FusionNet, params: dict, a: jax.Array, b: jax.Array, sizes: jax.Array) -> jax.Array:
    """`fuse_padded` of planes `[B, H, W]`, each with a size of its own: `sizes` is int32 `[B, 2]`."""
    def one(a: jax.Array, b: jax.Array, size: jax.Array) -> jax.Array:
        return fuse_padded(model, params, a[None], b[None], size[0], size[1])[0]

    return jax.vmap(one)(a, b, sizes)


def _send(model: FusionNet, params: dict, batch: Sequence[Planes], shape: tuple[int, int], at_once: int) -> jax.Array:
    """Starts the network on up to `at_once` pieces; its output `[at_once, *shape]`, for which nothing waits yet."""
    planes = np.zeros((2, at_once, *shape), compute_dtype(model))
    sizes = np.full((at_once, 2), MIN_SIDE_PX, np.int32)
    for i, (a, b) in enumerate(batch):
        planes[:, i, : a.shape[0], : a.shape[1]], sizes[i] = (a, b), a.shape
    with jax.default_matmul_precision("highest"):
        return _fuse_several(model, params, *planes, sizes)


def _received(fused: jax.Array, sizes: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    for plane, (height, width) in zip(np.asarray(fused), sizes):
        yield plane[:height, :width]


def fuse_mufusion(model: FusionNet, params: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The network on planes `[H, W]` in [0, 1], in MUFusion's tiles: `[H, W]`, not clipped."""
    corners = [(top, left) for top in tile_starts(a.shape[0]) for left in tile_starts(a.shape[1])]
    windows = [(slice(top, top + TILE_PX), slice(left, left + TILE_PX)) for top, left in corners]
    dtype = compute_dtype(model)
    tiles = np.zeros((2, -(-len(windows) // TILES_AT_ONCE) * TILES_AT_ONCE, TILE_PX, TILE_PX), dtype)
    for i, window in enumerate(windows):
        tiles[:, i] = a[window], b[window]
    session = engine.onnx_session(model, params)
    run_tiles = functools.partial(_fuse_tiles, model, params) if session is None else functools.partial(
        engine.run, session)
    with jax.default_matmul_precision("highest"):
        batches = [run_tiles(*tiles[:, i : i + TILES_AT_ONCE]) for i in range(0, tiles.shape[1], TILES_AT_ONCE)]
    total, count = np.zeros(a.shape), np.zeros(a.shape)
    for window, tile in zip(windows, (tile for batch in batches for tile in np.asarray(batch))):
        total[window] += tile
        count[window] += 1
    return (total / count).astype(dtype)


def tile_starts(length: int) -> list[int]:
    """Where MUFusion's tiles begin along a side of `length` px; the one flush with the end comes last."""
    return [*range(0, length - TILE_PX + 1, STRIDE_PX), length - TILE_PX]


def _strips(height: int) -> Iterator[slice]:
    for top in range(0, height, _STRIP_PX):
        yield slice(top, min(top + _STRIP_PX, height))


def _luma_plane(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Y `[H, W]` in [0, 1] of a gray or RGB picture, as the floating-point `dtype`."""
    if image.ndim == 2:
        return to_unit(image, dtype)
    plane = np.empty(image.shape[:2], dtype)
    for rows in _strips(len(image)):
        plane[rows] = luma(to_unit(image[rows], dtype))
    return plane


@functools.partial(jax.jit, static_argnames="dtype")
def _add_color(fused: jax.Array, a: jax.Array, b: jax.Array, dtype: np.dtype) -> jax.Array:
    """RGB `[H, W, 3]` of `dtype` from the fused Y `[H, W]` and the chroma of two pictures `[3, H, W]`.

    The pictures have the values of `dtype`, but are floats of the type to compute in.  A floating-point
    result is of that type.
    """
    full = full_scale(dtype)
    (_, cb_a, cr_a), (_, cb_b, cr_b) = (rgb_to_ycbcr(jnp.moveaxis(x, 0, -1) / full) for x in (a, b))
    rgb = ycbcr_to_rgb(jnp.clip(fused, 0, 1), fuse_chroma(cb_a, cb_b), fuse_chroma(cr_a, cr_b))
    rgb = jnp.clip(rgb, 0, 1)
    return jnp.round(full * rgb).astype(dtype) if np.issubdtype(dtype, np.integer) else rgb


def _recolor(fused: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`_add_color`, strip by strip and compiled for a few padded shapes only."""
    image = np.empty(a.shape, a.dtype)
    height, width = a.shape[:2]
    planes = np.zeros((7, bucket_size(min(height, _STRIP_PX)), bucket_size(width)), fused.dtype)
    for rows in _strips(height):
        planes[:, : rows.stop - rows.start, :width] = fused[rows], *(x[rows, :, c] for x in (a, b) for c in range(3))
        strip = _add_color(planes[0], planes[1:4], planes[4:], a.dtype)
        image[rows] = np.asarray(strip)[: rows.stop - rows.start, :width]
    return image
