"""Runs a network over pictures of any size with bounded memory and few compiles.

A picture is cut into overlapping pieces, and every piece is padded to one of a few shapes (`core.buckets`).  Neither
changes the result: the network ignores the padding (see `layers`), and pieces overlap by what it reaches.
"""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from edmf_jax.core.buckets import bucket_size

LARGEST_PX = 1024

Network = Callable[[np.ndarray, int, int], jax.Array]


def run_in_pieces(network: Network, images: np.ndarray, *, reach_px: int, largest_px: int = LARGEST_PX,
                  stride: int = 1) -> np.ndarray:
    """The output of a local network for whole pictures.

    Args:
      network: takes `images` padded with zeros at the bottom and right, their true height and width, and returns
        `[H′, W′, ...]` of the padded size divided by `stride`.  It treats the edges of a piece as a picture's.
      images: `[N, H, W, C]`, N pictures that are fused.
      reach_px: how far an input pixel can act on the output.
      largest_px: the largest side of a piece.
      stride: input pixels per output sample.

    Returns:
      `[ceil(H / stride), ceil(W / stride), ...]`.
    """
    out = None
    for kept, piece in outputs_of_pieces(network, images, reach_px=reach_px, largest_px=largest_px, stride=stride):
        if out is None:
            out = np.empty([-(-n // stride) for n in images.shape[1:3]] + list(piece.shape[2:]), piece.dtype)
        out[kept] = piece
    return out


def outputs_of_pieces(network: Network, images: np.ndarray, *, reach_px: int, largest_px: int = LARGEST_PX,
                      stride: int = 1) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """`run_in_pieces`, one piece at a time: rows and columns of the output, and what belongs there."""
    shape = padded_shape(images.shape[1:3], largest_px)
    for rows, kept_rows in pieces(images.shape[1], largest_px, reach_px, stride):
        for columns, kept_columns in pieces(images.shape[2], largest_px, reach_px, stride):
            piece = run_padded(network, images[:, rows, columns], shape)
            kept = tuple(_over(part, stride) for part in (kept_rows, kept_columns))
            origin = rows.start // stride, columns.start // stride
            yield kept, piece[tuple(slice(k.start - o, k.stop - o) for k, o in zip(kept, origin))]


def run_padded(network: Network, images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The network's output for `images` `[N, H, W, C]` that are padded to `shape`."""
    padded = np.zeros((len(images), *shape, images.shape[-1]), np.float32)
    padded[:, : images.shape[1], : images.shape[2]] = images
    # By default a GPU or TPU multiplies float32 numbers at less than float32 precision.
    with jax.default_matmul_precision("highest"):
        return np.asarray(network(padded, *images.shape[1:3]))


def padded_shape(shape: tuple[int, int], largest_px: int = LARGEST_PX) -> tuple[int, int]:
    """The shape that all pieces of a picture of `shape` are padded to: one compile serves all of them."""
    height, width = (bucket_size(min(side, largest_px)) for side in shape)
    return height, width


def pieces(length: int, largest_px: int, reach_px: int, stride: int = 1) -> Iterator[tuple[slice, slice]]:
    """Cuts a side of `length` px into pieces that overlap by twice the reach; yields each and the part to keep.

    Pieces start at multiples of `stride`.  The kept parts cover the side once, begin at multiples of `stride`, and
    end `reach_px` or more inside their piece, except at the ends of the side.
    """
    halo = -(-reach_px // stride) * stride
    largest_px = largest_px // stride * stride
    starts = range(0, max(length - 2 * halo, 1), largest_px - 2 * halo)
    if length <= largest_px:
        starts = range(1)
    for start in starts:
        stop = min(start + largest_px, length)
        last = stop == length
        yield slice(start, stop), slice(start + halo if start else 0, length if last else stop - halo)
        if last:
            return


def _over(part: slice, stride: int) -> slice:
    return slice(part.start // stride, -(-part.stop // stride))
