"""One process at a time builds a data set, and removes what a killed one left behind.

TFDS writes to `incomplete.RANDOM_VERSION` beside the folder VERSION and renames it at the end.  The name does not say
whose it is; but as every build holds the lock, what lies there when the lock is free belongs to nobody.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from filelock import FileLock, Timeout

LOCK_NAME = ".edmf.lock"
_POLL_SECONDS = 0.2


@contextlib.contextmanager
def alone(builder: tfds.core.DatasetBuilder, log: Callable[[str], None] = logging.warning) -> Iterator[None]:
    """Holds the lock of a data set in its data_dir for the length of a `with` block; waits for whoever holds it.

    What killed builds left behind is cleaned up first.  The operating system releases the lock when its process ends,
    however it ends.  It may be taken again inside the block.  A data_dir in a bucket (gs://…) has no locks.

    Args:
      builder: of the data set.
      log: receives a line if it has to wait.

    Raises:
      OSError: the folder can't be created or written.
    """
    root = str(builder.data_dir_root)
    if "://" in root:
        yield
        return
    folder = pathlib.Path(root) / builder.name
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_NAME, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"{folder}: another process is building this data set; waiting for it")
        lock.acquire(timeout=-1, poll_interval=_POLL_SECONDS)
    try:
        if lock.lock_counter == 1:  # inside a block, what was set aside is in use
            clean_up(builder.data_path)
        yield
    finally:
        lock.release()


def aside_of(folder: epath.Path) -> epath.Path:
    """Where a prepared data set is kept while it is built anew; TFDS never takes this name for a finished one."""
    return folder.with_name(f"incomplete.replaced_{folder.name}")


def left_behind(folder: epath.Path) -> list[epath.Path]:
    """What killed builds of the data set `folder` (…/VERSION) left beside it, or others are writing there just now."""
    found = [path for path in (aside_of(folder),) if path.exists()]
    if folder.parent.exists():
        found += folder.parent.glob(f"incomplete.??????_{folder.name}")
    settings = folder.parent.parent / ".config"  # TFDS's note on the data set's configs, written alike
    return found + (list(settings.glob("incomplete.*")) if settings.exists() else [])


def clean_up(folder: epath.Path) -> None:
    """Removes what killed builds left behind; what was set aside, and not replaced yet, gets its name back.

    Only for who holds the lock.
    """
    if aside_of(folder).exists() and not folder.exists():
        aside_of(folder).rename(folder)
    for path in left_behind(folder):
        if path.is_dir():
            path.rmtree()
        else:
            path.unlink(missing_ok=True)


class BuildsAlone:
    """Mixin for builders: `download_and_prepare`, also that of `tfds.load`, holds the lock and cleans up first."""

    def download_and_prepare(self, **kwargs):
        """As in TFDS."""
        if self.data_path.exists():
            return super().download_and_prepare(**kwargs)
        with alone(self):
            if self.data_path.exists():  # another process has built it meanwhile
                self.info.read_from_directory(self.data_dir)
            return super().download_and_prepare(**kwargs)
