"""Process-wide settings for speed. The commands apply them; importing this module changes nothing."""

import contextlib
import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterable

# Option numbers of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8


def tune_allocator() -> None:
    """Makes glibc keep freed memory in the process; does nothing on other systems.

    XLA's CPU convolutions allocate a buffer of up to 150 MB on every call. By default glibc maps and unmaps each one:
    tens of thousands of page faults per step, which double the time of the arithmetic. Call this before jax creates
    its first array.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28)):
            mallopt(option, value)


def one_blas_thread() -> None:
    """Keeps the BLAS of NumPy and SciPy on one thread, if the environment does not say how many; before their import.

    Fusing runs on threads of its own, with BLAS on one in each.  BLAS's other threads wait in a loop after it is
    loaded: 0.1 s of another core for each library.
    """
    if "numpy" not in sys.modules:
        for variable in BLAS_THREADS:
            os.environ.setdefault(variable, "1")


BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""The environment variables that say on how many threads BLAS works, where it is one that has several."""


def end_of_imports() -> None:
    """Garbage is collected again if it was not, but not looked for among the modules that are loaded."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def give_back_memory() -> None:
    """Returns freed memory to the operating system (glibc's `malloc_trim`); does nothing on other systems.

    Large pictures are freed in pieces below glibc's mapping threshold. Without this call, hundreds of megabytes would
    stay in the heap and add to the next stage's peak.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def enable_compilation_cache() -> None:
    """Turns on JAX's persistent compilation cache in the user's cache folder.

    The environment variable JAX_COMPILATION_CACHE_DIR overrides the folder; set to an empty string, it turns the
    cache off.
    """
    import platformdirs

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        set_option("JAX_COMPILATION_CACHE_DIR", platformdirs.user_cache_dir("edmf-jax", appauthor=False))


def set_option(variable: str, value: str) -> None:
    """Sets an option of JAX without importing it, which takes half a second that commands without JAX can save."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(variable.lower(), value)
    else:
        os.environ[variable] = value


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of Python and of the named installed packages."""
    from importlib import metadata

    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
