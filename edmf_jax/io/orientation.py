"""Which way up a picture is stored, from EXIF or else XMP, in every container; and turning it upright."""

import re
import struct

import numpy as np

from edmf_jax.io import exif
from edmf_jax.io.containers import TIFF_SIGNATURES, jpeg_segments, kind_of, png_chunks, riff_chunks
from edmf_jax.io.png import png_texts, raw_profile

EXIF_ID = b"Exif\0\0"
_XMP_ID = b"http://ns.adobe.com/xap/1.0/\0"
_APP1, _XMP_TAG = 0xE1, 700
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
# Orientation → the stored picture's rows and columns as seen upright (TIFF 6.0, tag 274).
_TURNS = {2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
          5: lambda x: x.swapaxes(0, 1), 6: lambda x: x[::-1].swapaxes(0, 1),
          7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: x.swapaxes(0, 1)[::-1]}


def exif_and_xmp(data: bytes) -> tuple[bytes, bytes]:
    """The EXIF block, without the prefix `Exif\\0\\0`, and the XMP packet of a file; empty where there are none."""
    kind = kind_of(data)
    if kind == "JPEG":
        block = xmp = b""
        for code, body in jpeg_segments(data):
            if code == _APP1 and body.startswith(EXIF_ID) and not block:
                block = body.removeprefix(EXIF_ID)
            elif code == _APP1 and body.startswith(_XMP_ID) and not xmp:
                xmp = body.removeprefix(_XMP_ID)
        return block, xmp
    if kind == "PNG":
        chunk = next((data[at : at + length] for kind, at, length in png_chunks(data) if kind == b"eXIf"), b"")
        texts = png_texts(data)
        block = chunk.removeprefix(EXIF_ID) or raw_profile(texts, "exif", "APP1").removeprefix(EXIF_ID)
        xmp = texts.get("XML:com.adobe.xmp", b"") or raw_profile(texts, "xmp", "APP1").removeprefix(_XMP_ID)
        return block if block[:4] in TIFF_SIGNATURES else b"", xmp
    if kind == "WebP":
        chunks = dict(reversed(list(riff_chunks(data))))
        return chunks.get(b"EXIF", b"").removeprefix(EXIF_ID), chunks.get(b"XMP ", b"")
    return b"", b""


def orientation_of(data: bytes) -> int:
    """The orientation, 1 to 8, that a JPEG, PNG or WebP claims; 1 if it claims none."""
    block, xmp = exif_and_xmp(data)
    return orientation_from(block, xmp)


def orientation_from(block: bytes, xmp: bytes) -> int:
    """The orientation, 1 to 8, by an EXIF block or else an XMP packet; 1 if neither tells."""
    try:
        order = exif.byte_order(block)
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):  # other tags may be damaged
            tag, kind, _, value = struct.unpack_from(order + "HHIH", block, entry)
            if tag == exif.ORIENTATION and kind == 3 and 1 <= value <= 8:
                return value
    except struct.error:
        pass
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else 1


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """A picture `[H, W, …]` turned and mirrored as an orientation of 1 to 8 asks."""
    return np.ascontiguousarray(_TURNS[orientation](image)) if orientation in _TURNS else image
