"""Writing a file or folder whole or not at all."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from edmf_jax.errors import UserError


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError, such as a full disk or a missing permission, into a `UserError` of one line about `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); free some space or check its "
                        "permissions, or choose another folder") from error


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Makes `data` the content of the file `path`, atomically: a reader sees either the old content or the new.

    The data go to a temporary file in the same folder first.  A symbolic link is kept, and its target replaced.

    Raises:
      UserError: the file cannot be written; the old one, if any, is unchanged.
    """
    target = Path(path).resolve()
    temporary = target.with_name(f".edmf-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
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

    If filling it raises, it is removed and `directory` stays as it was.
    """
    mark = f"{os.getpid()}-{secrets.token_hex(4)}"
    temporary, old = (directory.with_name(f".edmf-{mark}.{end}") for end in ("tmp", "old"))
    temporary.mkdir()
    try:
        yield temporary
        if directory.exists():
            directory.rename(old)
        temporary.rename(directory)
    except BaseException:
        if old.exists():
            old.rename(directory)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
