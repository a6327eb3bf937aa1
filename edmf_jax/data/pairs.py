"""A TFDS split for evaluation: scenes of two sources and, if known, the ground truth, decoded one by one."""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from edmf_jax.core.color import to_gray
from edmf_jax.core.exposures import TRUTHS, Exposures
from edmf_jax.data.tfds_reader import dataset_name, decode_files, open_dataset, read_rows, stored_ranges
from edmf_jax.errors import UserError

_IMAGES = ("source_a", "source_b", "truth")
_GAINS = {"gain_a": "gamma_a", "gain_b": "gamma_b"}  # features of `edmf_synthetic`: factors on light, and exponents


class Scene(NamedTuple):
    """Two sources and, if the data set has it, the ground truth: uint8 `[H, W]` or `[H, W, 3]` RGB, of one shape."""

    id: str
    a: np.ndarray
    b: np.ndarray
    truth: np.ndarray | None = None


class Record(NamedTuple):
    """A scene as stored: feature → bytes of the image file, and its sources' exposures if the data set states them."""

    id: str
    files: dict[str, bytes]
    exposures: Exposures | None = None


class Pairs:
    """A split of a prepared data set, read from disk on each pass.

    Attributes:
      dataset: name and config of the data set, "edmf/table2".
      split: the split as the user named it, "test" or "test[:10]".
      ids: numbers or names of the scenes, in stored order.
      digests: of each scene's stored pictures, 16 hexadecimal digits of their SHA-256, in the same order.
      has_truth: whether the data set has a ground truth.
      is_color: whether the scenes are decoded in color.
      data_bytes: size of the stored split [bytes]; a different size means that it is another data set.
    """

    def __init__(self, builder, split: str, *, limit: int | None = None, every: int = 1, gray: bool = False,
                 exposures: Exposures | None = None, truth_at: str | None = None):
        """Opens a split of a prepared builder.

        Args:
          builder: a prepared TFDS builder.
          split: one of its splits, or a part of one.
          limit: use only this many pairs, the first ones; None: all.
          every: use only each pair whose place, counted from 1, is a multiple of this; `limit` counts these.
          gray: decode to gray levels.
          exposures: change the exposures of sources and truth by this condition; None: leave them as stored.
          truth_at: one of `core.exposures.TRUTHS`, the exposure of the truth; None: the mean of both of `exposures`,
            or as stored.

        Raises:
          UserError: there is no such split, it holds no pairs, or its scenes have more than two shots; `truth_at`
            without a truth, or with exposures changed that the data set has changed already.
        """
        self.dataset = dataset_name(builder)
        features, splits = builder.info.features, builder.info.splits
        if split.partition("[")[0] not in splits:
            raise UserError(f"--split={split}: {self.dataset} has {', '.join(sorted(splits))}")
        stored_ranges(builder, split, f"--split={split}")  # the part in brackets, too, must be one
        if not {"source_a", "source_b"} <= set(features):
            raise UserError(f"--dataset={self.dataset}: its scenes are not pairs; only pairs are evaluated")
        if limit is not None and limit < 1:
            raise UserError(f"--limit={limit}: at least one pair is needed")
        if every < 1:
            raise UserError(f"--every={every}: must be 1 (all pairs) or larger")
        self._builder, self.split, self._gray = builder, split, gray
        self._every, self._limit = every, limit
        self._exposures, self._truth_at = exposures, truth_at
        self._states_exposures = _GAINS.keys() <= set(features)
        # Some data sets number their pairs and store the name from the files as well, which tells a reader more.
        self._id_feature = "name" if "name" in features else "id"
        self._images = tuple(name for name in _IMAGES if name in features)
        self.has_truth = "truth" in self._images
        if truth_at and not self.has_truth:
            raise UserError(f"--truth-at={truth_at}: {self.dataset} has no ground truth; leave it out")
        if truth_at and self._states_exposures and exposures and not exposures.is_identity:
            raise UserError(f"--truth-at={truth_at} with --exposures={exposures.name}: the sources of {self.dataset} "
                            "have exposures of their own; leave one of the two out")
        self.is_color = not gray and all(features[name].shape[-1] == 3 for name in self._images)
        self.data_bytes = int(splits[split.partition("[")[0]].num_bytes)
        scenes = [(record.id, _digest(record)) for record in self.records()]
        self.ids, self.digests = [scene[0] for scene in scenes], [scene[1] for scene in scenes]
        self._check_ids()

    def _check_ids(self) -> None:
        """Raises UserError if there are no pairs, or if an id cannot serve as a unique file name."""
        if not self.ids:
            every = f" with --every={self._every}" if self._every > 1 else ""
            raise UserError(f"--split={self.split}{every}: {self.dataset} holds no pairs there")
        for name in self.ids:
            if not name or name.startswith(".") or any(c in name for c in "/\\:") or self.ids.count(name) > 1:
                raise UserError(f"--dataset={self.dataset}: the name {name!r} of a pair cannot be used as a unique "
                                "file name")

    def records(self) -> Iterator[Record]:
        """Reads the scenes as stored, in order."""
        last = None if self._limit is None else self._every * self._limit
        rows = read_rows(self._builder, self.split, 0, last)
        for row in itertools.islice(rows, self._every - 1, None, self._every):
            yield Record(_text(row[self._id_feature]), {name: row[name] for name in self._images},
                         _stated_exposures(row) if self._states_exposures else None)

    def decode(self, record: Record) -> Scene:
        """Decodes a scene and applies the exposures; gray if the user asked for gray or any of its files is gray.

        Raises:
          UserError: a damaged file, sizes that differ, or more than 8 bits per channel.
        """
        images = decode_files(record.files, self.dataset, record.id)
        if self._exposures:  # before the conversion to gray, because a camera exposes each color channel
            exposed = self._exposures.apply(*(images.get(name) for name in _IMAGES), self._truth_at or TRUTHS[0])
            images = {name: image for name, image in zip(_IMAGES, exposed) if image is not None}
        if self._truth_at and record.exposures:
            images["truth"] = record.exposures.expose_truth(images["truth"], self._truth_at)
        if self._gray or any(image.ndim == 2 for image in images.values()):
            images = {name: to_gray(image) for name, image in images.items()}
        return Scene(record.id, images["source_a"], images["source_b"], images.get("truth"))


