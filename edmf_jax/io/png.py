"""What PNG files hold besides the pixels that OpenCV decodes: whether all rows are there, texts, transparent colors."""

import re
import struct
import zlib

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io.containers import PNG_SIGNATURE, png_chunks

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7's seven passes: first column, first row, steps between columns and rows (PNG specification, 8.2).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_PIECE = 1 << 20
_MAX_TEXT = 1 << 24  # bytes of an unpacked text


def check_rows(data: bytes, name: str) -> None:
    """Checks that the compressed data of a PNG hold all rows, end where they should and have the right checksum.

    Args:
      data: a file whose chunks are whole.

    Raises:
      UserError: they do not; a header of no known kind.
    """
    try:
        expected = _expected_bytes(data)
    except (struct.error, KeyError) as error:
        raise UserError(f"{name}: PNG file is damaged: its header is of no known kind; copy or download it "
                        "again") from error
    stream, count = zlib.decompressobj(), 0
    try:
        for kind, at, length in png_chunks(data):
            packed = data[at : at + length] if kind == b"IDAT" else b""
            while packed and not stream.eof and count <= expected:
                count += len(stream.decompress(packed, _PIECE))
                packed = stream.unconsumed_tail
    except zlib.error as error:
        raise UserError(f"{name}: PNG file is damaged ({error}); copy or download it again") from error
    if count != expected or not stream.eof:
        raise UserError(f"{name}: PNG file is damaged: its rows are {expected} bytes, and its data unpack to "
                        f"{'more' if count > expected else count}; copy or download it again")


def only_pixels(data: bytes) -> bytes:
    """The PNG without the chunks that do not affect decoding: libpng writes warnings about odd ones to stderr."""
    parts = [data[at - 8 : at + length + 4] for kind, at, length in png_chunks(data)
             if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")]
    return PNG_SIGNATURE + b"".join(parts)


def _expected_bytes(data: bytes) -> int:
    """The unpacked size of the rows, each with its filter type of one byte."""
    width, height, bits, color, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes)
    return sum(rows * (1 + (columns * bits * _CHANNELS[color] + 7) // 8)
               for columns, rows in sizes if columns > 0 and rows > 0)


def transparent_color(data: bytes) -> tuple[int, ...] | None:
    """The gray level or RGB color that means transparent, in the depth of the decoded picture; None without one."""
    bits, color = data[24], data[25]
    for kind, at, length in png_chunks(data):
        if kind == b"tRNS" and color in (0, 2) and length >= 2 * _CHANNELS[color]:
            values = struct.unpack_from(f">{_CHANNELS[color]}H", data, at)
            scale = 255 // ((1 << bits) - 1) if bits < 8 else 1
            return tuple((value & ((1 << bits) - 1)) * scale for value in values)
    return None


def mask_of_color(image: np.ndarray, color: tuple[int, ...]) -> np.ndarray:
    """Where a picture, `[H, W]` or `[H, W, 3]`, has another color: bool `[H, W]`."""
    different = image != np.array(color, np.int64)
    return different if image.ndim == 2 else different.any(axis=2)


def png_texts(data: bytes) -> dict[str, bytes]:
    """Keyword → text of the chunks tEXt, zTXt and iTXt, unpacked; damaged ones are left out."""
    texts = {}
    for kind, at, length in png_chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword, _, rest = data[at : at + length].partition(b"\0")
        packed = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
        if kind == b"zTXt":
            rest = rest[1:]
        elif kind == b"iTXt":
            rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]  # language and translated keyword
        try:
            texts[keyword.decode("latin-1")] = zlib.decompressobj().decompress(rest, _MAX_TEXT) if packed else rest
        except zlib.error:
            continue
    return texts


def raw_profile(texts: dict[str, bytes], *kinds: str) -> bytes:
    """A block that ImageMagick and ExifTool store as hexadecimal digits under "Raw profile type …"; empty: none."""
    for kind in kinds:
        match = re.match(rb"\s*\S+\s+\d+\s+([0-9a-fA-F\s]+)$", texts.get(f"Raw profile type {kind}", b"").strip(b"\0"))
        digits = b"".join(match[1].split()) if match else b""
        if digits and len(digits) % 2 == 0:
            return bytes.fromhex(digits.decode())
    return b""
