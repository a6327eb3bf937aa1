"""`train(config, workdir)`: from a configuration to a trained state.  The command line only parses its arguments."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from edmf_jax.core import memory, snapshots
from edmf_jax.core.filters import window_form
from edmf_jax.core.losses import Coefficients
from edmf_jax.core.model import FusionNet, init_params, make_model
from edmf_jax.core.targets import TargetConfig
from edmf_jax.data.training_pairs import exchange_pairs, load_pairs, open_source, source_name
from edmf_jax.errors import UserError
from edmf_jax.runtime import distributed
from edmf_jax.runtime.interrupt import InterruptFlag
from edmf_jax.runtime.lock import exclusive
from edmf_jax.training.checkpoint import Checkpoints
from edmf_jax.training.config import check_config
from edmf_jax.training.device_data import TrainingSet, device_mesh, local_pairs, make_training_set
from edmf_jax.training.loop import Run, TrainingLoop
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.profiling import Profile
from edmf_jax.training.room import Room, choose
from edmf_jax.training.run_dir import MetricsLog, SilentLog, open_workdir, read_run, write_run
from edmf_jax.training.state import TrainState, shardings, with_images
from edmf_jax.training.steps import StepConfig
from edmf_jax.weights.store import load_weights

ACCELERATOR_STEPS_PER_CALL = 16


def train(config: ConfigDict, workdir: str | Path, *, profile_steps: int = 0, tensorboard: bool = False,
          checkpoints: Checkpoints | None = None, log: Callable[[str], None] = print) -> TrainState:
    """Trains the run in `workdir`, from its newest checkpoint if it has one; returns the final state.

    Args:
      config: see configs/edmf.py.
      workdir: holds `run.json`, `metrics.jsonl` and `checkpoints/`; created if missing.
      profile_steps: trace this many steps, into `workdir/profile`; 0: none.
      tensorboard: write the log for TensorBoard as well, into `workdir/tensorboard`.
      checkpoints: takes the states instead of `workdir/checkpoints`, for runs that keep only a part of them.
      log: takes the few lines meant for a person.

    Raises:
      UserError: what the user can correct, in one line.
      Interrupted: Ctrl-C or SIGTERM; the run is saved, and the same call resumes it.
    """
    check_config(config)
    if config.train.init:
        initial_params(config)  # fails here, before a folder is created for nothing
    if not distributed.is_first():
        log, profile_steps = _discard, 0
    folder = open_workdir(workdir, config)
    mesh = device_mesh()
    distributed.connect_devices(mesh.devices)
    layout = PatchLayout(config.data.patches, config.data.logical_shards, config.train.batch)
    layout.check_devices(mesh.size)
    with contextlib.ExitStack() as opened:
        if distributed.is_first():
            opened.enter_context(exclusive(folder))
        training_set = prepare_data(config, mesh, log)
        keep, is_whole = config.checkpoint, checkpoints is None
        checkpoints = checkpoints or Checkpoints(folder, keep.keep_last, keep.keep_best)
        opened.enter_context(contextlib.closing(checkpoints))
        begun = (read_run(folder) or {}).get("memory_kind")
        room, reason = choose(config, training_set, mesh, folder, begun,
                              checkpoints.bank_bytes if is_whole else None)
        log(f"memory: {room.kind}, {reason}\n{room.table()}")
        run = Run(config, mesh, training_set, make_step_config(config, layout, room.kind))
        write_run(folder, config, training_set.fingerprint, training_set.pixel_fingerprint(), room.kind)
        log(f"arithmetic: {arithmetic(run.step_config.model, mesh.devices.flat[0].platform)}")
        state = restore_or_init(run, checkpoints, log)
        metrics = MetricsLog(folder, int(state.step), tensorboard) if distributed.is_first() else SilentLog()
        profile = Profile(folder, profile_steps, log)
        with (InterruptFlag() as flag, contextlib.closing(metrics), contextlib.closing(profile),
              _device_memory_errors(room)):
            return TrainingLoop(run, folder, checkpoints, flag, metrics, profile, log).train(state)


@contextlib.contextmanager
def _device_memory_errors(room: Room) -> Iterator[None]:
    """Turns an exhausted device into a UserError with what was planned: the plan's activations are an estimate."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"the devices are out of memory ({str(error).splitlines()[0]}); set train.batch, "
                        "train.steps_per_call or data.patches lower, or memory.kind to host or snapshots, and run the "
                        f"same command again\n{room.table()}") from error


def _discard(line: str) -> None:
    """The `log` of all processes but the first, which prints for all."""


def make_step_config(config: ConfigDict, layout: PatchLayout, memory_kind: str = "images") -> StepConfig:
    """Model, optimizer, loss and memory as the configuration asks for them."""
    loss = config.loss
    return StepConfig(
        model=make_model(config.model.width, config.model.dtype, precision=config.train.precision),
        optimizer=make_optimizer(config, layout),
        coefficients=Coefficients(loss.pixel_weight, loss.grad_weight, loss.ssim_weight),
        window_px=config.focus.window_px,
        patch_px=config.data.patch_px,
        layout=layout,
        # A bank in host memory is streamed one step at a time.
        steps_per_call=1 if memory_kind == "host" else config.train.steps_per_call or default_steps_per_call(),
        memory_kind=memory_kind,
        admission=memory.Admission(config.memory.admission, config.memory.first_epoch),
        ratios=loss.ratios,
        activity=config.focus.activity,
        targets=TargetConfig(**{name: loss[name] for name in TargetConfig._fields}),
        swap=config.data.swap,
    )


