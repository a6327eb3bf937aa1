"""Shots as photographers keep them: pixels without a silent loss, and what the file says beside them."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax import foreign
from edmf_jax.containers import check_claim, kind_of, png_chunks, png_colour_type, riff_chunks, tiff_tags
from edmf_jax.errors import UserError
from edmf_jax.images import check_file, decode_image, decode_with_alpha, read_file
from edmf_jax.metadata import Metadata, read_metadata
from edmf_jax.profiles import check_profiles

# What a folder of shots is searched for.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".hif",
                      *foreign.RAW_SUFFIXES})


def inspect(path: str | os.PathLike) -> tuple[Metadata, str]:
    """What can be told of a shot without decoding it: its metadata, and a SHA-256 of the file.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`, as far as that shows without decoding; a HEIC or RAW file without its extra.
    """
    data, name = read_file(path), str(path)
    digest = hashlib.sha256(data).hexdigest()
    if foreign.is_raw(Path(path)) and data:
        return foreign.raw_metadata(data), digest
    if foreign.is_heic(data):
        return foreign.heic_metadata(data, name), digest
    if _is_tiff_with_alpha(data, name):
        check_claim(data, name)
    else:
        check_file(data, name)
    return read_metadata(data), digest


def inspect_all(paths: Sequence[str | os.PathLike], *, twins: bool = False) -> list[Metadata]:
    """`inspect` of every shot, and whether they go together.

    Args:
      twins: allow one file twice, or copies of it.

    Raises:
      UserError: as `inspect`; colour profiles that differ; one shot given twice.
    """
    names = [str(path) for path in paths]
    found = [inspect(path) for path in paths]
    seen: dict[str, str] = {}
    for name, (_, digest) in zip(names, found):
        if digest in seen and not twins:
            raise UserError(f"{name}: the same shot as {seen[digest]}; leave one of them out")
        seen[digest] = name
    check_profiles([metadata.icc for metadata, _ in found], names)
    return [metadata for metadata, _ in found]


def read_shot(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a shot, upright: uint8 or uint16, `[H, W]` or `[H, W, 3]` RGB.

    An alpha channel is left out where it is fully opaque.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`; transparency; a HEIC or RAW file without its extra.
    """
    data, name = read_file(path), str(path)
    if foreign.is_raw(Path(path)) and data:
        return foreign.read_raw(data, name)
    if foreign.is_heic(data):
        return _opaque(foreign.read_heic(data, name), name)
    if _is_tiff_with_alpha(data, name):
        check_claim(data, name)
        return _opaque(decode_with_alpha(data, name), name)
    if _may_be_transparent(data):
        if kind_of(data) == "PNG" and png_colour_type(data) == 0:
            raise _transparent(name)  # one grey level that stands for "nothing here"; OpenCV does not say where it is
        check_file(data, name)
        _opaque(decode_with_alpha(data, name), name)
    return decode_image(data, name)


def _transparent(name: str) -> UserError:
    return UserError(f"{name}: it has transparent pixels, which cannot be fused; flatten it, or remove its alpha "
                     "channel")


def _opaque(image: np.ndarray, name: str) -> np.ndarray:
    """The picture without its alpha channel."""
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    alpha = image[..., -1]
    if alpha.min() < np.iinfo(alpha.dtype).max:
        raise _transparent(name)
    colours = image[..., :-1]
    return np.ascontiguousarray(colours[..., 0] if colours.shape[2] == 1 else colours)


def _may_be_transparent(data: bytes) -> bool:
    """Whether a PNG or WebP has an alpha channel, or a colour that stands for transparency."""
    kind = kind_of(data)
    if kind == "PNG":
        return png_colour_type(data) in (4, 6) or any(chunk == b"tRNS" for chunk, _, _ in png_chunks(data))
    flags = {b"VP8X": (0, 0x10), b"VP8L": (4, 0x10)}  # byte and bit of the chunk's body
    return kind == "WebP" and any(len(body) > 4 and body[flags[chunk][0]] & flags[chunk][1]
                                  for chunk, body in riff_chunks(data) if chunk in flags)


def _is_tiff_with_alpha(data: bytes, name: str) -> bool:
    """A TIFF of chunky RGB with one more channel, of 8 or 16 bits.

    Raises:
      UserError: single-channel with one more, which OpenCV gives without it.
    """
    if kind_of(data) != "TIFF":
        return False
    tags = tiff_tags(data, name)
    samples, planar = tags.get(277, 1), tags.get(284, 1)
    if samples == 2:
        raise UserError(f"{name}: a single-channel TIFF with an alpha channel is not read; remove that channel")
    # Photometric interpretation 2 is RGB; four inks (5) have four samples too.
    return samples == 4 and planar == 1 and tags.get(262) == 2 and tags.get(258) in (8, 16)
