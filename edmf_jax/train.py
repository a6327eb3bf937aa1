"""train(config, workdir): from a configuration to a trained state; the command line adds nothing to it."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import psutil
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict
from tqdm import tqdm

from edmf_jax import memory
from edmf_jax.checkpoint import BEST_METRIC, Checkpoints
from edmf_jax.config import check_config
from edmf_jax.data import TrainingSet, device_mesh, load_pairs, make_training_set, open_dataset, put_sources
from edmf_jax.errors import UserError
from edmf_jax.interrupt import Interrupted, InterruptFlag
from edmf_jax.losses import Coefficients
from edmf_jax.model import init_params, make_model
from edmf_jax.patches import Layout
from edmf_jax.state import DEVICES, TrainState, shardings, to_devices, to_logical
from edmf_jax.steps import Recipe, make_epoch_end, make_train_step
from edmf_jax.workdir import MetricsLog, open_workdir, write_run


def train(config: ConfigDict, workdir: str | Path, *, log: Callable[[str], None] = print) -> TrainState:
    """Trains, or goes on training, the run in `workdir`; returns the final state.

    Args:
      config: see configs/edmf.py.
      workdir: holds `run.json`, `metrics.jsonl` and `checkpoints/`; made where absent.
      log: takes the few lines that a person should read.

    Raises:
      UserError: what the user can mend, in one line.
      Interrupted: Ctrl-C or SIGTERM; the run is saved and the same call goes on from there.
    """
    check_config(config)
    folder = open_workdir(workdir, config)
    mesh = device_mesh()
    layout = Layout(config.data.patches, config.data.logical_shards, config.train.batch)
    layout.check_devices(mesh.size)
    check_memory(config, layout, mesh)
    run = prepare(config, mesh, log)
    write_run(folder, config, run.training_set.fingerprint)
    keep = config.checkpoint
    with contextlib.closing(Checkpoints(folder, keep.keep_last, keep.keep_best)) as checkpoints:
        state = start(run, checkpoints, log)
        with InterruptFlag() as flag:
            return run_epochs(run, state, folder, checkpoints, flag, log)


@dataclasses.dataclass(frozen=True)
class Run:
    """What does not change while a run goes on."""

    config: ConfigDict
    mesh: Mesh
    training_set: TrainingSet
    recipe: Recipe


def make_recipe(config: ConfigDict, layout: Layout) -> Recipe:
    """The model, optimiser and loss that a configuration asks for."""
    loss = config.loss
    return Recipe(
        model=make_model(config.model.width, config.model.dtype),
        optimizer=optax.adam(config.train.learning_rate),
        coefficients=Coefficients(loss.pixel_weight, loss.grad_weight, loss.ssim_weight),
        window_px=config.focus.window_px,
        patch_px=config.data.patch_px,
        layout=layout,
    )


def prepare(config: ConfigDict, mesh: Mesh, log: Callable[[str], None]) -> Run:
    """Reads the data and draws the patches."""
    data = config.data
    builder = open_dataset(data.dataset, data.data_dir or None, allow_missing=data.allow_missing, log=log)
    training_set = make_training_set(load_pairs(builder, data.split), config)
    layout = training_set.layout
    log(f"{builder.info.full_name}: {len(training_set.pairs)} pairs, {layout.patches} patches of "
        f"{data.patch_px}² px, {layout.steps_per_epoch} steps an epoch; "
        f"{mesh.size} × {mesh.devices.flat[0].device_kind}")
    return Run(config, mesh, training_set, make_recipe(config, layout))


def check_memory(config: ConfigDict, layout: Layout, mesh: Mesh) -> None:
    """Raises UserError where a device can't hold its part of the bank, with the numbers and the ways out."""
    needed = memory.bank_bytes(layout.places, config.memory.slots, config.data.patch_px) / mesh.size
    device = mesh.devices.flat[0]
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    else:  # the CPU backend: its devices share the machine's memory
        free = psutil.virtual_memory().available / jax.local_device_count()
    if needed > free:
        fits = int(layout.patches * free / needed)
        enough = -(-needed * mesh.size // free)
        raise UserError(
            f"the memory bank takes {needed / 1e9:.1f} GB on each of {mesh.size} devices ({layout.patches} patches × "
            f"{config.memory.slots + 1} slots × {config.data.patch_px}² bytes), {free / 1e9:.1f} GB are free: set "
            f"data.patches to less than {fits} (or a smaller data.patch_px), or "
            f"use at least {enough:.0f} devices"
        )


def initial_state(run: Run) -> TrainState:
    """Fresh parameters from the seed and an empty bank, in logical layout."""
    config, recipe = run.config, run.recipe
    params = init_params(recipe.model, jax.random.key(config.seed))
    bank = memory.init_bank(recipe.layout.places, config.memory.slots, config.data.patch_px)
    return TrainState(jnp.zeros((), jnp.int32), params, recipe.optimizer.init(params), bank)


def start(run: Run, checkpoints: Checkpoints, log: Callable[[str], None]) -> TrainState:
    """The newest saved state, or a fresh one; in logical layout, on the devices."""
    shapes = jax.eval_shape(lambda: initial_state(run))
    places = shardings(run.mesh, shapes)
    steps = checkpoints.steps
    if not steps:
        return jax.jit(lambda: initial_state(run), out_shardings=places)()
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, places)
    log(f"going on from step {steps[-1]} of {run.config.train.epochs * run.recipe.layout.steps_per_epoch}")
    return checkpoints.restore(steps[-1], like)


