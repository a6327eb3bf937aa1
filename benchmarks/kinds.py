"""The three kinds of memory beside each other: the same step with the bank on the device, on the host, recomputed."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from benchmarks.inputs import Shape, make_inputs
from benchmarks.ours import Ours, Steps, one_device
from benchmarks.table import Row, measured
from benchmarks.timing import interleave, ratios, stopwatch
from benchmarks.training import GPU_SHAPES, SHAPES
from edmf_jax import snapshots, steps
from edmf_jax.hosted import HostedPrograms
from edmf_jax.state import shardings

KINDS = ("images", "host", "snapshots")


def rows(repeats: int, *, quick: bool = False, shapes: Sequence[Shape] = ()) -> list[Row]:
    """A step's time by `memory.kind`, and in units of the one with the bank on the device."""
    if not shapes:
        shapes = GPU_SHAPES if jax.default_backend() != "cpu" else SHAPES[:1]
    return [row for shape in shapes for row in shape_rows(shape, repeats)]


def shape_rows(shape: Shape, repeats: int) -> list[Row]:
    """All rows of one shape."""
    ours = Ours(make_inputs(shape))
    plays = {kind: make_player(ours, kind) for kind in KINDS}
    units = {kind: 1 if kind == "host" else ours.recipe.steps_per_call for kind in KINDS}
    seconds = interleave({kind: stopwatch(play, units[kind]) for kind, play in plays.items()}, repeats)
    note = {"images": "", "host": "one step a call; on a CPU, host and device share their memory",
            "snapshots": "four more forward passes"}
    found = [measured(f"edmf-jax: training step, memory.kind={kind}, {shape}", "ms", [1e3 * s for s in seconds[kind]],
                      note[kind]) for kind in KINDS]
    return found + [measured(f"edmf-jax: memory.kind={kind} ÷ images, {shape}", "ratio",
                             ratios(seconds[kind], seconds["images"]), "repeat by repeat") for kind in KINDS[1:]]


def make_player(ours: Ours, kind: str):
    """Takes `recipe.steps_per_call` steps and waits for them."""
    if kind == "images":
        return ours.steps.play
    recipe, mesh, bank = ours.recipe._replace(memory_kind=kind), one_device(), ours.bank()
    if kind == "snapshots":
        empty = jax.device_get(snapshots.init_snapshots(ours.params, recipe.layout.places, bank.epochs.size))
        held = jax.tree.map(lambda x, p: np.broadcast_to(p, x.shape), empty.params, ours.params)
        bank = dataclasses.replace(empty, params=held, epochs=bank.epochs)
    state = ours.state(bank)
    placed = jax.device_put(state, shardings(mesh, state, kind))
    order, train_steps = jax.device_put(ours.inputs["order"][None]), steps.make_sharded_step(recipe, mesh)
    if kind == "host":
        hosted = HostedPrograms(recipe, mesh)
        placed, train_steps = hosted.to_devices(placed), hosted.train_steps
    return Steps(recipe, placed, ours.sources, order, train_steps).play
