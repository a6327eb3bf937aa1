"""What is read from ICC color profiles: their name, their color space, whether two are the same (ICC.1:2022)."""

import struct
from collections.abc import Sequence

from edmf_jax.errors import UserError

# Byte ranges of the header that do not affect colors: the program that made the profile, date, platform, device,
# creator and checksum.
_IRRELEVANT = ((4, 8), (24, 36), (40, 44), (48, 64), (80, 100))
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
    """Whether two profiles mean the same colors: equal but for dates and such; no profile equals one named sRGB."""
    if not a or not b:
        return "srgb" in profile_name(a or b).lower()
    return _relevant_bytes(a) == _relevant_bytes(b)


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
