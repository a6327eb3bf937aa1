"""TFDS builder for all data sets that are read from the user's own copy of published folders."""

import contextlib
import dataclasses
import hashlib
import inspect
import os
import pathlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from tfds_edmf.exclusive import BuildsAlone
from tfds_edmf.folders.check import NAMES_SHOWN, SetsReport, check_sets
from tfds_edmf.folders.layout import FEATURES, SHOTS, FolderLayout, PictureSet
from tfds_edmf.folders.locate import find_sets, fingerprint, in_manual_dir, open_copy, resolve
from tfds_edmf.folders.pictures import to_stored
from tfds_edmf.info import OwnInfo
from tfds_edmf.partial import MayBePartial, allow_missing_from_environment
from tfds_edmf.sources import MissingSourceError, SourceError, shorten

_DOCS = {
    "source_a": "first shot",
    "source_b": "second shot",
    "truth": "all in focus",
    "mask": "focus mask, as published",
}


@dataclasses.dataclass(eq=False, kw_only=True)
class FolderConfig(tfds.core.BuilderConfig):
    """One way to read a published folder."""

    layout: FolderLayout


class FolderBuilder(BuildsAlone, MayBePartial, tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class; a data set adds a docstring, the layouts of its configs, its homepage and its citation.

    **Arguments**, in TFDS's form `tfds.load("lytro", builder_kwargs={"source": …, "allow_missing": True})`:

    - `source`: the folder with the published files, or its ZIP archive. Without it, a folder or
      archive with the data set's name is used from TFDS's manual_dir. Every picture is decoded
      once to check it.
    - `allow_missing`: accept an incomplete copy, use its whole pairs and log a warning. None: the
      variable EDMF_ALLOW_MISSING decides.
    - `needed_split`: accept a copy that is incomplete elsewhere than in this split.

    **Features**, in one split, `test`, in numeric order:

    - `id` int32: the published number, or the position from 1 if the names are not numbers.
    - `name`: the number or name as the files spell it, "01".
    - `source_a`, `source_b`, `truth` [H, W, 3] uint8 RGB and `mask` [H, W, 1] uint8; sets of more
      than two shots have `sources`, a sequence. Stored as published if JPEG or PNG, else
      losslessly as PNG.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The published folder, or its ZIP archive, under the data set's name."
    HOMEPAGE = ""
    CITATION = ""
    LICENSE = "Terms unknown: ask the authors before anything but private study."

    def __init__(self, *, source: str | os.PathLike | None = None, allow_missing: bool | None = None,
                 needed_split: str | None = None, **kwargs):
        self._source = source
        self._needed_split = needed_split
        self.allow_missing = allow_missing_from_environment() if allow_missing is None else allow_missing
        with _no_warning_about_custom_config():
            super().__init__(**kwargs)
        # TFDS recreates the builder in another process from this state.
        self._original_state |= {"source": source, "allow_missing": self.allow_missing, "needed_split": needed_split}

    @property
    def layout(self) -> FolderLayout:
        """How the config's files are named."""
        return self.builder_config.layout

    @property
    def title(self) -> str:
        """The data set's name in messages."""
        return self.layout.title

    @property
    def noun(self) -> str:
        """"pairs" or "sets"."""
        return self.layout.noun

    @property
    def left_out_pairs(self) -> dict[str, list[str]]:
        """Split → names of the pairs that the prepared data lacks; {} if nothing is prepared."""
        metadata = self.info.metadata
        # Data prepared before 26 November 2026 know only how many.
        return {"test": metadata.get("left_out_names", ["?"] * metadata.get("left_out_pairs", 0))}

    def describe_left_out(self, split: str) -> str:
        """For example: 3 test pairs: 02, 07, 13."""
        lacking = self.left_out_pairs[split]
        return f"{len(lacking)} {split} {self.noun}: {shorten(lacking, NAMES_SHOWN)}"

    @property
    def prepared_from(self) -> str | None:
        """The folder or archive that the prepared data came from; None if nothing is prepared."""
        return self.info.metadata.get("source")

    @property
    def requested_source(self) -> str | None:
        """The absolute path of `source`, None without `source`.

        Raises:
          SourceError: it does not exist.
        """
        return str(resolve(self._source, self.layout)) if self._source else None

    @property
    def stale(self) -> bool:
        """Whether pictures in `source` were changed, added or removed since the data was prepared from it."""
        if self.prepared_from is None or self.requested_source != self.prepared_from:
            return False
        with open_copy(pathlib.Path(self.requested_source), self.layout) as reader:
            return self.info.metadata["fingerprint"] != fingerprint(reader, find_sets(reader, self.layout))

    def _info(self) -> tfds.core.DatasetInfo:
        return OwnInfo(
            builder=self,
            description=inspect.cleandoc(type(self).__doc__),
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int32, doc="published number, or position from 1"),
                    "name": tfds.features.Text(doc="number or name in the files' names"),
                    **self._picture_features(),
                }
            ),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
            disable_shuffling=True,  # numeric order: the tables depend on it
            metadata=tfds.core.MetadataDict(),
        )

    def _picture_features(self) -> dict[str, tfds.features.FeatureConnector]:
        def image(feature: str) -> tfds.features.Image:
            return tfds.features.Image(shape=(None, None, 1 if feature == "mask" else 3), doc=_DOCS.get(feature))

        if SHOTS in self.layout.patterns:
            return {"sources": tfds.features.Sequence(image("sources"), doc="the shots, in order")}
        return {FEATURES[role]: image(FEATURES[role]) for role in self.layout.patterns}

    def _split_generators(self, dl_manager):
        root = self._find(dl_manager)
        with open_copy(root, self.layout) as reader:
            sets = find_sets(reader, self.layout)
            report = check_sets(reader, self.layout, sets)
            self._check_completeness(report, root)
            self.info.metadata.update(
                source=str(root),
                fingerprint=fingerprint(reader, sets),
                left_out_pairs=report.expected - len(report.whole),
                left_out_names=self._left_out_names(report),
            )
        return {"test": self._generate_examples(root, report)}

    def _left_out_names(self, report: SetsReport) -> list[str]:
        whole = {picture_set.key for picture_set in report.whole}
        incomplete = [s.name for s in report.sets if s.key not in whole and self.layout.is_published(s.key)]
        return incomplete + [str(number) for number in report.absent]

    def _find(self, dl_manager) -> pathlib.Path:
        """The folder or archive to read; raises SourceError if there is none."""
        if self._source:
            return resolve(self._source, self.layout)
        if root := in_manual_dir(dl_manager, self.name):
            return root
        raise MissingSourceError(
            f"{self.layout.title} isn't downloaded by this package: fetch it ({self.HOMEPAGE}) and name the folder or "
            f"ZIP archive with `edmf data build {self.name} --source PATH`, or put it into TFDS's manual_dir "
            f"(DATA_DIR/downloads/manual) as {self.name}/ or {self.name}.zip"
        )

    def _check_completeness(self, report: SetsReport, root: pathlib.Path) -> None:
        """Accepts a complete copy; of any other, raises, or with `allow_missing` logs what is used.

        Whoever needs a split, not the whole copy, is not disturbed by files that were not published.
        """
        if report.clean or (self._needed_split and len(report.whole) == report.expected):
            return
        summary = f"{root} isn't a whole copy of {self.layout.title}: {report.describe()}."
        if not report.whole:
            raise SourceError(f"{summary} It has no whole {report.noun.removesuffix('s')}: complete it")
        count = f"the {len(report.whole)} whole {report.noun} of {report.expected}"
        if not self.allow_missing:
            raise SourceError(
                f"{summary} Complete it, or go on with {count}: --allow-missing, EDMF_ALLOW_MISSING=1 or "
                "allow_missing=True"
            )
        logging.warning("%s Going on with %s", summary, count)

    def _generate_examples(self, root: pathlib.Path, report: SetsReport) -> Iterator:
        ids = _ids(report.sets)
        with open_copy(root, self.layout) as reader:
            for picture_set in report.whole:
                key = picture_set.key
                files = [to_stored(reader.read(picture_set.files[slot][0])) for slot in self.layout.slots(picture_set)]
                if SHOTS in self.layout.patterns:
                    pictures = {"sources": files}
                else:
                    pictures = dict(zip(self._picture_features(), files, strict=True))
                yield ids[key], {"id": ids[key], "name": picture_set.name, **pictures}


def digest(*parts: object) -> str:
    """Ten hexadecimal digits for a combination of options, the same in every process."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _ids(sets: list[PictureSet]) -> dict:
    """Key of each set → its id: its number if all keys are distinct int32 numbers, else its position from 1.

    Sets that cannot be used are counted in the position, too.
    """
    numbers = {s.key: int(s.key) for s in sets if isinstance(s.key, int) or s.key.isdecimal()}
    if len(set(numbers.values())) == len(sets) and max(numbers.values()) < 2**31:
        return numbers
    return {s.key: position for position, s in enumerate(sets, 1)}


@contextlib.contextmanager
def _no_warning_about_custom_config() -> Iterator[None]:
    """Silences TFDS's warning about a config that is not listed in the class, like those for the user's patterns."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
