"""Finds the published files: named by the user, in TFDS's manual_dir, or downloaded."""

import os
import pathlib
import threading
from typing import NamedTuple

from tfds_edmf.edmf import source as source_lib

COMMIT = "6a2585e9d14f86392a42dc73ef5962306f23c6b0"
HOMEPAGE = "https://github.com/stywmy/EDMF"
ARCHIVE_URL = f"{HOMEPAGE}/archive/{COMMIT}.zip"
PROBE_SECONDS = 5  # to answer whether the network is there; TFDS alone retries for 206 s

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


class Found(NamedTuple):
    """The published files: where they can be read, and where they came from, for the record."""

    root: pathlib.Path
    origin: str


def allow_missing_from_environment() -> bool:
    """The environment variable EDMF_ALLOW_MISSING, off where it isn't set."""
    value = os.environ.get("EDMF_ALLOW_MISSING", "").strip().lower()
    if value not in _YES + _NO:
        raise ValueError(f"EDMF_ALLOW_MISSING={value!r}: say 1 or 0")
    return value in _YES


def find(source: str | os.PathLike | None, dl_manager) -> Found:
    """The user's copy, else one in manual_dir, else the pinned commit's archive, downloaded."""
    for value, argument in ((source, "source"), (os.environ.get("EDMF_DIR"), "EDMF_DIR")):
        if value:
            root = source_lib.resolve(value, argument)
            return Found(root, str(root))
    if root := _in_manual_dir(dl_manager):
        return Found(root, str(root))
    if not _already_downloaded(dl_manager) and (reason := unreachable(ARCHIVE_URL)):
        raise FileNotFoundError(_nowhere(reason))
    try:
        return Found(pathlib.Path(dl_manager.download(ARCHIVE_URL)), ARCHIVE_URL)
    except Exception as error:  # requests, urllib3, TFDS: each has its own family
        raise FileNotFoundError(_nowhere(f"{type(error).__name__}: {error}")) from error


def unreachable(url: str, seconds: float = PROBE_SECONDS) -> str:
    """Why `url` can't be fetched now, "" if it can; answers within `seconds`, come what may."""
    outcome: list[str] = []
    # In a thread because no timeout of a socket bounds the look-up of its host's name.
    thread = threading.Thread(target=lambda: outcome.append(_probe(url, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else f"no answer within {seconds:g} s"


def _probe(url: str, seconds: float) -> str:
    """One HEAD request, made as TFDS makes its own: same proxies, same certificates."""
    import requests  # what TFDS downloads with

    try:
        response = requests.head(url, timeout=seconds, allow_redirects=False)
    except Exception as error:
        return type(error).__name__
    # 405: a server or proxy that takes no HEAD is there all the same.
    refused = response.status_code >= 400 and response.status_code != 405
    return f"HTTP status {response.status_code}" if refused else ""


def _in_manual_dir(dl_manager) -> pathlib.Path | None:
    """A copy in TFDS's manual_dir, which other data sets share: not finding one is no error."""
    try:
        folder = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # how TFDS says that the folder is absent or empty
        return None
    return source_lib.resolve(folder, "manual_dir") if source_lib.search(folder) else None


def _already_downloaded(dl_manager) -> bool:
    """Whether TFDS holds the archive: each download has an .INFO file that names its address."""
    folder = pathlib.Path(dl_manager.download_dir)
    notes = [*folder.glob("*.INFO"), *folder.glob("edmf/*.INFO")]
    return any(ARCHIVE_URL in note.read_text(encoding="utf-8", errors="replace") for note in notes)


def _nowhere(reason: str) -> str:
    return (
        f"EDMF isn't on this machine, and {ARCHIVE_URL} can't be downloaded ({reason}). Fetch "
        "that archive (130 MB) where you can and name the ZIP, or the folder it unpacks to: "
        "`edmf data build edmf --source PATH`, or EDMF_DIR=PATH, or put it into TFDS's "
        "manual_dir (DATA_DIR/downloads/manual)"
    )
