"""Reads the arrays of a MATLAB file, for weights that were published as `.mat`."""

import io
import os

import numpy as np
import scipy.io

from edmf_jax.errors import UserError
from edmf_jax.weights.files import cause, read_published


def read_matlab(path: str | os.PathLike, *, hint: str = "get it from its authors") -> dict[str, np.ndarray]:
    """The numeric arrays of a `.mat` file (MATLAB 5 to 7.2) under their names, at least 2-D, as MATLAB shows them.

    Args:
      path: the file.
      hint: ends an error message: where to get the file.

    Raises:
      MissingFileError: there is no such file.
      UserError: not a MATLAB file, of version 7.3, truncated or damaged, or without arrays.
    """
    data = read_published(path, hint)
    if data.startswith(b"MATLAB 7.3"):
        raise UserError(f"{path}: a MATLAB file of version 7.3 (HDF5), which is not read; open it in MATLAB and save "
                        "it with the option -v7")
    if not data.startswith(b"MATLAB 5.0"):
        raise UserError(f"{path}: not a MATLAB file; {hint}")
    try:
        content = scipy.io.loadmat(io.BytesIO(data))
    except Exception as error:  # a damaged file can fail in any way
        raise UserError(f"{path}: truncated or damaged ({cause(error)}); download it again: {hint}") from error
    arrays = {name: value for name, value in content.items()
              if isinstance(value, np.ndarray) and value.dtype.kind in "fiu"}
    if not arrays:
        raise UserError(f"{path}: a MATLAB file without numeric arrays; {hint}")
    return arrays
