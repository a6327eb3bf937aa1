"""The three values of `memory.kind` compared: one step with the bank on the device, on the host, or recomputed."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from benchmarks.inputs import Shape, make_inputs
from benchmarks.jax_training import JaxTraining, Steps, one_device
from benchmarks.table import Row, measured
from benchmarks.timing import interleave, ratios, stopwatch
from benchmarks.training import GPU_SHAPES, SHAPES
from edmf_jax.core import snapshots
from edmf_jax.training import steps
from edmf_jax.training.host_bank import HostBankPrograms
from edmf_jax.training.state import shardings

KINDS = ("images", "host", "snapshots")


def rows(repeats: int, *, quick: bool = False, shapes: Sequence[Shape] = ()) -> list[Row]:
    """The time of a step for each `memory.kind`, and its ratio to that with the bank on the device."""
    if not shapes:
        shapes = GPU_SHAPES if jax.default_backend() != "cpu" else SHAPES[:1]
    return [row for shape in shapes for row in shape_rows(shape, repeats)]


def shape_rows(shape: Shape, repeats: int) -> list[Row]:
    """All rows of one shape."""
    training = JaxTraining(make_inputs(shape))
    calls = {kind: make_call(training, kind) for kind in KINDS}
    units = {kind: 1 if kind == "host" else training.step_config.steps_per_call for kind in KINDS}
    seconds = interleave({kind: stopwatch(call, units[kind]) for kind, call in calls.items()}, repeats)
    note = {"images": "", "host": "one step a call; on a CPU, host and device share their memory",
            "snapshots": "four more forward passes"}
    found = [measured(f"edmf-jax: training step, memory.kind={kind}, {shape}", "ms", [1e3 * s for s in seconds[kind]],
                      note[kind]) for kind in KINDS]
    return found + [measured(f"edmf-jax: memory.kind={kind} ÷ images, {shape}", "ratio",
                             ratios(seconds[kind], seconds["images"]), "repeat by repeat") for kind in KINDS[1:]]


def make_call(training: JaxTraining, kind: str) -> Callable[[], object]:
    """A function that runs `step_config.steps_per_call` steps (one with "host") and waits for them."""
    if kind == "images":
        return training.steps.run
    step_config, mesh, bank = training.step_config._replace(memory_kind=kind), one_device(), training.bank()
    if kind == "snapshots":
        empty = snapshots.init_snapshots(training.params, step_config.layout.bank_rows, bank.epochs.size)
        empty = jax.device_get(empty)
        params = jax.tree.map(lambda x, p: np.broadcast_to(p, x.shape), empty.params, training.params)
        bank = dataclasses.replace(empty, params=params, epochs=bank.epochs)
    state = training.state(bank)
    placed = jax.device_put(state, shardings(mesh, state, kind))
    order, train_steps = jax.device_put(training.inputs["order"][None]), steps.make_sharded_step(step_config, mesh)
    if kind == "host":
        hosted = HostBankPrograms(step_config, mesh)
        placed, train_steps = hosted.to_devices(placed), hosted.train_steps
    return Steps(step_config, placed, training.sources, order, train_steps).run
