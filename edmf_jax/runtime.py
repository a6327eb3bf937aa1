"""Settings of the process that make it fast; the commands apply them, importing does not."""

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata

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


def give_back_memory() -> None:
    """Returns freed memory to the system, on glibc; elsewhere it does nothing.

    Work on large pictures frees hundreds of megabytes in pieces below glibc's threshold for mappings, which stay in the
    heap and count beside what comes next.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def keep_compiled_programs() -> None:
    """Turns on JAX's persistent compilation cache, in the user's cache folder.

    JAX_COMPILATION_CACHE_DIR, where set, says another; empty, none.
    """
    import jax
    import platformdirs

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("edmf-jax", appauthor=False))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Python's version and those of installed packages."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
