"""Is this copy whole? Every picture decoded, every set complete and of one size."""

import dataclasses
import zipfile
import zlib
from collections.abc import Iterable

from tfds_edmf.folders.layout import Layout, PictureSet
from tfds_edmf.folders.pictures import PictureError, keep, size_of
from tfds_edmf.folders.source import Source

NAMES_SHOWN = 10  # of each kind of problem; the rest are counted
# What reading a damaged file or archive member raises (RuntimeError: encrypted member).
_READ_ERRORS = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass
class Report:
    """What `check` found. A set is whole when each of its files is there, good and of one size."""

    noun: str
    """"pairs" or "sets"."""
    sets: list[PictureSet]
    """Every set of which a file was found, in order."""
    lost: list[int]
    """Numbers of published sets of which nothing was found."""
    whole: list[PictureSet] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    ambiguous: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)
    mismatched: list[str] = dataclasses.field(default_factory=list)
    unpublished: list[str] = dataclasses.field(default_factory=list)

    @property
    def expected(self) -> int:
        """How many sets a whole copy has, as far as that can be told."""
        return len(self.sets) - len(self.unpublished) + len(self.lost)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong with the copy."""
        return len(self.whole) == len(self.sets) and not self.lost

    def describe(self) -> str:
        """Every kind of problem, by name, in one line."""
        kinds = {
            "missing beside its partner": self.missing,
            "several files for one place": self.ambiguous,
            "unreadable": self.unreadable,
            "different sizes": self.mismatched,
            "not published": self.unpublished,
        }
        told = [f"{kind} ({len(names):,}): {_listed(names)}" for kind, names in kinds.items() if names]
        if self.lost:
            told.insert(0, f"{self.noun} missing altogether ({len(self.lost):,}): {ranges(self.lost)}")
        return "; ".join(told)


def check(source: Source, layout: Layout, sets: list[PictureSet]) -> Report:
    """Reads every file once."""
    report = Report(layout.noun, sets, layout.lost(sets))
    for picture_set in sets:
        if _is_whole(source, layout, picture_set, report):
            report.whole.append(picture_set)
    return report


def _is_whole(source: Source, layout: Layout, picture_set: PictureSet, report: Report) -> bool:
    """Whether a set can be used; tells the report why not."""
    if not layout.is_published(picture_set.key):
        report.unpublished.append(next(iter(picture_set.files.values()))[0])
        return False
    missing, ambiguous = _completeness(layout, picture_set, report.sets)
    sizes, unreadable = {}, []
    for names in picture_set.files.values():
        for name in names:
            try:
                sizes[name] = size_of(keep(source.read(name)))
            except PictureError as error:
                unreadable.append(f"{name} ({error})")
            except _READ_ERRORS as error:
                unreadable.append(f"{name} ({' '.join(str(error).split())})")
    differ = not ambiguous and len(set(sizes.values())) > 1
    report.missing += missing
    report.ambiguous += ambiguous
    report.unreadable += unreadable
    report.mismatched += [" / ".join(f"{n} ({w}×{h})" for n, (h, w) in sizes.items())] * differ
    return not (missing or ambiguous or unreadable or differ)


def _completeness(layout: Layout, picture_set: PictureSet, sets: list[PictureSet]) -> tuple[list[str], list[str]]:
    """The files that a set lacks, and those it has too many of."""
    slots = layout.slots(picture_set)
    missing = [layout.file_name(picture_set, slot, sets) for slot in slots if slot not in picture_set.files]
    surplus = [names[0] for slot, names in picture_set.files.items() if slot not in slots]
    if layout.shots and len(slots) >= layout.shots.stop:
        surplus.append(f"{picture_set.key} has {len(slots)} shots, not {' or '.join(map(str, layout.shots))}")
    return missing, surplus + [" / ".join(names) for names in picture_set.files.values() if len(names) > 1]


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as "3, 7…9"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return _listed([str(first) if first == last else f"{first}…{last}" for first, last in runs])


def _listed(names: list[str]) -> str:
    """`a, b, c`, cut after NAMES_SHOWN."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
