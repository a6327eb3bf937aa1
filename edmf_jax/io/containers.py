"""The structure of image files: iterating over their parts, checking that a file is complete, adding parts.

JPEG segments (ITU-T T.81, B.1), PNG chunks (PNG specification, 5), RIFF chunks
(WebP container specification).  No pixels are decoded here.
`name` is the file's name for error messages in all functions.
"""

import math
import struct
import zlib
from collections.abc import Iterable, Iterator

from edmf_jax.errors import UserError

# A JPEG marker is FF and a code.  FF 00 is a data byte FF, FF D0…D7 a restart marker inside a scan.
_JPEG_END, _JPEG_SCAN, _JPEG_APP0 = 0xD9, 0xDA, 0xE0
_JPEG_WITHOUT_LENGTH = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xDA)})
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
BIGTIFF_SIGNATURES = (b"II+\0", b"MM\0+")
# DEFLATE and block-wise compression reach 1 : 1032 at most, LZW 1 : 1300.  WebP could exceed that, but not with a
# photograph.  Pictures smaller than the first number are decoded whatever their file's size.
_HARMLESS_BYTES, _MAX_COMPRESSION = 64e6, 1300


def _damaged(name: str, kind: str, what: str) -> UserError:
    return UserError(f"{name}: {kind} file {what}; copy or download it again")


def kind_of(data: bytes) -> str:
    """"JPEG", "PNG", "TIFF", "WebP", "BMP", "HEIF" or "", by the first bytes of the file, not by its name."""
    if data[:2] == b"\xff\xd8":
        return "JPEG"
    if data[:8] == PNG_SIGNATURE:
        return "PNG"
    if data[:4] in TIFF_SIGNATURES + BIGTIFF_SIGNATURES:
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM":
        return "BMP"
    return "HEIF" if data[4:8] == b"ftyp" else ""


def jpeg_segments(data: bytes, *, to_scan: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yields (marker code, body) of every segment before the first scan; `to_scan`: and the scan's header."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        code = data[position + 1]
        if code == 0xFF:  # a fill byte
            position += 1
            continue
        if code == _JPEG_END or (code == _JPEG_SCAN and not to_scan):
            return
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield code, data[position + 4 : position + 2 + length]
        if code == _JPEG_SCAN:
            return
        position += 2 + length


def jpeg_frame(data: bytes) -> tuple[int, int, int] | None:
    """(height, width, channels) by the first frame header; None without one."""
    for code, body in jpeg_segments(data):
        if code in _JPEG_FRAMES and len(body) >= 6:
            return int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), body[5]
    return None


def check_jpeg(data: bytes, name: str) -> None:
    """Checks that a JPEG has its end marker.

    Segments are skipped by their length, since an EXIF thumbnail has an end
    marker of its own.  Data after the end marker (some phones append a second picture) are ignored.

    Raises:
      UserError: it ends before.
    """
    position, scans = 0, 0
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        code = data[position + 1]
        if code == _JPEG_END and scans:
            return
        position += 1 if code == 0xFF else 2  # FF before a marker is a fill byte
        if code not in _JPEG_WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
        scans += code == _JPEG_SCAN
    raise _damaged(name, "JPEG", f"is truncated: no end marker in its {len(data)} bytes")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, offset of the body, its length) of every complete chunk up to and including IEND."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            return
        yield kind, position + 8, length
        if kind == b"IEND":
            return
        position += 12 + length


def check_png(data: bytes, name: str) -> None:
    """Checks that a PNG has all its chunks up to IEND, and their CRCs.

    Raises:
      UserError: it is truncated or damaged.
    """
    for kind, start, length in png_chunks(data):
        end = start + length
        if zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise _damaged(name, "PNG", f"is damaged: wrong checksum of the chunk at byte {start - 8}")
        if kind == b"IEND":
            return
    raise _damaged(name, "PNG", f"is truncated: it ends at byte {len(data)} before its last chunk")


