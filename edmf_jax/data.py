"""TFDS to the devices: whole pictures go over once, as grey levels; a step cuts its patches there."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax import distributed
from edmf_jax.errors import UserError
from edmf_jax.images import decode_image
from edmf_jax.patches import Layout, pack_atlas, pack_shelves, patch_table
from edmf_jax.state import DEVICES, Sources

ATLAS_WIDTH_PX = 4096


@dataclasses.dataclass(frozen=True)
class Pair:
    """One pair of training pictures."""

    id: int  # its published number
    luma: np.ndarray | None  # Y planes, uint8 [2, H, W]; None where another process holds them
    size: tuple[int, int] | None = None  # height, width [px]; by default those of `luma`

    def __post_init__(self):
        if self.size is None:
            object.__setattr__(self, "size", self.luma.shape[1:])


def luma_levels(image: np.ndarray) -> np.ndarray:
    """Y of an 8-bit RGB `[H, W, 3]` or grey `[H, W]` picture, rounded to a grey level (exact integer arithmetic)."""
    if image.dtype != np.uint8:
        raise ValueError(f"luma_levels: 8-bit pictures are expected, got {image.dtype}")
    if image.ndim == 2:
        return image
    red, green, blue = (image[..., c].astype(np.uint32) for c in range(3))
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)


def import_tfds():
    """tensorflow_datasets with our builders registered.

    Raises:
      UserError: TensorFlow or TFDS is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow only reads files here
    try:
        import tensorflow_datasets as tfds

        import tfds_edmf  # noqa: F401  (registers the builders)
    except ImportError as error:
        raise UserError(
            f'training reads its data with TensorFlow Datasets, which can\'t be imported ({error}); '
            'install it with: pip install "edmf-jax[train]"'
        ) from error
    return tfds


