"""Writing files whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from edmf_jax.errors import UserError


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk or a missing permission becomes a `UserError` in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); free some space or check its "
                        "permissions, or choose another folder") from error


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """`data` becomes the file `path`, or the file stays as it was: a reader sees the old one or the new one.

    Raises:
      UserError: it can't be written.
    """
    target = Path(path).resolve()  # a link keeps pointing where it points
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
