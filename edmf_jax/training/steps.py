"""The training step and the end of an epoch: as one device computes them, and compiled for all devices.

`device_step`, `device_steps` and `device_epoch_end` are what runs on each device, with its part of the memory bank.
The `make_…` functions compile them in three ways that give the same numbers:

- `make_train_step`, `make_epoch_end`: with pmap, for one process;
- `make_sharded_step`, `make_sharded_epoch_end`: with jit and shard_map, for several processes;
- `make_streamed_step`: with jit and shard_map, for a bank in host memory (`host_bank`).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from edmf_jax.core import memory, snapshots
from edmf_jax.core.cpu_convolution import compiler_options
from edmf_jax.core.focus import ACTIVITIES, masks_from_activities, spatial_frequency
from edmf_jax.core.losses import Coefficients, LossReport, source_score, total_loss
from edmf_jax.core.model import FusionNet
from edmf_jax.core.targets import TargetConfig, make_targets
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.state import DEVICES, STATE_AXES, Sources, TrainState, state_specs


class StepConfig(NamedTuple):
    """What a step needs besides arrays; fixed for a run."""

    model: FusionNet
    optimizer: optax.GradientTransformation
    coefficients: Coefficients
    window_px: int  # of the focus masks
    patch_px: int
    layout: PatchLayout
    steps_per_call: int = 1
    memory_kind: str = "images"  # or "host", "snapshots"
    admission: memory.Admission = memory.PAPER_ADMISSION
    ratios: str = "adaptive"  # see losses.RATIOS
    activity: str = "spatial-frequency"  # see focus.ACTIVITIES
    targets: TargetConfig = TargetConfig()
    swap: bool = False  # whether to exchange the two sources in half of the pairs, see `swap_sources`


def cut_patches(sources: Sources, bank_rows: jax.Array, patch_px: int) -> jax.Array:
    """The pairs of patches that belong to `bank_rows` [B] of one device: uint8 `[B, 2, P, P]`."""

    def cut(corner):
        return jax.lax.dynamic_slice(sources.atlas, (0, corner[0], corner[1]), (2, patch_px, patch_px))

    return jax.vmap(cut)(sources.corners.at[bank_rows].get(mode="clip"))


def swap_sources(planes: jax.Array, bank_rows: jax.Array, epoch: jax.Array) -> jax.Array:
    """Exchanges the two sources in half of the pairs `[B, 2, H, W]`, in the other half in the next epoch.

    So the network sees every patch both ways round.  A pair is exchanged if its bank row [B] plus `epoch` is odd.
    """
    return jnp.where(((bank_rows + epoch) % 2 == 1)[:, None, None, None], planes[:, ::-1], planes)


def read_memory(step_config: StepConfig, bank, bank_rows: jax.Array, planes: jax.Array, streamed: jax.Array | None
                ) -> tuple[jax.Array, jax.Array]:
    """The remembered outputs of a batch: planes `[B, K, P, P]` in [0, 1], and their scores `[B, K]`.

    Args:
      step_config: has the kind of memory.
      bank: a MemoryBank or SnapshotBank.
      bank_rows: of the batch, `[B]`.
      planes: the sources, `[B, 2, P, P]`.
      streamed: the planes, uint8 `[B, K, P, P]`, if the bank is in host memory.
    """
    if step_config.memory_kind == "snapshots":
        remembered = jax.lax.stop_gradient(snapshots.recompute(bank, step_config.model, planes))
        return remembered, jax.vmap(source_score, (1, None), 1)(remembered, planes)
    if step_config.memory_kind == "host":
        return memory.dequantize(streamed), memory.read_scores(bank, bank_rows)
    levels, scores = memory.read(bank, bank_rows)
    return memory.dequantize(levels), scores


def write_memory(step_config: StepConfig, bank, bank_rows: jax.Array, levels: jax.Array, planes: jax.Array):
    """The bank after a batch of outputs, uint8 `[B, P, P]`, has been written, with their scores and sharpness."""
    outputs = memory.dequantize(levels)
    if step_config.memory_kind == "snapshots":
        return snapshots.write(bank, bank_rows, spatial_frequency(outputs))
    return memory.write(bank, bank_rows, levels, source_score(outputs, planes), spatial_frequency(outputs))


def _weighted_sums(report: LossReport, weight: jax.Array) -> dict[str, jax.Array]:
    """Sums over the patches of a batch, weighted by `weight` [B]; `[]` or `[K]` each, under the names of the log."""
    values = {
        "loss": report.total,
        **{f"current_{name}": value for name, value in report.current._asdict().items()},
        **{f"memory_{name}": value for name, value in report.memory._asdict().items()},
        "score": report.score,
        "ratio": report.ratio,
        "memory_ratios": report.memory_ratios,
    }
    # Full precision: TF32 or bfloat16 would round the log's numbers to three digits.
    return {name: jnp.tensordot(weight, value, 1, precision=jax.lax.Precision.HIGHEST)
            for name, value in values.items()}


def device_step(step_config: StepConfig, state: TrainState, sources: Sources, order: jax.Array,
                streamed: jax.Array | None = None):
    """One training step on one device.  Devices communicate once: the mean of the gradients.

    Args:
      step_config: fixed for the run.
      state: with this device's part of the bank, R bank rows.
      sources: this device's.
      order: int32 `[steps, B]`, this device's bank rows for every step of the epoch; numbers from R on are fillers.
      streamed: uint8 `[B, K, P, P]`, the remembered outputs of the batch, if the bank is in host memory.

    Returns:
      The next state; the batch's means by name, equal on every device; this device's outputs, uint8 `[B, P, P]`.
    """
    batch = jax.lax.dynamic_index_in_dim(order, state.step % step_config.layout.steps_per_epoch, keepdims=False)
    weight = (batch < sources.used.shape[0]).astype(jnp.float32)  # 0 for fillers
    planes = memory.dequantize(cut_patches(sources, batch, step_config.patch_px))
    if step_config.swap:
        planes = swap_sources(planes, batch, state.step // step_config.layout.steps_per_epoch)
    activities = ACTIVITIES[step_config.activity](planes, step_config.window_px)
    masks = jnp.stack(masks_from_activities(activities[:, 0], activities[:, 1]), axis=1)
    targets = make_targets(step_config.targets, planes, activities)
    remembered, scores = read_memory(step_config, state.bank, batch, planes, streamed)
    is_filled = memory.is_filled(state.bank)

    def loss(params):
        output = step_config.model.apply({"params": params}, jnp.moveaxis(planes, 1, -1))
        report = total_loss(output, planes, masks, remembered, scores, is_filled, step_config.coefficients,
                            step_config.ratios, targets)
        return jnp.sum(weight * report.total), (output, report)

    gradients, (output, report) = jax.grad(loss, has_aux=True)(state.params)
    # Gradients, log values and the number of patches are summed as one vector: one all-reduce a step.
    packed, unpack = ravel_pytree((gradients, _weighted_sums(report, weight), jnp.sum(weight)))
    gradients, sums, patches = unpack(jax.lax.psum(packed, DEVICES))
    gradients, means = jax.tree.map(lambda x: x / patches, (gradients, sums))
    means["gradient_norm"] = optax.tree.norm(gradients)
    updates, opt_state = step_config.optimizer.update(gradients, state.opt_state, state.params)
    levels = memory.quantize(output)
    bank = write_memory(step_config, state.bank, batch, levels, planes)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state, bank), means, levels


def device_steps(step_config: StepConfig, state: TrainState, sources: Sources, order: jax.Array, count: int):
    """`count` training steps of one epoch in one dispatch, at least one.

    `count` is part of the program, so that XLA knows how long its loop is and nothing waits for a condition to be read
    back.  Each count is a program of its own; `loop.next_count` asks for two of them.

    Returns:
      The state after them, and the batches' means by name, `[count, …]`.
    """
    def step(state, _):
        return device_step(step_config, state, sources, order)[:2]

    if count == 1:
        state, means = step(state, None)
        return state, jax.tree.map(lambda x: x[None], means)
    return jax.lax.scan(step, state, length=count)


def device_epoch_end(step_config: StepConfig, state: TrainState, sources: Sources):
    """Algorithm 1 on one device, at the end of an epoch.

    Returns:
      The state with the new bank, and a report, equal on every device: the epoch's mean "sharpness" (spatial
      frequency), whether it was "admitted", and the numbers of the "held_epochs".
    """
    bank = state.bank
    has_images = step_config.memory_kind != "snapshots"
    plane_sharpness = bank.sharpness.at[:, bank.free].get() if has_images else bank.sharpness
    device_sum = jnp.sum(jnp.where(sources.used, plane_sharpness, 0.0))
    sharpness = jax.lax.psum(device_sum, DEVICES) / step_config.layout.patches
    epoch = state.step // step_config.layout.steps_per_epoch
    if has_images:
        bank, admitted = memory.admit(bank, epoch, sharpness, step_config.admission)
    else:
        bank, admitted = snapshots.admit(bank, state.params, epoch, sharpness, step_config.admission)
    report = {"sharpness": sharpness, "admitted": admitted, "held_epochs": bank.epochs}
    return dataclasses.replace(state, bank=bank), report


def make_train_step(step_config: StepConfig) -> Callable:
    """(state, sources, order, count) → (state, means `[count, …]`) over all devices, see `device_steps`.

    For a state in device layout, which is donated.  `count` is a plain integer.
    """
    axes = STATE_AXES[step_config.memory_kind]
    step = jax.pmap(
        lambda state, sources, order, count: device_steps(step_config, state, sources, order, count),
        axis_name=DEVICES, in_axes=(axes, 0, 0, None), out_axes=(axes, None), donate_argnums=0,
        static_broadcasted_argnums=3,
    )
    options = compiler_options()
    if not options:
        return step

    # pmap takes no compiler options; jit around it does.  Not of `step` itself: jit would copy its attribute `lower`,
    # which compiles without them.
    def with_options(state, sources, order, count):
        return step(state, sources, order, count)

    return jax.jit(with_options, donate_argnums=0, static_argnums=3, compiler_options=options)


def make_epoch_end(step_config: StepConfig) -> Callable:
    """(state, sources) → (state, report) over all devices, see `device_epoch_end`.

    For a state in device layout, which is donated.
    """
    axes = STATE_AXES[step_config.memory_kind]
    return jax.pmap(
        lambda state, sources: device_epoch_end(step_config, state, sources),
        axis_name=DEVICES, in_axes=(axes, 0), out_axes=(axes, None), donate_argnums=0,
    )


def make_sharded_step(step_config: StepConfig, mesh: Mesh) -> Callable:
    """The step of `make_train_step` under jit and shard_map, for a state in checkpoint layout, which is donated.

    It works over several processes, and can be compiled ahead of time for devices that are not present.
    """
    split, same = PartitionSpec(DEVICES), PartitionSpec()

    def steps(state, sources, order, count):
        def per_device(state, sources, order):
            return device_steps(step_config, state, *jax.tree.map(lambda x: x[0], (sources, order)), count)

        return _over_mesh(step_config, mesh, per_device, (split, split), (same,))(state, sources, order)

    return jax.jit(steps, donate_argnums=0, static_argnums=3, compiler_options=_options(mesh))


def make_sharded_epoch_end(step_config: StepConfig, mesh: Mesh) -> Callable:
    """The function of `make_epoch_end` for the states of `make_sharded_step`."""
    def per_device(state, sources):
        return device_epoch_end(step_config, state, jax.tree.map(lambda x: x[0], sources))

    return _sharded(step_config, mesh, per_device, inputs=(PartitionSpec(DEVICES),), outputs=(PartitionSpec(),))


def make_streamed_step(step_config: StepConfig, mesh: Mesh) -> Callable:
    """(state, sources, order, streamed) → (state, means `[1, …]`, levels), for a bank in host memory (`host_bank`).

    The state's bank has no images.  `streamed`, uint8 `[devices, B, K, P, P]`, are the remembered outputs of the
    batch; `levels`, uint8 `[devices, B, P, P]`, are the outputs to store.  The state is donated.
    """
    split, same = PartitionSpec(DEVICES), PartitionSpec()

    def per_device(state, sources, order, streamed):
        sources, order, streamed = jax.tree.map(lambda x: x[0], (sources, order, streamed))
        state, means, levels = device_step(step_config, state, sources, order, streamed)
        return state, *jax.tree.map(lambda x: x[None], (means, levels))

    return _sharded(step_config, mesh, per_device, inputs=(split, split, split), outputs=(same, split))


def _sharded(step_config: StepConfig, mesh: Mesh, per_device: Callable, inputs: tuple, outputs: tuple) -> Callable:
    """`_over_mesh`, jitted; the state is donated."""
    return jax.jit(_over_mesh(step_config, mesh, per_device, inputs, outputs), donate_argnums=0,
                   compiler_options=_options(mesh))


def _options(mesh: Mesh) -> dict[str, str]:
    """`compiler_options` for the devices of a mesh, which may be none of this machine's."""
    return compiler_options(mesh.devices.flat[0].platform)


def _over_mesh(step_config: StepConfig, mesh: Mesh, per_device: Callable, inputs: tuple, outputs: tuple) -> Callable:
    """(state, *inputs) → (state, *outputs), each split over the mesh as its spec says."""
    state_spec = state_specs(step_config.memory_kind)
    return jax.shard_map(per_device, mesh=mesh, in_specs=(state_spec, *inputs), out_specs=(state_spec, *outputs),
                         check_vma=False)
