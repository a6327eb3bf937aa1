"""Reads the published MUFusion weights, a PyTorch file, without PyTorch and without executing anything in it.

A `.model` file is a ZIP archive: `PREFIX/data.pkl` describes the tensors, `PREFIX/data/N` holds the values of
storage N.  A pickle can name any function to be called, so the unpickler here accepts only ordered dicts, tensors
and three storage types, and refuses every other name.

Source: repository AWCXV/MUFusion, `multi-focus/models/Final.model`, MIT license.
"""

import collections
import hashlib
import io
import os
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.weights.store import Weights, check_params, unflatten

MUFUSION_WIDTH = 32
# torch's storage classes → NumPy dtypes without byte order, which the file states separately.
_STORAGE_DTYPES = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2"}
_KEY = re.compile(r"(conv\d+)\.1\.(weight|bias)")
_PUBLISHED = "the published one is multi-focus/models/Final.model of the repository AWCXV/MUFusion"


def import_mufusion(path: str | os.PathLike) -> Weights:
    """Reads the file that MUFusion's authors publish: float32, kernels as HWIO, `model.width` 32.

    Raises:
      MissingFileError: there is no such file.
      UserError: not a PyTorch ZIP file, damaged, another network, or a pickle that names anything but tensors.
        Nothing that the pickle names is ever called.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; {_PUBLISHED}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {_PUBLISHED}") from error
    flat = {}
    for key, tensor in _read_state_dict(data, path).items():
        match = _KEY.fullmatch(key) if isinstance(key, str) else None
        if match is None or not isinstance(tensor, np.ndarray):
            raise UserError(f"{path}: {key!r} is not a tensor of MUFusion's network; {_PUBLISHED}")
        layer, kind = match.groups()
        array = tensor.transpose(2, 3, 1, 0) if kind == "weight" and tensor.ndim == 4 else tensor  # OIHW → HWIO
        flat[f"{layer}/{'kernel' if kind == 'weight' else 'bias'}"] = np.ascontiguousarray(array, np.float32)
    config = {"model": {"width": MUFUSION_WIDTH, "dtype": "float32"}}
    params = unflatten(flat)
    try:
        check_params(params, config, path.name)
    except UserError as error:
        raise UserError(f"{path}: another network than MUFusion's for multi-focus ({str(error).split('; ')[0]}); "
                        f"{_PUBLISHED}") from error
    provenance = {"source": "MUFusion (Cheng, Xu, Wu, Information Fusion 92, 2023), repository AWCXV/MUFusion",
                  "license": "MIT", "file": path.name, "file_sha256": hashlib.sha256(data).hexdigest()}
    return Weights(params, config, str(path), provenance=provenance)


def _read_state_dict(data: bytes, path: Path) -> dict[Any, Any]:
    """Unpickles the table of tensors in the archive `data`; `path` is for error messages."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickles = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
            if len(pickles) != 1:
                raise UserError(f"{path}: a ZIP file, but not one of PyTorch's (it holds {len(pickles)} data.pkl, not "
                                f"one); {_PUBLISHED}")
            state = _TensorUnpickler(archive, pickles[0].removesuffix("data.pkl")).load()
    except UserError:
        raise
    except _Refused as error:
        raise UserError(f"{path}: its pickle names {error}, which weights do not need; it was not called; "
                        f"{_PUBLISHED}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a complete PyTorch file in ZIP format (PyTorch 1.6 or later); download it again: "
                        f"{_PUBLISHED}") from error
    except Exception as error:  # a damaged or malicious pickle can fail in any way
        raise UserError(f"{path}: damaged ({type(error).__name__}: {' '.join(str(error).split())[:120]}); download it "
                        f"again: {_PUBLISHED}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: holds a {type(state).__name__}, not a table of tensors; {_PUBLISHED}")
    return state


class _Refused(Exception):
    """The pickle names something that a table of tensors does not need; the message is that name."""


class _Storage(NamedTuple):
    """Replaces a torch storage class: the dtype of its values, without byte order."""

    dtype: str


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles an (ordered) dict of tensors as NumPy arrays; raises `_Refused` for any other name."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str):
        super().__init__(io.BytesIO(archive.read(f"{prefix}data.pkl")))
        self._archive, self._prefix = archive, prefix
        states_order = f"{prefix}byteorder" in archive.namelist()
        self._order = ">" if states_order and archive.read(f"{prefix}byteorder").strip() == b"big" else "<"

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            # A new function for each file, because a pickle can set attributes on the object it gets.
            return lambda storage, offset, size, stride, *_: _strided(storage, offset, size, stride)
        if module == "torch" and name in _STORAGE_DTYPES:
            return _Storage(_STORAGE_DTYPES[name])
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, identity: tuple) -> np.ndarray:
        """All values of one storage, from `("storage", storage class, number of its file, device, length)`."""
        _, storage, key, _, length = identity
        if not isinstance(storage, _Storage):
            raise _Refused(f"a storage of type {type(storage).__name__}")
        values = np.frombuffer(self._archive.read(f"{self._prefix}data/{key}"), self._order + storage.dtype)
        if len(values) != length:
            raise ValueError(f"storage {key} has {len(values)} numbers instead of {length}")
        return values


def _strided(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """The tensor of shape `size` that starts at `offset` of a flat storage.

    Args:
      storage: 1-D array.
      offset, stride: in elements, not bytes.

    Raises:
      ValueError: the tensor would reach outside the storage.
    """
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    # as_strided checks nothing: a forged stride would read memory outside the storage.
    if min(offset, *size, *stride, 0) < 0 or last >= len(storage) or np.prod(size, dtype=object) > len(storage):
        raise ValueError(f"size {size}, stride {stride}, offset {offset} exceed a storage of {len(storage)}")
    strides = [s * storage.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)
