"""TrainState, the complete state of a run, and Sources, the training pictures on the devices.

A state has two layouts, which differ in the arrays of the memory bank that are split over the devices:

- checkpoint layout: `[bank_rows, …]`, independent of the number of devices;
- device layout: `[devices, bank_rows / devices, …]`, as the pmapped step takes it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.core.memory import MemoryBank
from edmf_jax.core.snapshots import SnapshotBank

DEVICES = "devices"  # the mesh axis over which patches, sources and memory are split


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Parameters, optimizer state and memory after `step` completed steps.

    The batch of a step is a function of (seed, step), so no position in the data is kept; nothing else is drawn after
    step 0, so no random key is kept either.
    """

    step: jax.Array  # int32 []
    params: Any  # {"conv1": {"kernel": …, "bias": …}, …}, float32
    opt_state: Any
    bank: MemoryBank | SnapshotBank


class Sources(NamedTuple):
    """The pictures on D devices and where their R bank rows' patches are; the leading axis is the device."""

    atlas: jax.Array  # uint8 [D, 2, height, width], gray levels of first and second sources
    corners: jax.Array  # int32 [D, R, 2], top and left of each bank row's patch in the atlas
    used: jax.Array  # bool [D, R], False for the empty bank rows


# Which leaves are split over the devices (0, along the leading axis) and which are the same on each (None).
_IMAGES = MemoryBank(images=0, scores=0, sharpness=0, slots=None, epochs=None, epoch_sharpness=None, free=None)
_SNAPSHOTS = SnapshotBank(params=None, sharpness=0, epochs=None, epoch_sharpness=None)
STATE_AXES = {kind: TrainState(step=None, params=None, opt_state=None, bank=bank)
              for kind, bank in (("images", _IMAGES), ("snapshots", _SNAPSHOTS))}
"""By `memory.kind`; "host" is as "images", except that the images are not in the step's state."""


def kind_of(state: TrainState) -> str:
    """The `memory.kind` of a state: "snapshots", or "images" for a bank of images on the devices or the host."""
    return "snapshots" if isinstance(state.bank, SnapshotBank) else "images"


def _reshape_bank(state: TrainState, reshape) -> TrainState:
    axes = vars(STATE_AXES[kind_of(state)].bank)
    split = {name: reshape(getattr(state.bank, name)) for name, axis in axes.items() if axis == 0}
    return dataclasses.replace(state, bank=dataclasses.replace(state.bank, **split))


def to_devices(state: TrainState, devices: int) -> TrainState:
    """Checkpoint layout → device layout: bank arrays `[bank_rows, …]` → `[devices, bank_rows / devices, …]`."""
    return _reshape_bank(state, lambda x: jnp.reshape(x, (devices, x.shape[0] // devices, *x.shape[1:])))


def to_checkpoint_layout(state: TrainState) -> TrainState:
    """Device layout → checkpoint layout, the inverse of `to_devices`."""
    return _reshape_bank(state, lambda x: jnp.reshape(x, (-1, *x.shape[2:])))


def with_images(state: TrainState, images: Any) -> TrainState:
    """The state with other images in its bank, or with None in their place."""
    return dataclasses.replace(state, bank=dataclasses.replace(state.bank, images=images))


def state_specs(kind: str) -> TrainState:
    """PartitionSpecs of a step's state with this `memory.kind`, as a prefix of its tree."""
    axes = STATE_AXES["images" if kind == "host" else kind]
    specs = jax.tree.map(lambda axis: PartitionSpec() if axis is None else PartitionSpec(DEVICES), axes,
                         is_leaf=lambda x: x is None)
    return with_images(specs, None) if kind == "host" else specs


def shardings(mesh: Mesh, state: TrainState, kind: str | None = None) -> TrainState:
    """A sharding for each leaf of `state`, in either layout: both split along the leading axis.

    Args:
      mesh: the devices.
      state: arrays or their shapes.
      kind: its `memory.kind`; None: that of `kind_of`, with everything on the devices.
    """
    kind = kind or kind_of(state)
    specs = state_specs("images" if kind == "host" else kind)
    found = jax.tree.map(lambda spec, leaves: jax.tree.map(lambda _: NamedSharding(mesh, spec), leaves), specs, state)
    return with_images(found, host_sharding(mesh)) if kind == "host" else found


def host_sharding(mesh: Mesh) -> NamedSharding:
    """Split over the devices along the leading axis, each part in pinned host memory instead of on its device."""
    return NamedSharding(mesh, PartitionSpec(DEVICES), memory_kind="pinned_host")
