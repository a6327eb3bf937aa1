"""EXIF as bytes: a block that begins like a TIFF file, `II*\\0` or `MM\\0*` (EXIF 2.32; TIFF 6.0, section 2).

A block consists of directories: lists of tags, each with a type, a count and a value, or the offset of the value.  A
block is corrected in place if possible: a maker note, the camera maker's private data, often holds
offsets into the block, so moving it by one byte breaks it.
"""

import contextlib
import struct

EXIF_IFD, GPS_IFD = 0x8769, 0x8825  # their values are offsets of directories
_INTEROPERABILITY_IFD, _MAKER_NOTE, _COLOR_SPACE = 0xA005, 0x927C, 0xA001
_INTEROPERABILITY_INDEX = 1
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
# Tags of the first directory that describe the picture, as opposed to how its pixels are stored: document name, image
# description, camera, orientation, resolution, software, date, artist, host, rating, copyright, the directories of EXIF
# and GPS, and Windows' title, comment, author, keywords and subject.
DESCRIPTIVE = frozenset({269, 270, 271, 272, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 305, 306, 315,
                         316, 18246, 18249, 33432, EXIF_IFD, GPS_IFD, *range(40091, 40096)})
_WIDTHS, _HEIGHTS = {0x0100, 0xA002, 0x1001}, {0x0101, 0xA003, 0x1002}
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
_SHORT, _LONG, _RATIONAL, _IFD, _LONG8 = 3, 4, 5, 13, 16  # the last one in BigTIFF only
# Type → bytes of one value.
_BYTES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, _IFD: 4}
DAMAGED = (struct.error, ValueError, KeyError, IndexError)
"""What reading a damaged block raises."""

Value = tuple[int, int, bytes]
"""Type, count and bytes of a tag's value, in the byte order of its block."""


def byte_order(block: bytes) -> str:
    """"<" or ">", for `struct`."""
    return "<" if block[:2] == b"II" else ">"


def read_directory(block: bytes, start: int) -> dict[int, int]:
    """Tag → offset of its entry of 12 bytes, for the directory at offset `start`.

    Raises:
      ValueError, struct.error: the directory is incomplete.
    """
    order = byte_order(block)
    (count,) = struct.unpack_from(order + "H", block, start)
    if start < 8 or start + 2 + 12 * count > len(block):
        raise ValueError(f"no complete directory at byte {start}")
    tags = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", block, entry)
        if kind not in _BYTES:
            raise ValueError(f"no directory at byte {start}: a value of type {kind}")
        tags[tag] = entry
    return tags


def first_directory(block: bytes) -> tuple[int, dict[int, int]]:
    """The offset of the first directory, and the directory as `read_directory` returns it."""
    (start,) = struct.unpack_from(byte_order(block) + "I", block, 4)
    return start, read_directory(block, start)


def read_value(block: bytes, entry: int) -> Value:
    """The value of the tag whose entry is at offset `entry`.

    Raises:
      ValueError: it lies outside the block.
    """
    kind, count = struct.unpack_from(byte_order(block) + "HI", block, entry + 2)
    size = _BYTES[kind] * count
    start = entry + 8 if size <= 4 else struct.unpack_from(byte_order(block) + "I", block, entry + 8)[0]
    if start + size > len(block):
        raise ValueError(f"a value of {size} bytes at byte {start} of {len(block)}")
    return kind, count, bytes(block[start : start + size])


def _read_values(block: bytes, tags: dict[int, int]) -> dict[int, Value]:
    """Tag → value; tags whose value lies outside the block are left out."""
    found = {}
    for tag, entry in tags.items():
        with contextlib.suppress(*DAMAGED):
            found[tag] = read_value(block, entry)
    return found


def _read_integer(block: bytes, entry: int) -> int:
    kind, _, data = read_value(block, entry)
    return struct.unpack(byte_order(block) + {_SHORT: "H", _LONG: "I", _IFD: "I"}[kind], data[: _BYTES[kind]])[0]


