"""A bank whose images lie in the host's memory, for devices that can't hold them (`memory.kind = "host"`).

What a step needs of it travels to the devices while the step before runs, and what a step
puts out travels back while the next ones run.  The host moves the rows itself: a program that
slices or gathers an array in host memory is compiled for a TPU v5e into one that copies the
whole bank to the device in every step (tried ahead of time), so memory kinds serve for the bank
at rest: in checkpoints and between runs.
"""

import collections

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.state import DEVICES, Sources, TrainState, host_sharding, with_images
from edmf_jax.steps import Recipe, make_sharded_epoch_end, make_streamed_step

_ON_THE_WAY = 2  # steps whose outputs may still be travelling


class HostedPrograms:
    """`loop.Programs` for a bank in host memory; it holds the images while a run goes on.

    Args:
      recipe: of the run; steps go one in a call.
      mesh: the devices.
    """

    def __init__(self, recipe: Recipe, mesh: Mesh):
        self._recipe, self._mesh = recipe, mesh
        self._step, self._end = make_streamed_step(recipe, mesh), make_sharded_epoch_end(recipe, mesh)
        self._mine = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
        self._split = NamedSharding(mesh, PartitionSpec(DEVICES))
        self._blocks: list[np.ndarray] = []  # uint8 [places, K+1, P, P], of each of this process's devices
        self._given = None  # the images that `to_logical` gave out, while the blocks hold the same
        self._order = None  # the epoch's, as it came

    def to_devices(self, state: TrainState) -> TrainState:
        """Takes the images out of a state in the layout of checkpoints; the rest is the step's state."""
        if self._given is None or state.bank.images is not self._given:
            shards = {shard.device: shard.data for shard in state.bank.images.addressable_shards}
            self._blocks = [np.array(shards[device]) for device in self._mine]
        self._given, self._order = None, None
        self._number = int(state.step)
        return with_images(state, None)

    def to_logical(self, state: TrainState) -> TrainState:
        """The inverse; the images are a copy, so that they can be saved while steps go on."""
        self._drain(0)
        shape = len(self._blocks[0]) * self._mesh.size, *self._blocks[0].shape[1:]
        sharding = host_sharding(self._mesh)
        parts = [jax.device_put(np.array(block), jax.sharding.SingleDeviceSharding(device, memory_kind="pinned_host"))
                 for block, device in zip(self._blocks, self._mine)]
        self._given = jax.make_array_from_single_device_arrays(shape, sharding, parts)
        return with_images(state, self._given)

    def train_steps(self, state: TrainState, sources: Sources, order: jax.Array, count: jax.Array
                    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step (`count` is 1), and the rows of the next one sent after it."""
        if order is not self._order:
            self._begin_epoch(state, order)
        state, means, levels = self._step(state, sources, order, self._next_rows)
        for shard in levels.addressable_shards:
            shard.data.copy_to_host_async()
        self._travelling.append((self._number % self._recipe.layout.steps_per_epoch, levels))
        self._number += 1
        self._send_rows()
        self._drain(_ON_THE_WAY)
        return state, means

    def epoch_end(self, state: TrainState, sources: Sources):
        """Algorithm 1; the slot numbers change, the images stay."""
        self._drain(0)
        return self._end(state, sources)

    def _begin_epoch(self, state: TrainState, order: jax.Array) -> None:
        shards = {shard.device: shard.data for shard in order.addressable_shards}
        self._order, self._places = order, [np.asarray(shards[device])[0] for device in self._mine]
        self._slots, self._free = np.asarray(state.bank.slots), int(state.bank.free)
        self._travelling = collections.deque()
        self._send_rows()

    def _send_rows(self) -> None:
        """What is remembered of the next step's patches, on its way to the devices."""
        step = self._number % self._recipe.layout.steps_per_epoch
        parts = []
        for block, places, device in zip(self._blocks, self._places, self._mine):
            rows = np.minimum(places[step], len(block) - 1)  # a filler reads some patch
            parts.append(jax.device_put(block[rows[:, None], self._slots[None, :]][None], device))
        shape = self._mesh.size, *parts[0].shape[1:]
        self._next_rows = jax.make_array_from_single_device_arrays(shape, self._split, parts)

    def _drain(self, left: int) -> None:
        """Writes outputs that have arrived into the running epoch's slot, all but the newest `left` steps'."""
        while self._order is not None and len(self._travelling) > left:
            step, levels = self._travelling.popleft()
            shards = {shard.device: shard.data for shard in levels.addressable_shards}
            for block, places, device in zip(self._blocks, self._places, self._mine):
                kept = places[step] < len(block)  # fillers are dropped
                block[places[step][kept], self._free] = np.asarray(shards[device])[0][kept]
