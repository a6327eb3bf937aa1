"""How a picture is cut into overlapping pieces; importing this needs no JAX."""

import contextlib
from collections.abc import Iterator

from edmf_jax.errors import UserError

# An output pixel of the network depends on 23 px around it, and one more by the alignment to half size: 24, even.
HALO_PX = 24


def pieces(length: int, largest_px: int) -> Iterator[tuple[slice, slice]]:
    """Cuts a side of `length` px into overlapping pieces; yields each piece and the part of it that is kept.

    Pieces are at most `largest_px` long, which is even, and start at even pixels.  The kept parts cover the side once
    and end `HALO_PX` or more inside their piece, except at the ends of the side.
    """
    step = largest_px - 2 * HALO_PX
    starts = range(0, max(length - 2 * HALO_PX, 1), step)
    for start in starts:
        stop = min(start + largest_px, length)
        first = start + HALO_PX if start else 0
        yield slice(start, stop), slice(first, length if start == starts[-1] else stop - HALO_PX)


def within(kept: slice, piece: slice) -> slice:
    """`kept` counted from the start of `piece`."""
    return slice(kept.start - piece.start, kept.stop - piece.start)


@contextlib.contextmanager
def out_of_memory_as(message: str) -> Iterator[None]:
    """Raises a `UserError` of this one line where NumPy or XLA runs out of memory."""
    try:
        yield
    except MemoryError as error:
        raise UserError(message) from error
    except RuntimeError as error:  # jax.errors.JaxRuntimeError is one
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(message) from error
