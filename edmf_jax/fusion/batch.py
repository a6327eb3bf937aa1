"""Fuses many pictures in one run: finds which shots belong together, and goes on when one of them fails."""

import dataclasses
import errno
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edmf_jax.errors import UserError
from edmf_jax.io.images import WRITTEN_SUFFIXES
from edmf_jax.io.photographs import Page
from edmf_jax.io.shot_list import (
    Log,
    capture_times,
    choose_pages,
    drop_twins,
    expand_shots,
    find_pictures,
    list_folder,
    order_by_capture,
    path_of,
)

_ALL = slice(None)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to make: its shots, the reference first, and the file to write."""

    shots: tuple[Path | Page, ...]
    output: Path

    @property
    def name(self) -> str:
        """The name of the result, without its suffix."""
        return self.output.stem


def pair_up(folder_a: str | os.PathLike, folder_b: str | os.PathLike, output: str | os.PathLike,
            suffix: str | None = None, log: Log = lambda line: None, *, shard: slice = _ALL) -> tuple[list[Job], str]:
    """Pairs the pictures of two folders; each result is named after its picture in the first folder.

    They are paired by the last number in their names, if every name has one, no two in a folder are
    equal, and both folders have the same numbers; otherwise in the order of their names, or of their times of capture
    if all have one (see `shot_list.expand_shots`, also for RAW files and pages).

    Args:
      folder_a, folder_b: the folders of the sources.
      output: the folder of the results.
      suffix: the format of the results; None: that of the picture in the first folder, or TIFF if that format can't
        be written.
      log: called with a line for every choice that was made among the files.
      shard: which of the pairs, see `shard_of`.

    Returns:
      The pairs in the order of the first folder's names, and "by number" or "in the order of their names".

    Raises:
      UserError: the folders hold different numbers of pictures, or none; two results would have one name, or
        would be written into a folder of sources.
      MissingFileError: a folder does not exist.
    """
    for folder in (folder_a, folder_b):
        _check_apart(output, folder)
    a, b = (drop_twins(pictures_in(folder), log) for folder in (folder_a, folder_b))
    if len(a) != len(b):
        raise UserError(f"{folder_a} holds {len(a)} pictures and {folder_b} {len(b)}; take out those that have no "
                        f"partner{_unpaired(a, b)}")
    numbered_a, numbered_b = _by_number(a), _by_number(b)
    if numbered_a and numbered_a.keys() == numbered_b.keys():
        pairs, how = [(picture, numbered_b[number]) for number, picture in numbered_a.items()], "by number"
    else:
        if capture_times([*a, *b]) is not None:
            a, b = order_by_capture(a, str(folder_a), log), order_by_capture(b, str(folder_b), log)
        pairs, how = list(zip(a, b)), "in the order of their names"
    # Names are compared over all pairs: those of another shard may not be overwritten either.
    jobs = _make_jobs([(path_of(first).stem, (first, second)) for first, second in pairs], output, suffix)[shard]
    return [dataclasses.replace(job, shots=tuple(choose_pages(list(job.shots), log))) for job in jobs], how


def stacks_in(folder: str | os.PathLike, output: str | os.PathLike, suffix: str | None = None,
              log: Log = lambda line: None, *, shard: slice = _ALL) -> list[Job]:
    """A job for every sub-folder: its shots as of `shot_list.expand_shots`; the result is named after the sub-folder.

    A sub-folder with fewer than two shots gets a job too, which fails when it is run.

    Args:
      folder: the folder of the sub-folders.
      output: the folder of the results; skipped if it is one of the sub-folders.
      suffix, log, shard: see `pair_up`.

    Raises:
      UserError: there is no sub-folder, or one can't be read; two results would have one name.
      MissingFileError: the folder does not exist.
    """
    subfolders = [path for path in list_folder(folder) if path.is_dir() and not _same_file(path, output)]
    if not subfolders:
        raise UserError(f"{folder}: no sub-folders in it; each must hold the shots of one picture")
    return _make_jobs([(path.name, tuple(expand_shots([path], log) if find_pictures(path) else ()))
                       for path in subfolders[shard]], output, suffix)


def shard_of(number: int, count: int) -> slice:
    """Shard `number` of `count`, from 1 on: every `count`-th job, beginning with that number.

    All shards together are all jobs, each once, so their results are the files of one run without shards.

    Raises:
      UserError: there is no such shard.
    """
    if not 1 <= number <= count:
        raise UserError(f"shard {number}/{count}: give NUMBER/COUNT, with a number from 1 to the count")
    return slice(number - 1, None, count)


def run_jobs(jobs: Iterable[Job], fuse: Callable[[Job], object], *, force: bool = False,
             done: Callable[[Job], None] = lambda job: None,
             failed: Callable[[Job, Exception], None] = lambda job, error: None) -> tuple[int, int, int]:
    """Runs the jobs one after the other; a `UserError` ends only the job that raised it.

    Args:
      jobs: what to fuse.
      fuse: fuses one job and writes `job.output`, completely or not at all.
      force: run jobs whose output exists; otherwise these count as finished.
      done, failed: called after each job that ran.

    Returns:
      How many jobs were fused, were finished before, and failed.

    Raises:
      UserError: the disk is full, so all other jobs would fail too.
    """
    fused_count = existing_count = failed_count = 0
    for job in jobs:
        if job.output.exists() and not force:
            existing_count += 1
            continue
        try:
            fuse(job)
        except UserError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in _DISK_FULL:
                raise
            failed_count += 1
            failed(job, error)
        else:
            fused_count += 1
            done(job)
    return fused_count, existing_count, failed_count


def pictures_in(folder: str | os.PathLike) -> list[Path]:
    """The pictures in a folder, recognized by their suffixes, in the order of their names; 9 comes before 10.

    Raises:
      UserError: it holds none, or is not a folder.
      MissingFileError: it does not exist.
    """
    found = find_pictures(folder)
    if not found:
        raise UserError(f"{folder}: no pictures in it")
    return found


def _by_number(pictures: Sequence[Path]) -> dict[int, Path]:
    """Last number in the name → picture; empty if a name has no number or two have the same."""
    numbers = [re.findall(r"[0-9]+", path.stem) for path in pictures]
    found = {int(digits[-1]): path for digits, path in zip(numbers, pictures) if digits}
    return found if len(found) == len(pictures) else {}


def _unpaired(a: Sequence[Path], b: Sequence[Path]) -> str:
    """For a message: names of pictures whose number only one folder has; "" if they are not numbered."""
    numbered_a, numbered_b = _by_number(a), _by_number(b)
    if not (numbered_a and numbered_b):
        return ""
    unpaired = [path.name for number, path in (numbered_a | numbered_b).items()
                if (number in numbered_a) != (number in numbered_b)]
    return f" ({', '.join(unpaired[:3])}{', …' if len(unpaired) > 3 else ''})" if unpaired else ""


def _make_jobs(results: list[tuple[str, tuple[Path | Page, ...]]], output: str | os.PathLike, suffix: str | None
               ) -> list[Job]:
    """A job for every (name, shots); see `pair_up` for `output`, `suffix` and the errors."""
    jobs = []
    for name, shots in results:
        source_suffix = path_of(shots[0]).suffix.lower() if shots else ""
        default = source_suffix if source_suffix in WRITTEN_SUFFIXES else ".tif"
        jobs.append(Job(shots, Path(output) / f"{name}{suffix or default}"))
    names = [str(job.output).casefold() for job in jobs]
    for i, job in enumerate(jobs):
        if names.index(names[i]) != i:
            raise UserError(f"{job.name}: two results would be {job.output}; rename one of the shots")
    return jobs


def _same_file(a: str | os.PathLike, b: str | os.PathLike) -> bool:
    return os.path.exists(a) and os.path.exists(b) and os.path.samefile(a, b)


def _check_apart(output: str | os.PathLike, folder: str | os.PathLike) -> None:
    if _same_file(output, folder):
        raise UserError(f"{output}: the results would lie among the sources; name another folder")
