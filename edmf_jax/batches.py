"""Many results in one go: which shots belong together, and going on past what fails."""

import dataclasses
import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.images import WRITTEN_SUFFIXES
from edmf_jax.photographs import SUFFIXES

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class Job:
    """One result: its shots, the reference first, and the file to write."""

    shots: tuple[Path, ...]
    output: Path

    @property
    def name(self) -> str:
        """What the result is called."""
        return self.output.stem


def pair_up(folder_a: str | os.PathLike, folder_b: str | os.PathLike, output: str | os.PathLike,
            suffix: str | None = None) -> tuple[list[Job], str]:
    """Pairs the pictures of two folders; each result is named after its picture in the first.

    By number where the name of every picture has a last number, no two in a folder
    have the same, and both folders have the same ones; otherwise in the order of their names.

    Args:
      suffix: the results' format; None: as the picture in the first folder, TIFF where that is not written.

    Returns:
      The pairs in the order of the first folder's names, and in words by what they were paired.

    Raises:
      UserError: another number of pictures in one folder than in the other, or none; results would have one name, or
        be written into a folder of sources.
      MissingFileError: a folder does not exist.
    """
    for folder in (folder_a, folder_b):
        _check_apart(output, folder)
    a, b = pictures_in(folder_a), pictures_in(folder_b)
    if len(a) != len(b):
        raise UserError(f"{folder_a} holds {len(a)} pictures and {folder_b} {len(b)}; take out those that have no "
                        f"partner{_lonely(a, b)}")
    numbered_a, numbered_b = _by_number(a), _by_number(b)
    if numbered_a and numbered_a.keys() == numbered_b.keys():
        pairs, how = [(picture, numbered_b[number]) for number, picture in numbered_a.items()], "by number"
    else:
        pairs, how = list(zip(a, b)), "in the order of their names"
    return _named([(first.stem, (first, second)) for first, second in pairs], output, suffix), how


def brackets_in(folder: str | os.PathLike, output: str | os.PathLike, suffix: str | None = None) -> list[Job]:
    """Every sub-folder with its pictures in the order of their names; each result is named after its sub-folder.

    One with fewer than two pictures is a job too, which fails when it is run.

    Raises:
      UserError: there is no sub-folder, or one that can't be read.
      MissingFileError: the folder does not exist.
    """
    inside = [path for path in _listed(folder) if path.is_dir() and not _same(path, output)]
    if not inside:
        raise UserError(f"{folder}: no sub-folders in it; each is to hold the shots of one picture")
    return _named([(path.name, tuple(_pictures(path))) for path in inside], output, suffix)


def run_jobs(jobs: Iterable[Job], fuse: Callable[[Job], object], *, force: bool = False,
             done: Callable[[Job], None] = lambda job: None,
             failed: Callable[[Job, Exception], None] = lambda job, error: None) -> tuple[int, int, int]:
    """Fuses one after the other; goes on past what the user's files are to blame for.

    Args:
      fuse: writes `job.output`, whole or not at all.
      force: fuse again what is there; otherwise it is taken as finished.
      done, failed: called after each.

    Returns:
      How many were fused, were there already, and failed.

    Raises:
      UserError: the disk is full, which would fail all others too.
    """
    counts = [0, 0, 0]
    for job in jobs:
        if job.output.exists() and not force:
            counts[1] += 1
            continue
        try:
            fuse(job)
        except UserError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                raise
            counts[2] += 1
            failed(job, error)
        else:
            counts[0] += 1
            done(job)
    return counts[0], counts[1], counts[2]


def pictures_in(folder: str | os.PathLike) -> list[Path]:
    """The pictures in a folder, by their suffixes, in the order of their names; 9 comes before 10.

    Raises:
      UserError: there are none, or it is no folder.
      MissingFileError: it does not exist.
    """
    found = _pictures(folder)
    if not found:
        raise UserError(f"{folder}: no pictures in it")
    return found


def _pictures(folder: str | os.PathLike) -> list[Path]:
    return [path for path in _listed(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]


def _listed(folder: str | os.PathLike) -> list[Path]:
    """What a folder holds, without hidden files, in natural order."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except FileNotFoundError as error:
        raise MissingFileError(f"{folder}: no such folder; check the path") from error
    except OSError as error:
        raise UserError(f"{folder}: not a folder that can be read ({error.strerror}); check the path") from error
    return [Path(folder) / name for name in sorted(names, key=_natural)]


def _natural(name: str) -> tuple:
    """A key that sorts numbers in names by their values; equal values by the text."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple((part, 0) if i % 2 == 0 else ("", int(part)) for i, part in enumerate(parts)), name


def _by_number(pictures: Sequence[Path]) -> dict[int, Path]:
    """By the last number in their names; nothing where one has none or two have the same."""
    numbers = [re.findall(r"[0-9]+", path.stem) for path in pictures]
    found = {int(digits[-1]): path for digits, path in zip(numbers, pictures) if digits}
    return found if len(found) == len(pictures) else {}


def _lonely(a: Sequence[Path], b: Sequence[Path]) -> str:
    """Which ones these are, where the numbers tell."""
    numbered_a, numbered_b = _by_number(a), _by_number(b)
    if not (numbered_a and numbered_b):
        return ""
    alone = [path.name for number, path in (numbered_a | numbered_b).items()
             if (number in numbered_a) != (number in numbered_b)]
    return f" ({', '.join(alone[:3])}{', …' if len(alone) > 3 else ''})" if alone else ""


def _named(results: list[tuple[str, tuple[Path, ...]]], output: str | os.PathLike, suffix: str | None) -> list[Job]:
    jobs = []
    for name, shots in results:
        own = shots[0].suffix.lower() if shots else ""
        jobs.append(Job(shots, Path(output) / f"{name}{suffix or (own if own in WRITTEN_SUFFIXES else '.tif')}"))
    names = [str(job.output).casefold() for job in jobs]
    for i, job in enumerate(jobs):
        if names.index(names[i]) != i:
            raise UserError(f"{job.name}: two results would be {job.output}; rename one of the shots")
    return jobs


def _same(a: str | os.PathLike, b: str | os.PathLike) -> bool:
    return os.path.exists(a) and os.path.exists(b) and os.path.samefile(a, b)


def _check_apart(output: str | os.PathLike, folder: str | os.PathLike) -> None:
    if _same(output, folder):
        raise UserError(f"{output}: the results would lie among the sources; name another folder")
