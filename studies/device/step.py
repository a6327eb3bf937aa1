"""Times of a training step and of its network in several ways of writing, on this machine's device, in little time.

    python -m studies.device.step PART -o OUT [--dtype bfloat16] [--shape 48 256] [--seconds 60]

    start       the first step after the start of the process; step, network, and the kernels of both
    again       the first step only: with the programs that an earlier `start` left in JAX's compilation cache
    torch       PyTorch eager in its better layout on a GPU, the default one: step, network, forward pass
    candidates  `start`, then the ways of `candidates.py`, and single kernels of `kernels` in several tiles

Times are in ms, the least of three repeats of several calls.  OUT/step-PART-DTYPE.json is written after each number, so
the process may be ended at any moment; OUT/step-PART-DTYPE.md has the kernels by traces.  `candidates` compares its
gradients with those that a `start` in float32 left in OUT.
"""

import argparse
import concurrent.futures
import functools
import os
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import process
from benchmarks.inputs import Shape, make_inputs
from edmf_jax.io.atomic import replace_file
from studies.device.measuring import Record, least_ms, since_start, traced_events

BOTH, FORWARD = "forward + backward", "forward"


class Step:
    """What the parts share: the arguments, the record and the traces."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.dtype = args, args.dtype
        self.file = args.output / f"step-{args.part}-{args.dtype}"
        self.record, self.traces = Record(self.file.with_suffix(".json"), args.seconds), []

    @functools.cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """The benchmark's inputs."""
        return make_inputs(Shape(*self.args.shape))

    def training(self, model=None):
        """The benchmark's training, with another network if one is given."""
        from benchmarks.jax_training import JaxTraining

        found = JaxTraining(self.inputs)
        if model is not None:
            found.step_config = found.step_config._replace(model=model)
        return found

    def time_step(self, name: str, training) -> None:
        """Times of the first call and of a training step; the losses of the first three."""
        began = time.perf_counter()
        losses = training.steps.run()
        self.record.add(f"{name}: first call of training steps [s]", round(time.perf_counter() - began, 2))
        self.record.add(f"{name}: done after the start of the process [s]", round(since_start(), 2))
        self.record.add(f"{name}: losses", [float(f"{loss:.6g}") for loss in losses[:3]])
        count = training.step_config.steps_per_call
        self.record.add(f"{name}: step [ms]", round(least_ms(training.steps.run, lambda losses: losses) / count, 4))

    def compile_network(self, name: str, model, training, passes: Iterable[str] = (BOTH, FORWARD)
                        ) -> dict[str, Callable]:
        """Passes of a network alone, compiled, by their names: functions without arguments."""
        import jax
        import jax.numpy as jnp

        def forward(params, x):
            return model.apply({"params": params}, x)

        both = jax.value_and_grad(lambda params, x: jnp.mean(jnp.square(forward(params, x))))
        x, calls = jnp.moveaxis(training.planes, 1, -1), {}
        for what in passes:
            began = time.perf_counter()
            compiled = jax.jit({BOTH: both, FORWARD: forward}[what]).lower(training.params, x).compile()
            self.record.add(f"{name}: {what}, compiling [s]", round(time.perf_counter() - began, 2))
            calls[what] = functools.partial(compiled, training.params, x)
        return calls

    def time_network(self, name: str, calls: Mapping[str, Callable]) -> None:
        """Times of a compiled network, and its gradients beside the float32 network's."""
        import jax

        for what, call in calls.items():
            self.record.add(f"{name}: network {what} [ms]", least_ms(call, jax.block_until_ready))
        if BOTH in calls:
            self.compare(name, jax.device_get(calls[BOTH]()[1]))

    def compare(self, name: str, gradients) -> None:
        """How far gradients are from the package's network's in float32, which `start` leaves in a file."""
        from edmf_jax.weights.params import flatten

        arrays = {key: np.asarray(value, np.float64) for key, value in flatten(gradients).items()}
        path = self.args.output / "step-gradients.npz"
        if (self.args.part, self.dtype) == ("start", "float32"):
            np.savez(path, **arrays)
        elif path.is_file():
            with np.load(path) as expected:
                far = {key: float(np.linalg.norm(arrays[key] - expected[key]) / np.linalg.norm(expected[key]))
                       for key in arrays}
            worst = max(far, key=far.get)
            self.record.add(f"{name}: gradients' relative distance to the package's in float32",
                            f"largest {far[worst]:.2e} ({worst}), median {np.median(list(far.values())):.2e}")

    def trace(self, name: str, call: Callable, steps: int) -> None:
        """Adds the kernels of a call of `steps` steps to the file of traces."""
        from studies.device.timings import kernel_table, kernel_times

        calls = 2
        table = kernel_table(kernel_times(traced_events(call, calls)), calls * steps)
        self.traces.append(f"## {name}, {self.dtype}\n\n{table}")
        replace_file(self.file.with_suffix(".md"), "\n".join(self.traces).encode())


