"""Where model, loss and memory meet: the pmapped training step and the end of an epoch."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from edmf_jax import memory, snapshots
from edmf_jax.focus import blended, emphasise, focus_masks, levelled, spatial_frequency
from edmf_jax.losses import Coefficients, LossReport, source_score, total_loss
from edmf_jax.model import FusionNet
from edmf_jax.patches import Layout
from edmf_jax.state import DEVICES, STATE_AXES, Sources, TrainState, state_specs


class Recipe(NamedTuple):
    """What a step needs besides arrays; fixed for a run."""

    model: FusionNet
    optimizer: optax.GradientTransformation
    coefficients: Coefficients
    window_px: int  # of the focus masks
    patch_px: int
    layout: Layout
    steps_per_call: int = 1
    memory_kind: str = "images"  # or "host", "snapshots"
    admission: memory.Admission = memory.PAPER
    ratios: str = "adaptive"  # see losses.RATIOS
    activity: str = "spatial-frequency"  # see focus.ACTIVITIES
    exposure_share: float = 0.0  # see focus.levelled
    detail_gain: float = 0.0  # see focus.emphasise
    detail_floor: float = 0.0
    blend_exponent: float = 0.0  # see focus.blended
    blend_floor: float = 0.0
    swap: bool = False  # whether the sources change places, see `swapped`


def make_targets(recipe: Recipe, planes: jax.Array) -> jax.Array:
    """What Eqs. 2, 4 and 6 compare with: `[B, 2, H, W]`, the sources themselves, or what the recipe makes of them."""
    targets = planes
    if recipe.exposure_share:
        targets = levelled(targets, recipe.exposure_share)
    if recipe.detail_gain:
        targets = emphasise(targets, recipe.detail_gain, recipe.detail_floor)
    if recipe.blend_exponent:
        targets = blended(targets, planes, recipe.blend_exponent, recipe.blend_floor, recipe.window_px,
                          recipe.activity)
    return targets


def cut_patches(sources: Sources, places: jax.Array, patch_px: int) -> jax.Array:
    """The pairs of patches at `places` [B] of one device's sources: uint8 `[B, 2, P, P]`."""

    def cut(corner):
        return jax.lax.dynamic_slice(sources.atlas, (0, corner[0], corner[1]), (2, patch_px, patch_px))

    return jax.vmap(cut)(sources.corners.at[places].get(mode="clip"))


def swapped(planes: jax.Array, places: jax.Array, epoch: jax.Array) -> jax.Array:
    """Sources `[B, 2, H, W]` at `places` [B], the first and the second exchanged for half of the places.

    The other half in the next epoch, so that the network sees every patch both ways round.
    """
    return jnp.where(((places + epoch) % 2 == 1)[:, None, None, None], planes[:, ::-1], planes)


def recall(recipe: Recipe, bank, places: jax.Array, planes: jax.Array, streamed: jax.Array | None
           ) -> tuple[jax.Array, jax.Array]:
    """What is remembered of patches `[B, 2, P, P]` at `places`: planes `[B, K, P, P]` in [0, 1] and scores `[B, K]`."""
    if recipe.memory_kind == "snapshots":
        remembered = jax.lax.stop_gradient(snapshots.recompute(bank, recipe.model, planes))
        return remembered, jax.vmap(source_score, (1, None), 1)(remembered, planes)
    if recipe.memory_kind == "host":
        return memory.dequantise(streamed), memory.read_scores(bank, places)
    levels, scores = memory.read(bank, places)
    return memory.dequantise(levels), scores


def remember(recipe: Recipe, bank, places: jax.Array, levels: jax.Array, planes: jax.Array):
    """The bank with a batch of outputs uint8 `[B, P, P]`, and the scores that belong to them."""
    kept = memory.dequantise(levels)
    if recipe.memory_kind == "snapshots":
        return snapshots.write(bank, places, spatial_frequency(kept))
    return memory.write(bank, places, levels, source_score(kept, planes), spatial_frequency(kept))


