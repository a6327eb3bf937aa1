"""The metadata of a photograph: EXIF, color profile and resolution are read, corrected for the result, and written.

Pixel values have a meaning only together with their color profile, so
the two stay together: a format that cannot hold the profile is refused.
"""

import dataclasses
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io import exif
from edmf_jax.io.containers import (
    add_jpeg_segments,
    add_png_chunks,
    add_webp_chunks,
    jpeg_frame,
    jpeg_segments,
    kind_of,
    png_chunks,
    png_color_type,
    riff_chunks,
)
from edmf_jax.io.icc import ADOBE_RGB, profile_name, profile_space
from edmf_jax.io.orientation import EXIF_ID, exif_and_xmp
from edmf_jax.io.png import png_texts, raw_profile

_ICC_ID = b"ICC_PROFILE\0"
_APP0, _APP1, _APP2 = 0xE0, 0xE1, 0xE2
_SEGMENT_BYTES = 65533  # of a JPEG segment's body at most
_MAX_SEGMENTS = 255  # of a color profile in a JPEG: they are numbered by one byte
_METERS_PER_INCH = 0.0254
_PNG_COLOR = (b"cICP", b"gAMA", b"cHRM", b"sRGB")
_SRGB_GAMMA = 0.45455
_SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # white, red, green, blue
_SRGB_NUMBERS = bytes((1, 13))  # of cICP: primaries and transfer function (ITU-T H.273)
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


def read_metadata(data: bytes, file_name: str = "") -> Metadata:
    """The metadata in a complete JPEG, PNG, TIFF or WebP file; empty for other kinds.  Damaged EXIF is left out.

    A file without a profile whose EXIF says Adobe RGB gets the profile of these colors.

    Args:
      file_name: without folders: an underscore at its start means Adobe RGB if EXIF says "uncalibrated" and no more.
    """
    readers = {"JPEG": _read_jpeg, "PNG": _read_png, "TIFF": _read_tiff, "WebP": _read_webp}
    kind = kind_of(data)
    if kind not in readers:
        return Metadata()
    found = validate(readers[kind](data))
    described = found.icc or found.png_color or _is_gray(data, kind)
    if not described and exif.says_adobe_rgb(found.exif, file_name):
        return dataclasses.replace(found, icc=ADOBE_RGB)
    return found


def _is_gray(data: bytes, kind: str) -> bool:
    if kind == "JPEG":
        return (jpeg_frame(data) or (0, 0, 3))[2] == 1
    return kind == "PNG" and png_color_type(data) in (0, 4)


def validate(found: Metadata) -> Metadata:
    """The same without a damaged EXIF block, and with the resolution from the block if the file itself has none."""
    try:
        exif.correct(found.exif, 1, 1)
        dpi = exif.resolution(found.exif)
    except exif.DAMAGED:
        return dataclasses.replace(found, exif=b"")
    return dataclasses.replace(found, dpi=found.dpi or dpi)


def _read_jpeg(data: bytes) -> Metadata:
    dpi, parts = None, {}
    for code, body in jpeg_segments(data):
        if code == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, x, y = struct.unpack_from(">BHH", body, 7)
            inches = {1: 1.0, 2: 2.54}.get(unit)
            dpi = (x * inches, y * inches) if inches and x and y else None
        elif code == _APP2 and body.startswith(_ICC_ID) and len(body) > 14:
            parts[body[12]] = body[14:]
    return Metadata(exif_and_xmp(data)[0], b"".join(parts[number] for number in sorted(parts)), dpi)


def _read_png(data: bytes) -> Metadata:
    chunks = {kind: data[at : at + length] for kind, at, length in png_chunks(data) if kind != b"IDAT"}
    icc, dpi = raw_profile(png_texts(data), "icc", "icm"), None
    if b"iCCP" in chunks:
        _, _, packed = chunks[b"iCCP"].partition(b"\0")
        try:
            icc = zlib.decompressobj().decompress(packed[1:], _MAX_ICC_BYTES)
        except zlib.error:
            icc = b""
    if len(chunks.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"])
        dpi = (x * _METERS_PER_INCH, y * _METERS_PER_INCH) if unit == 1 and x and y else None
    return Metadata(exif_and_xmp(data)[0], icc, dpi,
                    tuple((kind, chunks[kind]) for kind in _PNG_COLOR if kind in chunks))


def _read_tiff(data: bytes) -> Metadata:
    """Of a BigTIFF, whose directories have another layout, the profile only."""
    from edmf_jax.io.tiff_reader import tiff_profile

    icc = tiff_profile(data)
    try:
        return Metadata(exif.rebuild(data), icc)
    except exif.DAMAGED:
        return Metadata(icc=icc)


def _read_webp(data: bytes) -> Metadata:
    return Metadata(exif_and_xmp(data)[0], dict(riff_chunks(data)).get(b"ICCP", b""))


def check_png_colors(found: Sequence[Metadata], names: Sequence[str]) -> None:
    """Checks that PNGs without a profile describe the same colors by their own chunks as the first shot.

    Args:
      found, names: of the shots.

    Raises:
      UserError: a shot's description differs from the first one's.
    """
    meanings = [_png_meaning(metadata) for metadata in found]
    for meaning, name in zip(meanings[1:], names[1:]):
        if meaning != meanings[0]:
            raise UserError(f"{name} and {names[0]} describe their colors differently (cICP, gAMA or cHRM in a PNG); "
                            "convert them to one color space first")


def _png_meaning(found: Metadata) -> tuple:
    """What a PNG's own chunks say about its colors; empty: nothing but sRGB."""
    chunks = dict(found.png_color)
    if b"cICP" in chunks:
        return (chunks[b"cICP"],) if chunks[b"cICP"][:2] != _SRGB_NUMBERS else ()
    if found.icc or b"sRGB" in chunks:
        return ()
    gamma, primaries = ([number / 1e5 for number, in struct.iter_unpack(">I", chunks[kind][: size])]
                        if len(chunks.get(kind, b"")) >= size else [] for kind, size in ((b"gAMA", 4), (b"cHRM", 32)))
    odd_gamma = gamma and abs(gamma[0] - _SRGB_GAMMA) > 0.005
    odd_primaries = primaries and max(abs(a - b) for a, b in zip(primaries, _SRGB_PRIMARIES)) > 0.002
    return (round(gamma[0], 2) if odd_gamma else None, *(round(x, 2) for x in primaries if odd_primaries)) \
        if odd_gamma or odd_primaries else ()


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
    if len(block) > _SEGMENT_BYTES - len(EXIF_ID):
        block = exif.rebuild(block)
    if len(block) > _SEGMENT_BYTES - len(EXIF_ID):
        raise UserError(f"a JPEG holds 64 kB of EXIF, and there are {len(block)} bytes of it; write .png or .tif")
    if found.dpi and encoded[6:11] == b"JFIF\0":
        density = struct.pack(">BHH", 1, *(min(max(round(x), 1), 65535) for x in found.dpi))
        encoded = encoded[:13] + density + encoded[18:]
    segments = [(_APP1, EXIF_ID + block)] if block else []
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
