"""Decoding JPEGs strictly: what libjpeg only warns about (corrupt data, a premature end, extraneous bytes) is refused.

`simplejpeg` reports the warnings of the libjpeg-turbo that it brings along; OpenCV, Pillow and imagecodecs decode on
with gray or colored blocks.
"""

import re
import struct
from collections.abc import Iterator

import numpy as np
import simplejpeg

from edmf_jax.errors import UserError
from edmf_jax.io.containers import jpeg_frame, jpeg_segments

_END = b"\xff\xd9"
_SCAN, _HUFFMAN_TABLES, _SEQUENTIAL_FRAMES = 0xDA, 0xC4, (0xC0, 0xC1)
_MARKER = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")  # any that ends a scan
_SECTOR = 256  # zero bytes in a row
_MPF_ID, _APP2 = b"MPF\0", 0xE2
_MP_ENTRIES = 0xB002  # MPF's tag with 16 bytes for each picture (CIPA DC-007, 5.2.3)


def decode_jpeg(data: bytes, name: str) -> np.ndarray:
    """The pixels as they are stored, not turned: uint8 `[H, W]` or RGB `[H, W, 3]`.

    A whole scan without an end marker, directly followed by what a phone appends, is read.

    Args:
      data: the file, with its first picture at the start.
      name: of the file, for messages.

    Raises:
      UserError: libjpeg reports damage of any kind; CMYK colors.
    """
    frame = jpeg_frame(data)
    if frame and frame[2] == 4:
        raise UserError(f"{name}: a JPEG with CMYK colors is not read; convert it to RGB")
    colors = "GRAY" if frame and frame[2] == 1 else "RGB"
    try:
        pixels = simplejpeg.decode_jpeg(data, colors, strict=True)
    except ValueError as error:
        pixels, end = next(_decode_without_end(data, colors), (None, 0))
        if pixels is None:
            reason = " ".join(str(error).split()) or "it cannot be decoded"
            raise UserError(f"{name}: JPEG file is damaged, or not a picture ({reason}); copy or download it "
                            "again") from error
        data = data[:end]
    at = _zeroed_sector(data)
    if at:
        raise UserError(f"{name}: JPEG file is damaged (zeros from byte {at} on, which no picture is coded as); copy "
                        "or download it again")
    return pixels[..., 0] if colors == "GRAY" else pixels


def _zeroed_sector(data: bytes) -> int:
    """Where in the first scan a stretch of zeros begins that libjpeg decodes in silence; 0 without one.

    Looked for in Huffman-coded sequential JPEGs only (ITU-T T.81, F.1.2).  There a code of zero bits only, of the first
    channel's AC table, mostly stands for a coefficient that isn't 0; then zeros would mean ten and more blocks in which
    all 63 coefficients have the same value.
    """
    tables, start, sequential = {}, 2, False
    for code, body in jpeg_segments(data, to_scan=True):
        start = data.index(body, start) + len(body) if code == _SCAN else start
        sequential |= code in _SEQUENTIAL_FRAMES
        if code == _HUFFMAN_TABLES:
            tables |= _first_symbols(body)
        if code == _SCAN and len(body) >= 3:
            symbol = tables.get(body[2] & 15, 0)
            if sequential and symbol & 15:  # the low half is the coefficient's size in bits; 0: end of block, or a run
                end = _MARKER.search(data, start)
                return max(data.find(bytes(_SECTOR), start, end.start() if end else len(data)), 0)
    return 0


def _first_symbols(body: bytes) -> dict[int, int]:
    """Number of an AC table → the symbol whose code is zero bits only, from a segment of Huffman tables."""
    found, at = {}, 0
    while at + 17 < len(body):
        if body[at] >> 4:
            found[body[at] & 15] = body[at + 17]
        at += 17 + sum(body[at + 1 : at + 17])
    return found


def check_jpeg_part(data: bytes, name: str) -> None:
    """Raises UserError if libjpeg reports damage in a JPEG that another container holds."""
    try:
        simplejpeg.decode_jpeg(data, "GRAY" if (jpeg_frame(data) or (0, 0, 1))[2] == 1 else "RGB", strict=True)
    except ValueError as error:
        raise UserError(f"{name}: the JPEG data in it are damaged ({' '.join(str(error).split())}); copy or download "
                        "it again") from error


def trailer_starts(data: bytes) -> Iterator[int]:
    """Where something that phones append to a picture may begin, in bytes: an MP4, a Samsung trailer, a JPEG.

    Only places after the first scan's header count.
    """
    scan = sum(len(body) + 4 for _, body in jpeg_segments(data)) + 2
    at = scan
    while (at := data.find(b"ftyp", at + 1)) >= 0:  # an MP4 begins with a box of this kind, after its length
        if at - 4 > scan and int.from_bytes(data[at - 4 : at], "big") <= 256:
            yield at - 4
    samsung = _samsung_trailer(data)
    if samsung > scan:
        yield samsung
    at = scan
    while (at := data.find(b"\xff\xd8\xff", at + 1)) >= 0:
        yield at


def _samsung_trailer(data: bytes) -> int:
    """Where Samsung's trailer begins, in bytes; 0 without one.

    It ends with a directory, the directory's length and "SEFT".  A directory is "SEFH", a version, a count, and entries
    of 12 bytes that tell how far before the directory their data begin.
    """
    length = int.from_bytes(data[-8:-4], "little")
    directory = len(data) - 8 - length
    if not data.endswith(b"SEFT") or directory < 0 or data[directory : directory + 4] != b"SEFH" or length % 12:
        return 0
    return directory - max((back for _, back, _ in struct.iter_unpack("<III", data[directory + 12 : -8])), default=0)


def _decode_without_end(data: bytes, colors: str) -> Iterator[tuple[np.ndarray, int]]:
    """The picture and where its scan ends, if that is exactly where a trailer begins: no data missing or left over."""
    for start in trailer_starts(data):
        try:
            yield simplejpeg.decode_jpeg(data[:start] + _END, colors, strict=True), start
        except ValueError:
            continue


def jpeg_pictures(data: bytes) -> list[tuple[int, int]]:
    """Where the pictures of full size in a JPEG lie: (start, end) in bytes; more than one in an MPO (CIPA DC-007).

    Pictures of another size or another number of channels than the first (previews, gain maps) are left out.
    """
    found, frame = [(0, len(data))], jpeg_frame(data)
    at = 2
    for code, body in jpeg_segments(data):
        if code == _APP2 and body.startswith(_MPF_ID):
            for start, size in _mp_entries(body[4:]):
                start += data.index(body[:12], at) + 4  # offsets count from the byte after MPF\0
                part = data[start : start + size]
                if part.startswith(b"\xff\xd8") and jpeg_frame(part) == frame:
                    found.append((start, start + size))
            break
    return found


def _mp_entries(block: bytes) -> list[tuple[int, int]]:
    """(offset in the block, size) of the pictures after the first, by an MPF index; empty if it is damaged."""
    order = "<" if block[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, length, where = struct.unpack_from(order + "HHII", block, entry)
            if tag == _MP_ENTRIES:
                pictures = [struct.unpack_from(order + "III", block, where + 16 * i) for i in range(length // 16)]
                return [(offset, size) for _, size, offset in pictures if offset]
    except struct.error:
        pass
    return []
