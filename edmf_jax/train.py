"""train(config, workdir): from a configuration to a trained state; the command line adds nothing to it."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import psutil
from jax.sharding import Mesh
from ml_collections import ConfigDict

from edmf_jax import distributed, memory, snapshots
from edmf_jax.checkpoint import Checkpoints
from edmf_jax.config import check_config
from edmf_jax.data import device_mesh, exchange_pairs, load_pairs, make_training_set, open_dataset, own_pairs
from edmf_jax.errors import UserError
from edmf_jax.interrupt import InterruptFlag
from edmf_jax.loop import Loop, Run
from edmf_jax.losses import Coefficients
from edmf_jax.model import init_params, make_model
from edmf_jax.patches import Layout
from edmf_jax.profiling import Profile
from edmf_jax.state import TrainState, shardings, with_images
from edmf_jax.steps import Recipe
from edmf_jax.weights import load_weights
from edmf_jax.workdir import MetricsLog, SilentLog, open_workdir, read_run, write_run

ACCELERATOR_STEPS_PER_CALL = 16


def train(config: ConfigDict, workdir: str | Path, *, profile_steps: int = 0, tensorboard: bool = False,
          log: Callable[[str], None] = print) -> TrainState:
    """Trains, or goes on training, the run in `workdir`; returns the final state.

    Args:
      config: see configs/edmf.py.
      workdir: holds `run.json`, `metrics.jsonl` and `checkpoints/`; made where absent.
      profile_steps: trace so many steps, into `workdir/profile`.
      tensorboard: write the log for TensorBoard too, into `workdir/tensorboard`.
      log: takes the few lines that a person should read.

    Raises:
      UserError: what the user can mend, in one line.
      Interrupted: Ctrl-C or SIGTERM; the run is saved and the same call goes on from there.
    """
    check_config(config)
    if config.train.init:
        initial_params(config)  # before there is a folder that its absence would leave empty
    if not distributed.is_first():
        log, profile_steps = _silent, 0
    folder = open_workdir(workdir, config)
    mesh = device_mesh()
    distributed.connect_devices(mesh.devices)
    layout = Layout(config.data.patches, config.data.logical_shards, config.train.batch)
    layout.check_devices(mesh.size)
    kind, why = choose_memory(config, layout, mesh, (read_run(folder) or {}).get("memory_kind"))
    run = prepare(config, mesh, kind, log)
    log(f"memory: {kind}, {why}")
    write_run(folder, config, run.training_set.fingerprint, kind)
    keep = config.checkpoint
    with contextlib.closing(Checkpoints(folder, keep.keep_last, keep.keep_best)) as checkpoints:
        state = start(run, checkpoints, log)
        metrics = MetricsLog(folder, int(state.step), tensorboard) if distributed.is_first() else SilentLog()
        profile = Profile(folder, profile_steps, log)
        with InterruptFlag() as flag, contextlib.closing(metrics), contextlib.closing(profile):
            return Loop(run, folder, checkpoints, flag, metrics, profile, log).train(state)


def _silent(line: str) -> None:
    """Takes the lines that process 0 prints for all."""


def make_recipe(config: ConfigDict, layout: Layout, memory_kind: str = "images") -> Recipe:
    """The model, optimiser, loss and memory that a configuration asks for."""
    loss = config.loss
    return Recipe(
        model=make_model(config.model.width, config.model.dtype),
        optimizer=make_optimizer(config, layout),
        coefficients=Coefficients(loss.pixel_weight, loss.grad_weight, loss.ssim_weight),
        window_px=config.focus.window_px,
        patch_px=config.data.patch_px,
        layout=layout,
        # A bank in host memory is streamed step by step.
        steps_per_call=1 if memory_kind == "host" else config.train.steps_per_call or default_steps_per_call(),
        memory_kind=memory_kind,
        admission=memory.Admission(config.memory.admission, config.memory.first_epoch),
        ratios=loss.ratios,
        activity=config.focus.activity,
        exposure_share=loss.exposure_share,
        detail_gain=loss.detail_gain,
        detail_floor=loss.detail_floor,
        blend_exponent=loss.blend_exponent,
        blend_floor=loss.blend_floor,
        swap=config.data.swap,
    )


def default_steps_per_call() -> int:
    """Steps in one dispatch: XLA's CPU backend runs the convolutions of a loop on one thread, ten times slower."""
    return 1 if jax.default_backend() == "cpu" else ACCELERATOR_STEPS_PER_CALL


def make_optimizer(config: ConfigDict, layout: Layout) -> optax.GradientTransformation:
    """Adam at a constant rate, as the paper has it; or warmed up, then falling to 0 along a cosine."""
    rate, warmup, decay = config.train.learning_rate, config.train.warmup_steps, config.train.decay_epochs
    if decay:
        return optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, warmup, decay * layout.steps_per_epoch))
    return optax.adam(optax.linear_schedule(0.0, rate, warmup) if warmup else rate)


def prepare(config: ConfigDict, mesh: Mesh, memory_kind: str, log: Callable[[str], None]) -> Run:
    """Reads the data and draws the patches; of several processes, each keeps the pictures of its own devices."""
    data = config.data
    builder = distributed.first_alone(
        lambda: open_dataset(data.dataset, data.data_dir or None, allow_missing=data.allow_missing, log=log))
    drawn = make_training_set(load_pairs(builder, data.split), config)
    own = own_pairs(drawn, mesh)
    training_set = dataclasses.replace(drawn, pairs=exchange_pairs(drawn.pairs, own, builder, data.split))
    layout = training_set.layout
    several = f" in {jax.process_count()} processes, {len(own)} pairs in this one" if jax.process_count() > 1 else ""
    log(f"{builder.info.full_name}: {len(training_set.pairs)} pairs, {layout.patches} patches of "
        f"{data.patch_px}² px, {layout.steps_per_epoch} steps an epoch; "
        f"{mesh.size} × {mesh.local_devices[0].device_kind}{several}")
    if jax.config.jax_compilation_cache_dir:
        log(f"compiled programs are kept in {jax.config.jax_compilation_cache_dir}")
    return Run(config, mesh, training_set, make_recipe(config, layout, memory_kind))


