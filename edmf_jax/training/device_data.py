"""The training pictures on the devices: sent once, as whole gray pictures; every step cuts its patches there."""

import dataclasses
import hashlib

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.errors import UserError
from edmf_jax.runtime import distributed
from edmf_jax.training.patches import PatchLayout, pack_atlas, pack_shelves, patch_table
from edmf_jax.training.state import DEVICES, Sources

ATLAS_WIDTH_PX = 4096


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """The pairs, the patches drawn from them, and how patches are split over shards; all in host memory."""

    pairs: list[TrainingPair]
    table: np.ndarray  # int32 [patches, 3]: index into `pairs`, top, left
    layout: PatchLayout
    patch_px: int

    @property
    def fingerprint(self) -> str:
        """A hash of the pairs' numbers and sizes and of the patches; a run resumes only if it is unchanged."""
        ids = np.array([(p.id, *p.size) for p in self.pairs], np.int64)
        return hashlib.sha256(ids.tobytes() + self.table.tobytes()).hexdigest()[:16]

    def pixel_fingerprint(self) -> str:
        """A hash of the levels that the devices get, the same in every process; all processes must call it.

        The same files can decode to other levels (another decoder, a data set rendered anew by another version of
        OpenCV): numbers and sizes do not tell.
        """
        digests = np.zeros((len(self.pairs), 32), np.uint8)
        for row, pair in zip(digests, self.pairs):
            if pair.luma is not None:
                row[:] = np.frombuffer(hashlib.sha256(np.ascontiguousarray(pair.luma)).digest(), np.uint8)
        # Each process has some of the pictures; pairs that no patch is cut from stay 0 in all of them.
        used = np.zeros(len(self.pairs), bool)
        used[np.unique(self.table[:, 0])] = True
        digests = distributed.gather_rows(digests[None]).max(0) * used[:, None]
        return hashlib.sha256(digests.tobytes()).hexdigest()[:16]

    def patches_of(self, device: int, devices: int) -> tuple[np.ndarray, np.ndarray]:
        """The patches (rows of `table`) that one of `devices` owns, and the pairs (indices) that they are cut from."""
        rows_per_device = self.layout.bank_rows // devices
        bank_rows = self.layout.bank_row_of_patch()
        patches = np.flatnonzero((bank_rows >= device * rows_per_device) & (bank_rows < (device + 1) * rows_per_device))
        return patches, np.unique(self.table[patches, 0])

    def device_sources(self, device: int, devices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Atlas, corners and used rows of one device (see `Sources`), with the pictures that it needs and no others."""
        patches, pairs = self.patches_of(device, devices)
        atlas, origins = pack_atlas([self.pairs[i].luma for i in pairs], self.atlas_width)
        rows_per_device = self.layout.bank_rows // devices
        corners = np.zeros((rows_per_device, 2), np.int32)
        used = np.zeros(rows_per_device, bool)
        rows = self.layout.bank_row_of_patch()[patches] - device * rows_per_device
        corners[rows] = origins[np.searchsorted(pairs, self.table[patches, 0])] + self.table[patches, 1:]
        used[rows] = True
        return atlas, corners, used

    def atlas_rows(self, devices: int) -> int:
        """Height [px] of the tallest device's atlas."""
        sizes = np.array([p.size for p in self.pairs], np.int64)
        return max(pack_shelves(sizes[self.patches_of(d, devices)[1]], self.atlas_width)[1] for d in range(devices))

    @property
    def atlas_width(self) -> int:
        return max(ATLAS_WIDTH_PX, max(p.size[1] for p in self.pairs))


def make_training_set(pairs: list[TrainingPair], config) -> TrainingSet:
    """Draws the patches that `config.data` asks for.

    Raises:
      UserError: no pairs, pictures smaller than a patch, or too few patches.
    """
    data = config.data
    if not pairs:
        raise UserError(f"data.dataset={data.dataset!r}: split {data.split!r} holds no pairs")
    sizes = [p.size for p in pairs]
    table = patch_table(sizes, [str(p.id) for p in pairs], data.patch_px, data.patches, config.seed)
    layout = PatchLayout(data.patches, data.logical_shards, config.train.batch)
    return TrainingSet(pairs, table, layout, data.patch_px)


def device_mesh() -> Mesh:
    """All devices of all processes as a one-dimensional mesh; those of one process are neighbors."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (DEVICES,))


def local_pairs(training_set: TrainingSet, mesh: Mesh) -> list[int]:
    """The pairs (indices, ascending) that this process's devices train on."""
    return sorted({int(n) for i, _ in _local_devices(mesh) for n in training_set.patches_of(i, mesh.size)[1]})


def _local_devices(mesh: Mesh) -> list[tuple[int, jax.Device]]:
    """This process's devices, each with its index in the mesh."""
    return [(i, d) for i, d in enumerate(mesh.devices.flat) if d.process_index == jax.process_index()]


def put_sharded(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """`[devices, …]` with one row on each device; every process passes all rows and sends those of its devices."""
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    return jax.make_array_from_callback(rows.shape, split, lambda index: rows[index])


def put_sources(training_set: TrainingSet, mesh: Mesh) -> Sources:
    """Sends each of this process's devices its pictures and patch corners."""
    devices, rows = mesh.size, training_set.atlas_rows(mesh.size)
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    parts = []
    for i, device in _local_devices(mesh):
        atlas, *rest = training_set.device_sources(i, devices)
        atlas = np.pad(atlas, ((0, 0), (0, rows - atlas.shape[1]), (0, 0)))
        parts.append([jax.device_put(x[None], device) for x in (atlas, *rest)])
    return Sources(*(jax.make_array_from_single_device_arrays((devices, *column[0].shape[1:]), split, column)
                     for column in map(list, zip(*parts))))
