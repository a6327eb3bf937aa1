"""Finds the published files of EDMF: named by the user, in TFDS's manual_dir, or downloaded."""

import contextlib
import os
import pathlib
import re
import shutil
import threading
from collections.abc import Iterator
from typing import NamedTuple

from tfds_edmf.sources import MissingSourceError, Source, SourceError, ZipSource, manual_dir, open_source

COMMIT = "6a2585e9d14f86392a42dc73ef5962306f23c6b0"
HOMEPAGE = "https://github.com/stywmy/EDMF"
ARCHIVE_URL = f"{HOMEPAGE}/archive/{COMMIT}.zip"
PROBE_SECONDS = 5  # time limit for the test whether the network works; TFDS alone would retry for 206 s

SOURCE_FOLDERS = ("Source_A", "Source_B")
_ZIP_PREFIX = re.compile(r"(?P<prefix>(?:.*/)?)Source_[AB]/")


class Found(NamedTuple):
    """The published files: the path to read, and the path or address they came from, for the record."""

    root: pathlib.Path
    origin: str


def find(source: str | os.PathLike | None, dl_manager) -> Found:
    """The user's copy (`source`, then EDMF_DIR), else one in manual_dir, else the pinned commit's archive, downloaded.

    Raises:
      MissingSourceError: no copy was found, and the archive cannot be downloaded.
      SourceError: several copies were found in one place.
    """
    for value, argument in ((source, "source"), (os.environ.get("EDMF_DIR"), "EDMF_DIR")):
        if value:
            root = resolve(value, argument)
            return Found(root, str(root))
    # Other data sets share manual_dir, so finding no EDMF in it is no error.
    folder = manual_dir(dl_manager)
    if folder and search(folder):
        root = resolve(folder, "manual_dir")
        return Found(root, str(root))
    if not _already_downloaded(dl_manager) and (reason := unreachable(ARCHIVE_URL)):
        raise MissingSourceError(_not_found(reason))
    # Only builds of EDMF download into this folder, and the one that runs holds their lock: these are of killed ones.
    for left in pathlib.Path(dl_manager.download_dir).glob("edmf/*.tmp.*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        return Found(pathlib.Path(dl_manager.download(ARCHIVE_URL)), ARCHIVE_URL)
    except Exception as error:  # requests, urllib3 and TFDS have no common base class
        raise MissingSourceError(_not_found(f"{type(error).__name__}: {error}")) from error


def resolve(path: str | os.PathLike, argument: str) -> pathlib.Path:
    """The folder that holds `Source_A/`, or the ZIP archive, that `path` leads to.

    Args:
      path: that folder, a git checkout (`EDMF/Source_A`), an unpacked archive or the folder above it
        (`EDMF-<commit>/EDMF/Source_A`), a ZIP archive of any of these, or a folder with such an archive named
        `EDMF*.zip`.
      argument: what the user set, for the error message.

    Raises:
      MissingSourceError: `path` does not exist or leads to no copy.
      SourceError: it leads to several copies.
    """
    path = pathlib.Path(path).expanduser().resolve()
    if path.is_file():
        return path
    if not path.is_dir():
        raise MissingSourceError(
            f"{argument}={str(path)!r} doesn't exist: name the folder with Source_A/ and Source_B/, or the ZIP archive"
        )
    found = search(path)
    if not found:
        raise MissingSourceError(
            f"{argument}={str(path)!r} holds no Source_A/ and Source_B/ (looked there, one "
            "folder down, in */EDMF, and for EDMF*.zip)"
        )
    if len(found) > 1:
        raise SourceError(
            f"{argument}={str(path)!r} holds several copies of EDMF, name one of them: " + ", ".join(map(str, found))
        )
    return found[0]


def search(folder: pathlib.Path) -> list[pathlib.Path]:
    """The copies of EDMF in a folder: in itself, else one level down, else in */EDMF, else as EDMF*.zip."""
    for pattern in (".", "*", "*/EDMF"):
        candidates = [folder] if pattern == "." else sorted(folder.glob(pattern))
        # os.path.isdir answers False for a folder without permission, where Path.is_dir would raise.
        found = [c for c in candidates if any(os.path.isdir(c / f) for f in SOURCE_FOLDERS)]
        if found:
            return found
    return sorted(folder.glob("[Ee][Dd][Mm][Ff]*.[Zz][Ii][Pp]"))


@contextlib.contextmanager
def open_copy(root: str | os.PathLike) -> Iterator[Source]:
    """The reader of what `resolve` found; its names begin with `Source_A/` or `Source_B/`.

    Raises:
      SourceError: `root` is not a readable archive, or holds no copy of EDMF, or several.
    """
    with open_source(root) as source:
        yield ZipSource(source.archive, _zip_prefix(source)) if isinstance(source, ZipSource) else source


def _zip_prefix(source: ZipSource) -> str:
    """The folder in the archive that holds `Source_A/`: "", "EDMF/", "EDMF-<commit>/EDMF/"."""
    matches = map(_ZIP_PREFIX.match, source.archive.namelist())
    prefixes = {match["prefix"] for match in matches if match}
    # macOS packs the metadata of each file into a parallel tree of this name.
    prefixes = {p for p in prefixes if not p.startswith("__MACOSX/")}
    if len(prefixes) != 1:
        several = ", ".join(map(repr, sorted(prefixes)))
        raise SourceError(
            f"{source.root} holds "
            + (f"several copies of EDMF ({several})" if prefixes else "no Source_A/ and Source_B/")
            + ": name an archive with one copy of the published folder EDMF/"
        )
    return prefixes.pop()


def unreachable(url: str, seconds: float = PROBE_SECONDS) -> str:
    """Why `url` cannot be fetched now, "" if it can; always answers within `seconds`."""
    outcome: list[str] = []
    # In a thread, because a socket's timeout does not limit the lookup of the host name.
    thread = threading.Thread(target=lambda: outcome.append(_probe(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"no answer within {seconds:g} s"


def _probe(url: str, seconds: float) -> str:
    """Why a HEAD request fails, "" if it does not; made as TFDS makes its requests: same proxies and certificates."""
    import requests  # what TFDS downloads with

    try:
        response = requests.head(url, timeout=seconds, allow_redirects=False)
    except Exception as error:
        return type(error).__name__
    # 405: the server or proxy does not accept HEAD requests, but it is reachable.
    refused = response.status_code >= 400 and response.status_code != 405
    return f"HTTP status {response.status_code}" if refused else ""


def _already_downloaded(dl_manager) -> bool:
    """Whether TFDS has the archive: beside each download lies an .INFO file that contains its address."""
    folder = pathlib.Path(dl_manager.download_dir)
    notes = [*folder.glob("*.INFO"), *folder.glob("edmf/*.INFO")]
    return any(ARCHIVE_URL in note.read_text(encoding="utf-8", errors="replace") for note in notes)


def _not_found(reason: str) -> str:
    """The error message that says how to get the files."""
    return (
        f"EDMF isn't on this machine, and {ARCHIVE_URL} can't be downloaded ({reason}). Fetch "
        "that archive (130 MB) where you can and name the ZIP, or the folder it unpacks to: "
        "`edmf data build edmf --source PATH`, or EDMF_DIR=PATH, or put it into TFDS's "
        "manual_dir (DATA_DIR/downloads/manual)"
    )
