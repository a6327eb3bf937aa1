"""The builder of all data sets that are read from the user's own copy of published folders."""

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

from tfds_edmf.edmf.locate import allow_missing_from_environment
from tfds_edmf.edmf.source import SourceError
from tfds_edmf.folders.check import Report, check
from tfds_edmf.folders.layout import FEATURES, SHOTS, Layout, PictureSet
from tfds_edmf.folders.pictures import keep
from tfds_edmf.folders.source import find_sets, fingerprint, in_manual_dir, open_source, resolve

_DOCS = {
    "source_a": "first shot",
    "source_b": "second shot",
    "truth": "all in focus",
    "mask": "focus mask, as published",
}


@dataclasses.dataclass(eq=False, kw_only=True)
class Config(tfds.core.BuilderConfig):
    """One way to read a published folder."""

    layout: Layout


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class: a data set is its configs' layouts, a docstring and where it comes from.

    `source` is the folder with the published files, or its ZIP archive; without it TFDS's
    manual_dir is looked into for one of the data set's name. Every picture is decoded once.
    `allow_missing` goes on with the whole pairs of an incomplete copy and says so; without it
    the variable EDMF_ALLOW_MISSING decides. Both reach TFDS as
    `tfds.load("lytro", builder_kwargs={"source": …, "allow_missing": True})`.

    Features: `id` int32, the published number, or the position from 1 where names aren't
    numbers; `name`, that number or name as the files have it, "01"; the pictures, uint8 RGB (masks: one channel),
    stored as published where that is JPEG or PNG, else losslessly as PNG; sets of more than two
    shots have `sources`, a sequence. One split, `test`, in numeric order.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The published folder, or its ZIP archive, under the data set's name."
    HOMEPAGE = ""
    CITATION = ""
    LICENSE = "Terms unknown: ask the authors before anything but private study."

    def __init__(self, *, source: str | os.PathLike | None = None, allow_missing: bool | None = None, **kwargs):
        self._source = source
        self.allow_missing = allow_missing_from_environment() if allow_missing is None else allow_missing
        with _no_note_on_custom_config():
            super().__init__(**kwargs)
        # What TFDS makes a copy of the builder from, in another process.
        self._original_state |= {"source": source, "allow_missing": self.allow_missing}

    @property
    def layout(self) -> Layout:
        """How the config's files are named."""
        return self.builder_config.layout

    @property
    def left_out(self) -> dict[str, int]:
        """Split -> pairs that a whole copy has and the prepared data lacks; {} if none, or not prepared."""
        lacks = self.info.metadata.get("left_out_pairs", 0)
        return {"test": lacks} if lacks else {}

    @property
    def prepared_from(self) -> str | None:
        """The folder or archive that the prepared data came from; None if not prepared."""
        return self.info.metadata.get("source")

    @property
    def asked_source(self) -> str | None:
        """The copy named by `source`, None without; raises where there is none."""
        return str(resolve(self._source, self.layout)) if self._source else None

    @property
    def stale(self) -> bool:
        """Whether pictures of the named source changed, came or went since the data was prepared from it."""
        if self.prepared_from is None or self.asked_source != self.prepared_from:
            return False
        with open_source(pathlib.Path(self.asked_source), self.layout) as reader:
            return self.info.metadata["fingerprint"] != fingerprint(reader, find_sets(reader, self.layout))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=inspect.cleandoc(type(self).__doc__),
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int32, doc="published number, or position from 1"),
                    "name": tfds.features.Text(doc="number or name in the files' names"),
                    **self._pictures(),
                }
            ),
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            license=self.LICENSE,
            disable_shuffling=True,  # numeric order: the tables depend on it
            metadata=tfds.core.MetadataDict(),
        )

    def _pictures(self) -> dict[str, tfds.features.FeatureConnector]:
        def image(feature: str) -> tfds.features.Image:
            return tfds.features.Image(shape=(None, None, 1 if feature == "mask" else 3), doc=_DOCS.get(feature))

        if SHOTS in self.layout.patterns:
            return {"sources": tfds.features.Sequence(image("sources"), doc="the shots, in order")}
        return {FEATURES[role]: image(FEATURES[role]) for role in self.layout.patterns}

    def _split_generators(self, dl_manager):
        root = self._find(dl_manager)
        with open_source(root, self.layout) as reader:
            sets = find_sets(reader, self.layout)
            report = check(reader, self.layout, sets)
            self._judge(report, root)
            self.info.metadata.update(
                source=str(root),
                fingerprint=fingerprint(reader, sets),
                left_out_pairs=report.expected - len(report.whole),
            )
        return {"test": self._generate_examples(root, report)}

    def _find(self, dl_manager) -> pathlib.Path:
        if self._source:
            return resolve(self._source, self.layout)
        if root := in_manual_dir(dl_manager, self.name):
            return root
        raise FileNotFoundError(
            f"{self.layout.title} isn't downloaded by this package: fetch it ({self.HOMEPAGE}) and name the folder or "
            f"ZIP archive with `edmf data build {self.name} --source PATH`, or put it into TFDS's manual_dir "
            f"(DATA_DIR/downloads/manual) as {self.name}/ or {self.name}.zip"
        )

    def _judge(self, report: Report, root: pathlib.Path) -> None:
        """Lets a whole copy pass; raises for any other, or says what it goes on with."""
        if report.clean:
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

    def _generate_examples(self, root: pathlib.Path, report: Report) -> Iterator:
        ids = _ids(report.sets)
        with open_source(root, self.layout) as reader:
            for picture_set in report.whole:
                key = picture_set.key
                files = [keep(reader.read(picture_set.files[slot][0])) for slot in self.layout.slots(picture_set)]
                if SHOTS in self.layout.patterns:
                    pictures = {"sources": files}
                else:
                    pictures = dict(zip(self._pictures(), files, strict=True))
                yield ids[key], {"id": ids[key], "name": picture_set.name, **pictures}

    def as_dataset(self, *args, **kwargs):
        """As in TFDS; says so where the prepared data is only a part of the data set."""
        self._say_if_partial()
        return super().as_dataset(*args, **kwargs)

    def as_data_source(self, *args, **kwargs):
        """As in TFDS; says so where the prepared data is only a part of the data set."""
        self._say_if_partial()
        return super().as_data_source(*args, **kwargs)

    def _say_if_partial(self) -> None:
        if self.left_out and not self.allow_missing:
            logging.warning(
                "%s is only a part of %s, built with missing pairs allowed: it lacks %d %s",
                self.data_dir, self.layout.title, self.left_out["test"], self.layout.noun,
            )  # fmt: skip


def digest(*parts: object) -> str:
    """A short name for a combination of options, the same in every process."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _ids(sets: list[PictureSet]) -> dict:
    """Set -> its number where all have one that fits int32, else the position from 1, not whole ones counted."""
    numbers = {s.key: int(s.key) for s in sets if isinstance(s.key, int) or s.key.isdecimal()}
    if len(set(numbers.values())) == len(sets) and max(numbers.values()) < 2**31:
        return numbers
    return {s.key: position for position, s in enumerate(sets, 1)}


@contextlib.contextmanager
def _no_note_on_custom_config() -> Iterator[None]:
    """TFDS warns of every config that isn't listed in the class, as those of the user's patterns."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
