"""EXIF as bytes: a block that begins like a TIFF file, `II*\\0` or `MM\\0*` (EXIF 2.32; TIFF 6.0, section 2).

A block is corrected in place where that is possible: a maker's notes often hold
offsets into the block, so whatever is moved by a byte breaks them.
"""

import contextlib
import struct

# Tags of the first directory that describe the picture and not how its pixels are stored: document and picture names,
# camera, orientation, resolution, software, date, artist, host, rating, copyright, the directories of EXIF and GPS,
# Windows' title, comment, author, keywords and subject.
_EXIF, _GPS, _INTEROPERABILITY, _MAKER_NOTE, _COLOUR_SPACE = 0x8769, 0x8825, 0xA005, 0x927C, 0xA001
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
DESCRIPTIVE = frozenset({269, 270, 271, 272, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 305, 306, 315,
                         316, 18246, 18249, 33432, _EXIF, _GPS, *range(40091, 40096)})
_WIDTHS, _HEIGHTS = {0x0100, 0xA002, 0x1001}, {0x0101, 0xA003, 0x1002}
_THUMBNAIL, _THUMBNAIL_LENGTH = 513, 514
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # of one value, by type
# What reading a damaged block raises.
DAMAGED = (struct.error, ValueError, KeyError, IndexError)


def order_of(block: bytes) -> str:
    """The byte order for `struct`."""
    return "<" if block[:2] == b"II" else ">"


def directory(block: bytes, start: int) -> dict[int, int]:
    """The tags of the directory at `start` → where their 12 bytes are.

    Raises:
      ValueError, struct.error: the directory is not whole.
    """
    (count,) = struct.unpack_from(order_of(block) + "H", block, start)
    if start < 8 or start + 2 + 12 * count > len(block):
        raise ValueError(f"no whole directory at byte {start}")
    tags = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order_of(block) + "HH", block, entry)
        if kind not in _BYTES:
            raise ValueError(f"no directory at byte {start}: a value of type {kind}")
        tags[tag] = entry
    return tags


def first_directory(block: bytes) -> tuple[int, dict[int, int]]:
    """Where the block's first directory is, and the directory."""
    (start,) = struct.unpack_from(order_of(block) + "I", block, 4)
    return start, directory(block, start)


def value(block: bytes, entry: int) -> tuple[int, int, bytes]:
    """(type, count, bytes) of the tag whose 12 bytes are at `entry`."""
    kind, count = struct.unpack_from(order_of(block) + "HI", block, entry + 2)
    size = _BYTES[kind] * count
    start = entry + 8 if size <= 4 else struct.unpack_from(order_of(block) + "I", block, entry + 8)[0]
    if start + size > len(block):
        raise ValueError(f"a value of {size} bytes at byte {start} of {len(block)}")
    return kind, count, bytes(block[start : start + size])


def _number(block: bytes, entry: int) -> int:
    kind, _, data = value(block, entry)
    return struct.unpack(order_of(block) + {_SHORT: "H", _LONG: "I", 13: "I"}[kind], data[: _BYTES[kind]])[0]


def _linked(block: bytes, tags: dict[int, int], tag: int) -> dict[int, int]:
    """The directory that a tag leads to; empty where there is none, or it leads nowhere, as a moved one may."""
    try:
        return directory(block, _number(block, tags[tag])) if tag in tags else {}
    except DAMAGED:
        return {}


def _all_directories(block: bytes) -> list[dict[int, int]]:
    """The first directory and those of EXIF, GPS and interoperability; without the thumbnail's."""
    _, main = first_directory(block)
    inner = _linked(block, main, _EXIF)
    return [main, inner, _linked(block, main, _GPS), _linked(block, inner, _INTEROPERABILITY)]


def corrected(block: bytes, width: int, height: int) -> bytes:
    """The block for an upright picture of that size, px, with nothing moved: orientation 1, no thumbnail.

    A size or orientation that the block does not give is not added.

    Raises:
      one of DAMAGED: it is no EXIF.
    """
    order, result = order_of(block), bytearray(block)
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
        thumbnail = directory(block, second)
        if {_THUMBNAIL, _THUMBNAIL_LENGTH} <= set(thumbnail):
            at, length = (_number(block, thumbnail[tag]) for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH))
            if at >= 8 and at + length == len(block):
                del result[at:]
            elif at >= 8 and at + length < len(block):
                result[at : at + length] = bytes(length)
    return bytes(result)


def rebuilt(data: bytes, *, srgb: bool = False) -> bytes:
    """A block of what describes the picture, taken out of a TIFF or a camera's RAW file, or out of a larger block.

    A maker's notes stay behind: they would not survive the move.

    Args:
      srgb: the numbers were made sRGB: say so, whatever the camera's setting was.

    Raises:
      one of DAMAGED: it is no TIFF structure.
    """
    order, (main, tags, gps, interoperability) = order_of(data), _all_directories(data)
    outer = _values(data, {tag: entry for tag, entry in main.items() if tag in DESCRIPTIVE - {_EXIF, _GPS}})
    inner = _values(data, {tag: entry for tag, entry in tags.items() if tag not in (_MAKER_NOTE, _INTEROPERABILITY)})
    if srgb and inner:
        inner[_COLOUR_SPACE] = (_SHORT, 1, struct.pack(order + "H", 1))
    elif interoperability:
        inner[_INTEROPERABILITY] = _values(data, interoperability)
    if inner:
        outer[_EXIF] = inner
    if gps:
        outer[_GPS] = _values(data, gps)
    return bytes(data[:2]) + struct.pack(order + "HI", 42, 8) + _placed(outer, 8, order)


def _values(data: bytes, tags: dict[int, int]) -> dict[int, tuple]:
    """(type, count, bytes) by tag; without those that lie outside of the data."""
    found = {}
    for tag, entry in tags.items():
        with contextlib.suppress(*DAMAGED):
            found[tag] = value(data, entry)
    return found


def _placed(tags: dict, at: int, order: str) -> bytes:
    """A directory that begins at byte `at`, with the values behind it, then the directories that it leads to.

    `tags` are (type, count, bytes) or, for a directory, its own tags.
    """
    entries, values, inner = [], b"", b""
    outside = at + 2 + 12 * len(tags) + 4
    room = sum(len(v[2]) + len(v[2]) % 2 for v in tags.values() if isinstance(v, tuple) and len(v[2]) > 4)
    for tag, content in sorted(tags.items()):
        if isinstance(content, dict):
            where = outside + room + len(inner)
            inner += _placed(content, where, order)
            entries.append(struct.pack(order + "HHII", tag, _LONG, 1, where))
            continue
        kind, count, data = content
        field = data.ljust(4, b"\0")
        if len(data) > 4:
            field = struct.pack(order + "I", outside + len(values))
            values += data + b"\0" * (len(data) % 2)  # values begin at even bytes
        entries.append(struct.pack(order + "HHI", tag, kind, count) + field)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4) + values + inner


def resolution(block: bytes) -> tuple[float, float] | None:
    """Pixels per inch, across and down; None where the block does not say.

    Raises:
      one of DAMAGED: it is no EXIF.
    """
    _, tags = first_directory(block)
    if not {X_RESOLUTION, Y_RESOLUTION} <= set(tags):
        return None
    unit = _number(block, tags[RESOLUTION_UNIT]) if RESOLUTION_UNIT in tags else 2
    pairs = [struct.unpack(order_of(block) + "II", value(block, tags[tag])[2]) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if unit not in (2, 3) or not all(above and below for above, below in pairs):
        return None
    x, y = (above / below * (2.54 if unit == 3 else 1) for above, below in pairs)
    return x, y