def open_pairs(dataset: str, split: str, *, source: str | None = None, data_dir: str | None = None,
               patterns: Mapping[str, str | None] | None = None, allow_missing: bool = False,
               limit: int | None = None, every: int = 1, gray: bool = False, exposures: Exposures | None = None,
               truth_at: str | None = None, log: Callable[[str], None] = print) -> Pairs:
    """Opens a split of a data set by name; builds the data set first if needed.

    Args:
      dataset, source, data_dir, patterns, allow_missing, log: see `tfds_reader.open_dataset`.
      split, limit, every, gray, exposures, truth_at: see `Pairs`.

    Raises:
      UserError: there is no such data set or split, or its files cannot be had.
    """
    options = {} if patterns is None else {"patterns": patterns}
    builder = open_dataset(dataset, data_dir, split=split, source=source, allow_missing=allow_missing, log=log,
                           **options)
    return Pairs(builder, split, limit=limit, every=every, gray=gray, exposures=exposures, truth_at=truth_at)


def _stated_exposures(row: Mapping[str, float]) -> Exposures:
    gains, gammas = ([float(row[name]) for name in names] for names in (_GAINS, _GAINS.values()))
    return Exposures("as drawn", tuple(float(x) for x in np.log2(gains)), tuple(gammas))


def _digest(record: Record) -> str:
    digest = hashlib.sha256()
    for data in record.files.values():
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:16]


def _text(value: bytes | int) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
