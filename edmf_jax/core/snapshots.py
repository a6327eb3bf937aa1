"""The adaptive memory without pictures, for devices that can't hold a bank: the parameters of the best epochs.

The remembered outputs of a patch are recomputed from these parameters, rounded to 8 bits as the bank has them.  The
numbers differ slightly from the bank's: the bank holds what the network put out while the epoch ran, a snapshot
gives what it puts out with the parameters of the epoch's end.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from edmf_jax.core import memory
from edmf_jax.core.memory import EMPTY
from edmf_jax.core.model import FusionNet


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SnapshotBank:
    """A record of arrays for N patches and K remembered epochs.

    `sharpness` is split over the devices by patch; the other arrays are the same on each.
    """

    params: Any  # the network's parameters at the end of each remembered epoch, each leaf [K, …]
    sharpness: jax.Array  # float32 [N], spatial frequency of the running epoch's planes, of values in [0, 1]
    epochs: jax.Array  # int32 [K], the epoch number of each entry, or `EMPTY`
    epoch_sharpness: jax.Array  # float32 [K], mean spatial frequency of that epoch


def init_snapshots(params: Any, patches: int, remembered: int) -> SnapshotBank:
    """An empty memory for parameters shaped as `params`, `patches` planes and `remembered` epochs."""
    return SnapshotBank(
        params=jax.tree.map(lambda x: jnp.zeros((remembered, *x.shape), x.dtype), params),
        sharpness=jnp.zeros((patches,), jnp.float32),
        epochs=jnp.full((remembered,), EMPTY, jnp.int32),
        epoch_sharpness=jnp.zeros((remembered,), jnp.float32),
    )


def recompute(bank: SnapshotBank, model: FusionNet, planes: jax.Array) -> jax.Array:
    """Outputs of the remembered networks for sources `[B, 2, P, P]` in [0, 1]: `[B, K, P, P]` in [0, 1], at 8 bits."""
    pairs = jnp.moveaxis(planes, 1, -1)
    # One network after the other: a convolution batched over kernels becomes a grouped one, slow on every backend.
    outputs = [model.apply({"params": jax.tree.map(lambda x, k=k: x[k], bank.params)}, pairs)
               for k in range(bank.epochs.shape[0])]
    return memory.dequantize(memory.quantize(jnp.stack(outputs, 1)))


def write(bank: SnapshotBank, patch_numbers: jax.Array, sharpness: jax.Array) -> SnapshotBank:
    """Stores the spatial frequency `[B]` of the running epoch's planes; numbers as in `memory.write`."""
    stored = bank.sharpness.at[patch_numbers].set(sharpness, mode="drop", unique_indices=True)
    return dataclasses.replace(bank, sharpness=stored)


def admit(bank: SnapshotBank, params: Any, epoch: jax.Array, mean_sharpness: jax.Array,
          admission: memory.Admission = memory.PAPER_ADMISSION) -> tuple[SnapshotBank, jax.Array]:
    """Algorithm 1 at the end of `epoch`, which ended with `params` → bank, admitted (bool []); see `memory.admit`."""
    entry, admitted = memory.choose_entry(admission, bank.epochs, bank.epoch_sharpness, epoch, mean_sharpness)
    write_entry = memory.entry_writer(entry, admitted)
    new = dataclasses.replace(
        bank,
        params=jax.tree.map(write_entry, bank.params, params),
        epochs=write_entry(bank.epochs, jnp.asarray(epoch, jnp.int32)),
        epoch_sharpness=write_entry(bank.epoch_sharpness, mean_sharpness),
    )
    return new, admitted
