"""What is read from ICC color profiles: their name, their color space, whether two are the same (ICC.1:2022)."""

import functools
import io
import struct
from collections.abc import Sequence

import numpy as np

from edmf_jax.errors import UserError

# Byte ranges of the header that do not affect colors: the program that made the profile, date, platform, device,
# creator and checksum.
_IRRELEVANT = ((4, 8), (24, 36), (40, 44), (48, 64), (80, 100))
_SAME_LEVELS = 2  # of 255
_MAX_TAGS = 100  # of a profile; more means a damaged one


def profile_space(icc: bytes) -> str:
    """The profile's color space: "RGB", "GRAY", "CMYK", …; "" without a profile."""
    return icc[16:20].decode("latin-1").strip()


def profile_name(icc: bytes) -> str:
    """The profile's description; "sRGB" without a profile, "unnamed" if it cannot be read."""
    if not icc:
        return "sRGB"
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        for entry in range(132, 132 + 12 * min(count, _MAX_TAGS), 12):
            tag, start, length = struct.unpack_from(">4sII", icc, entry)
            if tag == b"desc":
                return _text(icc[start : start + length]) or "unnamed"
    except (struct.error, UnicodeDecodeError):
        pass
    return "unnamed"


def _text(field: bytes) -> str:
    """The text of a description tag, of version 2 (ASCII) or version 4 (UTF-16, the first language)."""
    if field[:4] == b"mluc":
        length, start = struct.unpack_from(">II", field, 20)
        return field[start : start + length].decode("utf-16-be").strip("\0 ")
    (length,) = struct.unpack_from(">I", field, 8)
    return field[12 : 12 + length].decode("latin-1").strip("\0 ")


def same_profile(a: bytes, b: bytes) -> bool:
    """Whether two profiles mean the same colors; b"" is sRGB.

    They do if they are equal but for dates and such, or if converting a grid of colors from one to the other changes no
    channel by more than two of 255 levels (cameras, phones and programs have their own files for sRGB and Adobe RGB).
    """
    return _relevant_bytes(a) == _relevant_bytes(b) or _same_colors(a, b)


@functools.lru_cache(maxsize=64)
def _same_colors(a: bytes, b: bytes) -> bool:
    from PIL import Image, ImageCms  # few shots differ in their profiles

    spaces = {profile_space(icc) for icc in (a, b) if icc}  # without a profile also gray is sRGB's
    if spaces not in ({"RGB"}, {"GRAY"}):
        return False
    mode = "RGB" if spaces == {"RGB"} else "L"
    levels = np.arange(0, 256, 17 if mode == "RGB" else 1, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 16, 3) if mode == "RGB" else levels[None]
    try:
        profiles = [ImageCms.ImageCmsProfile(io.BytesIO(icc)) if icc else ImageCms.createProfile("sRGB")
                    for icc in (a, b)]
        converted = ImageCms.profileToProfile(Image.fromarray(grid), *profiles, outputMode=mode,
                                              renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError):
        return False  # one of them is damaged
    return int(np.abs(np.asarray(converted).astype(int) - grid).max()) <= _SAME_LEVELS


def _adobe_rgb() -> bytes:
    """A profile of the colors that "Adobe RGB (1998) Color Image Encoding" (2005-05) defines, of ICC version 2.

    Its primaries are adapted to the profile connection space's white, D50, as in Adobe's own profile.
    """
    def xyz(*values):
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))

    text = b"Adobe RGB (1998) compatible\0"
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.19921875 * 256)) + b"\0\0"
    fields = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
              b"cprt": b"text" + bytes(4) + b"No copyright, use freely\0", b"wtpt": xyz(0.95045, 1, 1.08905),
              b"rXYZ": xyz(0.60974, 0.31111, 0.01947), b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
              b"bXYZ": xyz(0.14919, 0.06322, 0.74457), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, body, start = b"", b"", 128 + 4 + 12 * len(fields)
    for tag, field in fields.items():
        table += struct.pack(">4sII", tag, start + len(body), len(field))
        body += field + bytes(-len(field) % 4)
    head = struct.pack(">I4xI4s4s4s6H4s", start + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ", 2024, 1, 1, 0, 0, 0,
                       b"acsp").ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(fields)) + table + body


ADOBE_RGB = _adobe_rgb()
"""The profile for files that are Adobe RGB by the DCF rule and hold none."""


def _relevant_bytes(icc: bytes) -> bytes:
    """The profile with the irrelevant parts of its header set to zero."""
    result = bytearray(icc)
    for start, end in _IRRELEVANT:
        result[start:end] = bytes(len(result[start:end]))
    return bytes(result)


def check_profiles(profiles: Sequence[bytes], names: Sequence[str]) -> None:
    """Checks that all shots have the same color profile; otherwise equal pixel values would mean different colors.

    Args:
      profiles, names: of the shots; b"" is no profile.

    Raises:
      UserError: a profile differs from the first one.
    """
    for icc, name in zip(profiles[1:], names[1:]):
        if not same_profile(profiles[0], icc):
            raise UserError(f"{name} has the color profile {profile_name(icc)!r} and {names[0]} has "
                            f"{profile_name(profiles[0])!r}; convert them to one profile first")
