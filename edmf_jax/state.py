"""TrainState, everything a run is in one record, and Sources, what it is trained on."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.memory import MemoryBank
from edmf_jax.snapshots import SnapshotBank

DEVICES = "devices"  # the axis over which patches, sources and memory are split


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Parameters, optimiser and memory after `step` completed steps.

    The batch of a step is a function of (seed, step), so there is no other
    position to keep, and no random key: nothing else is drawn after step 0.
    """

    step: jax.Array  # int32 []
    params: Any  # {"conv1": {"kernel": …, "bias": …}, …}, float32
    opt_state: Any
    bank: MemoryBank | SnapshotBank


class Sources(NamedTuple):
    """What the devices hold of the pictures; the leading axis is the device."""

    atlas: jax.Array  # uint8 [D, 2, rows, width], grey levels
    corners: jax.Array  # int32 [D, places, 2], top and left of each place's patch in the atlas
    used: jax.Array  # bool [D, places], False for the empty places


# Which leaves are split over the devices (0, along the leading axis) and which are the same on each (None).
_IMAGES = MemoryBank(images=0, scores=0, sharpness=0, slots=None, epochs=None, epoch_sharpness=None, free=None)
_SNAPSHOTS = SnapshotBank(params=None, sharpness=0, epochs=None, epoch_sharpness=None)
STATE_AXES = {kind: TrainState(step=None, params=None, opt_state=None, bank=bank)
              for kind, bank in (("images", _IMAGES), ("snapshots", _SNAPSHOTS))}
"""By `memory.kind`; "host" is as "images", but for the images, which are not in the step's state."""


def kind_of(state: TrainState) -> str:
    """The `memory.kind` of a state: "snapshots", or "images" for a bank of them, wherever it lies."""
    return "snapshots" if isinstance(state.bank, SnapshotBank) else "images"


def _reshape_bank(state: TrainState, reshape) -> TrainState:
    axes = vars(STATE_AXES[kind_of(state)].bank)
    split = {name: reshape(getattr(state.bank, name)) for name, axis in axes.items() if axis == 0}
    return dataclasses.replace(state, bank=dataclasses.replace(state.bank, **split))


def to_devices(state: TrainState, devices: int) -> TrainState:
    """Bank rows `[places, …]` → `[devices, places / devices, …]`, as the pmapped step takes them."""
    return _reshape_bank(state, lambda x: jnp.reshape(x, (devices, x.shape[0] // devices, *x.shape[1:])))


def to_logical(state: TrainState) -> TrainState:
    """The inverse of `to_devices`: the layout of checkpoints, whatever the number of devices."""
    return _reshape_bank(state, lambda x: jnp.reshape(x, (-1, *x.shape[2:])))


def with_images(state: TrainState, images: Any) -> TrainState:
    """The state with other images in its bank; None takes them away."""
    return dataclasses.replace(state, bank=dataclasses.replace(state.bank, images=images))


def state_specs(kind: str) -> TrainState:
    """How the leaves of a step's state with this `memory.kind` are split, as a prefix of its tree."""
    axes = STATE_AXES["images" if kind == "host" else kind]
    specs = jax.tree.map(lambda axis: PartitionSpec() if axis is None else PartitionSpec(DEVICES), axes,
                         is_leaf=lambda x: x is None)
    return with_images(specs, None) if kind == "host" else specs


def shardings(mesh: Mesh, state: TrainState, kind: str | None = None) -> TrainState:
    """A sharding for each leaf of `state` (arrays or their shapes), in either layout of the bank.

    Args:
      kind: its `memory.kind`; by default that of the state with everything on the devices.
    """
    kind = kind or kind_of(state)
    specs = state_specs("images" if kind == "host" else kind)
    places = jax.tree.map(lambda spec, leaves: jax.tree.map(lambda _: NamedSharding(mesh, spec), leaves), specs, state)
    return with_images(places, host_sharding(mesh)) if kind == "host" else places


def host_sharding(mesh: Mesh) -> NamedSharding:
    """Split over the devices, but in the host's pinned memory."""
    return NamedSharding(mesh, PartitionSpec(DEVICES), memory_kind="pinned_host")
