"""Reads a table of tensors that PyTorch saved, without PyTorch and without executing anything in the file.

`torch.save` has written two formats:

    ZIP, since 1.6     `PREFIX/data.pkl` describes the tensors, `PREFIX/data/N` holds the values of storage N
    the older one      five pickles (a magic number, a version, the byte order, the tensors, the storages' keys), then
                       for each storage its length as int64 and its values

A pickle can name any function to be called.  The unpickler here accepts only ordered dicts, tensors and the storage
types of numbers, and refuses every other name; nothing that a pickle names is ever called.
"""

import collections
import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.weights.files import cause, read_published

# torch's storage classes → NumPy dtypes without byte order, which the file states separately.
_STORAGE_DTYPES = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "LongStorage": "i8",
                   "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1",
                   "BoolStorage": "?"}
_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
_PARALLEL = "module."  # what DataParallel puts before every name


def read_torch(path: str | os.PathLike, *, hint: str = "get it from its authors") -> dict[str, np.ndarray]:
    """The tensors of a `.pth`, `.pkl`, `.pt` or `.model` file under their names, with torch's shapes (kernels OIHW).

    Of a training checkpoint (a dict with "state_dict") it reads that table.  "module." is removed from names that all
    begin with it.

    Args:
      path: the file.
      hint: ends an error message: where to get the file.

    Raises:
      MissingFileError: there is no such file.
      UserError: neither of PyTorch's formats, truncated or damaged, no table of tensors, or a pickle that names
        anything but tensors.
    """
    data = read_published(path, hint)
    try:
        table = (_read_zip if data.startswith(b"PK") else _read_legacy)(data)
    except _Unsuited as error:
        raise UserError(f"{path}: {error}; {hint}") from error
    except _Refused as error:
        raise UserError(f"{path}: its pickle names {error}, which weights do not need; it was not called; "
                        f"{hint}") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a complete PyTorch file in ZIP format; download it again: {hint}") from error
    except Exception as error:  # a damaged or malicious pickle can fail in any way
        raise UserError(f"{path}: damaged ({cause(error)}); download it again: {hint}") from error
    for name, value in table.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise UserError(f"{path}: {name!r} is not a tensor of a network; {hint}")
    if table and all(name.startswith(_PARALLEL) for name in table):
        return {name.removeprefix(_PARALLEL): value for name, value in table.items()}
    return table


class _Unsuited(Exception):
    """The file is whole, but not what is read here; the message says what it is."""


class _Refused(Exception):
    """The pickle names something that a table of tensors does not need; the message is that name."""


class _StorageType(NamedTuple):
    """Replaces a torch storage class: the dtype of its values, without byte order."""

    dtype: str


class _Storage(NamedTuple):
    """A storage that a pickle refers to, not read yet: its key, type and length in values."""

    key: str
    type: _StorageType
    length: int


class _Tensor(NamedTuple):
    """A tensor of a pickle, not read yet.  Offset and strides count values, not bytes."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _TensorUnpickler(pickle.Unpickler):
    """Unpickles dicts of `_Tensor`; raises `_Refused` for any name but those of tensors."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        # New functions for each file, because a pickle can set attributes on the object it gets.
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _StorageType(_STORAGE_DTYPES[name])
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, identity: tuple) -> _Storage:
        """A storage, from `("storage", class, key, device, length)`; the older format adds a view, always None."""
        _, storage_type, key, _, length, *view = identity
        if not isinstance(storage_type, _StorageType):
            raise _Refused(f"a storage of type {type(storage_type).__name__}")
        if view not in ([], [None]):
            raise ValueError(f"storage {key} is a view, which PyTorch has not written since 0.4")
        return _Storage(key, storage_type, length)


def _read_zip(data: bytes) -> dict[Any, Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise _Unsuited(f"a ZIP file, but not one of PyTorch's (it holds {len(pickles)} data.pkl, not one)")
        prefix = pickles[0].removesuffix("data.pkl")
        states_order = f"{prefix}byteorder" in archive.namelist()
        order = ">" if states_order and archive.read(f"{prefix}byteorder").strip() == b"big" else "<"
        state = _TensorUnpickler(io.BytesIO(archive.read(pickles[0]))).load()
        return _resolved(state, lambda storage: archive.read(f"{prefix}data/{storage.key}"), order)


def _read_legacy(data: bytes) -> dict[Any, Any]:
    file = io.BytesIO(data)
    try:
        magic = _TensorUnpickler(file).load()
    except _Refused:
        raise
    except Exception:  # anything but a pickle
        magic = None
    if magic != _MAGIC:
        raise _Unsuited("not a PyTorch file (neither the ZIP format of PyTorch 1.6 and later nor the older one)")
    _, system, state, keys = (_TensorUnpickler(file).load() for _ in range(4))
    order = "<" if system["little_endian"] else ">"
    storages = {storage.key: storage for storage in _storages(state)}
    raw = {key: _read_storage(file, storages[key], order) for key in keys}
    return _resolved(state, lambda storage: raw[storage.key], order)


def _read_storage(file: BinaryIO, storage: _Storage, order: str) -> bytes:
    """The bytes of the storage at the file's position; its length stands before it."""
    length = int.from_bytes(file.read(8), {"<": "little", ">": "big"}[order])
    size = length * np.dtype(storage.type.dtype).itemsize
    values = file.read(size)
    if len(values) < size:
        raise ValueError(f"storage {storage.key} ends after {len(values)} of {size} bytes")
    return values


def _table(state: Any) -> dict[Any, Any]:
    """The table of tensors in an unpickled object."""
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise _Unsuited(f"holds a {type(state).__name__}, not a table of tensors")
    return state


def _storages(state: Any) -> list[_Storage]:
    """All storages that an unpickled object refers to; also those of an optimizer beside the table."""
    if isinstance(state, _Tensor):
        return [state.storage]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [storage for value in values for storage in _storages(value)]


def _resolved(state: Any, read: Callable[[_Storage], bytes], order: str) -> dict[Any, Any]:
    """The table of tensors as arrays in this machine's byte order; `read` gives the bytes of a storage."""
    arrays = {}
    for name, value in _table(state).items():
        arrays[name] = _to_array(value, read(value.storage), order) if isinstance(value, _Tensor) else value
    return arrays


def _to_array(tensor: _Tensor, values: bytes, order: str) -> np.ndarray:
    storage = tensor.storage
    numbers = np.frombuffer(values, order + storage.type.dtype)
    if len(numbers) != storage.length:
        raise ValueError(f"storage {storage.key} has {len(numbers)} numbers instead of {storage.length}")
    native = np.dtype(storage.type.dtype)
    return _strided(numbers, tensor.offset, tensor.size, tensor.stride).astype(native)


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