def png_color_type(data: bytes) -> int:
    """The color type in IHDR (PNG specification, 11.2); −1 without an IHDR."""
    return next((data[at + 9] for kind, at, length in png_chunks(data) if kind == b"IHDR" and length >= 13), -1)


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (kind, body) of a WebP's chunks."""
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def check_riff(data: bytes, name: str) -> None:
    """Checks that a WebP is as long as its header says, and that its chunks fill it.

    Raises:
      UserError: it is truncated or damaged.
    """
    size = int.from_bytes(data[4:8], "little") + 8
    if size > len(data):
        raise _damaged(name, "WebP", f"is truncated: {len(data)} of {size} bytes")
    position = 12
    while position + 8 <= size:
        position += 8 + int.from_bytes(data[position + 4 : position + 8], "little")
        position += position % 2
    if position > size + 1:
        raise _damaged(name, "WebP", f"is damaged: a chunk ends at byte {position} of {size}")


def _claimed_bytes(data: bytes, kind: str) -> int:
    """The decoded size of the picture according to the file's header; 0 if the header, or this function, can't tell."""
    if kind == "JPEG":
        return math.prod(jpeg_frame(data) or (0,))
    if kind == "PNG" and len(data) >= 26:
        width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
        return width * height * {0: 1, 4: 2, 6: 4}.get(color, 3) * max(bits // 8, 1)
    if kind == "BMP" and len(data) >= 26:
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(width * height) * 3
    if kind == "WebP":
        return 3 * max((w * h for w, h in map(_webp_size, riff_chunks(data))), default=0)
    return 0


def _webp_size(chunk: tuple[bytes, bytes]) -> tuple[int, int]:
    """(width, height) in px if the chunk, (kind, body), holds them, else zeros."""
    kind, body = chunk
    if kind == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return 0, 0


def check_size(data: bytes, name: str) -> None:
    """`check_claimed_size` by the header of a JPEG, PNG, BMP or WebP; other modules read those of other kinds."""
    check_claimed_size(len(data), name, _claimed_bytes(data, kind_of(data)))


def check_claimed_size(size: int, name: str, claimed: int) -> None:
    """Refuses a small file whose header claims a huge picture, before memory is allocated for it.

    Args:
      size: of the file, bytes.
      claimed: the size of the decoded picture, bytes.

    Raises:
      UserError: the claimed picture could not be compressed to a file of this size.
    """
    if claimed > _HARMLESS_BYTES and claimed > _MAX_COMPRESSION * size:
        raise UserError(f"{name}: its header claims a picture of {claimed / 1e6:.0f} MB, which a file of {size} "
                        "bytes cannot hold; copy or download it again")


def add_jpeg_segments(data: bytes, segments: Iterable[tuple[int, bytes]]) -> bytes:
    """The JPEG with segments (marker code, body) added, after the JFIF segment, which has to be the first."""
    after = 2
    if data[3] == _JPEG_APP0:
        after += 2 + int.from_bytes(data[4:6], "big")
    added = b"".join(struct.pack(">BBH", 0xFF, code, len(body) + 2) + body for code, body in segments)
    return data[:after] + added + data[after:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk as bytes, with its length and CRC."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def add_png_chunks(data: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The PNG with chunks (kind, body) added right after IHDR: chunks about color have to precede the pixels."""
    after = len(PNG_SIGNATURE) + 25
    return data[:after] + b"".join(png_chunk(kind, body) for kind, body in chunks) + data[after:]


def add_webp_chunks(data: bytes, icc: bytes, exif: bytes) -> bytes:
    """A WebP of one picture, lossless if it has alpha, converted to the extended format with a color profile and EXIF.

    Args:
      icc, exif: the profile and the block; empty: none.
    """
    chunks = [(kind, body) for kind, body in riff_chunks(data) if kind in (b"VP8 ", b"VP8L")]
    width, height = _webp_size(chunks[0])
    has_alpha = chunks[0][0] == b"VP8L" and chunks[0][1][4] & 0x10  # bit 28 of its header
    flags = 0x20 * bool(icc) | 0x10 * bool(has_alpha) | 0x08 * bool(exif)
    canvas = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = [(b"VP8X", canvas), *([(b"ICCP", icc)] if icc else []), *chunks, *([(b"EXIF", exif)] if exif else [])]
    body = b"".join(kind + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for kind, part in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