def choose_memory(config: ConfigDict, layout: Layout, mesh: Mesh, begun: str | None) -> tuple[str, str]:
    """The kind of memory of a run, and why: what `memory.kind` says.

    "auto" takes a bank of images on the devices, where it does not fit there one in
    the host's memory, and where it does not fit there either, snapshots.

    Args:
      begun: the kind that the run in the folder began with, None where none has.

    Raises:
      UserError: "images" or "host" was asked for and does not fit: with the numbers and the ways out; or the run
        began with the other kind of memory.
    """
    kind = config.memory.kind
    needed = memory.bank_bytes(layout.places, config.memory.slots, config.data.patch_px) / mesh.size
    free, free_host = distributed.least(free_bytes(mesh)), distributed.least(free_host_bytes(mesh))
    numbers = (f"{needed / 1e9:.1f} GB on each of {mesh.size} devices ({layout.patches} patches × "
               f"{config.memory.slots + 1} slots × {config.data.patch_px}² bytes), {free / 1e9:.1f} GB are free")
    if begun and kind != "auto" and (kind == "snapshots") != (begun == "snapshots"):
        raise UserError(f"memory.kind={kind}: this run began with {begun}; leave it at auto, or choose another folder")
    if kind == "snapshots" or (kind == "auto" and begun == "snapshots"):
        return "snapshots", "as asked for" if kind == "snapshots" else "as this run began"
    if kind != "host" and needed <= free:
        return "images", numbers
    # The CPU's devices have no memory but the host's.
    if kind == "host" or (kind == "auto" and mesh.local_devices[0].platform != "cpu"):
        there = f"streamed from the host, where {free_host / 1e9:.1f} GB are free for each device; it takes {numbers}"
        if needed <= free_host:
            return "host", there
    if kind == "auto" and begun is None:
        return "snapshots", f"outputs are recomputed in every step; images would take {numbers}"
    room = free_host if kind == "host" else free
    fits, enough = int(layout.patches * room / needed), -(-needed * mesh.size // room)
    raise UserError(f"the memory bank takes {numbers}{f', {room / 1e9:.1f} GB on the host' if kind == 'host' else ''}: "
                    f"set memory.kind to snapshots, data.patches to less than {fits} "
                    f"(or a smaller data.patch_px), or use at least {enough:.0f} devices")


def free_bytes(mesh: Mesh) -> float:
    """What a device of this process has left [bytes]."""
    stats = mesh.local_devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return free_host_bytes(mesh)  # the CPU backend


def free_host_bytes(mesh: Mesh) -> float:
    """What this process has left for each of its devices [bytes]; a save takes a second copy of the bank."""
    return psutil.virtual_memory().available / len(mesh.local_devices) / 2


def initial_state(run: Run) -> TrainState:
    """Fresh parameters from the seed and an empty memory, in logical layout."""
    config, recipe = run.config, run.recipe
    params = init_params(recipe.model, jax.random.key(config.seed))
    if config.train.init:
        params = jax.tree.map(lambda drawn, given: jnp.asarray(given, drawn.dtype), params, initial_params(config))
    places, remembered = recipe.layout.places, config.memory.slots
    if recipe.memory_kind == "snapshots":
        bank = snapshots.init_snapshots(params, places, remembered)
    else:
        bank = memory.init_bank(places, remembered, config.data.patch_px)
    return TrainState(jnp.zeros((), jnp.int32), params, recipe.optimizer.init(params), bank)


def initial_params(config: ConfigDict) -> dict:
    """The parameters of `train.init`, NumPy arrays.

    Raises:
      UserError: it is not of this network; MissingFileError: there are none of that name.
    """
    weights = load_weights(config.train.init)
    width = weights.config["model"]["width"]
    if width != config.model.width:
        raise UserError(f"train.init={config.train.init}: these are weights of model.width={width}, and model.width="
                        f"{config.model.width} is asked for; set --config.model.width={width}")
    return weights.params


def start(run: Run, checkpoints: Checkpoints, log: Callable[[str], None]) -> TrainState:
    """The newest saved state, or a fresh one; in logical layout, on the devices."""
    shapes = jax.eval_shape(lambda: initial_state(run))
    places = shardings(run.mesh, shapes, run.recipe.memory_kind)
    steps = checkpoints.steps
    if not steps:
        return _fresh_state(run, shapes, places)
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, places)
    log(f"going on from step {steps[-1]} of {run.config.train.epochs * run.recipe.layout.steps_per_epoch}")
    return checkpoints.restore(steps[-1], like)


def _fresh_state(run: Run, shapes: TrainState, places: TrainState) -> TrainState:
    if run.recipe.memory_kind != "host":
        return jax.jit(lambda: initial_state(run), out_shardings=places)()

    # What a program puts out lies on a device first, where this bank has no room.
    rest = jax.jit(lambda: with_images(initial_state(run), None), out_shardings=with_images(places, None))()
    shape = shapes.bank.images.shape
    images = jax.make_array_from_callback(
        shape, places.bank.images,
        lambda index: np.zeros([len(range(*i.indices(n))) for i, n in zip(index, shape)], np.uint8))
    return with_images(rest, images)
