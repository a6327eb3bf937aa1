"""What a data set keeps of a picture's file: JPEG and PNG as they are, anything else as PNG."""

import contextlib
from collections.abc import Iterator

import cv2
import numpy as np

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_PNG_BITS_AT = 24  # in the header chunk, which the format puts first
_EXIF_WITHIN = 1 << 16  # bytes: the segment that holds it comes early


class PictureError(ValueError):
    """A file that can't be kept; the message says why, without the file's name."""


def keep(data: bytes) -> bytes:
    """The bytes to store for a picture's file.

    JPEG and PNG are kept byte for byte. What TFDS can't decode (TIFF, BMP, WebP, …), and a JPEG
    that its EXIF entry says to turn, which TFDS would show lying, become PNG: the same pixels,
    upright.

    Raises:
      PictureError: no picture, or one with more than 8 bits or, but for PNG, with transparency.
    """
    if not data:
        raise PictureError("empty")
    if data.startswith(_PNG):
        if data[_PNG_BITS_AT : _PNG_BITS_AT + 1] == b"\x10":
            raise PictureError("16 bits per channel; convert it to 8")
        return data
    if data.startswith(_JPEG):
        return _upright(data) if b"Exif\0" in data[:_EXIF_WITHIN] else data
    return _to_png(_decode(data, cv2.IMREAD_UNCHANGED))


def size_of(kept: bytes) -> tuple[int, int]:
    """Height and width of what `keep` gave; decodes it all, as TFDS will.

    Raises:
      PictureError: damaged or cut off.
    """
    import tensorflow as tf  # seconds to import; who only asks for a data set's name shouldn't wait

    try:
        return tuple(tf.io.decode_image(kept, channels=3, expand_animations=False).shape[:2])
    except tf.errors.InvalidArgumentError as error:
        raise PictureError("damaged or cut off") from error


def _upright(data: bytes) -> bytes:
    flags = cv2.IMREAD_ANYCOLOR
    turned, stored = _decode(data, flags), _decode(data, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return data if np.array_equal(turned, stored) else _to_png(turned)


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


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV prints what it refuses to stderr; the user gets our one line instead."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
