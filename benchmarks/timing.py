"""Interleaved repeats: a neighbour's noise hits every case alike."""

import math
import time
from collections.abc import Callable, Mapping

LEAST_SECONDS = 0.2  # a measurement shorter than this holds several calls


def interleave(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Plays every case once, then every case again, …: seconds by case.

    A case returns its own time, so that it can lie in another process.
    """
    seconds = {name: [] for name in cases}
    for _ in range(repeats):
        for name, play in cases.items():
            seconds[name].append(play())
    return seconds


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Repeat by repeat, so that both numbers of a ratio saw the same neighbours."""
    return [a / b for a, b in zip(above, below, strict=True)]


def stopwatch(call: Callable[[], object], units: int = 1, warm_up: int = 2) -> Callable[[], float]:
    """A function that gives the seconds of one of `call`'s `units`; `call` returns when its work is done.

    Short calls (a GPU's) are timed several in a row; how many, the last warm-up tells.
    """
    for _ in range(warm_up):
        began = time.perf_counter()
        call()
    count = max(1, math.ceil(LEAST_SECONDS / (time.perf_counter() - began)))

    def play() -> float:
        began = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - began) / (count * units)

    return play
