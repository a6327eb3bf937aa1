"""What a data set stores of an image file: JPEG and PNG unchanged, anything else as PNG."""

import contextlib
import threading
from collections.abc import Iterator

import cv2
import numpy as np

from tfds_edmf.jpeg_header import jpeg_size

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_PNG_BIT_DEPTH_AT = 24  # byte offset; the format requires the header chunk to come first
# DEFLATE reaches 1 : 1032 at most.  Pictures smaller than the first number are decoded whatever their file's size.
_HARMLESS_BYTES, _MAX_COMPRESSION = 64e6, 1300
_EXIF_WITHIN = 1 << 16  # bytes; the EXIF segment comes early in the file


class PictureError(ValueError):
    """A file that cannot be stored; the message says why, without the file's name."""


def to_stored(data: bytes) -> bytes:
    """The bytes to store for an image file.

    JPEG and PNG are stored byte for byte. Formats that TFDS cannot decode (TIFF, BMP, WebP, …)
    become PNG with the same pixels. So does a JPEG whose EXIF orientation turns it, because TFDS
    ignores that entry; the PNG is upright.

    Raises:
      PictureError: not an image, or more than 8 bits per channel, or, other than in PNG, transparency.
    """
    if not data:
        raise PictureError("empty")
    _check_claimed_size(data)
    if data.startswith(_PNG):
        if data[_PNG_BIT_DEPTH_AT : _PNG_BIT_DEPTH_AT + 1] == b"\x10":
            raise PictureError("16 bits per channel; convert it to 8")
        return data
    if data.startswith(_JPEG):
        return _upright(data) if b"Exif\0" in data[:_EXIF_WITHIN] else data
    return _to_png(_decode(data, cv2.IMREAD_UNCHANGED))


def _check_claimed_size(data: bytes) -> None:
    """Raises PictureError if a small PNG or JPEG claims a huge picture, before memory is allocated for it."""
    height, width = jpeg_size(data) or (0, 0)
    if data.startswith(_PNG) and len(data) >= _PNG_BIT_DEPTH_AT:
        width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    claimed = 3 * height * width
    if claimed > _HARMLESS_BYTES and claimed > _MAX_COMPRESSION * len(data):
        raise PictureError(f"it claims {width}×{height} px, which {len(data):,} bytes cannot hold")


def decoded_size(stored: bytes) -> tuple[int, int]:
    """Height and width [px] of what `to_stored` returned; decodes all of it, as TFDS will.

    Raises:
      PictureError: damaged or cut off.
    """
    import tensorflow as tf  # takes seconds to import, which other uses of this module need not wait for

    try:
        return tuple(tf.io.decode_image(stored, channels=3, expand_animations=False).shape[:2])
    except tf.errors.InvalidArgumentError as error:
        raise PictureError("damaged or cut off") from error


def _upright(data: bytes) -> bytes:
    """A JPEG file unchanged if it is upright, else as an upright PNG."""
    flags = cv2.IMREAD_ANYCOLOR
    upright, as_stored = _decode(data, flags), _decode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return data if np.array_equal(upright, as_stored) else _to_png(upright)


def _to_png(pixels: np.ndarray) -> bytes:
    if pixels.dtype != np.uint8:
        raise PictureError(f"pixels of type {pixels.dtype}; convert it to 8 bits per channel")
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
        raise PictureError("four channels (transparency or CMYK); save it as plain RGB")
    return cv2.imencode(".png", pixels)[1].tobytes()


def _decode(data: bytes, flags: int) -> np.ndarray:
    try:
        with _quiet_opencv():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PictureError("damaged or too large") from error
    if pixels is None:
        raise PictureError("damaged, or no picture of a known kind")
    return pixels


class _Quiet:
    """How many threads want OpenCV silent, and the level before."""

    lock, users, level = threading.Lock(), 0, 0


_quiet = _Quiet()


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV from printing decoding errors to stderr; the user gets one line from us instead."""
    # OpenCV has one level for all threads: the first to enter silences it, the last to leave restores it.
    with _quiet.lock:
        if not _quiet.users:
            _quiet.level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        _quiet.users += 1
    try:
        yield
    finally:
        with _quiet.lock:
            _quiet.users -= 1
            if not _quiet.users:
                cv2.utils.logging.setLogLevel(_quiet.level)
