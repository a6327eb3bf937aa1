"""A memory bank whose images are in the host's memory, for devices that can't hold them (`memory.kind = "host"`).

The remembered outputs that a step needs travel to the devices while the step before runs; the outputs of a step
travel back while the next ones run.  The host selects and stores the rows itself, in NumPy: a program that slices or
gathers an array in pinned host memory is compiled for a TPU v5e (tried ahead of time) into one that copies the whole
bank to the device in every step.  JAX's memory kinds are therefore used only for the bank at rest, before and after a
run.
"""

import collections
import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.training.state import DEVICES, Sources, TrainState, host_sharding, with_images
from edmf_jax.training.steps import StepConfig, make_sharded_epoch_end, make_streamed_step

_IN_FLIGHT = 2  # steps whose outputs may still be on their way to the host


@dataclasses.dataclass(frozen=True)
class HostShard:
    """One device's part of `HostImages`, as a shard of a jax.Array."""

    index: tuple[slice, ...]
    data: np.ndarray  # uint8 [rows_per_device, K+1, P, P]
    replica_id: int = 0


@dataclasses.dataclass(frozen=True)
class HostImages:
    """The bank's images where a run keeps them, for a checkpoint to copy a slot from: not a copy of them."""

    shape: tuple[int, ...]  # [rows, K+1, P, P], over all processes
    addressable_shards: list[HostShard]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class HostBankPrograms:
    """What `loop.Programs` has, for a bank in host memory; holds the bank's images while a run goes on.

    Args:
      step_config: of the run; with one step in a call.
      mesh: the devices.
    """

    def __init__(self, step_config: StepConfig, mesh: Mesh):
        self._step_config, self._mesh = step_config, mesh
        self._step, self._end = make_streamed_step(step_config, mesh), make_sharded_epoch_end(step_config, mesh)
        self._devices = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
        self._split = NamedSharding(mesh, PartitionSpec(DEVICES))
        self._blocks: list[np.ndarray] = []  # for each device of this process, uint8 [rows_per_device, K+1, P, P]
        self._order = None  # the epoch's order, as `train_steps` was given it

    def to_devices(self, state: TrainState) -> TrainState:
        """Takes the images out of a state in checkpoint layout; the rest is the state that the step works on.

        After a save (`for_saving`) they are where they were.
        """
        if not isinstance(state.bank.images, HostImages):
            shards = {shard.device: shard.data for shard in state.bank.images.addressable_shards}
            self._blocks = [np.array(shards[device]) for device in self._devices]
        self._order = None
        self._step_number = int(state.step)
        return with_images(state, None)

    def for_saving(self, state: TrainState) -> TrainState:
        """The state for `Checkpoints.save`, in checkpoint layout, with `HostImages`."""
        self._store_outputs(in_flight=0)
        rows, first = len(self._blocks[0]), {d: i for i, d in enumerate(self._mesh.devices.flat)}
        shards = [HostShard((slice(first[device] * rows, (first[device] + 1) * rows),), block)
                  for block, device in zip(self._blocks, self._devices)]
        return with_images(state, HostImages((rows * self._mesh.size, *self._blocks[0].shape[1:]), shards))

    def to_checkpoint_layout(self, state: TrainState) -> TrainState:
        """The inverse of `to_devices`, at the end of a run; the images are a copy."""
        shape = self.for_saving(state).bank.images.shape
        parts = [jax.device_put(np.array(block), jax.sharding.SingleDeviceSharding(device, memory_kind="pinned_host"))
                 for block, device in zip(self._blocks, self._devices)]
        return with_images(state, jax.make_array_from_single_device_arrays(shape, host_sharding(self._mesh), parts))

    def train_steps(self, state: TrainState, sources: Sources, order: jax.Array, count: jax.Array
                    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step (`count` is 1); then starts sending what the next one needs."""
        if order is not self._order:
            self._begin_epoch(state, order)
        state, means, levels = self._step(state, sources, order, self._next_rows)
        for shard in levels.addressable_shards:
            shard.data.copy_to_host_async()
        self._outputs.append((self._step_number % self._step_config.layout.steps_per_epoch, levels))
        self._step_number += 1
        self._send_rows()
        self._store_outputs(_IN_FLIGHT)
        return state, means

    def epoch_end(self, state: TrainState, sources: Sources):
        """Algorithm 1; slot numbers change, the images stay where they are."""
        self._store_outputs(in_flight=0)
        return self._end(state, sources)

    def _begin_epoch(self, state: TrainState, order: jax.Array) -> None:
        shards = {shard.device: shard.data for shard in order.addressable_shards}
        self._order, self._bank_rows = order, [np.asarray(shards[device])[0] for device in self._devices]
        self._slots, self._free = np.asarray(state.bank.slots), int(state.bank.free)
        self._outputs = collections.deque()  # (step of the epoch, levels) not stored yet
        self._send_rows()

    def _send_rows(self) -> None:
        """Starts sending the remembered outputs of the next step's patches to the devices."""
        step = self._step_number % self._step_config.layout.steps_per_epoch
        parts = []
        for block, bank_rows, device in zip(self._blocks, self._bank_rows, self._devices):
            rows = np.minimum(bank_rows[step], len(block) - 1)  # fillers read an arbitrary patch
            parts.append(jax.device_put(block[rows[:, None], self._slots[None, :]][None], device))
        shape = self._mesh.size, *parts[0].shape[1:]
        self._next_rows = jax.make_array_from_single_device_arrays(shape, self._split, parts)

    def _store_outputs(self, in_flight: int) -> None:
        """Writes outputs into the running epoch's slot, all but those of the newest `in_flight` steps."""
        while self._order is not None and len(self._outputs) > in_flight:
            step, levels = self._outputs.popleft()
            shards = {shard.device: shard.data for shard in levels.addressable_shards}
            for block, bank_rows, device in zip(self._blocks, self._bank_rows, self._devices):
                is_patch = bank_rows[step] < len(block)  # fillers are dropped
                block[bank_rows[step][is_patch], self._free] = np.asarray(shards[device])[0][is_patch]
