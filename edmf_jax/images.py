"""Files ↔ arrays: the edge where codecs live.

A picture in memory is uint8 or uint16, `[H, W]` (single-channel) or `[H, W, 3]`
RGB, upright: the EXIF orientation is applied when it is read.  The numbers of the
file are used as they are: what they mean is in its colour profile, which is
`metadata`'s, and is written with the result where the caller gives it.

OpenCV decodes and encodes.  It is asked in memory, never by file name: from a file
it turns a truncated JPEG into a grey lower half without a word, and on Windows it
cannot open names outside the code page.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.containers import check_claim, check_jpeg, check_png, kind_of, png_colour_type, tiff_tags
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.files import replace_file
from edmf_jax.metadata import Metadata, check_fits, embed, for_result
from edmf_jax.tiff import encode_tiff

# Quality 95, and 4:4:4, which keeps the chroma at full resolution.
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)  # more than 100 is OpenCV's word for it
# What `write_image` offers: suffix → encoder settings.
_ENCODERS = {".png": (), ".tif": (), ".tiff": (), ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _LOSSLESS_WEBP, ".bmp": ()}
WRITTEN_SUFFIXES = tuple(_ENCODERS)
_TIFF_SUFFIXES = (".tif", ".tiff")
_SUFFIXES_16_BIT = (".png", *_TIFF_SUFFIXES)

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
    return decode_image(read_file(path), str(path))


def read_file(path: str | os.PathLike) -> bytes:
    """The bytes of a file that the user named.

    Raises:
      MissingFileError: there is no such file.
      UserError: it is a folder, or it can't be read.
    """
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: this is a folder; name one picture in it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The picture in the bytes of an image file, as `read_image` gives it; `name` is for the error.

    Whether the file is whole is checked first; that takes a few hundredths of the time of decoding.

    Raises:
      UserError: the bytes are not a whole picture of a kind that is read.
    """
    tiff_bits = check_file(data, name)
    image = _decode(data, name)
    narrowed = tiff_bits == 16 and image.dtype == np.uint8  # OpenCV does that to grey with alpha
    if image.dtype not in (np.uint8, np.uint16) or narrowed:
        raise UserError(f"{name}: pixels of type {'16-bit with alpha' if narrowed else image.dtype} are not read; "
                        "convert it to an 8-bit or 16-bit PNG or TIFF without alpha")
    if image.ndim == 2:
        return image
    # OpenCV expands a grey PNG with transparency to three equal channels.
    grey = kind_of(data) == "PNG" and png_colour_type(data) in _PNG_GREY_TYPES
    return np.ascontiguousarray(image[..., 0]) if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_with_alpha(data: bytes, name: str) -> np.ndarray:
    """The pixels with their alpha channel where the file has one: `[H, W]`, `[H, W, 3]` or `[H, W, 4]`, RGB(A).

    The EXIF orientation is applied to a TIFF only; the file is not checked.

    Raises:
      UserError: it can't be decoded.
    """
    image = _decode(data, name, cv2.IMREAD_UNCHANGED)
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def check_file(data: bytes, name: str) -> int | None:
    """What can be told without decoding: whole, of a kind that is read, no larger than it can be; a TIFF's bits.

    Raises:
      UserError: it is not.
    """
    if not data:
        raise UserError(f"{name}: the file is empty; copy or download it again")
    kind, bits = kind_of(data), None
    if kind == "JPEG":
        check_jpeg(data, name)
    elif kind == "PNG":
        check_png(data, name)
    elif kind == "TIFF":
        bits = _check_tiff(data, name)
    elif kind == "HEIF" or data[:4] in (b"II+\0", b"MM\0+"):
        # OpenCV ignores an AVIF's rotation, and a BigTIFF's layout is not looked into here.
        raise UserError(f"{name}: BigTIFF, AVIF and HEIC files are not read; convert it to PNG or TIFF")
    check_claim(data, name)
    return bits


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV prints what it refuses to stderr; the user gets our one line instead."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _decode(data: bytes, name: str, flags: int = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR) -> np.ndarray:
    """OpenCV's BGR or grey array; by these flags alpha is dropped and the EXIF orientation applied."""
    try:
        with _quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UserError(f"{name}: cannot be decoded ({' '.join(error.err.split())}); convert it to PNG or "
                        "TIFF") from error
    if image is None:
        raise UserError(f"{name}: damaged, or not a picture of a known kind (JPEG, PNG, TIFF, WebP, BMP, PNM, …); "
                        "copy it again or convert it to PNG")
    return image


def _check_tiff(data: bytes, name: str) -> int:
    """Refuses the TIFFs that OpenCV decodes to wrong numbers without a word; bits per sample (TIFF 6.0, section 2).

    These are planes stored one after the other, 8-bit colour with transparency
    (it comes back multiplied by alpha), and depths other than 1, 2, 4, 8 and 16.
    """
    defaults = {258: 1, 277: 1, 284: 1, 338: -1}
    tags = tiff_tags(data, name)
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


def write_image(path: str | os.PathLike, image: np.ndarray, metadata: Metadata | None = None) -> None:
    """Writes uint8 or uint16 `[H, W]` or `[H, W, 3]` RGB; the format follows from the suffix.

    PNG, TIFF, BMP and WebP are lossless, JPEG has quality 95 without chroma
    subsampling.  WebP has no single-channel pictures: they become RGB in the
    file.  An existing file is replaced, at once or not at all: the bytes go to a
    temporary file beside it first, which a failure removes.

    Args:
      metadata: of the shot whose frame the picture has; its EXIF is corrected for this picture.  BMP holds none, and
        WebP no resolution beside EXIF.

    Raises:
      UserError: see `check_target` and `metadata.check_fits`; an array of another kind; no space left, no permission.
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise UserError(f"{path}: a picture is uint8 or uint16, [H, W] or [H, W, 3], got {image.dtype} {image.shape}")
    path = check_target(path, image.dtype)
    suffix = path.suffix.lower()
    metadata = for_result(metadata or Metadata(), image)
    check_fits(metadata, suffix, image.ndim == 2, str(path))
    try:
        if suffix in _TIFF_SUFFIXES and metadata != Metadata():
            encoded = encode_tiff(image, metadata.exif, metadata.icc, metadata.dpi)
        else:
            encoded = embed(_encode(image, suffix), suffix, metadata)
    except (cv2.error, OverflowError) as error:
        raise UserError(f"{path}: {suffix} cannot hold a picture of {image.shape[1]}×{image.shape[0]} px; use .png or "
                        ".tif") from error
    replace_file(path, encoded)


def _encode(image: np.ndarray, suffix: str) -> bytes:
    """The bytes of a file of that kind, without metadata.

    Raises:
      cv2.error, OverflowError: the picture does not fit.
    """
    pixels = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    with _quiet_opencv():
        done, encoded = cv2.imencode(suffix, pixels, _ENCODERS[suffix])
    if not done:
        raise OverflowError("OpenCV refused to encode it")
    return encoded.tobytes()
