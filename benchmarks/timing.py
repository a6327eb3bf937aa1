"""Timing by interleaved repeats, so that other load on the machine affects all cases alike."""

import math
import time
from collections.abc import Callable, Mapping

MIN_SECONDS = 0.2  # shorter calls are measured several at once


def interleave(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Runs every case once, then every case again, and so on: the seconds of each case's repeats.

    A case returns its own time, so that it can run in another process.
    """
    seconds = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            seconds[name].append(case())
    return seconds


def ratios(above: list[float], below: list[float]) -> list[float]:
    """The ratios repeat by repeat, so that both times of a ratio were taken under the same load."""
    return [a / b for a, b in zip(above, below, strict=True)]


def stopwatch(call: Callable[[], object], units: int = 1, warm_up: int = 2) -> Callable[[], float]:
    """A function that measures the seconds of one unit of `call`'s work.

    Short calls, as on a GPU, are timed several in a row; the last warm-up determines how many.

    Args:
      call: returns when its work is done.
      units: how many units of work one call does.
      warm_up: calls before the first measurement.
    """
    for _ in range(warm_up):
        began = time.perf_counter()
        call()
    count = max(1, math.ceil(MIN_SECONDS / (time.perf_counter() - began)))

    def measure() -> float:
        began = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - began) / (count * units)

    return measure
