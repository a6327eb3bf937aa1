"""Which shots are meant by what the user names: files, folders, patterns like `*.jpg`, and files of several pages."""

import glob
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.capture_time import HEAD_BYTES, capture_time
from edmf_jax.io.heic_raw import is_raw
from edmf_jax.io.photographs import SUFFIXES, Page, page_count

Log = Callable[[str], None]
Shots = list[Path | Page]

_DEVELOPED = frozenset({".tif", ".tiff", ".png", ".webp", ".bmp"})  # made from a RAW file by a person, not by a camera
_TIFF, _MPO = frozenset({".tif", ".tiff"}), frozenset({".jpg", ".jpeg", ".mpo"})
_MPO_MARK = b"MPF\0"  # CIPA DC-007: at the start of the APP2 segment that lists a JPEG's further pictures


def expand_shots(given: Iterable, log: Log) -> Shots:
    """The shots that are meant by files, folders and patterns, in order.

    - A folder means the pictures in it, and a pattern (`*`, `?`, `[…]`) that is no file's name means those that match
      it, as Windows' shells leave it to the program.  They are in the order of their names, 9 before 10; or of their
      times of capture, if all have one and the names contradict them (DSC_9999, DSC_0001).
    - Of a RAW file and another picture of its name in its folder one is taken.
    - The pages of a file are the shots if it is the only one; beside others its first page is taken.

    Args:
      given: paths.  Anything else (a `Page`, an array) is kept as it is.
      log: called with a line for every choice that was made for the user.

    Raises:
      MissingFileError: a pattern matches nothing.
      UserError: a folder or pattern without pictures, a folder or file that can't be read.
    """
    shots: Shots = []
    for item in given:
        shots += _expand(os.fspath(item), log) if isinstance(item, (str, os.PathLike)) else [item]
    return choose_pages(drop_twins(shots, log), log)


def _expand(name: str, log: Log) -> list[Path]:
    """The pictures that one name means."""
    if os.path.isdir(name):
        entries, what = list_folder(name), name
    elif not os.path.lexists(name) and glob.has_magic(name):
        entries = sorted(map(Path, glob.glob(name)), key=lambda path: tuple(map(natural_key, path.parts)))
        what = f"{name!r}"
        if not entries:
            raise MissingFileError(f"{what}: no file matches it; check the path")
    else:
        return [Path(name)]
    pictures, folders = _pictures(entries), [path for path in entries if path.is_dir()]
    if not pictures:
        raise UserError(_found_instead(what, entries, folders))
    if folders:
        log(f"{what}: without the folder{'s' * (len(folders) > 1)} {_names(folders)}")
    return order_by_capture(drop_twins(pictures, log), what, log)


def _found_instead(what: str, entries: Sequence[Path], folders: Sequence[Path]) -> str:
    """The message for a folder or pattern without pictures."""
    if folders:
        return (f"{what}: no pictures, only the folder{'s' * (len(folders) > 1)} {_names(folders)}; name the one that "
                "holds the shots (edmf fuse --stacks makes one result from each)")
    if entries:
        return f"{what}: no pictures, only {_names(entries)}; name a folder or files with the shots"
    return f"{what}: this folder is empty; name one with the shots"


def _names(paths: Sequence[Path]) -> str:
    """For a message: the first names."""
    return ", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else "")


def list_folder(folder: str | os.PathLike) -> list[Path]:
    """The contents of a folder without hidden files, in natural order.

    Raises:
      MissingFileError: there is no such folder.
      UserError: it is no folder, or it can't be read.
    """
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except FileNotFoundError as error:
        raise MissingFileError(f"{folder}: no such folder; check the path") from error
    except OSError as error:
        raise UserError(f"{folder}: this folder can't be read ({error.strerror}); check the path") from error
    return [Path(folder) / name for name in sorted(names, key=natural_key)]