class Relayout:
    """Moves a state between the layouts of checkpoints and of the step, in place (donated)."""

    def __init__(self, mesh: Mesh, logical: TrainState):
        places = shardings(mesh, logical)  # the same in both layouts: split along the leading axis
        self.to_devices = jax.jit(lambda s: to_devices(s, mesh.size), out_shardings=places, donate_argnums=0)
        self.to_logical = jax.jit(to_logical, out_shardings=places, donate_argnums=0)


def run_epochs(
    run: Run, state: TrainState, folder: Path, checkpoints: Checkpoints, flag: InterruptFlag, log: Callable[[str], None]
) -> TrainState:
    """The training loop, from `state` (logical layout) to the last epoch's end."""
    config, layout, mesh = run.config, run.recipe.layout, run.mesh
    relayout = Relayout(mesh, state)
    train_step, epoch_end = make_train_step(run.recipe), make_epoch_end(run.recipe)
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    sources = put_sources(run.training_set, mesh)
    step, per_epoch, last = int(state.step), layout.steps_per_epoch, config.train.epochs * layout.steps_per_epoch
    metrics = MetricsLog(folder, step)
    state = relayout.to_devices(state)

    def save(state, report=None):
        state = relayout.to_logical(state)
        checkpoints.save(step, state, report)
        return relayout.to_devices(state)

    with tqdm(total=last, initial=step, unit="step", disable=None, file=sys.stderr) as bar:
        for epoch in range(step // per_epoch, config.train.epochs):
            order = jax.device_put(layout.device_order(config.seed, epoch, mesh.size), split)
            began = time.perf_counter()
            while step < (epoch + 1) * per_epoch:
                state, means = train_step(state, sources, order)
                step += 1
                bar.update()
                ends = step % per_epoch == 0
                if ends or step % config.train.log_every_steps == 0:
                    bar.set_postfix(log_step(metrics, step, epoch, means, layout.batch))
                if not ends and _save_is_due(config, step, flag):
                    state = save(state)
                    _stop_if_told(flag, folder, step, last)
            state, report = epoch_end(state, sources)
            report = log_epoch(metrics, step, epoch, report, time.perf_counter() - began)
            state = save(state, {BEST_METRIC: report["sharpness"]})
            bar.clear()
            log(epoch_line(config, report, means))
            _stop_if_told(flag, folder, step, last)
    return relayout.to_logical(state)


def _save_is_due(config: ConfigDict, step: int, flag: InterruptFlag) -> bool:
    every = config.checkpoint.every_steps
    return flag.signal is not None or bool(every and step % every == 0)


def _stop_if_told(flag: InterruptFlag, folder: Path, step: int, last: int) -> None:
    if flag.signal is not None and step < last:
        raise Interrupted(f"stopped and saved at step {step} of {last}; the same command with --workdir={folder} "
                          "goes on from there", flag.signal)


def log_step(metrics: MetricsLog, step: int, epoch: int, means: dict, batch: int) -> dict[str, str]:
    """Writes a batch's means to the log; returns what the progress bar shows of them."""
    values = {name: value.tolist() for name, value in jax.device_get(means).items()}
    rate = metrics.rate(step)
    metrics.write({"step": step, "epoch": epoch + 1, **values, "patches_per_second": rate and rate * batch})
    return {"epoch": epoch + 1, "loss": f"{values['loss']:.4f}"}


def log_epoch(metrics: MetricsLog, step: int, epoch: int, report: dict, seconds: float) -> dict:
    """Writes an epoch's end to the log; returns it as plain numbers."""
    values = {name: value.tolist() for name, value in jax.device_get(report).items()}
    record = {"step": step, "epoch": epoch + 1, "event": "epoch_end", **values, "seconds": seconds}
    metrics.write(record)
    return record


def epoch_line(config: ConfigDict, report: dict, means: dict) -> str:
    """One line about an epoch for a person."""
    held = [e for e in report["held_epochs"] if e != memory.EMPTY]
    verdict = "remembered" if report["admitted"] else "not remembered"
    return (f"epoch {report['epoch']}/{config.train.epochs}  loss {float(means['loss']):.4f}  spatial frequency "
            f"{report['sharpness']:.5f}  {verdict}, memory: epochs {held}")
