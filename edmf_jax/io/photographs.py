"""Reading the shots of a stack: pixels without silent losses, metadata, and whether the shots go together."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io import heic_raw
from edmf_jax.io.containers import check_claimed_size, kind_of, png_chunks, png_color_type, riff_chunks, tiff_tags
from edmf_jax.io.icc import check_profiles
from edmf_jax.io.images import check_file, decode_image, decode_with_alpha, read_file
from edmf_jax.io.metadata import Metadata, read_metadata

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".hif",
                      *heic_raw.RAW_SUFFIXES})
"""The files of a folder that count as shots."""


def inspect(path: str | os.PathLike) -> tuple[Metadata, str]:
    """The metadata of a shot and the SHA-256 of its file, without decoding the pixels.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`, as far as it can be found without decoding; a HEIC or RAW file without its extra.
    """
    data, name = read_file(path), str(path)
    digest = hashlib.sha256(data).hexdigest()
    if heic_raw.is_raw(Path(path)) and data:
        return heic_raw.raw_metadata(data), digest
    if heic_raw.is_heic(data):
        return heic_raw.heic_metadata(data, name), digest
    if _is_tiff_with_alpha(data, name):
        check_claimed_size(data, name)
    else:
        check_file(data, name)
    return read_metadata(data), digest


def inspect_all(paths: Sequence[str | os.PathLike], *, allow_duplicates: bool = False) -> list[Metadata]:
    """The metadata of every shot, after checking that the shots go together.

    Args:
      paths: of the shots.
      allow_duplicates: allow one file, or copies of it, to be given several times.

    Raises:
      UserError: as `inspect`; color profiles that differ; a duplicate.
    """
    names = [str(path) for path in paths]
    found = [inspect(path) for path in paths]
    seen: dict[str, str] = {}
    for name, (_, digest) in zip(names, found):
        if digest in seen and not allow_duplicates:
            raise UserError(f"{name}: the same shot as {seen[digest]}; leave one of them out")
        seen[digest] = name
    check_profiles([metadata.icc for metadata, _ in found], names)
    return [metadata for metadata, _ in found]


def read_shot(path: str | os.PathLike) -> np.ndarray:
    """The pixels of a shot, upright: uint8 or uint16, `[H, W]` or `[H, W, 3]` RGB.

    An alpha channel is dropped if it is fully opaque.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`; transparency; a HEIC or RAW file without its extra.
    """
    data, name = read_file(path), str(path)
    if heic_raw.is_raw(Path(path)) and data:
        return heic_raw.read_raw(data, name)
    if heic_raw.is_heic(data):
        return _drop_opaque_alpha(heic_raw.read_heic(data, name), name)
    if _is_tiff_with_alpha(data, name):
        check_claimed_size(data, name)
        return _drop_opaque_alpha(decode_with_alpha(data, name), name)
    if _may_be_transparent(data):
        if kind_of(data) == "PNG" and png_color_type(data) == 0:
            raise _transparency(name)  # one gray level means transparent, and OpenCV does not tell where it occurs
        check_file(data, name)
        _drop_opaque_alpha(decode_with_alpha(data, name), name)
    return decode_image(data, name)


def _transparency(name: str) -> UserError:
    return UserError(f"{name}: it has transparent pixels, which cannot be fused; flatten it, or remove its alpha "
                     "channel")


def _drop_opaque_alpha(image: np.ndarray, name: str) -> np.ndarray:
    """The picture without its alpha channel, if it has one; UserError if that is not fully opaque."""
    if image.ndim == 2 or image.shape[2] == 3:
        return image
    alpha = image[..., -1]
    if alpha.min() < np.iinfo(alpha.dtype).max:
        raise _transparency(name)
    colors = image[..., :-1]
    return np.ascontiguousarray(colors[..., 0] if colors.shape[2] == 1 else colors)


def _may_be_transparent(data: bytes) -> bool:
    """Whether a PNG or WebP has an alpha channel or a color that means transparent."""
    kind = kind_of(data)
    if kind == "PNG":
        return png_color_type(data) in (4, 6) or any(chunk == b"tRNS" for chunk, _, _ in png_chunks(data))
    flags = {b"VP8X": (0, 0x10), b"VP8L": (4, 0x10)}  # byte and bit of the chunk's body
    return kind == "WebP" and any(len(body) > 4 and body[flags[chunk][0]] & flags[chunk][1]
                                  for chunk, body in riff_chunks(data) if chunk in flags)


def _is_tiff_with_alpha(data: bytes, name: str) -> bool:
    """Whether a file is a TIFF of interleaved RGB with a fourth channel, of 8 or 16 bits.

    Raises:
      UserError: a gray TIFF with a second channel, which OpenCV would drop.
    """
    if kind_of(data) != "TIFF":
        return False
    tags = tiff_tags(data, name)
    samples, planar = tags.get(277, 1), tags.get(284, 1)
    if samples == 2:
        raise UserError(f"{name}: a single-channel TIFF with an alpha channel is not read; remove that channel")
    # Photometric interpretation 2 is RGB; CMYK (5) has four samples too.
    return samples == 4 and planar == 1 and tags.get(262) == 2 and tags.get(258) in (8, 16)
