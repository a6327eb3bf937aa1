"""Data sets built from an incomplete copy: who allows that, which split lacks pairs, the warning when it is read."""

import os
import re
from collections.abc import Iterable

import tensorflow_datasets as tfds
from absl import logging

from tfds_edmf.sources import SourceError

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def allow_missing_from_environment() -> bool:
    """The environment variable EDMF_ALLOW_MISSING; False if it is not set.

    Raises:
      SourceError: its value is neither a yes nor a no.
    """
    value = os.environ.get("EDMF_ALLOW_MISSING", "").strip().lower()
    if value not in _YES + _NO:
        raise SourceError(f"EDMF_ALLOW_MISSING={value!r}: set it to 1 or 0")
    return value in _YES


def stored_splits(split: str | None, known: Iterable[str]) -> list[str]:
    """Which of the `known` splits are read for `split`, "test", "train[:90%]" or "train+test"; None: all of them."""
    names = [part.partition("[")[0].strip() for part in re.split(r"\+(?![^\[]*\])", split or "all")]
    return [name for name in known if name in names or "all" in names]


class MayBePartial:
    """Mixin for builders of published files: knows what is left out, and warns when somebody reads a part unawares.

    The builder provides `title`, `noun`, `left_out_pairs` and `allow_missing`.
    """

    @property
    def left_out(self) -> dict[str, int]:
        """Split → number of published pairs that the prepared data lacks; {} if none, or if nothing is prepared."""
        return {name: len(pairs) for name, pairs in self.left_out_pairs.items() if pairs}

    def as_dataset(self, split=None, **kwargs):
        """As in TFDS, after the warning."""
        self._warn_if_partial(split)
        return super().as_dataset(split, **kwargs)

    def as_data_source(self, split=None, **kwargs):
        """As in TFDS, after the warning."""
        self._warn_if_partial(split)
        return super().as_data_source(split, **kwargs)

    def _warn_if_partial(self, split) -> None:
        if self.allow_missing or not self.left_out:
            return
        try:
            parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(self.info.splits)
            left_out = {part.splitname: self.left_out.get(part.splitname, 0) for part in parts}
        except (ValueError, KeyError, AssertionError, TypeError, AttributeError):  # all splits, or a nested structure
            left_out = self.left_out
        lacking = [f"{count} {name} {self.noun}" for name, count in left_out.items() if count]
        if lacking:
            logging.warning("%s is only a part of %s, built from an incomplete copy: it lacks %s", self.data_dir,
                            self.title, ", ".join(lacking))
