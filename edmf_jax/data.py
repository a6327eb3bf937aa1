"""TFDS to the devices: whole pictures go over once, as grey levels; a step cuts its patches there."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax.errors import UserError
from edmf_jax.images import decode_image
from edmf_jax.patches import Layout, pack_atlas, patch_table
from edmf_jax.state import DEVICES, Sources

ATLAS_WIDTH_PX = 4096


class Pair(NamedTuple):
    """One pair of training pictures: its published number and its Y planes, uint8 `[2, H, W]`."""

    id: int
    luma: np.ndarray


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
    """All pairs of a split as Y planes, in the data set's order.  Decodes the stored files on all cores."""
    tfds = import_tfds()
    skip = {name: tfds.decode.SkipDecoding() for name in ("source_a", "source_b")}
    try:
        records = builder.as_dataset(split=split, decoders=skip, shuffle_files=False)
    except (ValueError, KeyError) as error:
        raise UserError(f"data.split={split!r}: {builder.info.full_name} has {sorted(builder.info.splits)}, and parts "
                        "of them like 'train[:90%]'") from error
    records = [(int(r["id"]), r["source_a"], r["source_b"]) for r in records.as_numpy_iterator()]

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
        ids = np.array([(p.id, *p.luma.shape[1:]) for p in self.pairs], np.int64)
        return hashlib.sha256(ids.tobytes() + self.table.tobytes()).hexdigest()[:16]

    def device_block(self, device: int, devices: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Atlas, corners and used places of one device (see `Sources`), holding only the pictures it needs."""
        own = self.layout.places // devices
        place = self.layout.place_of_patch()
        mine = np.flatnonzero((place >= device * own) & (place < (device + 1) * own))
        images, index = np.unique(self.table[mine, 0], return_inverse=True)
        planes = [self.pairs[i].luma for i in images]
        atlas, origin = pack_atlas(planes, self.atlas_width)
        corners = np.zeros((own, 2), np.int32)
        used = np.zeros(own, bool)
        local = place[mine] - device * own
        corners[local] = origin[index] + self.table[mine, 1:]
        used[local] = True
        return atlas, corners, used

    @property
    def atlas_width(self) -> int:
        return max(ATLAS_WIDTH_PX, max(p.luma.shape[2] for p in self.pairs))


def make_training_set(pairs: list[Pair], config) -> TrainingSet:
    """Draws the patches that `config.data` asks for."""
    data = config.data
    if not pairs:
        raise UserError(f"data.dataset={data.dataset!r}: split {data.split!r} holds no pairs")
    sizes = [p.luma.shape[1:] for p in pairs]
    table = patch_table(sizes, [str(p.id) for p in pairs], data.patch_px, data.patches, config.seed)
    layout = Layout(data.patches, data.logical_shards, config.train.batch)
    return TrainingSet(pairs, table, layout, data.patch_px)


def device_mesh() -> Mesh:
    """All devices in a row."""
    return Mesh(np.array(jax.devices()), (DEVICES,))


def put_sources(training_set: TrainingSet, mesh: Mesh) -> Sources:
    """Sends each device its pictures and patch corners."""
    devices = mesh.size
    blocks = [training_set.device_block(d, devices) for d in range(devices)]
    rows = max(atlas.shape[1] for atlas, _, _ in blocks)
    atlases = [np.pad(atlas, ((0, 0), (0, rows - atlas.shape[1]), (0, 0))) for atlas, _, _ in blocks]
    split = NamedSharding(mesh, PartitionSpec(DEVICES))
    columns = [atlases, [c for _, c, _ in blocks], [u for _, _, u in blocks]]
    return Sources(*(jax.device_put(np.stack(column), split) for column in columns))
