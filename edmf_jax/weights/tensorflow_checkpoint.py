"""Reads the tensors of a TensorFlow checkpoint (format V2), without TensorFlow.

A checkpoint PREFIX is several files:

    PREFIX.index                  a sorted table (LevelDB's format): tensor's name → dtype, shape, place, checksum
    PREFIX.data-00000-of-00001    the values, raw; one or more such shards
    PREFIX.meta                   the graph, which is not read

Sources: LevelDB's doc/table_format.md; TensorFlow's core/protobuf/tensor_bundle.proto.
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.weights.files import cause, read_published

_MAGIC = 0xDB4775248B80FB57  # the last 8 bytes of a LevelDB table
_FOOTER_BYTES = 48
# tensorflow/core/framework/types.proto: the types whose values are stored raw.
_DTYPES = {1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 10: "?", 19: "f2"}
_PART = re.compile(r"(.*)\.(index|meta|data-\d{5}-of-\d{5})")
_FILES = "a checkpoint is NAME.index with NAME.data-00000-of-00001 beside it"


def read_checkpoint(path: str | os.PathLike, *, hint: str = "get it from its authors") -> dict[str, np.ndarray]:
    """All tensors of a checkpoint under their names, with TensorFlow's shapes (kernels HWIO).

    Args:
      path: its prefix (`model.ckpt`), one of its files, or a folder that holds one checkpoint.
      hint: ends an error message: where to get the files.

    Raises:
      MissingFileError: the index or a data file is missing.
      UserError: no checkpoint of format V2, several of them, truncated or damaged.
    """
    index, *shards = checkpoint_files(path, hint=hint)
    data = [read_published(shard, hint) for shard in shards]
    tensors = {}
    for entry in _read_index(index, hint)[1]:
        if entry.dtype not in _DTYPES:  # strings: names of the graph, not weights
            continue
        shape, dtype = entry.shape, np.dtype(_DTYPES[entry.dtype]).newbyteorder("<")
        values = data[entry.shard][entry.offset : entry.offset + entry.size]
        if len(values) < entry.size or entry.size != dtype.itemsize * int(np.prod(shape, dtype=object)):
            raise UserError(f"{shards[entry.shard]}: truncated, the tensor {entry.name!r} {shape} is not whole; "
                            f"download it again: {hint}")
        if masked_crc32c(values) != entry.checksum:
            raise UserError(f"{shards[entry.shard]}: damaged, the tensor {entry.name!r} has another checksum than the "
                            f"index says; download both files again: {hint}")
        tensors[entry.name] = np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    return tensors


def checkpoint_files(path: str | os.PathLike, *, hint: str = "get it from its authors") -> list[Path]:
    """The files of a checkpoint that are read: the index, then the data files.

    Raises:
      MissingFileError, UserError: as `read_checkpoint`.
    """
    prefix = _prefix(Path(path), hint)
    index = prefix.with_name(f"{prefix.name}.index")
    if not index.is_file():
        raise MissingFileError(f"{path}: there is no {index.name} beside it; {_FILES}; {hint}")
    count, _ = _read_index(index, hint)
    shards = [prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{count:05d}") for i in range(count)]
    for shard in shards:
        if not shard.is_file():
            raise MissingFileError(f"{path}: there is no {shard.name} beside {index.name}; {_FILES}; {hint}")
    return [index, *shards]


def is_checkpoint(path: str | os.PathLike) -> bool:
    """Whether `path` can only mean a checkpoint: one of its files, its prefix, or a folder."""
    path = Path(path)
    return path.is_dir() or bool(_PART.fullmatch(path.name)) or path.with_name(f"{path.name}.index").is_file()


def _prefix(path: Path, hint: str) -> Path:
    """The prefix that a prefix, a file or a folder stands for."""
    if not path.is_dir():
        part = _PART.fullmatch(path.name)
        return path.with_name(part[1]) if part else path
    found = sorted({part[1] for file in path.iterdir() if (part := _PART.fullmatch(file.name))})
    if not found:
        raise MissingFileError(f"{path}: a folder without a TensorFlow checkpoint; {_FILES}; {hint}")
    if len(found) > 1:
        raise UserError(f"{path}: holds {len(found)} checkpoints; name one of them: {', '.join(found[:5])}")
    return path / found[0]


class _Entry(NamedTuple):
    """A line of the index: where a tensor's values lie."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def _read_index(path: Path, hint: str) -> tuple[int, list[_Entry]]:
    """The number of data files and the entries of all tensors."""
    table = read_published(path, hint)
    if len(table) < _FOOTER_BYTES or int.from_bytes(table[-8:], "little") != _MAGIC:
        raise UserError(f"{path}: not the index of a TensorFlow checkpoint of format V2, or truncated; {hint}")
    try:
        footer = table[-_FOOTER_BYTES:]
        position = 0
        for _ in range(2):  # past the handle of the metaindex
            _, position = _varint(footer, position)
        header, entries = None, []
        for _, handle in _block(table, footer, position):
            for key, value in _block(table, handle, 0):
                if not key:
                    header = dict(_fields(value))
                else:
                    entries.append(_entry(key.decode(), value))
        if header.get(2, 0) != 0:
            raise ValueError("big-endian values")
        return header.get(1, 0), entries
    except Exception as error:  # a damaged index can fail in any way
        raise UserError(f"{path}: damaged ({cause(error)}); download it again: {hint}") from error


def _block(table: bytes, handle: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; its handle (offset and size) stands at `position` of `handle`."""
    offset, position = _varint(handle, position)
    size, _ = _varint(handle, position)
    block, compression = table[offset : offset + size], table[offset + size]
    if compression:
        raise ValueError(f"compression {compression}, which TensorFlow does not use for an index")
    if masked_crc32c(table[offset : offset + size + 1]) != struct.unpack_from("<I", table, offset + size + 1)[0]:
        raise ValueError("wrong checksum")
    (restarts,) = struct.unpack("<I", block[-4:])
    key, position, end = b"", 0, len(block) - 4 * (restarts + 1)
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _entry(name: str, message: bytes) -> _Entry:
    """An entry from its protocol buffer, `BundleEntryProto`."""
    fields = dict(_fields(message))
    if 7 in fields:
        raise ValueError(f"tensor {name} is stored in slices")
    shape = tuple(dict(_fields(size)).get(1, 0) for field, size in _fields(fields.get(2, b"")) if field == 2)
    return _Entry(name, fields.get(1, 0), shape, *(fields.get(field, 0) for field in (3, 4, 5, 6)))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbers and values of a protocol buffer's fields."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
            case 2:
                length, position = _varint(message, position)
                value, position = message[position : position + length], position + length
            case 5:
                value, position = struct.unpack_from("<I", message, position)[0], position + 4
            case kind:
                raise ValueError(f"a field of type {kind}")
        yield tag >> 3, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of 7 bits, the lowest first, and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # Castagnoli's polynomial, reflected
        table.append(byte)
    return table


_CRC32C = _crc32c_table()


def masked_crc32c(data: bytes) -> int:
    """LevelDB's checksum: CRC-32C (RFC 3720, appendix B.4), rotated right by 15 bits plus 0xa282ead8."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