def _linked_directory(block: bytes, tags: dict[int, int], tag: int) -> dict[int, int]:
    """The directory that a tag of another one points to; empty without the tag, or if the offset is wrong."""
    try:
        return read_directory(block, _read_integer(block, tags[tag])) if tag in tags else {}
    except DAMAGED:
        return {}


def _all_directories(block: bytes) -> list[dict[int, int]]:
    """The first directory and those of EXIF, GPS and interoperability, but not the thumbnail's."""
    _, main = first_directory(block)
    inner = _linked_directory(block, main, EXIF_IFD)
    return [main, inner, _linked_directory(block, main, GPS_IFD),
            _linked_directory(block, inner, _INTEROPERABILITY_IFD)]


def says_adobe_rgb(block: bytes, file_name: str) -> bool:
    """Whether the pixels are Adobe RGB by the DCF rule for optional files (DCF 2.0, 3.2; EXIF 2.32, C.2).

    The color space is "uncalibrated" and the interoperability index R03; without an index, the file's name begins with
    an underscore.

    Args:
      block: empty: no EXIF.
    """
    try:
        _, inner, _, interoperability = _all_directories(block)
        if _COLOR_SPACE not in inner or _read_integer(block, inner[_COLOR_SPACE]) != 0xFFFF:
            return False
        if _INTEROPERABILITY_INDEX in interoperability:
            return read_value(block, interoperability[_INTEROPERABILITY_INDEX])[2].startswith(b"R03")
    except DAMAGED:
        return False
    return file_name.startswith("_")


def correct(block: bytes, width: int, height: int) -> bytes:
    """The block corrected for an upright picture of that size, px: size tags, orientation 1, no thumbnail.

    Nothing is moved.  A size or orientation that the block does not hold is not added.

    Raises:
      one of DAMAGED: it is no EXIF.
    """
    order, result = byte_order(block), bytearray(block)
    for tags in _all_directories(block):
        for tag, entry in tags.items():
            if tag in _WIDTHS | _HEIGHTS:
                struct.pack_into(order + "HII", result, entry + 2, _LONG, 1, width if tag in _WIDTHS else height)
            if tag == ORIENTATION:
                struct.pack_into(order + "HIHH", result, entry + 2, _SHORT, 1, 1, 0)
    start, main = first_directory(block)
    link = start + 2 + 12 * len(main)
    # A block may end without a link to a second directory.
    second = struct.unpack_from(order + "I", block, link)[0] if link + 4 <= len(block) else 0
    if second:
        struct.pack_into(order + "I", result, link, 0)
        thumbnail = read_directory(block, second)
        if {_THUMBNAIL, _THUMBNAIL_LENGTH} <= set(thumbnail):
            at, length = (_read_integer(block, thumbnail[tag]) for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH))
            if at >= 8 and at + length == len(block):
                del result[at:]
            elif at >= 8 and at + length < len(block):
                result[at : at + length] = bytes(length)
    return bytes(result)


def descriptive_values(block: bytes) -> dict[int, Value]:
    """The descriptive tags of the first directory.  Those of EXIF_IFD and GPS_IFD are offsets into the block.

    Raises:
      one of DAMAGED: it is no EXIF.
    """
    _, main = first_directory(block)
    return _read_values(block, {tag: entry for tag, entry in main.items() if tag in DESCRIPTIVE})


