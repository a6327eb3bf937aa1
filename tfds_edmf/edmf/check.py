"""Is this copy what was published? Every file against the manifest, every pair's two sizes."""

import dataclasses
import hashlib
import os
import pathlib
import re
import zipfile
import zlib
from collections.abc import Mapping

from tfds_edmf.edmf.source import FolderSource, ZipSource

NAMES_SHOWN = 20  # of each kind of problem, in a message; the rest are counted
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](Source_([AB])/bg-\3-([0-9]+)\.jpg)")
# JPEG frame headers: 0xC0…0xCF but for the tables that share the range (DHT, JPG, DAC).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# What reading a damaged file or archive member raises (RuntimeError: encrypted member).
_READ_ERRORS = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def file_name(source: str, number: int) -> str:
    """The published name of one file, `source` "A" or "B"."""
    return f"Source_{source}/bg-{source}-{number}.jpg"


def read_manifest(path: str | os.PathLike) -> dict[str, str]:
    """File name -> sha256, from lines as `sha256sum` writes them."""
    manifest = {}
    for line in pathlib.Path(path).read_text(encoding="ascii").splitlines():
        match = _MANIFEST_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path}: not a line of the EDMF manifest: {line!r}")
        manifest[match[2]] = match[1]
    return manifest


def published_pairs(manifest: Mapping[str, str]) -> list[int]:
    """The numbers of which both sources were published, ascending."""
    numbers = {int(name.rpartition("-")[2].removesuffix(".jpg")) for name in manifest}
    return sorted(n for n in numbers if all(file_name(s, n) in manifest for s in "AB"))


@dataclasses.dataclass(frozen=True)
class Report:
    """What `check` found. A published pair is whole when both files are good and of one size."""

    published: tuple[int, ...]
    """Numbers of the pairs that were published with both sources."""
    whole: tuple[int, ...]
    """Those of them that can be used."""
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    extra: tuple[str, ...]
    mismatched: tuple[str, ...]
    """Pairs whose sources differ in size. Entries here and in `damaged` say why."""

    @property
    def clean(self) -> bool:
        """Whether the copy is exactly what was published."""
        return not (self.missing or self.damaged or self.extra or self.mismatched)

    def describe(self) -> str:
        """One line for each kind of problem, by name."""
        kinds = {
            "missing": self.missing,
            "damaged": self.damaged,
            "extra (not published)": self.extra,
            "sources of different size": self.mismatched,
        }
        return "\n".join(f"  {kind} {_listed(names)}" for kind, names in kinds.items() if names)


def check(source: FolderSource | ZipSource, manifest: Mapping[str, str]) -> Report:
    """Reads every file once and compares it with the manifest."""
    present = dict.fromkeys(source.names())
    damaged: dict[str, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name in (name for name in manifest if name in present):
        try:
            data = source.read(name)
        except _READ_ERRORS as error:
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
    bad = {*missing, *damaged}
    return Report(
        published=tuple(published),
        whole=tuple(n for n in published if n not in mismatched and bad.isdisjoint(file_name(s, n) for s in "AB")),
        missing=tuple(missing),
        damaged=tuple(f"{name} ({why})" for name, why in damaged.items()),
        extra=tuple(name for name in present if name not in manifest),
        mismatched=tuple(mismatched.values()),
    )


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) from a JPEG's frame header, undecoded; None where there is none."""
    at = 2
    if data[:at] != b"\xff\xd8":
        return None
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding between segments
            at += 1
        elif marker in _FRAME_MARKERS:
            return int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _mismatch(number: int, sizes: Mapping[str, tuple[int, int]]) -> str:
    """The two names with their sizes where they differ, else ""."""
    names = [file_name(s, number) for s in "AB"]
    known = [sizes[name] for name in names if name in sizes]
    if len(set(known)) < 2:
        return ""
    return " / ".join(f"{name} ({width}×{height})" for name, (height, width) in zip(names, known))


def _listed(names: tuple[str, ...]) -> str:
    """`(3): a, b, c`, cut after NAMES_SHOWN."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return f"({len(names):,}): " + ", ".join(names[:NAMES_SHOWN]) + more