def natural_key(name: str) -> tuple:
    """A sort key that compares numbers in names by value, then by their text."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((part, 0) if i % 2 == 0 else ("", int(part)) for i, part in enumerate(parts)), name


def _pictures(entries: Iterable[Path]) -> list[Path]:
    return [path for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()]


def find_pictures(folder: str | os.PathLike) -> list[Path]:
    """The pictures in a folder, recognized by their suffixes, in natural order; possibly none.

    Raises:
      MissingFileError, UserError: as `list_folder`.
    """
    return _pictures(list_folder(folder))


def drop_twins(shots: Shots, log: Log) -> Shots:
    """Keeps one file of a RAW file and another picture of its name; the order stays.

    That is the RAW file, unless it can't be read here, others of the shots have no RAW file, or the other picture was
    developed from it (a TIFF or PNG; cameras write JPEG and HEIF).
    """
    kinds: dict[tuple[Path, str], set[bool]] = {}
    for shot in shots:
        if isinstance(shot, Path):
            kinds.setdefault(_stem_key(shot), set()).add(is_raw(shot))
    doubled = {key for key, found in kinds.items() if len(found) == 2}
    if not doubled:
        return shots
    others = [shot for shot in shots if isinstance(shot, Path) and not is_raw(shot) and _stem_key(shot) in doubled]
    reason = ""
    if any(other.suffix.lower() in _DEVELOPED for other in others):
        reason = "developed already"
    elif importlib.util.find_spec("rawpy") is None:
        reason = 'RAW needs the package rawpy, which pip install "edmf-jax[raw]" brings'
    elif any(found == {False} for found in kinds.values()):
        reason = "not every shot is there as RAW"
    kept = [shot for shot in shots
            if not isinstance(shot, Path) or _stem_key(shot) not in doubled or is_raw(shot) == (not reason)]
    raws = {shot.suffix.lower() for shot in shots if isinstance(shot, Path) and is_raw(shot)}
    used, left = (({other.suffix.lower() for other in others}, raws) if reason
                  else (raws, {other.suffix.lower() for other in others}))
    log(f"{others[0].stem}{', …' if len(doubled) > 1 else ''}: {len(doubled)} shot{'s' * (len(doubled) > 1)} both as "
        f"{'/'.join(sorted(used))} and {'/'.join(sorted(left))}; {'/'.join(sorted(used))} is used"
        f"{f' ({reason})' if reason else ''}")
    return kept


def _stem_key(path: Path) -> tuple[Path, str]:
    return path.parent, path.stem.casefold()


def order_by_capture(pictures: list[Path], what: str, log: Log) -> list[Path]:
    """The pictures in the order of capture if all have a time and their order contradicts it; otherwise as they are.

    `what` is what the line calls them.
    """
    times = capture_times(pictures)
    if times is None or times == sorted(times):
        return pictures
    ordered = [pictures[i] for i in sorted(range(len(pictures)), key=times.__getitem__)]
    log(f"{what}: ordered by time of capture, {ordered[0].name} to {ordered[-1].name}; the names are in another order")
    return ordered


def capture_times(pictures: Sequence[Path]) -> list[tuple[str, str]] | None:
    """The time of capture of each, to be compared; None if one has none."""
    times = []
    for picture in pictures:
        found = capture_time(picture)
        if found is None:
            return None
        times.append(found)
    # Fractions of a second count only if all have one: a file without would be the first of its second.
    exact = all(fraction for _, fraction in times)
    return times if exact else [(second, "") for second, _ in times]


def choose_pages(shots: Shots, log: Log) -> Shots:
    """The pages of the only file; otherwise the shots, with the first page of files that hold several.

    Raises:
      MissingFileError, UserError: as `page_count`.
    """
    counts = [page_count(shot) if isinstance(shot, Path) and _may_have_pages(shot) else 1 for shot in shots]
    if len(shots) == 1 and counts[0] > 1:
        return [Page(shots[0], number) for number in range(1, counts[0] + 1)]
    chosen: Shots = []
    for shot, count in zip(shots, counts):
        if count > 1:
            log(f"{shot}: it holds {count} pages, and the first is used; give the file alone to fuse its pages")
        chosen.append(Page(shot, 1) if count > 1 else shot)
    return chosen


def _may_have_pages(path: Path) -> bool:
    """Whether a file may be one of several pages, from its suffix and its first bytes."""
    suffix = path.suffix.lower()
    if suffix not in _MPO or not path.is_file():
        return suffix in _TIFF and path.is_file()
    with open(path, "rb") as file:
        return _MPO_MARK in file.read(HEAD_BYTES)


def path_of(shot: str | os.PathLike | Page) -> Path:
    """The file of a shot."""
    return shot.path if isinstance(shot, Page) else Path(shot)
