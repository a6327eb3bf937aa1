"""Files as `torch.save` writes them, in both formats, with a stand-in for torch.

The layout was compared with that of published files.
"""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np

KINDS = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Storage:
    """Stands for a torch storage, which torch pickles by persistent id: a 1-D array of numbers."""

    def __init__(self, numbers, kind=None):
        self.numbers, self.kind = numbers, kind or KINDS.get(numbers.dtype.newbyteorder("=").name, "FloatStorage")


class Tensor:
    """Stands for a torch tensor, which torch pickles as a call of `_rebuild_tensor_v2`."""

    def __init__(self, storage, size, stride, offset=0):
        self.call = (storage, offset, tuple(size), tuple(stride), False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.call


def plain(array):
    strides = [s // array.itemsize for s in np.array(array, order="C").strides]
    return Tensor(Storage(np.ravel(array)), array.shape, strides)


def as_state(tensors, **changed):
    return collections.OrderedDict((k, plain(v)) for k, v in tensors.items()) | changed


def stand_in(monkeypatch):
    """Puts a torch into sys.modules that has just the names which a pickle of tensors refers to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2():
        raise AssertionError("a stand-in to be pickled by name")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for kind in KINDS.values():
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def _pickled(state, lengths, view):
    """The pickle of a state and the numbers of its storages in order; `view` is added to every storage's identity."""
    storages = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                storages.append(value.numbers)
                length = len(value.numbers) if lengths is None else lengths
                kind = getattr(sys.modules["torch"], value.kind)
                return "storage", kind, str(len(storages) - 1), "cpu", length, *view
            return None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(state)
    return file.getvalue(), storages


def write_zip(path, state, prefix="archive", order=None, lengths=None):
    """The format since PyTorch 1.6."""
    data, storages = _pickled(state, lengths, ())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{prefix}/data.pkl", data)
        if order is not None:
            archive.writestr(f"{prefix}/byteorder", order)
        for number, values in enumerate(storages):
            archive.writestr(f"{prefix}/data/{number}", values.tobytes())
    return path


def write_legacy(path, state, magic=0x1950A86A20F9469CFC6C, lengths=None, view=(None,)):
    """The older format."""
    data, storages = _pickled(state, lengths, view)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [*(pickle.dumps(value, 2) for value in (magic, 1001, system)), data,
             pickle.dumps([str(number) for number in range(len(storages))], 2)]
    parts += [struct.pack("<q", len(values)) + values.tobytes() for values in storages]
    path.write_bytes(b"".join(parts))
    return path
