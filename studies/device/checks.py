"""Correctness on this machine's device: our numbers against stored references, and against this machine's CPU.

    python -m studies.device.checks -o OUT

References: tests/golden (PyTorch's numbers) and tests/helpers/metrics_reference.py (NumPy and SciPy).  All float32
products in full precision, as the tests of the CPU have them.  OUT/checks.md has a row for each check.
"""

import argparse
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.inputs import Shape, make_inputs
from benchmarks.jax_training import JaxTraining
from benchmarks.metrics import load_reference, make_triple
from edmf_jax import metrics
from edmf_jax.core import filters, losses
from edmf_jax.core.focus import focus_masks
from edmf_jax.core.model import make_model
from edmf_jax.io.atomic import replace_file
from edmf_jax.weights.params import unflatten

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


class Check(NamedTuple):
    """What was compared, its largest deviation, and the largest that is right."""

    name: str
    deviation: float
    limit: float

    @property
    def is_right(self) -> bool:
        """Whether the deviation is a number within the limit."""
        return bool(self.deviation <= self.limit)


def deviation(ours, theirs) -> float:
    """The largest absolute difference."""
    return float(np.max(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))))


def relative(ours, theirs) -> float:
    """The largest absolute difference, as a part of the largest value."""
    return deviation(ours, theirs) / float(np.max(np.abs(theirs)))


def check_filters() -> Iterator[Check]:
    """Laplacian, and both forms of the Gaussian window against the other."""
    data = np.load(GOLDEN / "filters.npz")
    planes = jnp.asarray(data["sources"] / 255, jnp.float32)
    yield Check("Laplacian, PyTorch", deviation(jax.jit(filters.laplacian)(planes), data["laplacian"]), 1e-6)
    weights = filters.gaussian_kernel(11, 1.5)
    forms = [jax.jit(lambda x, form=form: form(x, weights))(planes)
             for form in (filters.banded_window, filters.shifted_window)]
    yield Check("Gaussian window: shifted sums, banded products", deviation(*forms), 1e-6)


def check_step() -> Iterator[Check]:
    """Network, loss, gradients and four Adam steps of PyTorch's reference."""
    data = np.load(GOLDEN / "train_step.npz")
    params = unflatten({name.removeprefix("param/"): jnp.asarray(data[name]) for name in data
                        if name.startswith("param/")})
    planes, remembered = (jnp.asarray(data[name], jnp.float32) / 255 for name in ("sources", "memory"))
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1], 19), 1)
    scores = jax.jit(jax.vmap(losses.source_score, (1, None), 1))(remembered, planes)
    model = make_model(16)

    def loss(params):
        output = model.apply({"params": params}, jnp.moveaxis(planes, 1, -1))
        report = losses.total_loss(output, planes, masks, remembered, scores, jnp.ones(2, bool),
                                   losses.Coefficients())
        return report.total.mean(), output

    function, optimizer, values = jax.jit(jax.value_and_grad(loss, has_aux=True)), optax.adam(1e-4), []
    state = optimizer.init(params)
    for number in range(len(data["loss_after_adam_steps"])):
        (value, output), gradients = function(params)
        if not number:
            yield Check("network's output, PyTorch in float64", deviation(output, data["output"]), 1e-5)
            worst = max(relative(array, data[f"grad/{layer}/{kind}"]) for layer, arrays in gradients.items()
                        for kind, array in arrays.items())
            yield Check("gradients, PyTorch", worst, 5e-3)
        values.append(float(value))
        updates, state = jax.jit(optimizer.update)(gradients, state)
        params = optax.apply_updates(params, updates)
    expected = data["loss_after_adam_steps"]
    yield Check("losses of Adam's steps, PyTorch", relative(values, expected), 1e-5)


def check_metrics() -> Iterator[Check]:
    """The metrics of Table 2 on a part of a megapixel, against NumPy and SciPy in float64."""
    triple = [x[:300, :400] for x in make_triple()]
    ours, theirs = metrics.evaluate(*triple), {name: f(*triple) for name, f in load_reference().TABLE_2.items()}
    for name, value in theirs.items():
        yield Check(f"{name}, SciPy", abs(ours[name] / value - 1), 1e-4)


def check_training_step() -> Iterator[Check]:
    """The compiled step with its memory bank, here and on the CPU, in a process that sees no other device."""
    out = subprocess.run([sys.executable, "-m", "studies.device.checks", "--losses"], cwd=GOLDEN.parents[1], text=True,
                         env={**os.environ, "JAX_PLATFORMS": "cpu"}, stdout=subprocess.PIPE, check=True).stdout
    yield Check("losses of three training steps, this machine's CPU", relative(step_losses(), json.loads(out)), 1e-4)


def step_losses() -> list[float]:
    """Mean losses of three training steps of 4 × 64² on the first device."""
    training = JaxTraining(make_inputs(Shape(4, 64)), steps_per_call=1)
    return [training.steps.run()[0] for _ in range(3)]


CHECKS = (check_filters, check_step, check_metrics, check_training_step)


def run_checks(checks: Sequence[Callable[[], Iterator[Check]]] = CHECKS,
               report: Callable[[list[Check]], None] = lambda found: None) -> list[Check]:
    """All checks; one that fails to run has the deviation NaN.  `report` is called after each with those so far."""
    found = []
    with jax.default_matmul_precision("highest"):
        for check in checks:
            try:
                found += check()
            except Exception:  # the others still say something
                traceback.print_exc()
                found.append(Check(f"{check.__name__} could not be run", float("nan"), 0.0))
            report(found)
    return found


def table(checks: list[Check]) -> str:
    """The checks as Markdown."""
    rows = [f"| {'right' if c.is_right else '**WRONG**'} | {c.name} | {c.deviation:.1e} | {c.limit:.0e} |"
            for c in checks]
    return "\n".join(["| | what, reference | largest deviation | limit |", "| --- | --- | ---: | ---: |", *rows, ""])


def main(argv: list[str] | None = None) -> int:
    """Runs the checks; 1 if one is wrong."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.checks", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-o", "--output", type=Path, metavar="OUT", help="folder of the results")
    what.add_argument("--losses", action="store_true", help="print the losses of three training steps, nothing else")
    args = parser.parse_args(argv)
    if args.losses:
        with jax.default_matmul_precision("highest"):
            print(json.dumps(step_losses()))
        return 0
    args.output.mkdir(parents=True, exist_ok=True)
    head = f"{jax.devices()[0].device_kind}, JAX {jax.__version__}\n\n"
    checks = run_checks(report=lambda found: replace_file(args.output / "checks.md", (head + table(found)).encode()))
    print(head + table(checks), flush=True)
    return int(not all(check.is_right for check in checks))


if __name__ == "__main__":
    sys.exit(main())
