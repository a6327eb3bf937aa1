"""How many threads work, and that the libraries below do not start their own beside them."""

import contextlib
import functools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import cv2

Item, Result = TypeVar("Item"), TypeVar("Result")


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of `work` for all items, on all cores, OpenCV and BLAS on one thread a call.

    The calling thread works, too, so `work` may call this again.

    Raises:
      The first error of `work`; items that were not begun by then are left.
    """
    left = deque(enumerate(items))
    results: list[Result] = [None] * len(left)

    def work_on() -> None:
        while left:
            try:
                place, item = left.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                results[place] = work(item)
            except BaseException:
                left.clear()
                raise

    with one_thread_each():
        others = [_helpers().submit(work_on) for _ in range(min(len(left), usable_cores()) - 1)]
        try:
            work_on()
        finally:
            begun = [other for other in others if not other.cancel()]
            wait(begun)
    for other in begun:
        other.result()
    return results


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    """Threads beside the calling one; kept, because to start some takes as long as a small item's work."""
    return ThreadPoolExecutor(max(1, usable_cores() - 1), "on_all_cores")


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
