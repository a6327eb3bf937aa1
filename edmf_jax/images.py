"""Files ↔ arrays: the edge where codecs live.

A picture in memory is uint8 or uint16, `[H, W]` (single-channel) or `[H, W, 3]`
RGB, upright: the EXIF orientation is applied when it is read, and no metadata is
written.  Colour profiles are ignored: the numbers of the file are used as they are.

OpenCV decodes and encodes.  It is asked in memory, never by file name: from a file
it turns a truncated JPEG into a grey lower half without a word, and on Windows it
cannot open names outside the code page.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.files import replace_file

# Quality 95, and 4:4:4, which keeps the chroma at full resolution.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)  # more than 100 is OpenCV's word for it
# What `write_image` offers: suffix → encoder settings.
_ENCODERS = {".png": (), ".tif": (), ".tiff": (), ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _LOSSLESS_WEBP, ".bmp": ()}
_SUFFIXES_16_BIT = (".png", ".tif", ".tiff")

# A JPEG marker is FF and a code.  FF 00 is a data byte, FF D0…D7 a restart inside a scan.
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
_JPEG_WITHOUT_LENGTH = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xDA)})
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_GREY_TYPES = (0, 4)  # IHDR's colour type: grey, grey with alpha


def read_image(path: str | os.PathLike) -> np.ndarray:
    """The picture in a file: uint8 or uint16, `[H, W]` or `[H, W, 3]` RGB, upright.

    Alpha is dropped (a fully opaque channel is the common case; what lies under
    transparent pixels is shown as stored).  Palettes are expanded to RGB, 1-bit
    pictures to 0 and 255.  Of a file with several pictures the first is read.

    Raises:
      MissingFileError: there is no such file.
      UserError: a folder, empty, truncated, damaged, or of a kind that is not read.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: this is a folder; name one picture in it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The picture in the bytes of an image file, as `read_image` gives it; `name` is for the error.

    Whether the file is whole is checked first; that takes a few hundredths of the time of decoding.

    Raises:
      UserError: the bytes are not a whole picture of a kind that is read.
    """
    grey, tiff_bits = False, None
    if not data:
        raise UserError(f"{name}: the file is empty; copy or download it again")
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data, name)
    elif data.startswith(_PNG_SIGNATURE):
        grey = _check_png(data, name) in _PNG_GREY_TYPES
    elif data[:4] in (b"II*\0", b"MM\0*"):
        tiff_bits = _check_tiff(data, name)
    elif data[:4] in (b"II+\0", b"MM\0+") or data[4:8] == b"ftyp":
        # OpenCV ignores an AVIF's rotation, and a BigTIFF's layout is not looked into here.
        raise UserError(f"{name}: BigTIFF, AVIF and HEIC files are not read; convert it to PNG or TIFF")
    image = _decode(data, name)
    narrowed = tiff_bits == 16 and image.dtype == np.uint8  # OpenCV does that to grey with alpha
    if image.dtype not in (np.uint8, np.uint16) or narrowed:
        raise UserError(f"{name}: pixels of type {'16-bit with alpha' if narrowed else image.dtype} are not read; "
                        "convert it to an 8-bit or 16-bit PNG or TIFF without alpha")
    if image.ndim == 2:
        return image
    # OpenCV expands a grey PNG with transparency to three equal channels.
    return np.ascontiguousarray(image[..., 0]) if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV prints what it refuses to stderr; the user gets our one line instead."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _decode(data: bytes, name: str) -> np.ndarray:
    """OpenCV's BGR or grey array, alpha dropped and EXIF orientation applied."""
    try:
        with _quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    except cv2.error as error:
        raise UserError(f"{name}: cannot be decoded ({' '.join(error.err.split())}); convert it to PNG or "
                        "TIFF") from error
    if image is None:
        raise UserError(f"{name}: damaged, or not a picture of a known kind (JPEG, PNG, TIFF, WebP, BMP, PNM, …); "
                        "copy it again or convert it to PNG")
    return image


def _damaged(name: str, kind: str, what: str) -> UserError:
    return UserError(f"{name}: {kind} file {what}; copy or download it again")


def _check_jpeg(data: bytes, name: str) -> None:
    """Walks the marker segments to the end marker (ITU-T T.81, B.1).

    Segments are stepped over by their length, since an EXIF thumbnail has end
    markers of its own; whatever follows the end marker (a phone's second picture) is ignored.
    """
    position, scans = 0, 0
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 1:
        code = data[position + 1]
        if code == _JPEG_END and scans:
            return
        position += 1 if code == 0xFF else 2  # FF before a marker is filling
        if code not in _JPEG_WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
        scans += code == _JPEG_SCAN
    raise _damaged(name, "JPEG", f"is truncated: no end marker in its {len(data)} bytes")


