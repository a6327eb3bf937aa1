"""Measuring in little time: a record that is written after each number, least times of calls, traces."""

import gzip
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json

_LOADED = time.time()


def since_start() -> float:
    """Seconds since this process was started, by the system if it says, else since this module was loaded."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
        return up - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return time.time() - _LOADED


class Record:
    """What was measured, by name, in a file that is written after each entry.

    Args:
      path: of the file.
      seconds: nothing is begun that would end later than so many seconds from now.
    """

    def __init__(self, path: Path, seconds: float):
        self.path, self.end, self.found = path, time.monotonic() + seconds, {}

    def add(self, name: str, value) -> None:
        """Adds or replaces an entry."""
        self.found[name] = value
        print(f"{since_start():6.1f} s  {name}: {value}", flush=True)
        replace_file(self.path, to_json(self.found).encode())

    def has_time(self, seconds: float, name: str) -> bool:
        """Whether so many seconds are left; if not, that is the entry `name`."""
        if time.monotonic() + seconds <= self.end:
            return True
        self.add(name, "left out: no time")
        return False

    def guarded(self, name: str, seconds: float, function: Callable, *args):
        """A function's result; None if it has no time or fails, which is the entry `name` then."""
        if not self.has_time(seconds, name):
            return None
        try:
            return function(*args)
        except Exception as error:  # the other parts still say something
            traceback.print_exc()
            self.add(name, f"failed: {type(error).__name__}: {str(error)[:300]}")
            return None


def least_ms(call: Callable[[], object], wait: Callable[[object], object], each_s: float = 0.25, repeats: int = 3
             ) -> float:
    """Milliseconds of a call: the least of some repeats, each of as many calls as take about `each_s`.

    Args:
      call: begins the work.
      wait: takes its result and returns when the work is done.
      each_s: seconds of a repeat.
      repeats: how many.
    """
    wait(call())
    began = time.perf_counter()
    wait(call())
    count = max(1, min(200, round(each_s / max(time.perf_counter() - began, 1e-5))))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(count):
            result = call()
        wait(result)
        times.append((time.perf_counter() - began) / count)
    return round(1e3 * min(times), 4)


def traced_events(call: Callable[[], object], calls: int) -> list[dict]:
    """The events of a trace of some calls, in Chrome's format."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            for _ in range(calls):
                jax.block_until_ready(call())
        (path,) = Path(folder).rglob("perfetto_trace.json.gz")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
    return content["traceEvents"] if isinstance(content, dict) else content