def arithmetic(model: FusionNet, platform: str) -> str:
    """In which numbers a step computes on a device's `platform`, and how it is written for it: a line for a person."""
    exact = platform == "cpu" or model.precision == "highest"
    products = {"gpu": "TF32", "tpu": "bfloat16"}.get(platform, "reduced precision")
    passes = "" if exact else f", multiplied in {'three passes of ' * (model.precision == 'high')}{products}"
    half = model.dtype == jnp.bfloat16
    return (f"convolutions in {'bfloat16' if half else f'float32{passes}'} (train.precision={model.precision}); "
            f"loss and scores in float32; SSIM's windows as {window_form(platform)}")


def default_steps_per_call() -> int:
    """Steps in one dispatch: 16 on an accelerator.

    1 on a CPU, where XLA runs the convolutions of a loop on one thread, ten times slower.
    """
    return 1 if jax.default_backend() == "cpu" else ACCELERATOR_STEPS_PER_CALL


def make_optimizer(config: ConfigDict, layout: PatchLayout) -> optax.GradientTransformation:
    """Adam: at a constant rate, as in the paper, or with a warm-up, or also falling to 0 along a cosine."""
    rate, warmup, decay = config.train.learning_rate, config.train.warmup_steps, config.train.decay_epochs
    if decay:
        return optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, warmup, decay * layout.steps_per_epoch))
    return optax.adam(optax.linear_schedule(0.0, rate, warmup) if warmup else rate)


def prepare_data(config: ConfigDict, mesh: Mesh, log: Callable[[str], None]) -> TrainingSet:
    """Reads the data and draws the patches.  Each of several processes keeps only the pictures of its own devices."""
    data = config.data
    source = distributed.process_zero_first(lambda: open_source(data, log))
    drawn = make_training_set(load_pairs(source, data.split), config)
    local = local_pairs(drawn, mesh)
    training_set = dataclasses.replace(drawn, pairs=exchange_pairs(drawn.pairs, local, source, data.split))
    layout = training_set.layout
    several = f" in {jax.process_count()} processes, {len(local)} pairs in this one" if jax.process_count() > 1 else ""
    log(f"{source_name(source)}: {len(training_set.pairs)} pairs, {layout.patches} patches of "
        f"{data.patch_px}² px, {layout.steps_per_epoch} steps an epoch; "
        f"{mesh.size} × {mesh.local_devices[0].device_kind}{several}")
    if jax.config.jax_compilation_cache_dir:
        log(f"compiled programs are kept in {jax.config.jax_compilation_cache_dir}")
    return training_set


def initial_state(run: Run) -> TrainState:
    """The state before step 0, in checkpoint layout: parameters from the seed or `train.init`, and an empty memory."""
    config, step_config = run.config, run.step_config
    params = init_params(step_config.model, jax.random.key(config.seed))
    if config.train.init:
        params = jax.tree.map(lambda drawn, given: jnp.asarray(given, drawn.dtype), params, initial_params(config))
    bank_rows, remembered = step_config.layout.bank_rows, config.memory.slots
    if step_config.memory_kind == "snapshots":
        bank = snapshots.init_snapshots(params, bank_rows, remembered)
    else:
        bank = memory.init_bank(bank_rows, remembered, config.data.patch_px)
    return TrainState(jnp.zeros((), jnp.int32), params, step_config.optimizer.init(params), bank)


def initial_params(config: ConfigDict) -> dict:
    """The parameters that `train.init` names, as NumPy arrays.

    Raises:
      UserError: they are of a network of another width.
      MissingFileError: no weights have that name.
    """
    weights = load_weights(config.train.init)
    width = weights.config["model"]["width"]
    if width != config.model.width:
        raise UserError(f"train.init={config.train.init}: these are weights of model.width={width}, and model.width="
                        f"{config.model.width} is asked for; set --config.model.width={width}")
    return weights.params


def restore_or_init(run: Run, checkpoints: Checkpoints, log: Callable[[str], None]) -> TrainState:
    """The newest saved state, or the initial one if none is saved; on the devices, in checkpoint layout."""
    shapes = jax.eval_shape(lambda: initial_state(run))
    split = shardings(run.mesh, shapes, run.step_config.memory_kind)
    steps = checkpoints.steps
    if not steps:
        return _put_initial_state(run, shapes, split)
    like = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, split)
    log(f"going on from step {steps[-1]} of {run.config.train.epochs * run.step_config.layout.steps_per_epoch}")
    return checkpoints.restore(steps[-1], like)


def _put_initial_state(run: Run, shapes: TrainState, split: TrainState) -> TrainState:
    """`initial_state` with the shardings `split`."""
    if run.step_config.memory_kind != "host":
        return jax.jit(lambda: initial_state(run), out_shardings=split)()

    # The output of a program is on a device first, where this bank does not fit: its images are made on the host.
    rest = jax.jit(lambda: with_images(initial_state(run), None), out_shardings=with_images(split, None))()
    shape = shapes.bank.images.shape
    images = jax.make_array_from_callback(
        shape, split.bank.images,
        lambda index: np.zeros([len(range(*i.indices(n))) for i, n in zip(index, shape)], np.uint8))
    return with_images(rest, images)
