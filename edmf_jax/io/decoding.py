"""The pixels of a picture file, decoded strictly: a file that its format's own strict decoder reports is refused.

JPEG goes through `jpeg`, TIFF through `tiff_reader`, which is imported when it is needed; OpenCV decodes the other
kinds, in memory only and never by file name: on Windows it cannot open names outside the code page.
"""

import contextlib
import threading
from collections.abc import Iterator

import cv2
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io.containers import check_jpeg, check_png, check_riff, check_size, kind_of, png_color_type
from edmf_jax.io.jpeg import decode_jpeg, jpeg_pictures, trailer_starts
from edmf_jax.io.orientation import orientation_of, upright
from edmf_jax.io.png import check_rows, mask_of_color, only_pixels, transparent_color

_PNG_GRAY_TYPES = (0, 4)  # IHDR's color type: gray, gray with alpha


def check_file(data: bytes, name: str, number: int = 1) -> None:
    """Checks a file without decoding it.

    Args:
      data: the whole file.
      name: of the file, for messages.
      number: of the picture that is wanted, from 1.

    Raises:
      UserError: it is empty, truncated, damaged, of an unsupported kind, or claims an impossible size.
    """
    if not data:
        raise UserError(f"{name}: the file is empty; copy or download it again")
    kind = kind_of(data)
    if kind == "JPEG":
        _check_jpeg_or_trailer(data, name)
    elif kind == "PNG":
        check_png(data, name)
    elif kind == "WebP":
        check_riff(data, name)
    elif kind == "TIFF":
        from edmf_jax.io.tiff_reader import inspect_tiff

        inspect_tiff(data, name, number)
    elif kind == "HEIF":
        raise UserError(f"{name}: AVIF and HEIC files are not read; convert it to PNG or TIFF")  # OpenCV ignores an
        # AVIF's rotation; `photographs` reads HEIC
    check_size(data, name)


def _check_jpeg_or_trailer(data: bytes, name: str) -> None:
    """`check_jpeg`, but a phone's trailer may stand for the end marker: decoding tells whether the scan is whole."""
    try:
        check_jpeg(data, name)
    except UserError:
        if next(trailer_starts(data), None) is None:
            raise


def picture_count(data: bytes, name: str) -> int:
    """How many pictures of full size a file holds; 1 for kinds that hold one.

    Raises:
      UserError: its directories are damaged.
    """
    kind = kind_of(data)
    if kind == "TIFF":
        from edmf_jax.io.tiff_reader import tiff_page_count

        return tiff_page_count(data, name)
    return len(jpeg_pictures(data)) if kind == "JPEG" else 1


def picture_bytes(data: bytes, name: str, number: int) -> bytes:
    """The part of a file that holds a picture: of an MPO its own JPEG, of other kinds the whole.

    Args:
      number: of the picture, from 1.

    Raises:
      UserError: there is no such picture.
    """
    count = picture_count(data, name) if number > 1 else 1
    if not 1 <= number <= count:
        raise UserError(f"{name}: the file holds {count} pictures")
    if kind_of(data) == "JPEG" and number > 1:
        start, end = jpeg_pictures(data)[number - 1]
        return data[start:end]
    return data


def decode(data: bytes, name: str, number: int = 1) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture, uint8 or uint16 `[H, W]` or RGB `[H, W, 3]`, upright; and its alpha `[H, W]`, or None without any.

    Args:
      data: the whole file.
      name: of the file, for messages.
      number: of the picture in the file, from 1.

    Raises:
      UserError: the bytes are not a complete, undamaged picture of a supported kind.
    """
    data = picture_bytes(data, name, number)
    kind = kind_of(data)
    check_file(data, name, number)
    if kind == "TIFF":
        from edmf_jax.io.tiff_reader import decode_tiff

        return decode_tiff(data, name, number)
    if kind == "JPEG":
        return upright(decode_jpeg(data, name), orientation_of(data)), None
    if kind not in ("PNG", "WebP"):
        return _decode_plain(data, name), None
    if kind == "PNG":
        check_rows(data, name)
    pixels = only_pixels(data) if kind == "PNG" else data
    image, alpha = _split(_imdecode(pixels, name, cv2.IMREAD_UNCHANGED))
    if kind == "PNG":
        image, alpha = _as_stored(data, image, alpha)
    turn = orientation_of(data)
    return upright(image, turn), None if alpha is None else upright(alpha, turn)


def _as_stored(data: bytes, image: np.ndarray, alpha: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """A PNG's gray as one plane, where OpenCV expands it, and the alpha that its transparent color means."""
    if png_color_type(data) in _PNG_GRAY_TYPES and image.ndim == 3:
        image = np.ascontiguousarray(image[..., 0])
    color = transparent_color(data)
    if color is not None:
        white = np.iinfo(image.dtype).max
        alpha = mask_of_color(image, color).astype(image.dtype) * white
    return image, alpha


def _split(image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """OpenCV's gray, BGR or BGRA as gray or RGB, and alpha."""
    if image.ndim == 2:
        return image, None
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB), np.ascontiguousarray(image[..., 3])
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), None


def _decode_plain(data: bytes, name: str) -> np.ndarray:
    """A picture of the kinds whose alpha is not looked for (BMP, PNM, JPEG 2000, …): gray or RGB."""
    image = _imdecode(data, name, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    if image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{name}: pixels of type {image.dtype} are not read; convert it to an 8-bit or 16-bit PNG or "
                        "TIFF without alpha")
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class _Quiet:
    """How many threads want OpenCV silent, and the level before."""

    lock, users, level = threading.Lock(), 0, 0


_quiet = _Quiet()


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Suppresses OpenCV's messages on stderr about files it cannot read or write; the user gets our one line."""
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


def _imdecode(data: bytes, name: str, flags: int) -> np.ndarray:
    """OpenCV's gray, BGR or BGRA array, as stored."""
    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise UserError(f"{name}: cannot be decoded ({' '.join(error.err.split())}); convert it to PNG or "
                        "TIFF") from error
    if image is None:
        raise UserError(f"{name}: damaged, or not a picture of a known kind (JPEG, PNG, TIFF, WebP, BMP, PNM, …); "
                        "copy it again or convert it to PNG")
    return image
