"""The eight metrics of Table 2 on one megapixel: ours and the tests' reference in NumPy and SciPy.

`python -m benchmarks.metrics` measures these alone.  The values are compared before anything is timed.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from edmf_jax import metrics

SIZE_PX = (1000, 1000)
SEED = 0
MAX_DIFFERENCE = 1e-4  # relative; float32 against float64
REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "helpers" / "metrics_reference.py"
WHAT = "all eight metrics of Table 2, one 8-bit triple of 1 MP"


def rows(repeats: int) -> list[dict]:
    """Rows of the seconds of both, in interleaved repeats, and of their ratio.

    Raises:
      FileNotFoundError: there is no tests folder beside the benchmarks.
      RuntimeError: a value of the two differs too much.
    """
    reference, triple = load_reference(), make_triple()
    ours = lambda: metrics.evaluate(*triple)
    theirs = lambda: {name: function(*triple) for name, function in reference.TABLE_2.items()}
    began = time.perf_counter()
    ours()
    first = time.perf_counter() - began
    difference = largest_difference(ours(), theirs())
    if difference > MAX_DIFFERENCE:
        raise RuntimeError(f"the metrics differ by {difference:.1e} from {REFERENCE.name}; timing wrong "
                           "numbers says nothing: run the tests")
    times = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    fast, slow = zip(*times)
    return [
        row(f"{WHAT}: edmf_jax", "s", fast, f"float32, compiled before; the first call took {first:.1f} s"),
        row(f"{WHAT}: NumPy and SciPy", "s", slow, f"float64, {REFERENCE.parent.name}/{REFERENCE.name}; "
                                                   f"values within {difference:.0e}"),
        row(f"{WHAT}: edmf_jax is faster by", "×", [s / f for f, s in times], "repeat by repeat"),
    ]


def row(name: str, unit: str, values: list[float] | tuple[float, ...], note: str) -> dict:
    """A row of the table, as `table.from_dicts` takes it."""
    return {"name": name, "unit": unit, "min": min(values), "median": statistics.median(values),
            "repeats": len(values), "note": note}


def load_reference() -> ModuleType:
    """The tests' independent implementation, loaded by its path because tests are not installed."""
    if not REFERENCE.is_file():
        raise FileNotFoundError(f"{REFERENCE.parent.name}/{REFERENCE.name} is missing; run the benchmarks from "
                                "a checkout")
    spec = importlib.util.spec_from_file_location(REFERENCE.stem, REFERENCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_triple() -> list[np.ndarray]:
    """Two sources, each sharp in one half, and their fusion: uint8, the same at every call."""
    from scipy.ndimage import gaussian_filter

    sharp = gaussian_filter(np.random.default_rng(SEED).random(SIZE_PX), 1)
    sharp = (sharp - sharp.min()) / np.ptp(sharp) * 255
    blurred = gaussian_filter(sharp, 2)
    left = np.arange(SIZE_PX[1]) < SIZE_PX[1] // 2
    a, b = np.where(left, sharp, blurred), np.where(left, blurred, sharp) * 0.9 + 10
    return [x.round().astype(np.uint8) for x in (a, b, np.where(left, a, b))]


def largest_difference(first: dict[str, float], second: dict[str, float]) -> float:
    """The largest relative difference of a metric."""
    return max(abs(first[name] / second[name] - 1) for name in second)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes; it must return finished numbers, not arrays still being computed."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    for line in rows(repeats=10):
        print("{name}: min {min:.3g} {unit}, median {median:.3g} {unit}, {repeats} repeats ({note})".format_map(line))
