"""Arrays that wait in a temporary file, where memory is too small for all shots of a stack."""

import math
import mmap
import os
import shutil
import tempfile
import weakref

import numpy as np

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

    def __init__(self, array: np.ndarray, folder: str):
        """Writes `array` to a file in `folder`; OSError if that can't be done."""
        self.shape, self.dtype = array.shape, array.dtype
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it lives as long as the object)
        weakref.finalize(self, self._file.close)
        np.ascontiguousarray(array).tofile(self._file)
        self._file.flush()

    def __getitem__(self, part) -> np.ndarray:
        """A copy of a part; from several threads at once, too."""
        size = math.prod(self.shape) * self.dtype.itemsize
        with mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) as view:
            whole = np.ndarray(self.shape, self.dtype, buffer=view)
            copy = whole[part].copy()
            del whole  # a view that is still referred to can't be closed
        return copy


def roomy_folder(needed_bytes: float) -> str | None:
    """A folder for temporary files of so many bytes, or None if there is no such room.

    TMPDIR if it is set; else /var/tmp where there is one, for that is on disk where /tmp may be in memory.
    """
    for folder in (os.environ.get("TMPDIR"), "/var/tmp", tempfile.gettempdir()):
        if folder and os.access(folder, os.W_OK):
            return folder if shutil.disk_usage(folder).free > _ROOM * needed_bytes else None
    return None
