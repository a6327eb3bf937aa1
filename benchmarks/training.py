"""The training step and the network alone, ours and PyTorch's."""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from benchmarks import peaks
from benchmarks.inputs import Shape, make_inputs, save_inputs
from benchmarks.table import Row, left_out, measured
from benchmarks.timing import interleave, ratios
from benchmarks.worker import CASES, OPERATIONS, Worker

SHAPES = (Shape(8, 128), Shape(4, 256))
GPU_SHAPES = (Shape(48, 256),)  # the paper's batch
TITLES = {"step": "training step", "network": "network forward + backward", "forward": "network forward"}
OURS, *THEIRS = CASES
TOLERANCE = 1e-4  # relative difference of the losses
COMPARED_STEPS = 3  # the losses of the second and third depend on gradients and Adam
HOW_TO_GET_TORCH = "torch is not installed; `pip install torch==2.13.0` adds these rows"


def rows(repeats: int, *, quick: bool = False, shapes: Sequence[Shape] = ()) -> list[Row]:
    """All rows about training, for each shape.

    Args:
      repeats: of each measurement.
      quick: one shape only.
      shapes: instead of the usual ones.
    """
    if not shapes:
        shapes = SHAPES[:1] if quick else SHAPES + (GPU_SHAPES if jax.default_backend() != "cpu" else ())
    found = []
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder) / "inputs.npz"
            save_inputs(inputs, make_inputs(shape))
            found += shape_rows(shape, inputs, repeats)
    return found


def shape_rows(shape: Shape, inputs: Path, repeats: int) -> list[Row]:
    """All rows of one shape."""
    reason = "" if importlib.util.find_spec("torch") else HOW_TO_GET_TORCH
    if not reason:
        reason = compare_losses(inputs)
    cases = [OURS] if reason else CASES
    with open_workers(cases, inputs) as workers:
        calls = {}
        for worker in workers:
            for operation in OPERATIONS:
                worker.ask("prepare", operation)
                calls[worker.case, operation] = lambda w=worker, o=operation: w.ask("time", o)
        seconds = interleave(calls, repeats)
        facts = {worker.case: worker.ask("facts") for worker in workers}
    found = []
    for case in cases:
        found += case_rows(case, shape, seconds)
        found += memory_rows(case, shape, facts[case])
        if case == OURS:
            found += rate_rows(shape, seconds, facts[case]["modules"])
        else:
            found += ratio_rows(case, shape, seconds)
    return found + [left_out(f"{case}: {title}, {shape}", "ms", reason)
                    for case in (THEIRS if reason else []) for title in TITLES.values()]


@contextlib.contextmanager
def open_workers(cases: Sequence[str], inputs: Path, *, precise: bool = False) -> Iterator[list[Worker]]:
    """A worker process for each case; all are ended on leaving, also after an error."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Worker(case, inputs, precise=precise))) for case in cases]


def compare_losses(inputs: Path) -> str:
    """Empty if all cases have equal losses over the first steps, else why their times can't be compared."""
    with open_workers(CASES, inputs, precise=True) as workers:
        losses = {worker.case: worker.ask("losses", COMPARED_STEPS) for worker in workers}
    for case in THEIRS:
        for step, (ours, theirs) in enumerate(zip(losses[OURS], losses[case], strict=True)):
            if not abs(ours - theirs) <= TOLERANCE * abs(ours):
                return (f"not the same training: the loss of step {step + 1} is {ours:.7g} in {OURS} and "
                        f"{theirs:.7g} in {case}")
    return ""


def case_rows(case: str, shape: Shape, seconds: dict) -> list[Row]:
    """Times of one case, patches per second, and the ratio of the whole step to the network's passes."""
    found = [measured(f"{case}: {title}, {shape}", "ms", [1e3 * s for s in seconds[case, operation]])
             for operation, title in TITLES.items()]
    step, network = seconds[case, "step"], seconds[case, "network"]
    found.append(measured(f"{case}: training, {shape}", "patches/s", [shape.batch / s for s in step]))
    found.append(measured(f"{case}: whole step ÷ network forward + backward, {shape}", "ratio", ratios(step, network),
                          "four remembered epochs; repeat by repeat"))
    return found


def ratio_rows(case: str, shape: Shape, seconds: dict) -> list[Row]:
    """The ratios of our times to theirs."""
    return [measured(f"{OURS} ÷ {case}: {title}, {shape}", "ratio",
                     ratios(seconds[OURS, operation], seconds[case, operation]),
                     "below 1: ours is faster; repeat by repeat")
            for operation, title in TITLES.items()]


def memory_rows(case: str, shape: Shape, facts: dict) -> list[Row]:
    """Memory of a case: of the compiled step, and the peaks of the device and the process."""
    found = []
    if "step" in facts["modules"]:
        size = facts["modules"]["step"]["memory_bytes"]
        found.append(measured(f"{case}: memory of the compiled step, {shape}", "MB", [size / 1e6],
                              "temporary + arguments + outputs, by the compiler; donated arrays count once"))
    if facts["device_peak_bytes"]:
        found.append(measured(f"{case}: peak memory on the device, {shape}", "MB", [facts["device_peak_bytes"] / 1e6],
                              "by the framework's own allocator"))
    if facts["peak_rss_bytes"]:
        found.append(measured(f"{case}: peak memory of the process, {shape}", "MB", [facts["peak_rss_bytes"] / 1e6],
                              "libraries and compiling included; largest of all three cases of it"))
    return found


def rate_rows(shape: Shape, seconds: dict, modules: dict) -> list[Row]:
    """Rates of computation by the compiler's count of operations; on a known accelerator, the shares of its peak."""
    device = jax.devices()[0]
    peak = peaks.peak_of(device.device_kind)
    found = []
    for operation in ("step", "network"):
        times, module = seconds[OURS, operation], modules[operation]
        title = f"{OURS}: {TITLES[operation]}, {shape}"
        found.append(measured(title, "GFLOP/s", [module["flops"] / s / 1e9 for s in times],
                              f"{module['flops'] / 1e9:.1f} GFLOP by the compiled module's cost analysis"))
        if device.platform == "cpu":
            continue
        if peak is None:
            reason = f"{device.device_kind} is not in benchmarks/peaks.py"
            found += [left_out(f"{title}, of peak", "% of FLOP/s", reason),
                      left_out(f"{title}, of peak", "% of bandwidth", reason)]
            continue
        found.append(measured(f"{title}, of peak", "% of FLOP/s",
                              [module["flops"] / s / peak.tflops / 1e10 for s in times],
                              f"of {peak.tflops} TFLOP/s {peak.mode}"))
        found.append(measured(f"{title}, of peak", "% of bandwidth",
                              [module["bytes_accessed"] / s / peak.gb_per_s / 1e7 for s in times],
                              f"of {peak.gb_per_s} GB/s; bytes as the compiler counts them, caches not considered"))
    return found