def _weighted_sums(report: LossReport, weight: jax.Array) -> dict[str, jax.Array]:
    """Sums over the patches of a batch, by the names the log uses; `[]` or `[K]` each."""
    values = {
        "loss": report.total,
        **{f"current_{name}": value for name, value in report.current._asdict().items()},
        **{f"memory_{name}": value for name, value in report.memory._asdict().items()},
        "score": report.score,
        "ratio": report.ratio,
        "memory_ratios": report.memory_ratios,
    }
    return {name: jnp.tensordot(weight, value, 1) for name, value in values.items()}


def device_step(recipe: Recipe, state: TrainState, sources: Sources, order: jax.Array,
                streamed: jax.Array | None = None):
    """One training step as one device sees it.  The gradient mean is the only word between devices.

    Args:
      state: with this device's part of the bank, `[places, …]`.
      sources: this device's.
      order: int32 `[steps, B]`, this device's places for every step of the epoch.
      streamed: uint8 `[B, K, P, P]`, what is remembered of the batch, where the bank is in host memory.

    Returns:
      The next state, the batch's means by name, the same on every device, and its outputs, uint8 `[B, P, P]`.
    """
    batch = jax.lax.dynamic_index_in_dim(order, state.step % recipe.layout.steps_per_epoch, keepdims=False)
    weight = (batch < sources.used.shape[0]).astype(jnp.float32)
    planes = memory.dequantise(cut_patches(sources, batch, recipe.patch_px))
    if recipe.swap:
        planes = swapped(planes, batch, state.step // recipe.layout.steps_per_epoch)
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1], recipe.window_px, recipe.activity), axis=1)
    targets = make_targets(recipe, planes)
    remembered, scores = recall(recipe, state.bank, batch, planes, streamed)
    held = memory.held(state.bank)

    def loss(params):
        output = recipe.model.apply({"params": params}, jnp.moveaxis(planes, 1, -1))
        report = total_loss(output, planes, masks, remembered, scores, held, recipe.coefficients, recipe.ratios,
                            targets)
        return jnp.sum(weight * report.total), (output, report)

    gradients, (output, report) = jax.grad(loss, has_aux=True)(state.params)
    # Gradients, log values and the number of patches travel as one vector: one all-reduce a step.
    packed, unpack = ravel_pytree((gradients, _weighted_sums(report, weight), jnp.sum(weight)))
    gradients, sums, patches = unpack(jax.lax.psum(packed, DEVICES))
    gradients, means = jax.tree.map(lambda x: x / patches, (gradients, sums))
    means["gradient_norm"] = optax.tree.norm(gradients)
    updates, opt_state = recipe.optimizer.update(gradients, state.opt_state, state.params)
    levels = memory.quantise(output)
    bank = remember(recipe, state.bank, batch, levels, planes)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state, bank), means, levels


def device_steps(recipe: Recipe, state: TrainState, sources: Sources, order: jax.Array, count: jax.Array):
    """`count` training steps of one epoch in one dispatch, 1 ≤ count ≤ `recipe.steps_per_call`.

    The number is traced, so that the last, shorter call of an epoch needs no program of its own.

    Returns:
      The state after them and the batches' means by name, `[steps_per_call, …]`, those past `count` zero.
    """
    def step(state):
        return device_step(recipe, state, sources, order)[:2]

    if recipe.steps_per_call == 1:
        state, means = step(state)
        return state, jax.tree.map(lambda x: x[None], means)
    shapes = jax.eval_shape(step, state)[1]
    empty = jax.tree.map(lambda x: jnp.zeros((recipe.steps_per_call, *x.shape), x.dtype), shapes)

    def body(i, carry):
        state, collected = carry
        state, means = step(state)
        return state, jax.tree.map(lambda all_, x: all_.at[i].set(x), collected, means)

    return jax.lax.fori_loop(0, count, body, (state, empty))


