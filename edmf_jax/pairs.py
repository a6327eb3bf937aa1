"""A TFDS split as scenes to fuse and score, decoded one by one (edge: TFDS)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.copies import to_8_bits
from edmf_jax.data import import_tfds, open_dataset
from edmf_jax.errors import UserError
from edmf_jax.exposures import Exposures
from edmf_jax.images import decode_image
from edmf_jax.metrics import rgb_to_gray

_PICTURES = ("source_a", "source_b", "truth")


class Scene(NamedTuple):
    """Two sources and, where the data set has it, the truth: uint8, one shape, `[H, W]` or `[H, W, 3]` RGB."""

    id: str
    a: np.ndarray
    b: np.ndarray
    truth: np.ndarray | None = None


class Record(NamedTuple):
    """A scene as stored: the bytes of its picture files, by feature."""

    id: str
    files: dict[str, bytes]


class Pairs:
    """A split of a prepared data set.

    Attributes:
      dataset: its name and config, "edmf/table2".
      split: as asked for.
      ids: the scenes' numbers or names, in order.
      has_truth: whether there is a ground truth.
      data_bytes: what the stored split takes [bytes]: another number is another data set.
    """

    def __init__(self, builder, split: str, *, limit: int | None = None, gray: bool = False,
                 exposures: Exposures | None = None):
        """A split of a prepared builder; its first `limit` pairs, or all; re-exposed where `exposures` are given.

        Raises:
          UserError: no such split, no pairs in it, or scenes of more than two shots.
        """
        config = builder.builder_config
        self.dataset = f"{builder.name}/{config.name}" if config else builder.name
        features, splits = builder.info.features, builder.info.splits
        if split.partition("[")[0] not in splits:
            raise UserError(f"--split={split}: {self.dataset} has {', '.join(sorted(splits))}")
        if not {"source_a", "source_b"} <= set(features):
            raise UserError(f"--dataset={self.dataset}: its scenes are not pairs; only pairs are evaluated")
        if limit is not None and limit < 1:
            raise UserError(f"--limit={limit}: at least one pair is needed")
        self._builder, self.split, self._limit, self._gray = builder, split, limit, gray
        self._exposures = exposures
        # Some data sets count their pairs and keep the files' names beside: these say more to a reader.
        self._id = "name" if "name" in features else "id"
        self._pictures = tuple(name for name in _PICTURES if name in features)
        self.has_truth = "truth" in self._pictures
        self.is_color = not gray and all(features[name].shape[-1] == 3 for name in self._pictures)
        self.data_bytes = int(splits[split.partition("[")[0]].num_bytes)
        self.ids = [_text(row[self._id]) for row in self._rows()]
        self._check_ids()

    def _check_ids(self) -> None:
        if not self.ids:
            raise UserError(f"--split={self.split}: {self.dataset} holds no pairs there")
        for name in self.ids:
            if not name or name.startswith(".") or any(c in name for c in "/\\:") or self.ids.count(name) > 1:
                raise UserError(f"--dataset={self.dataset}: the name {name!r} of a pair can't name a file of its own")

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The split's rows, pictures as the bytes of their files."""
        tfds = import_tfds()
        pictures = [name for name, feature in self._builder.info.features.items()
                    if isinstance(feature, tfds.features.Image)]
        rows = self._builder.as_dataset(
            split=self.split, shuffle_files=False, decoders={name: tfds.decode.SkipDecoding() for name in pictures},
            read_config=tfds.ReadConfig(try_autocache=False))  # the rows are read once
        yield from (rows if self._limit is None else rows.take(self._limit)).as_numpy_iterator()

    def records(self) -> Iterator[Record]:
        """The stored files, in order."""
        for row in self._rows():
            yield Record(_text(row[self._id]), {name: row[name] for name in self._pictures})

    def decode(self, record: Record) -> Scene:
        """The scene's pictures, at the exposures asked for; grey where grey was asked for or one of them is.

        Raises:
          UserError: a damaged file, sizes that differ, or pictures of more than 8 bits.
        """
        pictures = {name: decode_image(file, f"{self.dataset} {record.id} {name}")
                    for name, file in record.files.items()}
        for name, picture in pictures.items():
            size = pictures["source_a"].shape[:2]
            if picture.dtype != np.uint8 or picture.shape[:2] != size:
                raise UserError(f"{self.dataset} pair {record.id}: {name} is {picture.dtype} {picture.shape[:2]}, "
                                f"source_a is {size} (height, width); pairs are 8-bit pictures of one size")
        if self._exposures:  # before they turn grey: a camera exposes its channels
            pictures = dict(zip(_PICTURES, self._exposures.apply(*(pictures.get(name) for name in _PICTURES))))
            pictures = {name: picture for name, picture in pictures.items() if picture is not None}
        if self._gray or any(picture.ndim == 2 for picture in pictures.values()):
            pictures = {name: to_gray(picture) for name, picture in pictures.items()}
        return Scene(record.id, pictures["source_a"], pictures["source_b"], pictures.get("truth"))


def open_pairs(dataset: str, split: str, *, source: str | None = None, data_dir: str | None = None,
               patterns: Mapping[str, str | None] | None = None, allow_missing: bool = False,
               limit: int | None = None, gray: bool = False, exposures: Exposures | None = None,
               log: Callable[[str], None] = print) -> Pairs:
    """Opens a data set by name, and builds it first where that has to be (see `data.open_dataset`).

    Raises:
      UserError: there is no such data set or split, or its files can't be had.
    """
    options = {} if patterns is None else {"patterns": patterns}
    builder = open_dataset(dataset, data_dir, source=source, allow_missing=allow_missing, log=log, **options)
    return Pairs(builder, split, limit=limit, gray=gray, exposures=exposures)


def to_gray(picture: np.ndarray) -> np.ndarray:
    """8-bit grey levels of a picture of 8 or 16 bits, RGB or grey, as the metrics take them."""
    levels = to_8_bits(picture)
    return levels if levels.ndim == 2 else rgb_to_gray(levels)


def _text(value) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
