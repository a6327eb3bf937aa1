"""Reading picture files into arrays and writing arrays to picture files.

A picture in memory is uint8 or uint16, `[H, W]` (single-channel) or `[H, W, 3]`
RGB, upright: the EXIF orientation is applied when it is read.  Pixel values are not
converted: their meaning is in the file's color profile, which `metadata` reads and
`write_image` stores if the caller passes it on.

OpenCV decodes and encodes, in memory only and never by file name: from a file
it silently turns a truncated JPEG into a gray lower half, and on Windows it
cannot open names outside the code page.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.containers import check_claimed_size, check_jpeg, check_png, kind_of, png_color_type, tiff_tags
from edmf_jax.io.metadata import Metadata, check_fits, embed, for_result
from edmf_jax.io.tiff import encode_tiff, needs_bigtiff

# Quality 95 without chroma subsampling (4:4:4).
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)  # above 100 OpenCV writes lossless WebP
# Suffix → encoder settings, for every format that `write_image` writes.
_ENCODERS = {".png": (), ".tif": (), ".tiff": (), ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _LOSSLESS_WEBP, ".bmp": ()}
WRITTEN_SUFFIXES = tuple(_ENCODERS)
_TIFF_SUFFIXES = (".tif", ".tiff")
_SUFFIXES_16_BIT = (".png", *_TIFF_SUFFIXES)

_PNG_GRAY_TYPES = (0, 4)  # IHDR's color type: gray, gray with alpha


def read_image(path: str | os.PathLike) -> np.ndarray:
    """The picture in a file: uint8 or uint16, `[H, W]` or `[H, W, 3]` RGB, upright.

    Alpha is dropped without blending: transparent pixels get the color that is stored
    for them.  Palettes are expanded to RGB, 1-bit
    pictures to 0 and 255.  Of a file with several pictures the first is read.

    Raises:
      MissingFileError: there is no such file.
      UserError: a folder, empty, truncated, damaged, or of a kind that is not read.
    """
    return decode_image(read_file(path), str(path))


def read_file(path: str | os.PathLike) -> bytes:
    """The content of a file that the user named.

    Raises:
      MissingFileError: there is no such file.
      UserError: it is a folder, or it cannot be read.
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
    """The picture in the bytes of an image file, as `read_image` returns it.

    The file is checked first, which takes a few hundredths of the time of decoding.

    Args:
      name: of the file, for error messages.

    Raises:
      UserError: the bytes are not a complete picture of a supported kind.
    """
    tiff_bits = check_file(data, name)
    image = _decode(data, name)
    narrowed = tiff_bits == 16 and image.dtype == np.uint8  # OpenCV reduces gray with alpha to 8 bits
    if image.dtype not in (np.uint8, np.uint16) or narrowed:
        raise UserError(f"{name}: pixels of type {'16-bit with alpha' if narrowed else image.dtype} are not read; "
                        "convert it to an 8-bit or 16-bit PNG or TIFF without alpha")
    if image.ndim == 2:
        return image
    # OpenCV expands a gray PNG with transparency to three equal channels.
    gray = kind_of(data) == "PNG" and png_color_type(data) in _PNG_GRAY_TYPES
    return np.ascontiguousarray(image[..., 0]) if gray else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_with_alpha(data: bytes, name: str) -> np.ndarray:
    """The pixels including an alpha channel, if the file has one: `[H, W]`, RGB `[H, W, 3]` or RGBA `[H, W, 4]`.

    The EXIF orientation is applied to a TIFF only; the file is not checked.

    Raises:
      UserError: it cannot be decoded.
    """
    image = _decode(data, name, cv2.IMREAD_UNCHANGED)
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def check_file(data: bytes, name: str) -> int | None:
    """Checks a file without decoding it; returns the bits per sample of a TIFF, None for other kinds.

    Raises:
      UserError: it is empty, truncated, damaged, of an unsupported kind, or claims an impossible size.
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
        # OpenCV ignores an AVIF's rotation, and `_check_tiff` does not parse BigTIFF.
        raise UserError(f"{name}: BigTIFF, AVIF and HEIC files are not read; convert it to PNG or TIFF")
    check_claimed_size(data, name)
    return bits


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Suppresses OpenCV's messages on stderr about files it cannot read or write; the user gets our one line."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _decode(data: bytes, name: str, flags: int = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR) -> np.ndarray:
    """OpenCV's BGR or gray array.  The default flags drop alpha and apply the EXIF orientation."""
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
    """Refuses the TIFFs that OpenCV silently decodes wrongly; returns the bits per sample (TIFF 6.0, section 2).

    These are separate color planes, 8-bit color with transparency
    (OpenCV multiplies it by alpha), and bit depths other than 1, 2, 4, 8 and 16.
    """
    defaults = {258: 1, 277: 1, 284: 1, 338: -1}
    tags = tiff_tags(data, name)
    bits, samples, planar, extra = (tags.get(tag, default) for tag, default in defaults.items())
    for refused, what in ((planar == 2 and samples > 1, "separate color planes"),
                          (extra >= 0 and bits == 8 and samples == 4, "an alpha channel of 8 bits"),
                          (bits not in (1, 2, 4, 8, 16), f"{bits} bits per sample")):
        if refused:
            raise UserError(f"{name}: TIFF files with {what} are not read; save it as PNG, or as a plain TIFF of "
                            "8 or 16 bits without alpha")
    return bits


def check_target(path: str | os.PathLike, dtype: np.dtype | None = None) -> Path:
    """Checks, before any work is done, that a picture can be written to `path`; returns it as a Path.

    Args:
      dtype: of the picture, if it is known.

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
    """Writes a uint8 or uint16 picture, `[H, W]` or RGB `[H, W, 3]`; the format follows from the suffix.

    PNG, TIFF, BMP and WebP are lossless, JPEG has quality 95 without chroma
    subsampling.  WebP has no single-channel pictures: they become RGB in the
    file.  TIFFs that may exceed 4 GB become BigTIFFs.  An existing file is
    replaced atomically.

    Args:
      metadata: of the shot whose frame the picture has; its EXIF is corrected for this picture.  BMP holds no
        metadata, WebP no resolution outside EXIF.

    Raises:
      UserError: see `check_target` and `metadata.check_fits`; an array of another shape or dtype; a picture too large
        for the format; the disk is full or the folder not writable.
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise UserError(f"{path}: a picture is uint8 or uint16, [H, W] or [H, W, 3], got {image.dtype} {image.shape}")
    path = check_target(path, image.dtype)
    suffix = path.suffix.lower()
    metadata = for_result(metadata or Metadata(), image)
    check_fits(metadata, suffix, image.ndim == 2, str(path))
    try:
        if suffix in _TIFF_SUFFIXES and (metadata != Metadata() or needs_bigtiff(image)):
            encoded = encode_tiff(image, metadata.exif, metadata.icc, metadata.dpi)
        else:
            encoded = embed(_encode(image, suffix), suffix, metadata)
    except (cv2.error, OverflowError) as error:
        raise UserError(f"{path}: {suffix} cannot hold a picture of {image.shape[1]}×{image.shape[0]} px; use .png or "
                        ".tif") from error
    replace_file(path, encoded)


def _encode(image: np.ndarray, suffix: str) -> bytes:
    """The picture as a file of the format with that suffix, by OpenCV, without metadata.

    Raises:
      cv2.error, OverflowError: the format cannot hold a picture of this size.
    """
    pixels = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    with _quiet_opencv():
        done, encoded = cv2.imencode(suffix, pixels, _ENCODERS[suffix])
    if not done:
        raise OverflowError("OpenCV refused to encode it")
    return encoded.tobytes()
