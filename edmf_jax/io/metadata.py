"""The metadata of a photograph: EXIF, color profile and resolution are read, corrected for the result, and written.

Pixel values have a meaning only together with their color profile, so
the two stay together: a format that cannot hold the profile is refused.
"""

import dataclasses
import struct
import zlib

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io import exif
from edmf_jax.io.containers import (
    add_jpeg_segments,
    add_png_chunks,
    add_webp_chunks,
    jpeg_segments,
    kind_of,
    png_chunks,
    riff_chunks,
)
from edmf_jax.io.icc import profile_name, profile_space

_EXIF_ID, _ICC_ID = b"Exif\0\0", b"ICC_PROFILE\0"
_APP0, _APP1, _APP2 = 0xE0, 0xE1, 0xE2
_SEGMENT_BYTES = 65533  # of a JPEG segment's body at most
_MAX_SEGMENTS = 255  # of a color profile in a JPEG: they are numbered by one byte
_METERS_PER_INCH = 0.0254
_PNG_COLOR = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
_TIFF_ICC = 34675
_MAX_ICC_BYTES = 1 << 24  # unpacked, of a profile in a PNG


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of a file that are kept.

    Attributes:
      exif: the EXIF block, beginning `II*\\0` or `MM\\0*`; empty: none.
      icc: the color profile; empty: none, which means sRGB by convention.
      dpi: pixels per inch, across and down, or None.
      png_color: a PNG's own chunks about color, (kind, body).
    """

    exif: bytes = b""
    icc: bytes = b""
    dpi: tuple[float, float] | None = None
    png_color: tuple[tuple[bytes, bytes], ...] = ()


def read_metadata(data: bytes) -> Metadata:
    """The metadata in a complete JPEG, PNG, TIFF or WebP file; empty for other kinds.  Damaged EXIF is left out."""
    readers = {"JPEG": _read_jpeg, "PNG": _read_png, "TIFF": _read_tiff, "WebP": _read_webp}
    kind = kind_of(data)
    return validate(readers[kind](data)) if kind in readers else Metadata()


def validate(found: Metadata) -> Metadata:
    """The same without a damaged EXIF block, and with the resolution from the block if the file itself has none."""
    try:
        exif.correct(found.exif, 1, 1)
        dpi = exif.resolution(found.exif)
    except exif.DAMAGED:
        return dataclasses.replace(found, exif=b"")
    return dataclasses.replace(found, dpi=found.dpi or dpi)


def _read_jpeg(data: bytes) -> Metadata:
    block, dpi, parts = b"", None, {}
    for code, body in jpeg_segments(data):
        if code == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, x, y = struct.unpack_from(">BHH", body, 7)
            inches = {1: 1.0, 2: 2.54}.get(unit)
            dpi = (x * inches, y * inches) if inches and x and y else None
        elif code == _APP1 and body.startswith(_EXIF_ID) and not block:
            block = body[len(_EXIF_ID):]
        elif code == _APP2 and body.startswith(_ICC_ID) and len(body) > 14:
            parts[body[12]] = body[14:]
    return Metadata(block, b"".join(parts[number] for number in sorted(parts)), dpi)


def _read_png(data: bytes) -> Metadata:
    chunks = {kind: data[at : at + length] for kind, at, length in png_chunks(data) if kind != b"IDAT"}
    icc, dpi = b"", None
    if b"iCCP" in chunks:
        _, _, packed = chunks[b"iCCP"].partition(b"\0")
        try:
            icc = zlib.decompressobj().decompress(packed[1:], _MAX_ICC_BYTES)
        except zlib.error:
            icc = b""
    if len(chunks.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"])
        dpi = (x * _METERS_PER_INCH, y * _METERS_PER_INCH) if unit == 1 and x and y else None
    block = chunks.get(b"eXIf", b"").removeprefix(_EXIF_ID)
    return Metadata(block, icc, dpi, tuple((kind, chunks[kind]) for kind in _PNG_COLOR if kind in chunks))


def _read_tiff(data: bytes) -> Metadata:
    try:
        _, tags = exif.first_directory(data)
        return Metadata(exif.rebuild(data), exif.read_value(data, tags[_TIFF_ICC])[2] if _TIFF_ICC in tags else b"")
    except exif.DAMAGED:
        return Metadata()


def _read_webp(data: bytes) -> Metadata:
    chunks = dict(riff_chunks(data))
    return Metadata(chunks.get(b"EXIF", b"").removeprefix(_EXIF_ID), chunks.get(b"ICCP", b""))


def for_result(found: Metadata, image: np.ndarray) -> Metadata:
    """The metadata for a result.

    Args:
      found: of the shot whose frame the result has.
      image: the result, upright, `[H, W]` or `[H, W, 3]`.
    """
    block = exif.correct(found.exif, image.shape[1], image.shape[0]) if found.exif else b""
    return dataclasses.replace(found, exif=block)


def check_fits(found: Metadata, suffix: str, single_channel: bool, name: str) -> None:
    """Checks that a file of that suffix keeps the meaning of the pixel values; EXIF may get lost (.bmp), color may not.

    Args:
      found: the metadata to write.
      single_channel: whether the picture is gray.
      name: of the file, for the message.

    Raises:
      UserError: the color profile, or a PNG's color description, cannot be written.
    """
    space = profile_space(found.icc)
    if found.icc and space != ("GRAY" if single_channel else "RGB"):
        raise UserError(f"{name}: its color profile {profile_name(found.icc)!r} is for {space} pictures, but the "
                        f"picture is {'single-channel' if single_channel else 'RGB'}; convert it to sRGB")
    gray_as_color = suffix == ".webp" and single_channel
    if found.icc and (suffix == ".bmp" or gray_as_color):
        raise UserError(f"{name}: {suffix} cannot hold its color profile {profile_name(found.icc)!r}; write .png or "
                        ".tif")
    if suffix != ".png" and not found.icc and any(kind == b"cICP" for kind, _ in found.png_color):
        raise UserError(f"{name}: only .png can hold its description of colors (cICP); write .png")


def embed(encoded: bytes, suffix: str, found: Metadata) -> bytes:
    """The bytes of a JPEG, PNG or WebP file with the metadata added; other kinds are returned unchanged.

    Args:
      encoded: the file without metadata.
      suffix: of the file, lower case.

    Raises:
      UserError: EXIF too long for a JPEG even without the maker note; a color profile too long for a JPEG.
    """
    if suffix in (".jpg", ".jpeg"):
        return _embed_in_jpeg(encoded, found)
    if suffix == ".png":
        return _embed_in_png(encoded, found)
    if suffix == ".webp" and (found.icc or found.exif):
        return add_webp_chunks(encoded, found.icc, found.exif)
    return encoded


def _embed_in_jpeg(encoded: bytes, found: Metadata) -> bytes:
    block = found.exif
    if len(block) > _SEGMENT_BYTES - len(_EXIF_ID):
        block = exif.rebuild(block)
    if len(block) > _SEGMENT_BYTES - len(_EXIF_ID):
        raise UserError(f"a JPEG holds 64 kB of EXIF, and there are {len(block)} bytes of it; write .png or .tif")
    if found.dpi and encoded[6:11] == b"JFIF\0":
        density = struct.pack(">BHH", 1, *(min(max(round(x), 1), 65535) for x in found.dpi))
        encoded = encoded[:13] + density + encoded[18:]
    segments = [(_APP1, _EXIF_ID + block)] if block else []
    room = _SEGMENT_BYTES - len(_ICC_ID) - 2
    parts = [found.icc[at : at + room] for at in range(0, len(found.icc), room)]
    if len(parts) <= _MAX_SEGMENTS:
        segments += [(_APP2, _ICC_ID + bytes((i, len(parts))) + part) for i, part in enumerate(parts, 1)]
    else:
        raise UserError(f"a JPEG cannot hold a color profile of {len(found.icc)} bytes; write .png or .tif")
    return add_jpeg_segments(encoded, segments)


def _embed_in_png(encoded: bytes, found: Metadata) -> bytes:
    # A PNG holds an iCCP chunk or an sRGB chunk, not both.
    chunks = [(kind, body) for kind, body in found.png_color if not (found.icc and kind == b"sRGB")]
    if found.icc:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(found.icc)))
    if found.dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(x / _METERS_PER_INCH) for x in found.dpi), 1)))
    if found.exif:
        chunks.append((b"eXIf", found.exif))
    return add_png_chunks(encoded, chunks)