def open_dataset(name: str, data_dir: str | None = None, *, log: Callable[[str], None] = print, **options):
    """The prepared TFDS builder `name`, built first where it is not there yet.

    Args:
      name: "edmf", "edmf/as_printed", "edmf_synthetic", …
      data_dir: where TFDS keeps prepared data; None: its default.
      options: `source`, `allow_missing`, `force` of `tfds_edmf.build.build`.

    Raises:
      UserError: there is no such data set, or its files can't be had.
    """
    import_tfds()
    from tfds_edmf.build import build

    try:
        return build(name, data_dir=data_dir, say=log, **options)
    except (ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def load_pairs(builder, split: str) -> list[Pair]:
    """All pairs of a split in the data set's order, with this process's even share of the pictures.

    A single process has them all.  Stored files are decoded on all cores.
    """
    total = sum(last - first for _, first, last in _parts(builder, split))
    processes, process = jax.process_count(), jax.process_index()
    own = read_pairs(builder, split, process * total // processes, (process + 1) * total // processes)
    sizes = distributed.gather(np.array([(p.id, *p.size) for p in own], np.int32).reshape(-1, 3)).tolist()
    held = {p.id: p.luma for p in own}
    return [Pair(number, held.get(number), (height, width)) for number, height, width in sizes]


def exchange_pairs(pairs: list[Pair], wanted: Sequence[int], builder, split: str) -> list[Pair]:
    """The pairs with the pictures of those `wanted` (indices) and of no others."""
    missing = [i for i in wanted if pairs[i].luma is None]
    read = {}
    for first, last in _ranges(missing):
        read.update(zip(range(first, last), read_pairs(builder, split, first, last)))
    wanted = set(wanted)
    return [dataclasses.replace(p, luma=(read[i].luma if i in read else p.luma) if i in wanted else None)
            for i, p in enumerate(pairs)]


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as ranges [first, last)."""
    gaps = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    parts = np.split(np.asarray(numbers, int), gaps) if len(numbers) else []
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _parts(builder, split: str) -> list[tuple[str, int, int]]:
    """A split as TFDS reads it: names of stored splits, first row and the one past the last of each.

    Raises:
      UserError: there is no such split.
    """
    tfds, stored = import_tfds(), builder.info.splits
    try:
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(stored)
        return [(p.splitname, p.from_ or 0, stored[p.splitname].num_examples if p.to is None else p.to) for p in parts]
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(f"data.split={split!r}: {builder.info.full_name} has {sorted(stored)}, and parts of them like "
                        "'train[:90%]'") from error


def read_pairs(builder, split: str, first: int, last: int) -> list[Pair]:
    """Pairs `first` … `last` − 1 of a split, and nothing else of it, decoded.

    Raises:
      UserError: a damaged file, or sources that differ in size.
    """
    tfds = import_tfds()
    skip = {name: tfds.decode.SkipDecoding() for name in ("source_a", "source_b")}
    records, passed = [], 0
    for name, begin, end in _parts(builder, split):
        low, high = (begin + min(max(n - passed, 0), end - begin) for n in (first, last))
        passed += end - begin
        if low < high:
            piece = tfds.core.ReadInstruction(name, from_=low, to=high, unit="abs")
            rows = builder.as_dataset(split=piece, decoders=skip, shuffle_files=False)
            records += [(int(r["id"]), r["source_a"], r["source_b"]) for r in rows.as_numpy_iterator()]

    def decode(record):
        number, *files = record
        planes = [luma_levels(decode_image(f, f"{builder.info.name} {number} {s}")) for f, s in zip(files, "ab")]
        if planes[0].shape != planes[1].shape:
            raise UserError(f"{builder.info.name} pair {number}: the sources differ in size, "
                            f"{planes[0].shape} and {planes[1].shape}")
        return Pair(number, np.stack(planes))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(decode, records))


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """The pairs, the patches drawn from them and their layout; nothing on a device yet."""

    pairs: list[Pair]
    table: np.ndarray  # int32 [patches, 3]: index into `pairs`, top, left
    layout: Layout
    patch_px: int

    @property
    def fingerprint(self) -> str:
        """A hash of which patches of which pictures there are: a run goes on only on the same ones."""
        ids = np.array([(p.id, *p.size) for p in self.pairs], np.int64)
        return hashlib.sha256(ids.tobytes() + self.table.tobytes()).hexdigest()[:16]

    def images_of(self, device: int, devices: int) -> tuple[np.ndarray, np.ndarray]:
        """Patches (rows of the table) that lie on one device, and the pairs (indices) that they are cut from."""
        own = self.layout.places // devices
        place = self.layout.place_of_patch()
        mine = np.flatnonzero((place >= device * own) & (place < (device + 1) * own))
        return mine, np.unique(self.table[mine, 0])

    def device_block(self, device: int, devices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Atlas, corners and used places of one device (see `Sources`), holding only the pictures it needs."""
        mine, images = self.images_of(device, devices)
        atlas, origin = pack_atlas([self.pairs[i].luma for i in images], self.atlas_width)
        own = self.layout.places // devices
        corners = np.zeros((own, 2), np.int32)
        used = np.zeros(own, bool)
        local = self.layout.place_of_patch()[mine] - device * own
        corners[local] = origin[np.searchsorted(images, self.table[mine, 0])] + self.table[mine, 1:]
        used[local] = True
        return atlas, corners, used

    def atlas_rows(self, devices: int) -> int:
        """Rows of the highest device's atlas."""
        sizes = np.array([p.size for p in self.pairs], np.int64)
        return max(pack_shelves(sizes[self.images_of(d, devices)[1]], self.atlas_width)[1] for d in range(devices))

    @property
    def atlas_width(self) -> int:
        return max(ATLAS_WIDTH_PX, max(p.size[1] for p in self.pairs))


def make_training_set(pairs: list[Pair], config) -> TrainingSet:
    """Draws the patches that `config.data` asks for."""
    data = config.data
    if not pairs:
        raise UserError(f"data.dataset={data.dataset!r}: split {data.split!r} holds no pairs")
    sizes = [p.size for p in pairs]
    table = patch_table(sizes, [str(p.id) for p in pairs], data.patch_px, data.patches, config.seed)
    layout = Layout(data.patches, data.logical_shards, config.train.batch)
    return TrainingSet(pairs, table, layout, data.patch_px)


def device_mesh() -> Mesh:
    """All devices in a row, those of a process beside each other."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (DEVICES,))


def own_pairs(training_set: TrainingSet, mesh: Mesh) -> list[int]:
    """The pairs (indices, ascending) that this process's devices train on."""
    return sorted({int(n) for i, _ in _own_devices(mesh) for n in training_set.images_of(i, mesh.size)[1]})


def _own_devices(mesh: Mesh) -> list[tuple[int, jax.Device]]:
    """This process's devices and their places in the mesh."""
    return [(i, d) for i, d in enumerate(mesh.devices.flat) if d.process_index == jax.process_index()]


def put_split(rows: np.ndarray, mesh: Mesh) -> jax.Array:
    """`[devices, …]` with one row on each device; every process gives all rows and sends its own."""
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    return jax.make_array_from_callback(rows.shape, split, lambda index: rows[index])


def put_same(value: np.ndarray, mesh: Mesh) -> jax.Array:
    """The same value on every device."""
    return jax.make_array_from_callback(value.shape, NamedSharding(mesh, PartitionSpec()), lambda index: value)


def put_sources(training_set: TrainingSet, mesh: Mesh) -> Sources:
    """Sends each of this process's devices its pictures and patch corners."""
    devices, rows = mesh.size, training_set.atlas_rows(mesh.size)
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    parts = []
    for i, device in _own_devices(mesh):
        atlas, *rest = training_set.device_block(i, devices)
        atlas = np.pad(atlas, ((0, 0), (0, rows - atlas.shape[1]), (0, 0)))
        parts.append([jax.device_put(x[None], device) for x in (atlas, *rest)])
    return Sources(*(jax.make_array_from_single_device_arrays((devices, *column[0].shape[1:]), split, column)
                     for column in map(list, zip(*parts))))
