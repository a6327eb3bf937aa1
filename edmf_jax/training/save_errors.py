"""What an error while saving means to a user, and what orbax leaves running after one."""

import contextlib
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edmf_jax.errors import UserError

_WRITERS_S = 60.0  # a disk that hangs is not waited for longer; writing what a failed save left to write takes less


@contextlib.contextmanager
def disk_errors(folder: Path, saved: Callable[[], list[int]]) -> Iterator[None]:
    """Turns a full disk and exhausted memory into a UserError that names the newest of the `saved` steps."""
    try:
        yield
    except Exception as error:
        kept = saved()
        last = f"the last good checkpoint is step {kept[-1]}" if kept else "no checkpoint had been saved before"
        # The code RESOURCE_EXHAUSTED alone says nothing: it stands for a full disk, a quota, and for memory.
        text = str(error)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and not any(sign in text for sign in ("No space left", "quota", "File too large")):
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower():
                raise UserError(f"can't save a checkpoint in {folder}: out of memory while the state was copied; "
                                f"{last}; set memory.kind to snapshots, fewer data.patches or a smaller "
                                "data.patch_px, or use more devices") from error
            raise
        raise UserError(f"can't save a checkpoint in {folder}: the disk is full; {last}; free some space and run "
                        "the same command again") from error


def check_space(folder: Path, needed: int) -> None:
    """Raises the OSError of a full disk if there are fewer than `needed` bytes left where `folder` is."""
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def wait_for_writers() -> None:
    """Waits for orbax's threads: when one part of a checkpoint fails, orbax raises and goes on writing the others.

    What they write after that would stand in the way of the next run, or in its checkpoint.
    """
    end = time.monotonic() + _WRITERS_S
    for thread in threading.enumerate():
        if type(thread).__module__.startswith("orbax."):
            with contextlib.suppress(Exception):  # joining one that failed raises its error
                thread.join(max(0.0, end - time.monotonic()))
