"""A data set's layout: file name patterns that say which files of a folder belong together."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping

from tfds_edmf.folders.patterns import Key, Pattern
from tfds_edmf.sources import SourceError

SHOTS = "shots"
"""The role of a pattern with `{shot}`: its files are sets of several shots, not pairs."""
FEATURES = {"a": "source_a", "b": "source_b", "truth": "truth", "mask": "mask"}
"""Role in a pair → feature of the data set."""

Slot = Key
"""The place of a file in its set: its role ("a") or, in a set of shots, the shot (1 or "C")."""


@dataclasses.dataclass
class PictureSet:
    """The files found for one pair or set of shots.

    Attributes:
      key: the number or text that names the set.
      name: the key as its first file spells it, "01".
      files: place → names of the files that fit it, normally one.
    """

    key: Key
    name: str
    files: dict[Slot, list[str]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FolderLayout:
    """How a data set's files are named.

    Attributes:
      title: the data set's name in messages.
      patterns: role → pattern (see the module `patterns`): "a" and "b", optionally "truth" and
        "mask"; or "shots" alone.
      shots: how many shots a set may have; only with the role "shots".
      published: how many sets were published, numbered from 1; None if unknown.
      gapless: whether the published numbers run from 1 without gaps, so that a gap means a missing set.
      hint: what to do if the files of a copy have other names, for error messages.
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
            raise SourceError(f"patterns={dict(self.patterns)!r}: give a and b, and optionally truth and mask")
        for role, pattern in self.compiled.items():
            same = next((r for r in self.patterns if r != role and self.compiled[r].text == pattern.text), None)
            if same:
                raise SourceError(f"patterns {role} and {same} are both {pattern.text!r}: no file can be both")

    @functools.cached_property
    def compiled(self) -> dict[str, Pattern]:
        """Role → compiled pattern, the most specific first; a file belongs to the first pattern it matches."""
        patterns = [(role, Pattern(text, role)) for role, text in self.patterns.items()]
        return dict(sorted(patterns, key=lambda item: -item[1].fixed_characters))

    @property
    def noun(self) -> str:
        """What the sets are called in messages."""
        return "sets" if SHOTS in self.patterns else "pairs"

    @property
    def depth(self) -> int:
        """The number of folders in the longest pattern."""
        return max(pattern.text.count("/") for pattern in self.compiled.values())

    def group(self, names: Iterable[str]) -> dict[str, list[PictureSet]]:
        """Groups file names: folder that contains the data set → its sets in numeric order, complete or not."""
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
        """The places that this set must fill, in order: its shots are numbered from 1 or lettered from A."""
        if SHOTS not in self.patterns:
            return list(self.patterns)
        found = picture_set.files
        letters = any(isinstance(shot, str) for shot in found)
        last = max((ord(s) - ord("A") + 1 if letters else s for s in found if isinstance(s, str) == letters), default=0)
        count = max(last, self.shots.start)
        return [chr(ord("A") + i) for i in range(count)] if letters else list(range(1, count + 1))

    def is_complete(self, picture_set: PictureSet) -> bool:
        """Whether every place has a file."""
        return all(slot in picture_set.files for slot in self.slots(picture_set))

    def file_name(self, picture_set: PictureSet, slot: Slot, others: Iterable[PictureSet] = ()) -> str:
        """The name that the file of a place should have; `others` are sets to copy the padding of numbers from."""
        role, shot = (slot, None) if slot in self.patterns else (SHOTS, slot)
        pattern = self.compiled[role]
        example = next((n for s in (picture_set, *others) for names in s.files.values() for n in names
                        if pattern.match(n)), None)  # fmt: skip
        return pattern.fill(picture_set.key, shot, example)

    def absent_numbers(self, sets: Iterable[PictureSet]) -> list[int]:
        """The numbers of published sets that have no file at all, as far as it is known what was published."""
        if self.published is None and not self.gapless:
            return []
        found = {s.key for s in sets}
        return [n for n in range(1, (self.published or max(found, default=0)) + 1) if n not in found]

    def is_published(self, key: Key) -> bool:
        """Whether a set of this number can be a published one."""
        return self.published is None or 1 <= key <= self.published


def natural(key: Key) -> tuple:
    """Sort key that puts 2 before 10, also inside text."""
    if isinstance(key, int):
        return (key,)
    return (*((not part.isdecimal(), int(part) if part.isdecimal() else part) for part in re.split(r"(\d+)", key)), key)
