"""The adaptive memory for devices that can't hold a bank of pictures: the parameters of the best epochs.

What an epoch remembered of a patch is recomputed from them, at the 8 bits that the
bank keeps.  It is not the same memory to the bit: the bank holds what the network put
out while the epoch ran, a snapshot what it puts out at the epoch's end.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from edmf_jax import memory
from edmf_jax.memory import EMPTY
from edmf_jax.model import FusionNet


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SnapshotBank:
    """A record of arrays; N patches, K remembered epochs.

    `sharpness` is split by patch over the devices, the rest is the same on each.
    """

    params: Any  # the network's parameters at the end of each remembered epoch, [K, …] each
    sharpness: jax.Array  # float32 [N], spatial frequency of the running epoch's planes, of values in [0, 1]
    epochs: jax.Array  # int32 [K], the epoch number of each entry, `EMPTY` where none
    epoch_sharpness: jax.Array  # float32 [K], mean spatial frequency of that epoch


def init_snapshots(params: Any, patches: int, remembered: int) -> SnapshotBank:
    """An empty memory for parameters like `params`, `patches` planes and `remembered` epochs."""
    return SnapshotBank(
        params=jax.tree.map(lambda x: jnp.zeros((remembered, *x.shape), x.dtype), params),
        sharpness=jnp.zeros((patches,), jnp.float32),
        epochs=jnp.full((remembered,), EMPTY, jnp.int32),
        epoch_sharpness=jnp.zeros((remembered,), jnp.float32),
    )


def recompute(bank: SnapshotBank, model: FusionNet, planes: jax.Array) -> jax.Array:
    """What the remembered networks make of sources `[B, 2, P, P]` in [0, 1]: `[B, K, P, P]`, at 8 bits, in [0, 1]."""
    pairs = jnp.moveaxis(planes, 1, -1)
    # One after the other: over a batch of kernels a convolution would become a grouped one, slow on every backend.
    outputs = [model.apply({"params": jax.tree.map(lambda x, k=k: x[k], bank.params)}, pairs)
               for k in range(bank.epochs.shape[0])]
    return memory.dequantise(memory.quantise(jnp.stack(outputs, 1)))


def write(bank: SnapshotBank, patch_numbers: jax.Array, sharpness: jax.Array) -> SnapshotBank:
    """Notes the spatial frequency of the running epoch's planes `[B]`; numbers past the last patch are dropped."""
    return dataclasses.replace(bank, sharpness=bank.sharpness.at[patch_numbers].set(sharpness, mode="drop"))


def admit(bank: SnapshotBank, params: Any, epoch: jax.Array, mean_sharpness: jax.Array,
          admission: memory.Admission = memory.PAPER) -> tuple[SnapshotBank, jax.Array]:
    """Algorithm 1 at the end of `epoch`, which ended with `params` → bank, admitted?  See `memory.admit`."""
    worst, admitted = memory.replaced(admission, bank.epochs, bank.epoch_sharpness, epoch, mean_sharpness)
    swap = memory.swapper(worst, admitted)
    new = dataclasses.replace(
        bank,
        params=jax.tree.map(swap, bank.params, params),
        epochs=swap(bank.epochs, jnp.asarray(epoch, jnp.int32)),
        epoch_sharpness=swap(bank.epoch_sharpness, mean_sharpness),
    )
    return new, admitted
