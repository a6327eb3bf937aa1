"""Where model, loss and memory meet: the pmapped training step and the end of an epoch."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from edmf_jax import memory
from edmf_jax.focus import focus_masks, spatial_frequency
from edmf_jax.losses import Coefficients, LossReport, source_score, total_loss
from edmf_jax.memory import MemoryBank
from edmf_jax.model import FusionNet
from edmf_jax.patches import Layout
from edmf_jax.state import DEVICES, STATE_AXES, Sources, TrainState


class Recipe(NamedTuple):
    """What a step needs besides arrays; fixed for a run."""

    model: FusionNet
    optimizer: optax.GradientTransformation
    coefficients: Coefficients
    window_px: int  # of the focus masks
    patch_px: int
    layout: Layout


def cut_patches(sources: Sources, places: jax.Array, patch_px: int) -> jax.Array:
    """The pairs of patches at `places` [B] of one device's sources: uint8 `[B, 2, P, P]`."""

    def cut(corner):
        return jax.lax.dynamic_slice(sources.atlas, (0, corner[0], corner[1]), (2, patch_px, patch_px))

    return jax.vmap(cut)(sources.corners.at[places].get(mode="clip"))


def remember(bank: MemoryBank, places: jax.Array, output: jax.Array, planes: jax.Array) -> MemoryBank:
    """Writes a batch of outputs `[B, P, P]` at 8 bits, with the scores that belong to what is written."""
    levels = memory.quantise(output)
    kept = memory.dequantise(levels)
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


def device_step(recipe: Recipe, state: TrainState, sources: Sources, order: jax.Array):
    """One training step as one device sees it.  The gradient mean is the only word between devices.

    Args:
      state: with this device's part of the bank, `[places, …]`.
      sources: this device's.
      order: int32 `[steps, B]`, this device's places for every step of the epoch.

    Returns:
      The next state and the batch's means by name, the same on every device.
    """
    batch = jax.lax.dynamic_index_in_dim(order, state.step % recipe.layout.steps_per_epoch, keepdims=False)
    weight = (batch < sources.used.shape[0]).astype(jnp.float32)
    planes = memory.dequantise(cut_patches(sources, batch, recipe.patch_px))
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1], recipe.window_px), axis=1)
    remembered, scores = memory.read(state.bank, batch)
    remembered = memory.dequantise(remembered)
    held = memory.held(state.bank)

    def loss(params):
        output = recipe.model.apply({"params": params}, jnp.moveaxis(planes, 1, -1))
        report = total_loss(output, planes, masks, remembered, scores, held, recipe.coefficients)
        return jnp.sum(weight * report.total), (output, report)

    gradients, (output, report) = jax.grad(loss, has_aux=True)(state.params)
    # Gradients, log values and the number of patches travel as one vector: one all-reduce a step.
    packed, unpack = ravel_pytree((gradients, _weighted_sums(report, weight), jnp.sum(weight)))
    gradients, sums, patches = unpack(jax.lax.psum(packed, DEVICES))
    gradients, means = jax.tree.map(lambda x: x / patches, (gradients, sums))
    updates, opt_state = recipe.optimizer.update(gradients, state.opt_state, state.params)
    bank = remember(state.bank, batch, output, planes)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state, bank), means


def device_epoch_end(recipe: Recipe, state: TrainState, sources: Sources):
    """Algorithm 1 as one device sees it: state, and the epoch's mean sharpness and whether it was admitted."""
    bank = state.bank
    own = jnp.sum(jnp.where(sources.used, bank.sharpness.at[:, bank.free].get(), 0.0))
    sharpness = jax.lax.psum(own, DEVICES) / recipe.layout.patches
    epoch = state.step // recipe.layout.steps_per_epoch
    bank, admitted = memory.admit(bank, epoch, sharpness)
    report = {"sharpness": sharpness, "admitted": admitted, "held_epochs": bank.epochs}
    return dataclasses.replace(state, bank=bank), report


def make_train_step(recipe: Recipe) -> Callable:
    """(state, sources, order) → (state, means) over all devices; the state is donated."""
    return jax.pmap(
        lambda state, sources, order: device_step(recipe, state, sources, order),
        axis_name=DEVICES, in_axes=(STATE_AXES, 0, 0), out_axes=(STATE_AXES, None), donate_argnums=0,
    )


def make_epoch_end(recipe: Recipe) -> Callable:
    """(state, sources) → (state, report) over all devices; the state is donated."""
    return jax.pmap(
        lambda state, sources: device_epoch_end(recipe, state, sources),
        axis_name=DEVICES, in_axes=(STATE_AXES, 0), out_axes=(STATE_AXES, None), donate_argnums=0,
    )
