"""Compares a copy of EDMF with what was published: every file with the manifest, the two sizes of every pair."""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Container, Mapping

from tfds_edmf.edmf.locate import SOURCE_FOLDERS
from tfds_edmf.jpeg_header import jpeg_size
from tfds_edmf.sources import READ_ERRORS, Source, shorten

NAMES_SHOWN = 20  # names per kind of problem in a message; the others are counted
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](Source_([AB])/bg-\3-([0-9]+)\.jpg)")
_NUMBER = re.compile(r"bg-[AB]-([0-9]+)\.jpg")


def file_name(source: str, number: int) -> str:
    """The published name of a file; `source` is "A" or "B"."""
    return f"Source_{source}/bg-{source}-{number}.jpg"


def read_manifest(path: str | os.PathLike) -> dict[str, str]:
    """File name → SHA-256, from a file with lines as `sha256sum` writes them.

    Raises:
      ValueError: a line has another form.
    """
    manifest = {}
    for line in pathlib.Path(path).read_text(encoding="ascii").splitlines():
        match = _MANIFEST_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path}: not a line of the EDMF manifest: {line!r}")
        manifest[match[2]] = match[1]
    return manifest


def published_pairs(manifest: Mapping[str, str]) -> list[int]:
    """The numbers of the pairs with both sources published, ascending."""
    numbers = {int(name.rpartition("-")[2].removesuffix(".jpg")) for name in manifest}
    return sorted(n for n in numbers if all(file_name(s, n) in manifest for s in "AB"))


@dataclasses.dataclass(frozen=True)
class FilesReport:
    """Result of `check_files`.

    Attributes:
      published: numbers of the pairs that were published with both sources.
      whole: those of them that can be used, because both files are intact and of one size.
      missing: names of published files that the copy lacks.
      damaged: names of files that differ from the published ones, each with the reason.
      extra: names of files that were not published.
      mismatched: pairs whose sources differ in size, each with both sizes.
    """

    published: tuple[int, ...]
    whole: tuple[int, ...]
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    extra: tuple[str, ...]
    mismatched: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether the copy is exactly as published."""
        return not (self.missing or self.damaged or self.extra or self.mismatched)

    def describe(self, pairs: Container[int] | None = None) -> str:
        """The problems, one line for each kind; only those of `pairs` (numbers) if they are given."""
        kinds = {
            "missing": self.missing,
            "damaged": self.damaged,
            "extra (not published)": self.extra,
            "sources of different size": self.mismatched,
        }
        if pairs is not None:
            numbers = {name: _NUMBER.search(name) for names in kinds.values() for name in names}
            kinds = {kind: [name for name in names if (found := numbers[name]) and int(found[1]) in pairs]
                     for kind, names in kinds.items()}
        return "\n".join(f"  {kind} ({len(names):,}): {shorten(names, NAMES_SHOWN)}"
                         for kind, names in kinds.items() if names)


def check_files(source: Source, manifest: Mapping[str, str]) -> FilesReport:
    """Reads every file once and compares it with the manifest (file name → SHA-256)."""
    present = dict.fromkeys(source.names(SOURCE_FOLDERS))
    damaged: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name in (name for name in manifest if name in present):
        try:
            data = source.read(name)
        except READ_ERRORS as error:
            damaged[name] = f"unreadable: {error}"
            continue
        size = jpeg_size(data)
        if hashlib.sha256(data).hexdigest() != manifest[name]:
            damaged[name] = "sha256 differs"
        elif size is None:
            damaged[name] = "no JPEG"
        if size is not None:
            sizes[name] = size

    published = published_pairs(manifest)
    missing = [name for name in manifest if name not in present]
    mismatched = {n: text for n in published if (text := _mismatch(n, sizes))}
    unusable = {*missing, *damaged}
    return FilesReport(
        published=tuple(published),
        whole=tuple(n for n in published
                    if n not in mismatched and unusable.isdisjoint(file_name(s, n) for s in "AB")),
        missing=tuple(missing),
        damaged=tuple(f"{name} ({reason})" for name, reason in damaged.items()),
        extra=tuple(name for name in present if name not in manifest),
        mismatched=tuple(mismatched.values()),
    )


def _mismatch(number: int, sizes: Mapping[str, tuple[int, int]]) -> str:
    """Both file names with their sizes if these differ, else ""."""
    names = [file_name(s, number) for s in "AB"]
    known = [sizes[name] for name in names if name in sizes]
    if len(set(known)) < 2:
        return ""
    return " / ".join(f"{name} ({width}×{height})" for name, (height, width) in zip(names, known))
