"""Checks a copy: every picture can be decoded, every set is complete and of one size."""

import dataclasses

from tfds_edmf.folders.layout import FolderLayout, PictureSet
from tfds_edmf.folders.pictures import PictureError, decoded_size, to_stored
from tfds_edmf.sources import READ_ERRORS, Source, ranges, shorten

NAMES_SHOWN = 10  # names per kind of problem in a message; the others are counted


@dataclasses.dataclass
class SetsReport:
    """Result of `check_sets`. A set is whole if all its files are present, decodable and of one size.

    Attributes:
      noun: "pairs" or "sets", for messages.
      sets: every set with at least one file, in order.
      absent: numbers of published sets without any file.
      whole: the sets that can be used.
      missing: names of files that a set lacks.
      ambiguous: files that compete for one place, or sets with too many shots.
      unreadable: files that cannot be read or decoded, each with the reason.
      mismatched: files of one set that differ in size, each with its size.
      unpublished: the first file of each set whose number was not published.
    """

    noun: str
    sets: list[PictureSet]
    absent: list[int]
    whole: list[PictureSet] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    ambiguous: list[str] = dataclasses.field(default_factory=list)
    unreadable: list[str] = dataclasses.field(default_factory=list)
    mismatched: list[str] = dataclasses.field(default_factory=list)
    unpublished: list[str] = dataclasses.field(default_factory=list)

    @property
    def expected(self) -> int:
        """Number of sets in a complete copy, as far as it is known."""
        return len(self.sets) - len(self.unpublished) + len(self.absent)

    @property
    def clean(self) -> bool:
        """Whether the copy has no problem."""
        return len(self.whole) == len(self.sets) and not self.absent

    def describe(self) -> str:
        """All problems in one line, grouped by kind."""
        kinds = {
            "missing beside its partner": self.missing,
            "several files for one place": self.ambiguous,
            "unreadable": self.unreadable,
            "different sizes": self.mismatched,
            "not published": self.unpublished,
        }
        problems = [f"{kind} ({len(names):,}): {shorten(names, NAMES_SHOWN)}" for kind, names in kinds.items() if names]
        if self.absent:
            problems.insert(0, f"{self.noun} missing altogether ({len(self.absent):,}): {ranges(self.absent)}")
        return "; ".join(problems)


def check_sets(source: Source, layout: FolderLayout, sets: list[PictureSet]) -> SetsReport:
    """Reads and decodes every file once; `sets` are all sets of the copy, from `locate.find_sets`."""
    report = SetsReport(layout.noun, sets, layout.absent_numbers(sets))
    for picture_set in sets:
        if _is_whole(source, layout, picture_set, report):
            report.whole.append(picture_set)
    return report


def _is_whole(source: Source, layout: FolderLayout, picture_set: PictureSet, report: SetsReport) -> bool:
    """Whether a set can be used; if not, adds the reasons to the report."""
    if not layout.is_published(picture_set.key):
        report.unpublished.append(next(iter(picture_set.files.values()))[0])
        return False
    missing, ambiguous = _completeness(layout, picture_set, report.sets)
    sizes, unreadable = {}, []
    for names in picture_set.files.values():
        for name in names:
            try:
                sizes[name] = decoded_size(to_stored(source.read(name)))
            except PictureError as error:
                unreadable.append(f"{name} ({error})")
            except READ_ERRORS as error:
                unreadable.append(f"{name} ({' '.join(str(error).split())})")
    differ = not ambiguous and len(set(sizes.values())) > 1
    report.missing += missing
    report.ambiguous += ambiguous
    report.unreadable += unreadable
    report.mismatched += [" / ".join(f"{n} ({w}×{h})" for n, (h, w) in sizes.items())] * differ
    return not (missing or ambiguous or unreadable or differ)


def _completeness(layout: FolderLayout, picture_set: PictureSet, sets: list[PictureSet]) -> tuple[list[str], list[str]]:
    """Names of the files that a set lacks, and descriptions of those that are too many."""
    slots = layout.slots(picture_set)
    missing = [layout.file_name(picture_set, slot, sets) for slot in slots if slot not in picture_set.files]
    too_many = [names[0] for slot, names in picture_set.files.items() if slot not in slots]
    if layout.shots and len(slots) >= layout.shots.stop:
        too_many.append(f"{picture_set.key} has {len(slots)} shots, not {' or '.join(map(str, layout.shots))}")
    return missing, too_many + [" / ".join(names) for names in picture_set.files.values() if len(names) > 1]