def start(step: Step):
    """The first step, then step and network of the package; its training, and the compiled network."""
    import jax

    from edmf_jax.core.model import make_model

    step.record.add("device", jax.devices()[0].device_kind)
    training = step.training(make_model(16, step.dtype))
    step.time_step("library", training)
    network = step.record.guarded("library", 8, step.compile_network, "library", training.step_config.model, training,
                                  [BOTH])
    if network:
        step.record.guarded("library", 3, step.time_network, "library", network)
    step.record.guarded("kernels of a step", 4, step.trace, "training step", training.steps.run,
                        training.step_config.steps_per_call)
    return training, network


def again(step: Step) -> None:
    """The first step only."""
    from edmf_jax.core.model import make_model

    losses = step.training(make_model(16, step.dtype)).steps.run()
    step.record.add("library: done after the start of the process [s]", round(since_start(), 2))
    step.record.add("losses", losses[:2])


def torch(step: Step) -> None:
    """PyTorch's step, network and forward pass: TF32, cudnn.benchmark."""
    from benchmarks.worker import TorchCase

    os.environ["JAX_PLATFORMS"] = "cpu"  # JAX makes the inputs only
    case = TorchCase(step.inputs, channels_last=False)
    step.record.add("losses", case.losses(2))
    for operation in ("step", "network", "forward"):
        call, _ = case.call(operation)  # returns when its work is done
        step.record.add(f"PyTorch default layout: {operation} [ms]", least_ms(call, lambda result: result, 0.4))


def candidates(step: Step) -> None:
    """Everything is compiled at once, then timed one after the other."""
    from studies.device import candidates as ways
    from studies.device import tuning

    args, dtype = step.args, step.dtype
    training, network = start(step)
    written = ways.all_ways(dtype, interpret=args.interpret)
    if args.few:
        written = {name: written[name] for name in ("kernels everywhere", "blocks")}

    def trained(model):
        found = step.training(model)
        found.steps.run()
        return found

    singles = tuning.kernel_jobs(args.shape, dtype, interpret=args.interpret, few=args.few)
    if dtype == "bfloat16" and not args.few:
        singles |= {f"float32 {name}": job for name, job in
                    tuning.kernel_jobs(args.shape, "float32", interpret=args.interpret, few=True).items()}
    jobs = {name: functools.partial(step.compile_network, name, model, training) for name, model in written.items()}
    jobs["library forward"] = functools.partial(step.compile_network, "library", ways.library(dtype), training,
                                                [FORWARD])
    with_steps = [name for name in ("kernels", "kernels everywhere") if name in written]
    jobs |= {f"step with {name}": functools.partial(trained, written[name]) for name in with_steps}
    if not step.record.has_time(25, "candidates"):
        return
    began = time.perf_counter()
    ready = compile_all(jobs | singles, args.workers)
    step.record.add("candidates, compiling all at once [s]", round(time.perf_counter() - began, 2))
    networks = {name: ready[name] for name in ("library forward", *written) if name in ready}
    for name, calls in networks.items():
        step.record.guarded(f"{name}: network", 2, step.time_network, name.removesuffix(" forward"), calls)
    for name in with_steps:
        if f"step with {name}" in ready:
            step.record.guarded(f"step with {name}", 2, step.time_step, f"with {name}", ready[f"step with {name}"])
    time_singles(step, {name: ready[name] for name in singles if name in ready})
    for name, calls in {"library": network or {}, **networks}.items():
        if BOTH in calls:
            step.record.guarded(f"{name}: kernels", 3, step.trace, name, calls[BOTH], 1)


def time_singles(step: Step, calls: Mapping[str, Callable]) -> None:
    """Times of single kernels, recorded eight at a time."""
    import jax

    times = {}
    for name, call in calls.items():
        if time.monotonic() + 0.5 < step.record.end:
            times[name] = least_ms(call, jax.block_until_ready, 0.03)
            if len(times) % 8 == 0:
                step.record.add("single kernels [ms]", times)
    step.record.add("single kernels [ms]", times)


def compile_all(functions: Mapping[str, Callable], workers: int) -> dict[str, object]:
    """The results of functions that compile something, several at once; those that fail are left out."""
    def one(item):
        name, function = item
        try:
            return name, function()
        except Exception:  # the others still say something
            print(f"{name} can't be compiled:\n{traceback.format_exc()}", flush=True)
            return name, None

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return {name: result for name, result in pool.map(one, functions.items()) if result is not None}


PARTS = {"start": start, "again": again, "torch": torch, "candidates": candidates}


def main(argv: list[str] | None = None) -> None:
    """Measures one part."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.step", description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the convolutions")
    parser.add_argument("--shape", type=int, nargs=2, default=(48, 256), metavar=("B", "P"),
                        help="patches a step and their side (default: 48 256)")
    parser.add_argument("--seconds", type=float, default=60, help="begin nothing that would end later (default: 60)")
    parser.add_argument("--workers", type=int, default=12, metavar="N", help="programs compiled at once (default: 12)")
    parser.add_argument("--interpret", action="store_true", help="run the kernels as plain JAX, on a CPU")
    parser.add_argument("--few", action="store_true", help="fewer networks and tiles, to try it")
    args = parser.parse_args(argv)
    process.prepare()
    args.output.mkdir(parents=True, exist_ok=True)
    PARTS[args.part](Step(args))


if __name__ == "__main__":
    main()