def _check_png(data: bytes, name: str) -> int:
    """Walks the chunks to IEND and checks each one's CRC; the colour type of IHDR (PNG specification, 5 and 11.2)."""
    position, colour_type = len(_PNG_SIGNATURE), -1
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        body = memoryview(data)[position + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], "big"):
            raise _damaged(name, "PNG", f"is damaged: wrong checksum of the chunk at byte {position}")
        if kind == b"IHDR" and length >= 13:
            colour_type = data[position + 17]
        if kind == b"IEND":
            return colour_type
        position = end
    raise _damaged(name, "PNG", f"is truncated: it ends at byte {len(data)} before its last chunk")


def _check_tiff(data: bytes, name: str) -> int:
    """Refuses the TIFFs that OpenCV decodes to wrong numbers without a word; bits per sample (TIFF 6.0, section 2).

    These are planes stored one after the other, 8-bit colour with transparency
    (it comes back multiplied by alpha), and depths other than 1, 2, 4, 8 and 16.
    """
    order = "<" if data[:2] == b"II" else ">"
    tags = {}
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
            if kind == 3:  # SHORT; more than two of them are stored elsewhere
                where = entry + 8 if length <= 2 else struct.unpack_from(order + "I", data, entry + 8)[0]
                (tags[tag],) = struct.unpack_from(order + "H", data, where)
    except struct.error as error:
        raise _damaged(name, "TIFF", f"is truncated: it ends at byte {len(data)}, inside its header") from error
    defaults = {258: 1, 277: 1, 284: 1, 338: -1}
    bits, samples, planar, extra = (tags.get(tag, default) for tag, default in defaults.items())
    for refused, what in ((planar == 2 and samples > 1, "separate colour planes"),
                          (extra >= 0 and bits == 8 and samples == 4, "an alpha channel of 8 bits"),
                          (bits not in (1, 2, 4, 8, 16), f"{bits} bits per sample")):
        if refused:
            raise UserError(f"{name}: TIFF files with {what} are not read; save it as PNG, or as a plain TIFF of "
                            "8 or 16 bits without alpha")
    return bits


def check_target(path: str | os.PathLike, dtype: np.dtype | None = None) -> Path:
    """What can be told before any work is done about writing to `path`: its kind, its folder, its bits.

    Raises:
      UserError: the suffix is not one that is written or cannot hold `dtype`; `path` is a folder.
      MissingFileError: the folder to write into does not exist.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _ENCODERS:
        raise UserError(f"{path}: the suffix {path.suffix!r} is not one that is written; use one of "
                        f"{', '.join(_ENCODERS)}")
    if os.path.isdir(path):
        raise UserError(f"{path}: this is a folder; name the file to write")
    if not os.path.isdir(path.parent):
        raise MissingFileError(f"{path}: the folder {path.parent} does not exist; create it first")
    if dtype == np.uint16 and suffix not in _SUFFIXES_16_BIT:
        raise UserError(f"{path}: {suffix} cannot hold 16-bit pictures; use one of {', '.join(_SUFFIXES_16_BIT)}")
    return path


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes uint8 or uint16 `[H, W]` or `[H, W, 3]` RGB; the format follows from the suffix.

    PNG, TIFF, BMP and WebP are lossless, JPEG has quality 95 without chroma
    subsampling.  WebP has no single-channel pictures: they become RGB in the
    file.  An existing file is replaced, at once or not at all: the bytes go to a
    temporary file beside it first, which a failure removes.

    Raises:
      UserError: see `check_target`; an array of another kind; no space left, no permission.
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise UserError(f"{path}: a picture is uint8 or uint16, [H, W] or [H, W, 3], got {image.dtype} {image.shape}")
    path = check_target(path, image.dtype)
    pixels = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    suffix = path.suffix.lower()
    cause = None
    try:
        with _quiet_opencv():
            done, encoded = cv2.imencode(suffix, pixels, _ENCODERS[suffix])
    except cv2.error as error:
        done, cause = False, error
    if not done:
        raise UserError(f"{path}: {suffix} cannot hold a picture of {image.shape[1]}×{image.shape[0]} px; use .png or "
                        ".tif") from cause
    replace_file(path, encoded)
