"""The published files, wherever they lie: one reader for a folder and for a ZIP archive.

A name is the path inside the published folder, `Source_A/bg-A-1.jpg`, with forward slashes.
"""

import contextlib
import os
import pathlib
import re
import zipfile
from collections.abc import Iterator

SOURCE_FOLDERS = ("Source_A", "Source_B")
_ZIP_PREFIX = re.compile(r"(?P<prefix>(?:.*/)?)Source_[AB]/")


class SourceError(ValueError):
    """A source that can't be used as it is; the message names it and the way out."""


class FolderSource:
    """A folder that holds `Source_A/` and `Source_B/`."""

    def __init__(self, root: pathlib.Path):
        self._root = root

    def names(self) -> list[str]:
        """Every file below the two folders, whether it belongs there or not."""
        files = (
            path
            for folder in SOURCE_FOLDERS
            for path in (self._root / folder).rglob("*")
            if not path.is_dir()  # keeps dangling links: they are files that can't be read
        )
        return sorted(path.relative_to(self._root).as_posix() for path in files)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self._root / name).read_bytes()


class ZipSource:
    """A ZIP archive with `Source_A/` and `Source_B/` anywhere in it, read without extraction."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._prefix = _zip_prefix(archive)

    def names(self) -> list[str]:
        """Every file below the two folders, whether it belongs there or not."""
        below = tuple(f"{self._prefix}{folder}/" for folder in SOURCE_FOLDERS)
        return sorted(
            entry.filename.removeprefix(self._prefix)
            for entry in self._archive.infolist()
            if entry.filename.startswith(below) and not entry.is_dir()
        )

    def read(self, name: str) -> bytes:
        """The bytes of one file; the archive's own check sum is verified on the way."""
        return self._archive.read(self._prefix + name)


@contextlib.contextmanager
def open_source(root: str | os.PathLike) -> Iterator[FolderSource | ZipSource]:
    """The reader of what `resolve` found, closed when the block ends."""
    root = pathlib.Path(root)
    if root.is_dir():
        yield FolderSource(root)
        return
    try:
        archive = zipfile.ZipFile(root)
    except zipfile.BadZipFile as error:
        raise SourceError(
            f"{root} is no readable ZIP archive ({error}); if it is a half-finished copy, delete it and fetch it again"
        ) from error
    with archive:
        yield ZipSource(archive)


def resolve(path: str | os.PathLike, argument: str) -> pathlib.Path:
    """The folder that holds `Source_A/`, or the ZIP archive, that `path` leads to.

    `path` may be that folder, a git checkout (`EDMF/Source_A`), an unpacked archive or the
    folder above it (`EDMF-<commit>/EDMF/Source_A`), a ZIP of any of these, or a folder with
    such a ZIP named `EDMF*.zip`. `argument` is what the user set, for the error message.
    """
    path = pathlib.Path(path).expanduser().resolve()
    if path.is_file():
        return path
    if not path.is_dir():
        raise FileNotFoundError(
            f"{argument}={str(path)!r} doesn't exist: name the folder with Source_A/ and Source_B/, or the ZIP archive"
        )
    found = search(path)
    if not found:
        raise FileNotFoundError(
            f"{argument}={str(path)!r} holds no Source_A/ and Source_B/ (looked there, one "
            "folder down, in */EDMF, and for EDMF*.zip)"
        )
    if len(found) > 1:
        raise SourceError(
            f"{argument}={str(path)!r} holds several copies of EDMF, name one of them: " + ", ".join(map(str, found))
        )
    return found[0]


def search(folder: pathlib.Path) -> list[pathlib.Path]:
    """The copies of EDMF in a folder, at the first of the known depths that has any."""
    for pattern in (".", "*", "*/EDMF"):
        candidates = [folder] if pattern == "." else sorted(folder.glob(pattern))
        # os.path.isdir says no where a folder can't be entered; Path.is_dir would raise.
        found = [c for c in candidates if any(os.path.isdir(c / f) for f in SOURCE_FOLDERS)]
        if found:
            return found
    return sorted(folder.glob("[Ee][Dd][Mm][Ff]*.[Zz][Ii][Pp]"))


def _zip_prefix(archive: zipfile.ZipFile) -> str:
    """What stands before `Source_A/` in the archive's names: "", "EDMF/", "EDMF-<commit>/EDMF/"."""
    matches = map(_ZIP_PREFIX.match, archive.namelist())
    prefixes = {match["prefix"] for match in matches if match}
    # macOS packs each file's metadata into a parallel tree of this name.
    prefixes = {p for p in prefixes if not p.startswith("__MACOSX/")}
    if len(prefixes) != 1:
        several = ", ".join(map(repr, sorted(prefixes)))
        raise SourceError(
            f"{archive.filename} holds "
            + (f"several copies of EDMF ({several})" if prefixes else "no Source_A/ and Source_B/")
            + ": name an archive with one copy of the published folder EDMF/"
        )
    return prefixes.pop()
