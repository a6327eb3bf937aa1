"""Writing a file or folder whole or not at all, and never over something that nobody allowed to be replaced.

What is being written lies beside its target under a hidden name, `.edmf-TARGET-HOST-PID-RANDOM.tmp` (the first two
shortened to hashes).  A process that is killed leaves it behind; whoever writes to the same target next removes it.
"""

import contextlib
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from edmf_jax.errors import UserError


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError, such as a full disk or a missing permission, into a `UserError` of one line about `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); free some space or check its "
                        "permissions, or choose another folder") from error


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]  # a name may hold bytes that are no UTF-8


_own_marks: set[str] = set()  # of the hidden names that this process has made


def _hidden_name(target: Path) -> Path:
    """A new hidden name beside `target`, without its ending; see the module's text."""
    mark = f"{_short(platform.node())}-{os.getpid()}-{secrets.token_hex(4)}"
    _own_marks.add(mark)
    return target.with_name(f".edmf-{_short(target.name)}-{mark}")


def _left_behind(target: Path, ending: str, any_host: bool = False) -> list[Path]:
    """Hidden files or folders of `target` with this ending, whose process has ended; oldest first.

    Args:
      target: absolute, without symbolic links.
      ending: "tmp" or "old".
      any_host: take those of other hosts (a container has a new name each time) for ended as well.
    """
    found = []
    for path in target.parent.glob(f".edmf-{_short(target.name)}-*-*-*.{ending}"):
        _, _, host, pid, token = path.stem.split("-", 4)
        if host != _short(platform.node()):
            ended = any_host
        elif pid == str(os.getpid()):  # an earlier process of this number, or another thread of this one
            ended = f"{host}-{pid}-{token}" not in _own_marks
        else:
            import psutil  # such files are rare, and the import takes 20 ms

            ended = pid.isdecimal() and not psutil.pid_exists(int(pid))
        if ended:
            with contextlib.suppress(FileNotFoundError):  # its owner has just renamed it
                found.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(found)]


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Makes `data` the content of the file `path`, atomically: a reader sees either the old content or the new.

    The data go to a temporary file in the same folder first.  A symbolic link is kept, and its target replaced.

    Raises:
      UserError: the file cannot be written; the old one, if any, is unchanged.
    """
    with written_in_parts(path) as file, disk_errors(path):
        file.write(data)


@contextlib.contextmanager
def written_in_parts(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which becomes the file `path` at the end, as by `replace_file`; if that fails, nothing does.

    Raises:
      UserError: it cannot be created, or cannot take its name; errors while writing are the caller's (`disk_errors`).
    """
    target = Path(path).resolve()
    hidden = _hidden_name(target)
    temporary = hidden.with_name(f"{hidden.name}.tmp")
    with disk_errors(path):
        for old in _left_behind(target, "tmp"):
            old.unlink(missing_ok=True)
        file = temporary.open("xb")
    try:
        yield file
        with disk_errors(path):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # after a failed write closing fails too, and the first error is told
            file.close()
        temporary.unlink(missing_ok=True)


def check_new(path: str | os.PathLike, sources: Sequence[str | os.PathLike] = (), force: bool = False) -> None:
    """Checks that writing to `path` overwrites nothing.

    Args:
      sources: input files, which not even `force` may overwrite, also under another name (a link).
      force: allow any other existing file to be overwritten.

    Raises:
      UserError: `path` is one of the sources; it exists and `force` is not given; its folder is not writable.
    """
    for source in sources:
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise UserError(f"{path}: this is one of the sources, which would be overwritten; name another file")
    if os.path.lexists(path) and not force:
        raise UserError(f"{path}: already there, and not overwritten; name another file, or use --force")
    folder = Path(path).parent
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: the folder {folder} cannot be written to; check its permissions, or choose another "
                        "folder")


@contextlib.contextmanager
def replaced_directory(directory: Path) -> Iterator[Path]:
    """A temporary folder to fill, which replaces `directory` at the end.

    If filling it raises, it is removed and `directory` stays as it was.  A folder cannot be replaced in one step: the
    old one is renamed first.  If the process is killed between the two renames, `put_back` undoes the first.
    """
    put_back(directory)
    directory = Path(directory).resolve()  # a symbolic link is kept, and its target replaced
    for left in _left_behind(directory, "tmp"):
        shutil.rmtree(left, ignore_errors=True)
    hidden = _hidden_name(directory)
    temporary, old = (hidden.with_name(f"{hidden.name}.{end}") for end in ("tmp", "old"))
    temporary.mkdir()
    try:
        yield temporary
        if directory.exists():
            directory.rename(old)
        temporary.rename(directory)
    except BaseException:
        if old.exists() and not directory.exists():
            old.rename(directory)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if directory.exists():  # else the old one is the only one
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def added_to_directory(directory: Path) -> Iterator[Path]:
    """A temporary folder to fill, whose files are moved into `directory` at the end; other files in it stay.

    A new `directory` appears whole: a process that is killed leaves no part of it.

    Raises:
      UserError: the files can't be written or moved.
    """
    directory = Path(directory).resolve()
    for left in _left_behind(directory, "tmp"):
        shutil.rmtree(left, ignore_errors=True)
    hidden = _hidden_name(directory)
    temporary = hidden.with_name(f"{hidden.name}.tmp")
    with disk_errors(directory):
        temporary.mkdir()
    try:
        yield temporary
        with disk_errors(directory):
            if directory.exists():
                for path in sorted(temporary.iterdir()):
                    os.replace(path, directory / path.name)
            else:
                temporary.rename(directory)
    except UserError as error:  # the user knows nothing of the hidden name
        raise UserError(str(error).replace(str(temporary), str(directory))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_back(directory: Path) -> bool:
    """Gives a folder its name back if its replacement was killed half-way; returns whether that was so.

    Where `directory` exists, what a killed replacement left of the old one is removed: the new one is whole.

    Raises:
      UserError: it cannot be renamed; the message names the hidden folder.
    """
    directory = Path(directory).resolve()
    missing, restored = not directory.exists(), False
    olds = _left_behind(directory, "old", any_host=missing)
    if missing and olds:
        newest = olds.pop()
        try:
            newest.rename(directory)
        except OSError as error:
            raise UserError(f"{directory}: a killed process left its content in {newest}, which cannot be renamed "
                            f"({error.strerror}); give it its name back") from error
        restored = True
    for old in olds:
        shutil.rmtree(old, ignore_errors=True)
    return restored
