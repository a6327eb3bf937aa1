"""Data sets built from an incomplete copy: who allows that, and the warning whenever such data is read."""

import os

from absl import logging

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def allow_missing_from_environment() -> bool:
    """The environment variable EDMF_ALLOW_MISSING; False if it is not set.

    Raises:
      ValueError: its value is neither a yes nor a no.
    """
    value = os.environ.get("EDMF_ALLOW_MISSING", "").strip().lower()
    if value not in _YES + _NO:
        raise ValueError(f"EDMF_ALLOW_MISSING={value!r}: set it to 1 or 0")
    return value in _YES


class WarnsIfPartial:
    """Mixin for builders: logs a warning when partial data is read by somebody who did not allow missing pairs.

    The builder provides `title`, `noun`, `left_out` (split → number of pairs that the prepared data lacks) and
    `allow_missing`.
    """

    def as_dataset(self, *args, **kwargs):
        """As in TFDS, after the warning."""
        self._warn_if_partial()
        return super().as_dataset(*args, **kwargs)

    def as_data_source(self, *args, **kwargs):
        """As in TFDS, after the warning."""
        self._warn_if_partial()
        return super().as_data_source(*args, **kwargs)

    def _warn_if_partial(self) -> None:
        if self.left_out and not self.allow_missing:
            logging.warning(
                "%s is only a part of %s, built with missing %s allowed: it lacks %s", self.data_dir, self.title,
                self.noun, ", ".join(f"{count} {split} {self.noun}" for split, count in self.left_out.items()))
