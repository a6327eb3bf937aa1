"""One process at a time on a work folder: a lock file that says who holds it and since when."""

import contextlib
import datetime
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from edmf_jax.errors import UserError

LOCK_NAME = ".edmf.lock"
HOLDER_NAME = ".edmf.holder.json"


@contextlib.contextmanager
def exclusive(folder: Path, option: str = "--workdir") -> Iterator[None]:
    """Holds the lock of `folder` for the length of a `with` block.

    The operating system releases the lock when its process ends, however it ends; so the lock file that a killed
    process leaves behind is stale and is simply taken over.

    Args:
      folder: exists.
      option: how the user named it, for the message.

    Raises:
      UserError: another process holds it; the message says which, where and since when.
    """
    lock = FileLock(folder / LOCK_NAME, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{option}={folder} is in use by {_describe(folder)}; wait until it has ended, or choose "
                        "another folder") from error
    except OSError as error:
        raise UserError(f"{option}={folder}: can't lock it ({error.strerror or error}); check its "
                        "permissions") from error
    holder = folder / HOLDER_NAME
    record = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv),
              "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
    try:
        # Beside the lock, not in it: Windows does not let others read a locked file.
        holder.write_text(json.dumps(record) + "\n", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(folder: Path) -> str:
    try:
        held = json.loads((folder / HOLDER_NAME).read_text(encoding="utf-8"))
        return f"process {held['pid']} on {held['host']} since {held['since']} ({held['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
