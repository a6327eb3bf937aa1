"""A process for each framework and shape, so that threads, allocators and peak memory are separate.

    python -m benchmarks.worker CASE INPUTS.npz

It answers each line on standard input with a line of JSON: `losses N` (mean losses of N training steps), `prepare OP`
(builds, compiles and warms up), `time OP` (seconds of one call), `facts` (memory, operations); OP is one of
`OPERATIONS`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import process
from benchmarks.inputs import load_inputs
from benchmarks.timing import stopwatch

OPERATIONS = ("step", "network", "forward")
CASES = ("edmf-jax", "PyTorch channels_last", "PyTorch default layout")
ROOT = Path(__file__).resolve().parent.parent


class Worker:
    """The parent's handle of a worker process.

    Args:
      case: one of `CASES`.
      inputs: the file of `inputs.save_inputs`.
      precise: without TF32, so that losses can be compared on a GPU.
    """

    def __init__(self, case: str, inputs: Path, *, precise: bool = False):
        self.case = case
        environment = {**os.environ, "JAX_DEFAULT_MATMUL_PRECISION": "highest"} if precise else dict(os.environ)
        environment["BENCHMARK_PRECISE"] = "1" if precise else ""
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed by `close`)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", case, str(inputs)], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)

    def ask(self, *words: object):
        """Sends one request and returns its answer.

        Raises:
          RuntimeError: the process has ended; the message has the last line of its standard error.
        """
        try:
            print(*words, file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if answer:
            return json.loads(answer)
        self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"{self.case} ended at {' '.join(map(str, words))!r}: {last}")

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()


class JaxCase:
    """Answers requests about edmf-jax."""

    def __init__(self, inputs):
        from benchmarks.jax_training import JaxTraining

        self.training, self.compiled = JaxTraining(inputs), {}

    def losses(self, count: int) -> list[float]:
        """Mean losses of the first `count` steps."""
        found = []
        while len(found) < count:
            found += self.training.steps.run()
        return found[:count]

    def call(self, operation: str) -> tuple[Callable, int]:
        """A function that runs an operation, and how often one call runs it."""
        if operation == "step":
            self.compiled[operation] = self.training.steps.compiled()
            return self.training.steps.run, self.training.step_config.steps_per_call
        run, self.compiled[operation] = self.training.network(operation)
        return run, 1

    def facts(self) -> dict:
        """Of each compiled module `_module_facts`, and the device's peak memory [bytes]."""
        import jax

        stats = jax.devices()[0].memory_stats() or {}
        return {"modules": {name: _module_facts(module) for name, module in self.compiled.items()},
                "device_peak_bytes": stats.get("peak_bytes_in_use", 0)}


def _module_facts(compiled) -> dict[str, float]:
    """The compiler's figures of a module: operations, bytes read and written, bytes of memory."""
    cost = compiled.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost or {}
    memory = compiled.memory_analysis()
    parts = ("temp", "argument", "output")
    size = sum(getattr(memory, f"{part}_size_in_bytes") for part in parts) - memory.alias_size_in_bytes
    return {"flops": cost.get("flops", 0.0), "bytes_accessed": cost.get("bytes accessed", 0.0), "memory_bytes": size}


class TorchCase:
    """Answers requests about PyTorch."""

    def __init__(self, inputs, channels_last: bool):
        import torch

        from benchmarks.torch_training import TorchTraining

        torch.set_num_threads(process.cores())
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cudnn.allow_tf32 = not os.environ.get("BENCHMARK_PRECISE")
        torch.backends.cudnn.benchmark = True
        self.torch = torch
        self.training = TorchTraining(inputs, channels_last=channels_last, device=self.device)
        batch = self.training.order[0]
        self.pictures = self.training.input_of(self.training.levels[batch].float() / 255)

    def losses(self, count: int) -> list[float]:
        """Mean losses of the first `count` steps."""
        return [self.training.step().item() for _ in range(count)]

    def call(self, operation: str) -> tuple[Callable, int]:
        """A function that runs an operation, and how often one call runs it."""
        return {"step": self._step, "network": self._network, "forward": self._forward}[operation], 1

    def _wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def _step(self) -> None:
        self.training.step().item()  # our step returns its mean loss, too

    def _network(self) -> None:
        self.training.net.zero_grad(set_to_none=True)
        self.training.net(self.pictures).square().mean().backward()
        self._wait()

    def _forward(self) -> None:
        with self.torch.inference_mode():
            self.training.net(self.pictures)
        self._wait()

    def facts(self) -> dict:
        """The device's peak memory [bytes]; PyTorch has no modules to report on."""
        peak = self.torch.cuda.max_memory_allocated() if self.device == "cuda" else 0
        return {"modules": {}, "device_peak_bytes": peak}


def main(case: str, inputs: str) -> None:
    """Answers requests until standard input ends."""
    process.prepare()
    arrays, stopwatches = load_inputs(inputs), {}
    answering = JaxCase(arrays) if case == CASES[0] else TorchCase(arrays, case == CASES[1])
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "losses":
            answer = answering.losses(int(rest[0]))
        elif verb == "prepare":
            stopwatches[rest[0]] = stopwatch(*answering.call(rest[0]))
            answer = True
        elif verb == "time":
            answer = stopwatches[rest[0]]()
        else:
            answer = {**answering.facts(), "peak_rss_bytes": process.peak_rss_bytes()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
