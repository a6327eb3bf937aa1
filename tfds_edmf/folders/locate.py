"""Finds the files of a data set in the user's copy, a folder or a ZIP archive."""

import contextlib
import hashlib
import os
import pathlib
import re
from collections.abc import Iterable

from tfds_edmf.folders.layout import FolderLayout, PictureSet
from tfds_edmf.sources import MissingSourceError, Source, SourceError, manual_dir, open_source

LEVELS_BELOW = 2  # the data set may lie this many folders below the one that the user named


def _is_hidden(name: str) -> bool:
    """Whether the file or a folder around it is hidden, or is metadata that macOS packs into ZIP archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def resolve(path: str | os.PathLike, layout: FolderLayout) -> pathlib.Path:
    """The absolute path of the folder or archive that the user named.

    Raises:
      MissingSourceError: it does not exist.
    """
    found = pathlib.Path(path).expanduser().resolve()
    if not found.exists():
        raise MissingSourceError(
            f"source={str(path)!r} doesn't exist: name the folder of {layout.title}, or its ZIP archive"
        )
    return found


def open_copy(root: pathlib.Path, layout: FolderLayout) -> contextlib.AbstractContextManager[Source]:
    """The reader of a folder or archive, as deep as the layout's files may lie; closed at the end of the block.

    Raises:
      SourceError: `root` is a file, but not a readable ZIP archive.
    """
    return open_source(root, layout.depth + LEVELS_BELOW)


def find_sets(source: Source, layout: FolderLayout) -> list[PictureSet]:
    """The pairs or sets of shots in a copy, complete or not, in numeric order.

    They may lie in the named folder itself or in one below it. If a folder with such files contains
    another one, the inner folder is ignored (Lytro's triples lie below its pairs).

    Raises:
      SourceError: the copy holds none, or there are several copies, or a name is no UTF-8.
    """
    names = [name for name in source.names() if not _is_hidden(name)]
    below = layout.group(names)
    with_complete_sets = [prefix for prefix, sets in below.items() if any(map(layout.is_complete, sets))]
    prefixes = _outermost(with_complete_sets or below)
    if len(prefixes) > 1:
        copies = ", ".join(str(source.root / prefix) for prefix in prefixes)
        raise SourceError(
            f"{source.root} holds several copies of {layout.title}, name one of them: {copies}{layout.hint}"
        )
    if not prefixes:
        wanted = ", ".join(pattern.text for pattern in layout.compiled.values())
        raise SourceError(
            f"{source.root} holds no pictures of {layout.title}: files named {wanted} are expected, in it or up to "
            f"{LEVELS_BELOW} folders below{_archive_hint(source, names) or layout.hint}"
        )
    sets = below[prefixes[0]]
    _check_utf8(str(source.root), *(name for s in sets for files in s.files.values() for name in files))
    return sets


def _check_utf8(*names: str) -> None:
    """Names go into TFDS's records, which are UTF-8; Python has bytes that are none as lone surrogates."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise SourceError(f"{name!r} is no name in UTF-8, as a data set's must be: rename it") from error


def _archive_hint(source: Source, names: Iterable[str]) -> str:
    """A hint for the error message if the pictures are probably still in an archive, else ""."""
    archives = sorted(name for name in names if name.lower().endswith(".zip"))
    if not archives:
        return ""
    return f"; name {source.root / archives[0]} itself" if source.root.is_dir() else f"; {archives[0]} is packed in it"


def _outermost(prefixes: Iterable[str]) -> list[str]:
    """The folders that lie in no other one of them, sorted."""
    return [p for p in sorted(prefixes) if not any(p != other and p.startswith(other) for other in prefixes)]


def fingerprint(source: Source, sets: Iterable[PictureSet]) -> str:
    """A hash that changes when a picture of the sets is changed, added or removed."""
    names = sorted(name for s in sets for files in s.files.values() for name in files)
    return hashlib.sha256(repr([(name, *source.stamp(name)) for name in names]).encode()).hexdigest()[:16]


def in_manual_dir(dl_manager, name: str) -> pathlib.Path | None:
    """The copy of data set `name` in TFDS's manual_dir: `mfi_whu`, `MFI-WHU`, `MFI-WHU.zip`, …; None if absent.

    Raises:
      SourceError: there are several.
    """
    folder = manual_dir(dl_manager)
    if folder is None:
        return None
    wanted = _letters_and_digits(pathlib.Path(name))
    found = [path for path in sorted(folder.iterdir()) if _letters_and_digits(path) == wanted]
    if len(found) > 1:
        raise SourceError(f"{folder} holds several copies of {name}: keep one of {', '.join(p.name for p in found)}")
    return found[0] if found else None


def _letters_and_digits(path: pathlib.Path) -> str:
    """Only these characters of a file's name, in lower case, without the suffix .zip."""
    stem = path.stem if path.suffix.lower() == ".zip" else path.name
    return re.sub(r"[\W_]", "", stem).lower()
