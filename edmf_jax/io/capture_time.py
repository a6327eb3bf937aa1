"""When a picture was taken, from its EXIF (EXIF 2.32, tags DateTimeOriginal and SubSecTimeOriginal)."""

import os
import re
from pathlib import Path

from edmf_jax.errors import UserError
from edmf_jax.io import exif
from edmf_jax.io.containers import kind_of
from edmf_jax.io.heic_raw import heic_metadata, is_heic, is_raw
from edmf_jax.io.metadata import read_metadata

HEAD_BYTES = 1 << 18
"""So much of a JPEG or RAW file holds its EXIF; the pixels, which can be long, come later."""
_DATE_TIME_ORIGINAL, _SUBSEC_TIME_ORIGINAL = 0x9003, 0x9291
_DATE_TIME = re.compile(rb"[0-9]{4}:[0-9]{2}:[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


def capture_time(path: str | os.PathLike) -> tuple[str, str] | None:
    """The second, and the digits of its fraction, in which a picture was taken; compared as texts they give the order.

    None if the file does not say, or can't be read (which is said when its pixels are).
    """
    if not os.path.isfile(path):  # a pipe would be waited for
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(HEAD_BYTES)
            if not is_raw(Path(path)) and kind_of(data) != "JPEG":
                data += file.read()
        return _time_in(_exif_block(data, path))
    except (OSError, UserError, *exif.DAMAGED):
        return None


def _exif_block(data: bytes, path: str | os.PathLike) -> bytes:
    if is_raw(Path(path)):
        return data  # most are built like a TIFF; the others raise
    return heic_metadata(data, str(path)).exif if is_heic(data) else read_metadata(data).exif


def _time_in(block: bytes) -> tuple[str, str] | None:
    """The time in an EXIF block.

    Raises:
      one of exif.DAMAGED: it is no such block, or the tags are missing.
    """
    _, main = exif.first_directory(block)
    order = "little" if exif.byte_order(block) == "<" else "big"
    tags = exif.read_directory(block, int.from_bytes(exif.read_value(block, main[exif.EXIF_IFD])[2], order))
    found = _DATE_TIME.match(exif.read_value(block, tags[_DATE_TIME_ORIGINAL])[2])
    if not found or found[0].startswith(b"0000"):  # a camera whose clock was never set
        return None
    fraction = b""
    if _SUBSEC_TIME_ORIGINAL in tags:
        fraction = re.match(rb"[0-9]*", exif.read_value(block, tags[_SUBSEC_TIME_ORIGINAL])[2])[0]
    return found[0].decode(), fraction.decode()
