"""Settings of the process that make the CPU backend fast; the commands apply them, importing does not."""

import contextlib
import ctypes
import sys

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def tune_allocator() -> None:
    """Keeps freed memory in the process, on glibc; elsewhere it does nothing.

    XLA's CPU convolutions take a fresh buffer of up to 150 MB at every call, and
    glibc maps and unmaps each: tens of thousands of page faults a step, which
    cost as much again as the arithmetic.  Call it before jax makes its arrays.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)):
            mallopt(option, value)
