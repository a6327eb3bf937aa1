"""How many threads work, and that the libraries below do not start their own beside them."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """OpenCV and BLAS on one thread a call: pairs already keep all cores busy, and waiting threads would spin."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        cv2.setNumThreads(before)


def one_blas_thread() -> contextlib.AbstractContextManager:
    """A context in which BLAS works on one thread: the matrices of a registration are too small for more."""
    if all(os.environ.get(variable) == "1" for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")):
        return contextlib.nullcontext()  # it has no more, as `runtime.process.one_blas_thread` says
    return _controller(len(sys.modules)).limit(limits=1, user_api="blas")


@functools.lru_cache(maxsize=1)
def _controller(modules: int):
    """Finds the libraries, which takes 2 ms; again when there are more `modules`, which may have loaded others."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def usable_cores() -> int:
    """As many threads as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
