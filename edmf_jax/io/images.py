"""Reading picture files into arrays and writing arrays to picture files.

A picture in memory is uint8 or uint16, `[H, W]` (single-channel) or `[H, W, 3]`
RGB, upright: the EXIF orientation is applied when it is read.  Pixel values are not
converted: their meaning is in the file's color profile, which `metadata` reads and
`write_image` stores if the caller passes it on.

`decoding` decodes; OpenCV encodes, in memory only and never by file name: on Windows it cannot open names outside the
code page.
"""

import os
import stat
import struct
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.decoding import decode, quiet_opencv
from edmf_jax.io.metadata import Metadata, check_fits, embed, for_result
from edmf_jax.io.tiff import encode_tiff, needs_bigtiff

# Quality 95 without chroma subsampling (4:4:4).
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_LOSSLESS_WEBP = (cv2.IMWRITE_WEBP_QUALITY, 101)  # above 100 OpenCV writes lossless WebP
# Suffix → encoder settings, for every format that `write_image` writes.
_ENCODERS = {".png": (), ".tif": (), ".tiff": (), ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _LOSSLESS_WEBP, ".bmp": ()}
WRITTEN_SUFFIXES = tuple(_ENCODERS)
ALPHA_SUFFIXES = (".png", ".tif", ".tiff", ".webp")
"""Of the formats that hold alpha."""
_TIFF_SUFFIXES = (".tif", ".tiff")
_SUFFIXES_16_BIT = (".png", *_TIFF_SUFFIXES)


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


def read_file(path: str | os.PathLike, count: int = -1) -> bytes:
    """The content of a file that the user named.

    Args:
      count: bytes to read at most, from the start; −1: all.

    Raises:
      MissingFileError: there is no such file.
      UserError: it is a folder, a pipe or a device, or it cannot be read.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
            # It could be read only once, and a pipe that nobody writes to is waited for without end.
            raise UserError(f"{path}: this is a pipe or a device; save what comes from it as a file first")
        with open(path, "rb") as file:
            return file.read(count)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: this is a folder; name one picture in it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The picture in the bytes of an image file, as `read_image` returns it.

    Args:
      name: of the file, for error messages.

    Raises:
      UserError: the bytes are not a complete, undamaged picture of a supported kind.
    """
    return decode(data, name)[0]


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
    """Writes a uint8 or uint16 picture, `[H, W]`, RGB `[H, W, 3]` or RGBA `[H, W, 4]`; the suffix gives the format.

    PNG, TIFF, BMP and WebP are lossless, JPEG has quality 95 without chroma
    subsampling.  WebP has no single-channel pictures: they become RGB in the
    file.  TIFFs that may exceed 4 GB become BigTIFFs.  An existing file is
    replaced atomically.

    Args:
      metadata: of the shot whose frame the picture has; its EXIF is corrected for this picture.  BMP holds no
        metadata, WebP no resolution outside EXIF.

    Raises:
      UserError: see `check_target` and `metadata.check_fits`; an array of another shape or dtype; RGBA for a format
        that is not one of `ALPHA_SUFFIXES`; a picture too large
        for the format; the disk is full or the folder not writable.
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16) or not (image.ndim == 2 or image.shape[2:] in ((3,), (4,))):
        raise UserError(f"{path}: a picture is uint8 or uint16, [H, W], [H, W, 3] or [H, W, 4], got {image.dtype} "
                        f"{image.shape}")
    path = check_target(path, image.dtype)
    suffix = path.suffix.lower()
    alpha = image.shape[2:] == (4,)
    if alpha and suffix not in ALPHA_SUFFIXES:
        raise UserError(f"{path}: {suffix} cannot hold alpha; use one of {', '.join(ALPHA_SUFFIXES)}")
    metadata = for_result(metadata or Metadata(), image)
    check_fits(metadata, suffix, image.ndim == 2, str(path))
    try:
        if suffix in _TIFF_SUFFIXES and (alpha or metadata != Metadata() or needs_bigtiff(image)):
            encoded = encode_tiff(image, metadata.exif, metadata.icc, metadata.dpi)
        else:
            encoded = embed(_encode(image, suffix), suffix, metadata)
    except (cv2.error, OverflowError, struct.error) as error:
        raise UserError(f"{path}: {suffix} cannot hold a picture of {image.shape[1]}×{image.shape[0]} px; use .png or "
                        ".tif") from error
    replace_file(path, encoded)


def _encode(image: np.ndarray, suffix: str) -> bytes:
    """The picture as a file of the format with that suffix, by OpenCV, without metadata.

    Raises:
      cv2.error, OverflowError: the format cannot hold a picture of this size.
    """
    order = cv2.COLOR_RGBA2BGRA if image.shape[2:] == (4,) else cv2.COLOR_RGB2BGR
    pixels = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), order)
    with quiet_opencv():
        done, encoded = cv2.imencode(suffix, pixels, _ENCODERS[suffix])
    if not done:
        raise OverflowError("OpenCV refused to encode it")
    return encoded.tobytes()
