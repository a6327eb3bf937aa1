"""Colour profiles as far as they are looked into: the name, the kind of picture, whether two are one (ICC.1:2022)."""

import struct
from collections.abc import Sequence

from edmf_jax.errors import UserError

# Of the header: the program that made it, the date, the platform, the maker, the checksum.  None of them changes a
# colour.
_IRRELEVANT = ((4, 8), (24, 36), (40, 44), (48, 64), (80, 100))


def profile_space(icc: bytes) -> str:
    """"RGB", "GRAY", "CMYK", …: the pictures that the profile is for; "" where there is none."""
    return icc[16:20].decode("latin-1").strip()


def profile_name(icc: bytes) -> str:
    """The profile's own description; "sRGB" where there is no profile, "unnamed" where it can't be read."""
    if not icc:
        return "sRGB"
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        for entry in range(132, 132 + 12 * min(count, 100), 12):
            tag, start, length = struct.unpack_from(">4sII", icc, entry)
            if tag == b"desc":
                return _text(icc[start : start + length]) or "unnamed"
    except (struct.error, UnicodeDecodeError):
        pass
    return "unnamed"


def _text(field: bytes) -> str:
    """A text of version 2 (ASCII) or of version 4 (UTF-16, the first language)."""
    if field[:4] == b"mluc":
        length, start = struct.unpack_from(">II", field, 20)
        return field[start : start + length].decode("utf-16-be").strip("\0 ")
    (length,) = struct.unpack_from(">I", field, 8)
    return field[12 : 12 + length].decode("latin-1").strip("\0 ")


def same_profile(a: bytes, b: bytes) -> bool:
    """Whether the numbers mean the same colours: the same profile but for its dates, or none beside one called sRGB."""
    if not a or not b:
        return "srgb" in profile_name(a or b).lower()
    return _essence(a) == _essence(b)


def _essence(icc: bytes) -> bytes:
    result = bytearray(icc)
    for start, end in _IRRELEVANT:
        result[start:end] = bytes(len(result[start:end]))
    return bytes(result)


def check_profiles(profiles: Sequence[bytes], names: Sequence[str]) -> None:
    """Refuses shots whose numbers mean different colours: to fuse them would mix the two.

    Raises:
      UserError: one differs from the first.
    """
    for icc, name in zip(profiles[1:], names[1:]):
        if not same_profile(profiles[0], icc):
            raise UserError(f"{name} has the colour profile {profile_name(icc)!r} and {names[0]} has "
                            f"{profile_name(profiles[0])!r}; convert them to one profile first")
