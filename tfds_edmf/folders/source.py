"""The user's copy, wherever it lies: one reader for a folder and for a ZIP archive."""

import contextlib
import hashlib
import os
import pathlib
import re
import zipfile
from collections.abc import Iterable, Iterator

from tfds_edmf.edmf.source import SourceError
from tfds_edmf.folders.layout import Layout, PictureSet

LEVELS_BELOW = 2  # so many folders down, a data set is looked for in the folder that was named


class FolderSource:
    """A folder, looked into `depth` folders deep."""

    def __init__(self, root: pathlib.Path, depth: int):
        self.root = root
        self._depth = depth

    def names(self) -> list[str]:
        """The files, as paths inside the folder with forward slashes; hidden ones are left out."""
        found = []
        for folder, below, files in os.walk(self.root, followlinks=True):
            inside = pathlib.Path(folder).relative_to(self.root)
            found += [(inside / file).as_posix() for file in files]
            if len(inside.parts) == self._depth:
                below.clear()
        return [name for name in found if not _is_hidden(name)]

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self.root / name).read_bytes()

    def stamp(self, name: str) -> tuple[int, ...]:
        """What changes when the file does; () of a dangling link."""
        try:
            status = (self.root / name).stat()
        except OSError:
            return ()
        return status.st_size, status.st_mtime_ns


class ZipSource:
    """A ZIP archive, read without extraction."""

    def __init__(self, archive: zipfile.ZipFile):
        self.root = pathlib.Path(archive.filename)
        self._archive = archive

    def names(self) -> list[str]:
        """The files in the archive; hidden ones and macOS's metadata are left out."""
        return [e.filename for e in self._archive.infolist() if not e.is_dir() and not _is_hidden(e.filename)]

    def read(self, name: str) -> bytes:
        """The bytes of one file; the archive's own check sum is verified on the way."""
        return self._archive.read(name)

    def stamp(self, name: str) -> tuple[int, ...]:
        """What changes when the file does."""
        entry = self._archive.getinfo(name)
        return entry.file_size, entry.CRC


Source = FolderSource | ZipSource


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def resolve(path: str | os.PathLike, layout: Layout) -> pathlib.Path:
    """The folder or archive that the user named, which must exist."""
    found = pathlib.Path(path).expanduser().resolve()
    if not found.exists():
        raise FileNotFoundError(
            f"source={str(path)!r} doesn't exist: name the folder of {layout.title}, or its ZIP archive"
        )
    return found


@contextlib.contextmanager
def open_source(root: pathlib.Path, layout: Layout) -> Iterator[Source]:
    """The reader of a folder or archive, closed when the block ends."""
    if root.is_dir():
        yield FolderSource(root, layout.depth + LEVELS_BELOW)
        return
    try:
        archive = zipfile.ZipFile(root)
    except zipfile.BadZipFile as error:
        raise SourceError(
            f"{root} is neither a folder nor a readable ZIP archive ({error}); if it is a half-finished copy, "
            "fetch it again"
        ) from error
    with archive:
        yield ZipSource(archive)


def find_sets(source: Source, layout: Layout) -> list[PictureSet]:
    """The data set's pairs or sets of shots, whole or not, in numeric order.

    They may lie in the named folder itself or in one below it. A folder inside another one that
    has them isn't looked at (Lytro keeps its triples below its pairs).

    Raises:
      SourceError: there are none, or several copies.
    """
    names = source.names()
    below = layout.group(names)
    whole = [prefix for prefix, sets in below.items() if any(map(layout.is_complete, sets))]
    prefixes = _outermost(whole or below)
    if len(prefixes) > 1:
        copies = ", ".join(str(source.root / prefix) for prefix in prefixes)
        raise SourceError(
            f"{source.root} holds several copies of {layout.title}, name one of them: {copies}{layout.hint}"
        )
    if not prefixes:
        wanted = ", ".join(pattern.text for pattern in layout.compiled.values())
        raise SourceError(
            f"{source.root} holds no pictures of {layout.title}: files named {wanted} are expected, in it or up to "
            f"{LEVELS_BELOW} folders below{_packed(source, names) or layout.hint}"
        )
    return below[prefixes[0]]


def _packed(source: Source, names: Iterable[str]) -> str:
    """A hint where the pictures are probably still packed."""
    archives = sorted(name for name in names if name.lower().endswith(".zip"))
    if not archives:
        return ""
    return f"; name {source.root / archives[0]} itself" if source.root.is_dir() else f"; {archives[0]} is packed in it"


def _outermost(prefixes: Iterable[str]) -> list[str]:
    return [p for p in sorted(prefixes) if not any(p != other and p.startswith(other) for other in prefixes)]


def fingerprint(source: Source, sets: Iterable[PictureSet]) -> str:
    """A hash that changes when a picture of the sets is changed, added or taken away."""
    names = sorted(name for s in sets for files in s.files.values() for name in files)
    return hashlib.sha256(repr([(name, *source.stamp(name)) for name in names]).encode()).hexdigest()[:16]


def in_manual_dir(dl_manager, name: str) -> pathlib.Path | None:
    """The copy in TFDS's manual_dir: `mfi_whu`, `MFI-WHU`, `MFI-WHU.zip`, …"""
    try:
        folder = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # how TFDS says that the folder is absent or empty
        return None
    found = [path for path in sorted(folder.iterdir()) if _bare(path) == _bare(pathlib.Path(name))]
    if len(found) > 1:
        raise SourceError(f"{folder} holds several copies of {name}: keep one of {', '.join(p.name for p in found)}")
    return found[0] if found else None


def _bare(path: pathlib.Path) -> str:
    """A name's letters and digits, without .zip."""
    stem = path.stem if path.suffix.lower() == ".zip" else path.name
    return re.sub(r"[\W_]", "", stem).lower()