def device_epoch_end(recipe: Recipe, state: TrainState, sources: Sources):
    """Algorithm 1 as one device sees it: state, and the epoch's mean sharpness and whether it was admitted."""
    bank = state.bank
    images = recipe.memory_kind != "snapshots"
    of_planes = bank.sharpness.at[:, bank.free].get() if images else bank.sharpness
    own = jnp.sum(jnp.where(sources.used, of_planes, 0.0))
    sharpness = jax.lax.psum(own, DEVICES) / recipe.layout.patches
    epoch = state.step // recipe.layout.steps_per_epoch
    if images:
        bank, admitted = memory.admit(bank, epoch, sharpness, recipe.admission)
    else:
        bank, admitted = snapshots.admit(bank, state.params, epoch, sharpness, recipe.admission)
    report = {"sharpness": sharpness, "admitted": admitted, "held_epochs": bank.epochs}
    return dataclasses.replace(state, bank=bank), report


def make_train_step(recipe: Recipe) -> Callable:
    """(state, sources, order, count) → (state, means `[steps_per_call, …]`) over all devices; the state is donated.

    See `device_steps`.
    """
    axes = STATE_AXES[recipe.memory_kind]
    return jax.pmap(
        lambda state, sources, order, count: device_steps(recipe, state, sources, order, count),
        axis_name=DEVICES, in_axes=(axes, 0, 0, None), out_axes=(axes, None), donate_argnums=0,
    )


def make_sharded_step(recipe: Recipe, mesh: Mesh) -> Callable:
    """The same step as `make_train_step`'s under jit and shard_map, the bank in its logical layout.

    It runs over several processes, and can be compiled ahead of time for devices that are not there.
    """
    split, same = PartitionSpec(DEVICES), PartitionSpec()

    def per_device(state, sources, order, count):
        return device_steps(recipe, state, *jax.tree.map(lambda x: x[0], (sources, order)), count)

    return _sharded(recipe, mesh, per_device, inputs=(split, split, same), outputs=(same,))


def make_streamed_step(recipe: Recipe, mesh: Mesh) -> Callable:
    """(state, sources, order, streamed) → (state, means `[1, …]`, levels), of a bank in host memory (see `hosted`).

    The state has no images: `streamed`, uint8 `[devices, B, K, P, P]`, is what the bank
    remembers of the batch, `levels`, uint8 `[devices, B, P, P]`, what goes into it.  The state is donated.
    """
    split, same = PartitionSpec(DEVICES), PartitionSpec()

    def per_device(state, sources, order, streamed):
        sources, order, streamed = jax.tree.map(lambda x: x[0], (sources, order, streamed))
        state, means, levels = device_step(recipe, state, sources, order, streamed)
        return state, *jax.tree.map(lambda x: x[None], (means, levels))

    return _sharded(recipe, mesh, per_device, inputs=(split, split, split), outputs=(same, split))


def make_sharded_epoch_end(recipe: Recipe, mesh: Mesh) -> Callable:
    """The same as `make_epoch_end`'s, for the states of `make_sharded_step`."""
    def per_device(state, sources):
        return device_epoch_end(recipe, state, jax.tree.map(lambda x: x[0], sources))

    return _sharded(recipe, mesh, per_device, inputs=(PartitionSpec(DEVICES),), outputs=(PartitionSpec(),))


def _sharded(recipe: Recipe, mesh: Mesh, per_device: Callable, inputs: tuple, outputs: tuple) -> Callable:
    """(state, *inputs) → (state, *outputs), jitted over the mesh, split as the specs say; the state is donated."""
    state_spec = state_specs(recipe.memory_kind)
    mapped = jax.shard_map(per_device, mesh=mesh, in_specs=(state_spec, *inputs), out_specs=(state_spec, *outputs),
                           check_vma=False)
    return jax.jit(mapped, donate_argnums=0)


def make_epoch_end(recipe: Recipe) -> Callable:
    """(state, sources) → (state, report) over all devices; the state is donated."""
    axes = STATE_AXES[recipe.memory_kind]
    return jax.pmap(
        lambda state, sources: device_epoch_end(recipe, state, sources),
        axis_name=DEVICES, in_axes=(axes, 0), out_axes=(axes, None), donate_argnums=0,
    )
