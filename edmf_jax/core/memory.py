"""The adaptive memory: the outputs of the best epochs, kept on the devices (paper 4.1, Algorithm 1).

One entry is the output of one whole epoch: an 8-bit plane for every training patch, with two numbers per plane that
are computed when it is written.  The bank has one slot more than it remembers.  The running epoch writes into the
free slot, in place; if the epoch is admitted at its end, only slot numbers change, no picture moves.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

EMPTY = -1
"""Epoch number of an entry that does not exist yet."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MemoryBank:
    """A record of arrays for N patches of P×P px and K remembered epochs.

    `images`, `scores` and `sharpness` are split over the devices by patch; the other arrays are the same on each.
    """

    images: jax.Array | None  # uint8 [N, K+1, P, P], gray levels; None in a step whose bank is in host memory
    scores: jax.Array  # float32 [N, K+1], S_i of Eq. 10: mean SSIM of the plane to its two sources
    sharpness: jax.Array  # float32 [N, K+1], spatial frequency of the plane, of values in [0, 1]
    slots: jax.Array  # int32 [K], the slots that hold remembered epochs (meaningless where empty)
    epochs: jax.Array  # int32 [K], the number of the epoch in `slots[k]`, or `EMPTY`
    epoch_sharpness: jax.Array  # float32 [K], mean spatial frequency of that epoch
    free: jax.Array  # int32 [], the slot that the running epoch writes


def init_bank(patches: int, remembered: int, patch_px: int) -> MemoryBank:
    """An empty bank for `patches` planes of `patch_px`² and `remembered` epochs."""
    slots = remembered + 1
    return MemoryBank(
        images=jnp.zeros((patches, slots, patch_px, patch_px), jnp.uint8),
        scores=jnp.zeros((patches, slots), jnp.float32),
        sharpness=jnp.zeros((patches, slots), jnp.float32),
        slots=jnp.arange(remembered, dtype=jnp.int32),
        epochs=jnp.full((remembered,), EMPTY, jnp.int32),
        epoch_sharpness=jnp.zeros((remembered,), jnp.float32),
        free=jnp.asarray(remembered, jnp.int32),
    )


def bank_bytes(patches: int, remembered: int, patch_px: int) -> int:
    """Bytes that the bank of `init_bank` takes."""
    return patches * (remembered + 1) * (patch_px**2 + 8)


def quantize(output: jax.Array) -> jax.Array:
    """Planes in [0, 1] → 8-bit gray levels, clipped, rounded half to even."""
    return jnp.round(jnp.clip(output, 0, 1) * 255).astype(jnp.uint8)


def dequantize(levels: jax.Array, dtype=jnp.float32) -> jax.Array:
    """8-bit gray levels → [0, 1]."""
    return levels.astype(dtype) / 255


def is_filled(bank: MemoryBank) -> jax.Array:
    """bool [K]: which of the remembered entries exist."""
    return bank.epochs != EMPTY


def read(bank: MemoryBank, patch_numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The remembered outputs of the patches `patch_numbers` [B]: planes uint8 `[B, K, P, P]`, scores `[B, K]`.

    Numbers past the last patch (padding of a batch) read an arbitrary patch; the caller gives them no weight.
    """
    images = bank.images.at[patch_numbers[:, None], bank.slots[None, :]].get(mode="clip")
    return images, read_scores(bank, patch_numbers)


def read_scores(bank: MemoryBank, patch_numbers: jax.Array) -> jax.Array:
    """The scores S_i of the remembered outputs of `patch_numbers` [B]: `[B, K]`."""
    return bank.scores.at[patch_numbers[:, None], bank.slots[None, :]].get(mode="clip")


def write(bank: MemoryBank, patch_numbers: jax.Array, levels: jax.Array, scores: jax.Array, sharpness: jax.Array
          ) -> MemoryBank:
    """Puts one plane for each of `patch_numbers` [B] into the running epoch's slot.

    Numbers past the last patch (fillers) are dropped.  No number may occur twice in a batch, fillers included: XLA is
    told so, and then stores planes without atomic operations.  If the bank's images are in host memory (`images` is
    None), `training.host_bank` writes the planes.
    """

    def put(array, values):
        return array.at[patch_numbers, bank.free].set(values, mode="drop", unique_indices=True)

    return dataclasses.replace(
        bank,
        images=None if bank.images is None else put(bank.images, levels),
        scores=put(bank.scores, scores),
        sharpness=put(bank.sharpness, sharpness),
    )


class Admission(NamedTuple):
    """Which epochs are remembered.

    Attributes:
      rule: "sharpest": Algorithm 1.  "latest": every epoch, in the place of the oldest entry (with one entry,
        MUFusion's memory of the previous epoch).
      first_epoch: the first epoch that may be remembered, counted from 1.
    """

    rule: str = "sharpest"
    first_epoch: int = 1


PAPER_ADMISSION = Admission()


def choose_entry(admission: Admission, epochs: jax.Array, epoch_sharpness: jax.Array, epoch: jax.Array,
                 mean_sharpness: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The entry (int32 []) that `epoch`, of `mean_sharpness`, would replace, and whether it does (bool []).

    `epochs` and `epoch_sharpness` `[K]` are the bank's.
    """
    if admission.rule == "latest":
        epoch_sharpness, mean_sharpness = epochs.astype(jnp.float32), jnp.asarray(epoch, jnp.float32)
    # An empty entry counts as −∞, and the first empty one is taken; among equals, the oldest epoch.
    sharpness = jnp.where(epochs != EMPTY, epoch_sharpness, -jnp.inf)
    smallest = jnp.min(sharpness)
    age = jnp.where(sharpness == smallest, epochs, np.iinfo(np.int32).max)
    return jnp.argmin(age), (mean_sharpness > smallest) & (epoch >= admission.first_epoch)


def entry_writer(entry: jax.Array, admitted: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(array `[K, …]`, value) → the array with the value at `entry` if `admitted`, else unchanged."""
    return lambda array, value: array.at[entry].set(jnp.where(admitted, value, array[entry]))


def admit(bank: MemoryBank, epoch: jax.Array, mean_sharpness: jax.Array, admission: Admission = PAPER_ADMISSION
          ) -> tuple[MemoryBank, jax.Array]:
    """Algorithm 1 at the end of `epoch` (counted from 1), whose planes are in the free slot → bank, admitted (bool []).

    While an entry is empty, the epoch takes it.  After that it replaces the entry of the smallest mean spatial
    frequency (the oldest of equals) if its own is larger.  Line 8 of the printed algorithm, which adds the epoch in
    any case, is a misprint.
    """
    entry, admitted = choose_entry(admission, bank.epochs, bank.epoch_sharpness, epoch, mean_sharpness)
    write_entry = entry_writer(entry, admitted)
    new = dataclasses.replace(
        bank,
        slots=write_entry(bank.slots, bank.free),
        epochs=write_entry(bank.epochs, jnp.asarray(epoch, jnp.int32)),
        epoch_sharpness=write_entry(bank.epoch_sharpness, mean_sharpness),
        free=jnp.where(admitted, bank.slots[entry], bank.free),
    )
    return new, admitted
