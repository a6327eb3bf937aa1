"""A small training on a few devices, for the tests of its steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.core import losses, memory, model, snapshots
from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.training import state, steps
from edmf_jax.training.device_data import TrainingSet, put_sources
from edmf_jax.training.host_bank import HostBankPrograms
from edmf_jax.training.patches import PatchLayout, patch_table
from edmf_jax.training.state import DEVICES, TrainState


def make_mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), (DEVICES,))


# Equal configurations share their functions, and so what is traced and compiled of them.
adam = functools.cache(optax.adam)
make_train_step, make_epoch_end, make_sharded_step, make_sharded_epoch_end = map(functools.cache, (
    steps.make_train_step, steps.make_epoch_end, steps.make_sharded_step, steps.make_sharded_epoch_end))


class Rig:
    """A small training set on some devices, and the compiled steps.

    The network has few channels: XLA's loops over steps compute convolutions on a CPU a hundred times slower.
    """

    def __init__(self, devices, *, patches=13, shards=4, batch=4, patch_px=32, learning_rate=1e-4, pairs=None,
                 memory_kind="images", sharded=False, width=2):
        rng = np.random.default_rng(7)
        if pairs is None:
            sizes = [(70, 81), (41, 64), (48, 35)]
            pairs = [TrainingPair(i, rng.integers(0, 256, (2, *size)).astype(np.uint8)) for i, size in enumerate(sizes)]
        sizes = [p.size for p in pairs]
        table = patch_table(sizes, [str(p.id) for p in pairs], patch_px, patches, 0)
        self.layout = PatchLayout(patches, shards, batch)
        self.training_set = TrainingSet(pairs, table, self.layout, patch_px)
        self.mesh = make_mesh(devices)
        self.sources = put_sources(self.training_set, self.mesh)
        self.step_config = steps.StepConfig(model.make_model(width), adam(learning_rate), losses.Coefficients(), 19,
                                            patch_px, self.layout, memory_kind=memory_kind)
        self.sharded = sharded or memory_kind == "host"
        self.host_bank = HostBankPrograms(self.step_config, self.mesh)
        if memory_kind == "host":
            self.train_steps, self.epoch_end = self.host_bank.train_steps, self.host_bank.epoch_end
        elif sharded:
            self.train_steps = make_sharded_step(self.step_config, self.mesh)
            self.epoch_end = make_sharded_epoch_end(self.step_config, self.mesh)
        else:  # pmap uses the first devices, as many as the leading axis is long.
            self.train_steps = make_train_step(self.step_config)
            self.epoch_end = make_epoch_end(self.step_config)

    def train_step(self, current, sources, order):
        """One step and its means."""
        current, means = self.train_steps(current, sources, order, 1)
        return current, jax.tree.map(lambda x: x[0], means)

    def initial_state(self, params=None):
        """In checkpoint layout."""
        params = model.init_params(self.step_config.model, jax.random.key(0)) if params is None else params
        if self.step_config.memory_kind == "snapshots":
            bank = snapshots.init_snapshots(params, self.layout.bank_rows, 4)
        else:
            bank = memory.init_bank(self.layout.bank_rows, 4, self.step_config.patch_px)
        return TrainState(jnp.zeros((), jnp.int32), params, self.step_config.optimizer.init(params), bank)

    def fresh_state(self, params=None):
        initial = self.initial_state(params)
        placed = initial if self.sharded else state.to_devices(initial, self.mesh.size)
        copy = jax.tree.map(np.array, placed)  # so that nothing that jit or the test holds is donated
        fresh = jax.device_put(copy, state.shardings(self.mesh, copy, self.step_config.memory_kind))
        return self.host_bank.to_devices(fresh) if self.step_config.memory_kind == "host" else fresh

    def order(self, epoch):
        order = self.layout.device_order(3, epoch, self.mesh.size)
        return jax.device_put(order, NamedSharding(self.mesh, PartitionSpec(DEVICES)))

    def epochs(self, count):
        """Trains epochs from a fresh state; returns the state, every batch's means and every epoch's report."""
        current, means, reports = self.fresh_state(), [], []
        for epoch in range(count):
            order = self.order(epoch)
            for _ in range(self.layout.steps_per_epoch):
                current, mean = self.train_step(current, self.sources, order)
                means.append(jax.device_get(mean))
            current, report = self.epoch_end(current, self.sources)
            reports.append(jax.device_get(report))
        return current, means, reports
