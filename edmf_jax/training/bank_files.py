"""The remembered planes on the disk: one set of files for each epoch, written once and shared by checkpoints.

    WORKDIR/memory/epoch-00003/rows-000000000-000013282      the planes that epoch 3 left in these rows of the bank
    WORKDIR/memory/step-00000417/…                           the running epoch's slot in a checkpoint in mid-epoch

Each `rows-FIRST-END` is a zarr array, uint8 `[END − FIRST, P, P]`, of one device; any number of devices can read it.
It holds differences of neighboring levels, modulo 256, compressed by zstd: on outputs of the paper's network 2.08 times
smaller than the planes (zstd of the levels themselves: 1.46; PNG: 1.68 to 1.78; JPEG-LS: 2.09, a fifth as fast).

A checkpoint names its sets in a small file of its own, which orbax puts in place after they are written.  So a set that
a checkpoint names is whole, and never changes.  Others are leftovers.
"""

import concurrent.futures
import functools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.memory import EMPTY, MemoryBank
from edmf_jax.errors import UserError
from edmf_jax.io.atomic import replace_file

ROWS_AT_ONCE = 4096  # planes on their way from a device: 268 MB of 256²
_ROWS_A_CHUNK = 256  # planes that are compressed together; divides ROWS_AT_ONCE
_ZSTD_LEVEL = 1  # 3 is half as fast and not smaller
_NAMES_FILE = "sets.json"

Blocks = list[tuple[int, np.ndarray]]  # (first row, planes) of blocks that follow each other


def differences(planes: np.ndarray) -> np.ndarray:
    """Levels uint8 `[…, H, W]` → each minus its left and its upper, plus its upper left neighbor, modulo 256."""
    rows = planes.copy()
    rows[..., 1:] -= planes[..., :-1]
    both = rows.copy()
    both[..., 1:, :] -= rows[..., :-1, :]
    return both


def undo_differences(values: np.ndarray) -> np.ndarray:
    """The inverse of `differences`."""
    rows = values.copy()
    for i in range(1, rows.shape[-2]):  # twice as fast as a cumulative sum along this axis
        rows[..., i, :] += rows[..., i - 1, :]
    return np.cumsum(rows, axis=-1, dtype=np.uint8)


@functools.partial(jax.jit, static_argnums=3)
def _block(images: jax.Array, slot: jax.Array, first: jax.Array, rows: int) -> jax.Array:
    return jax.lax.dynamic_slice(images, (first, slot, 0, 0), (rows, 1, *images.shape[2:]))[:, 0]


def copy_slot(images, slot: int) -> list[Blocks]:
    """One slot's planes on this process's devices, copied to the host; a list for each device.

    Args:
      images: uint8 `[rows, K+1, P, P]`, split over devices by row: a jax.Array, or what has `addressable_shards` alike.
      slot: from 0 to K.
    """
    found = []
    for shard in images.addressable_shards:
        if shard.replica_id:
            continue
        first, blocks = shard.index[0].start or 0, []
        for at in range(0, len(shard.data), ROWS_AT_ONCE):
            rows = min(ROWS_AT_ONCE, len(shard.data) - at)
            if isinstance(shard.data, np.ndarray):
                block = shard.data[at:at + rows, slot].copy()
            else:
                block = np.asarray(_block(shard.data, np.int32(slot), np.int32(at), rows))
            blocks.append((first + at, block))
        found.append(blocks)
    return found


def set_names(bank: MemoryBank, step: int, mid_epoch: bool) -> dict[str, int]:
    """The sets that a checkpoint of this bank needs, with the slots that they are of: name → slot.

    In the middle of an epoch (`mid_epoch`) the running epoch's slot is one of them.  After its end that slot holds
    nothing that anything will read.
    """
    slots, epochs = np.asarray(bank.slots).tolist(), np.asarray(bank.epochs).tolist()
    names = {f"epoch-{epoch:05d}": slot for slot, epoch in zip(slots, epochs) if epoch != EMPTY}
    return {**names, f"step-{step:08d}": int(bank.free)} if mid_epoch else names