def descriptive_tree(data: bytes, *, srgb: bool = False) -> dict[int, Value | dict]:
    """The descriptive tags of a block, a TIFF or a camera's RAW file, with EXIF_IFD and GPS_IFD as nested dictionaries.

    The maker note is left out: it would not survive being moved.

    Args:
      srgb: the pixel values have been converted to sRGB, so the color space is set to that.

    Raises:
      one of DAMAGED: the data have no TIFF structure.
    """
    _, inner, gps, interoperability = _all_directories(data)
    tree = {tag: value for tag, value in descriptive_values(data).items() if tag not in (EXIF_IFD, GPS_IFD)}
    nested = _read_values(data, {tag: entry for tag, entry in inner.items()
                                 if tag not in (_MAKER_NOTE, _INTEROPERABILITY_IFD)})
    if srgb and nested:
        nested[_COLOR_SPACE] = (_SHORT, 1, struct.pack(byte_order(data) + "H", 1))
    elif interoperability:
        nested[_INTEROPERABILITY_IFD] = _read_values(data, interoperability)
    if nested:
        tree[EXIF_IFD] = nested
    if gps:
        tree[GPS_IFD] = _read_values(data, gps)
    return tree


def rebuild(data: bytes, *, srgb: bool = False) -> bytes:
    """A new block with the `descriptive_tree` of a larger block, a TIFF or a camera's RAW file.

    Raises:
      one of DAMAGED: the data have no TIFF structure.
    """
    order, tree = byte_order(data), descriptive_tree(data, srgb=srgb)
    return bytes(data[:2]) + struct.pack(order + "HI", 42, 8) + directory_bytes(tree, 8, order)


def directory_bytes(tags: dict[int, Value | dict], at: int, order: str, *, big: bool = False) -> bytes:
    """A directory to be stored at offset `at`: its entries, their values, then the nested directories.

    Args:
      tags: values, or for a nested directory its own tags.
      order: "<" or ">".
      big: in the layout of BigTIFF, with counts and offsets of 8 bytes instead of 2 or 4.
    """
    count_type, offset_type, field_bytes = ("Q", "Q", 8) if big else ("H", "I", 4)
    head_bytes, entry_bytes = struct.calcsize(order + count_type), 4 + 2 * field_bytes
    entries, values, nested = [], b"", b""
    values_at = at + head_bytes + entry_bytes * len(tags) + field_bytes
    nested_at = values_at + sum(len(v[2]) + len(v[2]) % 2 for v in tags.values()
                                if isinstance(v, tuple) and len(v[2]) > field_bytes)
    for tag, content in sorted(tags.items()):
        if isinstance(content, dict):
            start = nested_at + len(nested)
            nested += directory_bytes(content, start, order, big=big)
            content = offset_value(start, order, big)
        kind, count, data = content
        field = data.ljust(field_bytes, b"\0")
        if len(data) > field_bytes:
            field = struct.pack(order + offset_type, values_at + len(values))
            values += data + b"\0" * (len(data) % 2)  # values begin at even bytes
        entries.append(struct.pack(order + "HH" + offset_type, tag, kind, count) + field)
    return struct.pack(order + count_type, len(entries)) + b"".join(entries) + bytes(field_bytes) + values + nested


def offset_value(offset: int, order: str, big: bool) -> Value:
    """The value of a tag that points to a directory; `order` and `big` as in `directory_bytes`."""
    return (_LONG8, 1, struct.pack(order + "Q", offset)) if big else (_LONG, 1, struct.pack(order + "I", offset))


def resolution(block: bytes) -> tuple[float, float] | None:
    """Pixels per inch, across and down; None if the block does not tell.

    Raises:
      one of DAMAGED: it is no EXIF.
    """
    _, tags = first_directory(block)
    if not {X_RESOLUTION, Y_RESOLUTION} <= set(tags):
        return None
    unit = _read_integer(block, tags[RESOLUTION_UNIT]) if RESOLUTION_UNIT in tags else 2
    fractions = [struct.unpack(byte_order(block) + "II", read_value(block, tags[tag])[2])
                 for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if unit not in (2, 3) or not all(numerator and denominator for numerator, denominator in fractions):
        return None
    x, y = (numerator / denominator * (2.54 if unit == 3 else 1) for numerator, denominator in fractions)
    return x, y
