"""Arrays that wait in a temporary file, where memory is too small for all shots of a stack."""

import math
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable

import numpy as np

KEPT_BYTES = 0.4e9  # of a blend's shots, with the running sums if there are any; what is more waits on disk
_ROOM = 2.0  # of free space, for each byte that is kept


class DiskArray:
    """An array in an unnamed temporary file, which is gone with the object, or when the process ends.

    Reading a part reads its rows only, and takes memory for the part.

    Attributes:
      shape: of the array.
      dtype: of the array.
      nbytes: what it takes in memory, bytes: 0.
    """

    nbytes = 0

    def __init__(self, shape: tuple[int, ...], dtype: np.typing.DTypeLike, folder: str):
        """All zeros, in `folder`; OSError if that can't be done."""
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it lives as long as the object)
        weakref.finalize(self, self._file.close)
        self._file.truncate(math.prod(self.shape) * self.dtype.itemsize)

    @classmethod
    def of(cls, array: np.ndarray, folder: str) -> "DiskArray":
        """A copy of `array` in `folder`; OSError if that can't be done."""
        made = cls(array.shape, array.dtype, folder)
        np.ascontiguousarray(array).tofile(made._file)
        made._file.flush()
        return made

    def __getitem__(self, part) -> np.ndarray:
        """A copy of a part; from several threads at once, too."""
        return self._on_disk(mmap.ACCESS_READ, lambda whole: whole[part].copy())

    def __setitem__(self, part, values) -> None:
        """Writes a part; from several threads at once, too, if their parts are different ones."""
        self._on_disk(mmap.ACCESS_WRITE, lambda whole: whole.__setitem__(part, values))

    def _on_disk(self, access: int, work: Callable[[np.ndarray], np.ndarray | None]) -> np.ndarray | None:
        # The mapping is closed after each use, so that what was read or written takes no memory.
        with mmap.mmap(self._file.fileno(), 0, access=access) as view:
            return work(np.ndarray(self.shape, self.dtype, buffer=view))


def roomy_folder(needed_bytes: float) -> str | None:
    """A folder for temporary files of so many bytes, or None if there is no such room.

    TMPDIR if it is set; else /var/tmp where there is one, for that is on disk where /tmp may be in memory.
    """
    for folder in (os.environ.get("TMPDIR"), "/var/tmp", tempfile.gettempdir()):
        if folder and os.access(folder, os.W_OK):
            return folder if shutil.disk_usage(folder).free > _ROOM * needed_bytes else None
    return None


def planes(count: int, shape: tuple[int, int]) -> np.ndarray | DiskArray:
    """Room for `count` planes of 16 bits, on disk if they are many and it has the room."""
    whole, size = (count, *shape), 2 * count * shape[0] * shape[1]
    folder = roomy_folder(size) if size > KEPT_BYTES else None
    return np.empty(whole, np.uint16) if folder is None else DiskArray(whole, np.uint16, folder)