class BankFiles:
    """The sets of one run, in `WORKDIR/memory`."""

    def __init__(self, workdir: Path):
        self.folder = Path(workdir).absolute() / "memory"

    def write(self, name: str, devices: Sequence[Blocks]) -> None:
        """Writes this process's part of a set, in place of leftovers with the same name; durable on return."""
        for blocks in devices:
            first, end = blocks[0][0], blocks[-1][0] + len(blocks[-1][1])
            shape = end - first, *blocks[0][1].shape[1:]
            array = _create(self.folder / name / f"rows-{first:09d}-{end:09d}", shape)
            parts = [(at - first + i, block[i:i + _ROWS_A_CHUNK]) for at, block in blocks
                     for i in range(0, len(block), _ROWS_A_CHUNK)]

            def put(part, array=array):
                array[part[0]:part[0] + len(part[1])].write(differences(part[1])).result()

            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(put, parts))

    def read(self, name: str, first: int, end: int) -> np.ndarray:
        """The planes of the rows from `first` to before `end`: uint8 `[end − first, P, P]`.

        Raises:
          UserError: the set is incomplete.
        """
        found, filled = None, 0
        for begin, array in self._pieces(name):
            if found is None:
                found = np.empty((end - first, *array.shape[1:]), np.uint8)
            parts = [(at, min(at + _ROWS_A_CHUNK, end, begin + array.shape[0]))
                     for at in range(max(begin, first), min(end, begin + array.shape[0]), _ROWS_A_CHUNK)]

            def put(part, begin=begin, array=array, found=found):
                values = array[part[0] - begin:part[1] - begin].read().result()
                found[part[0] - first:part[1] - first] = undo_differences(values)

            with concurrent.futures.ThreadPoolExecutor() as pool:
                list(pool.map(put, parts))
            filled += sum(part[1] - part[0] for part in parts)
        if filled != end - first:
            raise UserError(f"{self.folder / name}: {filled} of the {end - first} remembered pictures are there that a "
                            "checkpoint needs; remove the newest folder of checkpoints, and the run goes on from the "
                            "one before")
        return found

    def _pieces(self, name: str) -> Iterator[tuple[int, object]]:
        """First row and array of each device's part of a set."""
        import tensorstore as ts

        for path in sorted((self.folder / name).glob("rows-*-*")):
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
            yield int(path.name.split("-")[1]), ts.open(spec, open=True, read=True).result()

    def remove(self, names: Iterable[str]) -> None:
        """Removes sets that no checkpoint needs."""
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def present(self) -> list[str]:
        """The names of all sets on the disk, whole or not."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    def nbytes(self) -> int:
        """What they take on the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def restore_images(files: BankFiles, names: dict[str, int], like: jax.ShapeDtypeStruct) -> jax.Array:
    """The images of a bank, uint8 `[rows, K+1, P, P]`: its sets in their slots, 0 in the others.

    Args:
      files: of the run.
      names: name → slot, of the checkpoint.
      like: shape and sharding, which may be another than when the sets were written.
    """
    rows, slots, *plane = like.shape

    def read(name, index):
        first, end, _ = index[0].indices(rows)
        return files.read(name, first, end)

    if like.sharding.memory_kind == "pinned_host":  # programs can't put their results there on every platform
        def whole(index):
            found = np.zeros((len(range(*index[0].indices(rows))), slots, *plane), np.uint8)
            for name, slot in names.items():
                found[:, slot] = read(name, index)
            return found

        return jax.make_array_from_callback(like.shape, like.sharding, whole)
    # One slot after the other, so that the host holds no more than one.
    images, put = _zeros_and_put(like.shape, like.sharding)
    for name, slot in names.items():
        planes = jax.make_array_from_callback((rows, *plane), like.sharding, functools.partial(read, name))
        images = put(images, planes, np.int32(slot))
    return images


def _zeros_and_put(shape: tuple[int, ...], sharding: jax.sharding.Sharding):
    """Images that are 0, and (images, planes, slot) → images with the planes in the slot, in place."""
    zeros = jax.jit(lambda: jnp.zeros(shape, jnp.uint8), out_shardings=sharding)()
    return zeros, jax.jit(lambda images, planes, slot: images.at[:, slot].set(planes), donate_argnums=0,
                          out_shardings=sharding)


def _create(path: Path, shape: tuple[int, int, int]):
    """A new zarr array of uint8, in place of one that a killed process left."""
    import tensorstore as ts

    rows = min(_ROWS_A_CHUNK, shape[0])
    return ts.open({
        "driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)},
        "metadata": {
            "shape": shape, "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [rows, *shape[1:]]}},
            "codecs": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": _ZSTD_LEVEL}}],
        },
    }, create=True, delete_existing=True).result()


class SavedSets:
    """What orbax saves of the bank's images in a checkpoint: new sets beside it, and in it the names of all of them.

    Args:
      files: of the run.
      names: name → slot, see `set_names`.
      new: name → this process's part of a set that is not on the disk yet.
    """

    def __init__(self, files: BankFiles, names: dict[str, int], new: dict[str, list[Blocks]]):
        self._files, self._names, self._new = files, names, new

    async def save(self, directory):
        """Orbax calls this in the thread that saves; what it returns is awaited in the background."""
        return self._write(directory)

    async def _write(self, directory) -> None:
        for name in list(self._new):
            self._files.write(name, self._new.pop(name))  # and its memory is free
        directory = await directory.await_creation()
        if jax.process_index() == 0:
            replace_file(Path(os.fspath(directory)) / _NAMES_FILE, json.dumps(self._names).encode())

    async def load(self, directory):
        """Not used: `names_in` reads the names, `BankFiles.read` the planes."""
        raise NotImplementedError


def names_in(item: Path) -> dict[str, int] | None:
    """The sets that a checkpoint names in `item`, its folder of this kind; None in one that holds its bank whole."""
    try:
        return json.loads((item / _NAMES_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
