"""Which files of a folder belong together: a data set's layout as a record of patterns."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping

from tfds_edmf.folders.patterns import Key, Pattern

SHOTS = "shots"
"""The role whose pattern has `{shot}`: a set of several shots instead of a pair."""
FEATURES = {"a": "source_a", "b": "source_b", "truth": "truth", "mask": "mask"}
"""Role in a pair -> feature of the data set."""

Slot = Key
"""The place of a file in its set: a role ("a") or, in a set of shots, the shot (1, "C")."""


@dataclasses.dataclass
class PictureSet:
    """A pair, or a set of shots, as found: usually one file for each place."""

    key: Key
    name: str
    """The key as the first of its files says it."""
    files: dict[Slot, list[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a data set's files are named.

    Attributes:
      title: The data set's name in messages.
      patterns: Role -> pattern (see `patterns`): either "a" and "b", with "truth" and "mask"
        where there are such, or "shots" alone.
      shots: How many shots a set may have, with the role "shots".
      published: How many sets were published, numbered from 1; None where that isn't known.
      gapless: The numbers run from 1 without gaps, so that a gap is a loss.
      hint: What to do about a copy with other names, for error messages.
    """

    title: str
    patterns: Mapping[str, str]
    shots: range | None = None
    published: int | None = None
    gapless: bool = False
    hint: str = ""

    def __post_init__(self):
        roles = set(self.patterns)
        if roles != {SHOTS} and not {"a", "b"} <= roles <= set(FEATURES):
            raise ValueError(f"patterns={dict(self.patterns)!r}: give a and b, and if you like truth and mask")
        for role, pattern in self.compiled.items():
            twin = next((r for r in self.patterns if r != role and self.compiled[r].text == pattern.text), None)
            if twin:
                raise ValueError(f"patterns {role} and {twin} are both {pattern.text!r}: no file can be both")

    @functools.cached_property
    def compiled(self) -> dict[str, Pattern]:
        """Role -> compiled pattern, the most specific one first: a name goes to the first that fits."""
        patterns = [(role, Pattern(text, role)) for role, text in self.patterns.items()]
        return dict(sorted(patterns, key=lambda item: -item[1].fixed_characters))

    @property
    def noun(self) -> str:
        """What the sets are called in messages."""
        return "sets" if SHOTS in self.patterns else "pairs"

    @property
    def depth(self) -> int:
        """How many folders deep the patterns reach."""
        return max(pattern.text.count("/") for pattern in self.compiled.values())

    def group(self, names: Iterable[str]) -> dict[str, list[PictureSet]]:
        """Prefix -> the sets below it, in numeric order, whole or not."""
        found: dict[str, dict[Key, PictureSet]] = {}
        for name in sorted(names):
            for role, pattern in self.compiled.items():
                if match := pattern.match(name):
                    sets = found.setdefault(match.prefix, {})
                    picture_set = sets.setdefault(match.key, PictureSet(match.key, match.name))
                    slot = role if match.shot is None else match.shot
                    picture_set.files.setdefault(slot, []).append(name)
                    break
        return {prefix: sorted(sets.values(), key=lambda s: natural(s.key)) for prefix, sets in found.items()}

    def slots(self, picture_set: PictureSet) -> list[Slot]:
        """The places that this set must fill, in order."""
        if SHOTS not in self.patterns:
            return list(self.patterns)
        held = picture_set.files
        letters = any(isinstance(shot, str) for shot in held)
        last = max((ord(s) - ord("A") + 1 if letters else s for s in held if isinstance(s, str) == letters), default=0)
        count = max(last, self.shots.start)
        return [chr(ord("A") + i) for i in range(count)] if letters else list(range(1, count + 1))

    def is_complete(self, picture_set: PictureSet) -> bool:
        """Whether every place is filled."""
        return all(slot in picture_set.files for slot in self.slots(picture_set))

    def file_name(self, picture_set: PictureSet, slot: Slot, others: Iterable[PictureSet] = ()) -> str:
        """The name that the file of a place should have, digits padded as in the other sets' files."""
        role, shot = (slot, None) if slot in self.patterns else (SHOTS, slot)
        pattern = self.compiled[role]
        like = next((n for s in (picture_set, *others) for names in s.files.values() for n in names
                     if pattern.match(n)), None)  # fmt: skip
        return pattern.fill(picture_set.key, shot, like)

    def lost(self, sets: Iterable[PictureSet]) -> list[int]:
        """The numbers of which nothing is there, though they must have been published."""
        if self.published is None and not self.gapless:
            return []
        held = {s.key for s in sets}
        return [n for n in range(1, (self.published or max(held, default=0)) + 1) if n not in held]

    def is_published(self, key: Key) -> bool:
        """Whether a set of this number can be one of the published."""
        return self.published is None or 1 <= key <= self.published


def natural(key: Key) -> tuple:
    """Sort key that puts 2 before 10, in texts too."""
    if isinstance(key, int):
        return (key,)
    return (*((not part.isdecimal(), int(part) if part.isdecimal() else part) for part in re.split(r"(\d+)", key)), key)
