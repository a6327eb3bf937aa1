"""Reads the user's copy of published files: one reader for a folder and one for a ZIP archive.

Both readers name a file by its path inside the copy, with forward slashes: `Source_A/bg-A-1.jpg`.
"""

import contextlib
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence

# What reading a damaged file or archive member raises (RuntimeError: an encrypted member).
READ_ERRORS = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)

MAX_FILE_BYTES = 1 << 30
"""Larger files are refused: the two of a pair would not fit into a TFRecord, whose limit is 2 GiB."""
# A member of an archive that unpacks to more than the first number is refused if it grows more than by the second:
# pictures hardly grow, a ZIP bomb grows a thousand times.
_HARMLESS_BYTES, _MAX_GROWTH = 64e6, 200


class SourceError(ValueError):
    """The user's mistake, or a copy that cannot be used as it is; the message names it and the way out."""


class MissingSourceError(SourceError, FileNotFoundError):
    """A file or folder that the user named, or that is needed, does not exist."""


class TooLargeError(OSError):
    """A file that is, or claims to be, too large for a picture; it was not read."""


class FolderSource:
    """Reads a folder.

    Attributes:
      root: the folder.
      depth: how many folder levels `names` goes down, following links to folders; None: all levels, but no links.
    """

    def __init__(self, root: pathlib.Path, depth: int | None = None):
        self.root = root
        self.depth = depth

    def names(self, folders: Sequence[str] = ("",)) -> list[str]:
        """All files below these folders of the copy, sorted; links that lead nowhere are files, too."""
        found = []
        for folder in folders:
            for path, subfolders, files in os.walk(self.root / folder, followlinks=self.depth is not None):
                inside = pathlib.Path(path).relative_to(self.root)
                found += [(inside / file).as_posix() for file in files]
                if self.depth is not None and len(inside.parts) >= self.depth:
                    subfolders.clear()
        return sorted(found)

    def read(self, name: str) -> bytes:
        """The bytes of one file; raises one of `READ_ERRORS`."""
        path = self.root / name
        _check_size(path.stat().st_size)
        return path.read_bytes()

    def stamp(self, name: str) -> tuple[int, ...]:
        """Size and modification time, which change when the file does; () for a link that leads nowhere."""
        try:
            status = (self.root / name).stat()
        except OSError:
            return ()
        return status.st_size, status.st_mtime_ns


class ZipSource:
    """Reads a ZIP archive without extracting it.

    Attributes:
      root: the archive's path.
      prefix: the folder in the archive that is the copy: "" or "EDMF-main/EDMF/".
    """

    def __init__(self, archive: zipfile.ZipFile, prefix: str = ""):
        self.root = pathlib.Path(archive.filename)
        self.archive = archive
        self.prefix = prefix

    def names(self, folders: Sequence[str] = ("",)) -> list[str]:
        """All files below these folders of the copy, sorted."""
        below = tuple(f"{self.prefix}{folder}/" if folder else self.prefix for folder in folders)
        return sorted(entry.filename.removeprefix(self.prefix) for entry in self.archive.infolist()
                      if entry.filename.startswith(below) and not entry.is_dir())

    def read(self, name: str) -> bytes:
        """The bytes of one file; zipfile verifies the checksum stored in the archive; raises one of `READ_ERRORS`."""
        entry = self.archive.getinfo(self.prefix + name)
        _check_size(entry.file_size, entry.compress_size)
        return self.archive.read(entry)  # no more than the claimed size, whatever the data unpack to

    def stamp(self, name: str) -> tuple[int, ...]:
        """Size and CRC-32, which change when the file does."""
        entry = self.archive.getinfo(self.prefix + name)
        return entry.file_size, entry.CRC


def _check_size(size: int, packed: int | None = None) -> None:
    """Raises TooLargeError if a file of `size` bytes, of an archive with `packed` bytes there, can be no picture."""
    if size > MAX_FILE_BYTES:
        raise TooLargeError(f"{size / 1e6:,.0f} MB, and a picture has {MAX_FILE_BYTES / 1e6:,.0f} MB at most")
    if packed is not None and size > _HARMLESS_BYTES and size > _MAX_GROWTH * packed:
        raise TooLargeError(f"it would unpack from {packed:,} bytes to {size / 1e6:,.0f} MB, as no picture does")


Source = FolderSource | ZipSource


@contextlib.contextmanager
def open_source(root: str | os.PathLike, depth: int | None = None) -> Iterator[Source]:
    """The reader of a folder or ZIP archive; closed at the end of the block.

    Args:
      root: the folder or archive.
      depth: of a folder, see `FolderSource`.

    Raises:
      SourceError: `root` is a file, but not a readable ZIP archive.
    """
    root = pathlib.Path(root)
    if root.is_dir():
        yield FolderSource(root, depth)
        return
    try:
        archive = zipfile.ZipFile(root)
    except zipfile.BadZipFile as error:
        raise SourceError(
            f"{root} is neither a folder nor a readable ZIP archive ({error}); if it is a half-finished copy, delete "
            "it and fetch it again"
        ) from error
    with archive:
        yield ZipSource(archive)


def manual_dir(dl_manager) -> pathlib.Path | None:
    """TFDS's folder for data that users fetch themselves, shared by all data sets; None if absent or empty."""
    try:
        return pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # this is how TFDS says that the folder is absent or empty
        return None


def ranges(numbers: Iterable[int], shown: int = 10) -> str:
    """Ascending numbers as "3, 7…9", shortened after `shown` ranges."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return shorten([str(first) if first == last else f"{first}…{last}" for first, last in runs], shown)


def shorten(names: Sequence[str], shown: int) -> str:
    """`a, b, c and 980 more`: the first `shown` names, and how many follow."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
