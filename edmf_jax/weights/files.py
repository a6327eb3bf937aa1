"""Reading the files of weights that other projects publish: bytes and one-line errors, for all three formats."""

import os
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError


def read_published(path: str | os.PathLike, hint: str) -> bytes:
    """The bytes of a file.

    Args:
      path: the file.
      hint: ends an error message: where to get the file.

    Raises:
      MissingFileError: there is no such file.
      UserError: it cannot be read, for example because it is a folder.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; {hint}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {hint}") from error


def cause(error: Exception) -> str:
    """An exception as a few words on one line: its type and the start of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
