"""Reading the shots of a stack: pixels without silent losses, metadata, and whether the shots go together.

A shot is a file, or a `Page` of a file that holds several pictures.
"""

import dataclasses
import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io import heic_raw
from edmf_jax.io.containers import kind_of
from edmf_jax.io.decoding import check_file, decode, picture_bytes, picture_count
from edmf_jax.io.icc import check_profiles
from edmf_jax.io.images import read_file
from edmf_jax.io.metadata import Metadata, check_png_colors, read_metadata

SUFFIXES = frozenset({".jpg", ".jpeg", ".mpo", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".hif",
                      *heic_raw.RAW_SUFFIXES})
"""The files of a folder that count as shots."""

_HEAD_BYTES = 16  # enough to tell the kind of a file


@dataclasses.dataclass(frozen=True)
class Page:
    """One picture of a file that holds several; `inspect`, `read_shot` and `read_shot_with_mask` take it as a path.

    Attributes:
      path: of the file.
      number: of the page, from 1 to `page_count(path)`.
    """

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}, page {self.number}"


Shot = str | os.PathLike | Page


def page_count(path: str | os.PathLike) -> int:
    """How many pictures of full size a file holds: pages of a TIFF, pictures of an MPO; previews do not count.

    Raises:
      MissingFileError: there is no such file.
      UserError: the file cannot be read, or its directories are damaged.
    """
    path = Path(path)
    if heic_raw.is_raw(path):
        return 1
    if kind_of(read_file(path, _HEAD_BYTES)) == "TIFF":
        from edmf_jax.io.tiff_reader import tiff_page_count  # imports tifffile, which takes 25 ms

        return tiff_page_count(path, str(path))
    return picture_count(read_file(path), str(path))


def _place(shot: Shot) -> tuple[Path, int]:
    """The file of a shot, and the number of its page."""
    return (Path(shot.path), shot.number) if isinstance(shot, Page) else (Path(shot), 1)


def inspect(path: Shot) -> tuple[Metadata, str]:
    """The metadata of a shot and the SHA-256 of its file or page, without decoding the pixels.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`, as far as it can be found without decoding; a HEIC or RAW file without its extra.
    """
    file, number = _place(path)
    if _is_tiff_page(path):
        return _inspect_tiff_page(file, str(path), number)
    data, name = read_file(file), str(path)
    if heic_raw.is_raw(file) and data:
        return heic_raw.raw_metadata(data), hashlib.sha256(data).hexdigest()
    if heic_raw.is_heic(data):
        return heic_raw.heic_metadata(data, name), hashlib.sha256(data).hexdigest()
    data = picture_bytes(data, name, number)
    check_file(data, name, number)
    return read_metadata(data, file.name), hashlib.sha256(data).hexdigest()


def _is_tiff_page(shot: Shot) -> bool:
    return isinstance(shot, Page) and kind_of(read_file(shot.path, _HEAD_BYTES)) == "TIFF"


def _inspect_tiff_page(file: Path, name: str, number: int) -> tuple[Metadata, str]:
    """As `inspect`: the metadata of the file, with the page's own color profile if it has one."""
    from edmf_jax.io.tiff_reader import inspect_tiff

    icc, digest = inspect_tiff(file, name, number)
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = read_metadata(data, file.name)
    return dataclasses.replace(found, icc=icc or found.icc), digest


def inspect_all(paths: Sequence[Shot], *, allow_duplicates: bool = False) -> list[Metadata]:
    """The metadata of every shot, after checking that the shots go together.

    Args:
      paths: of the shots.
      allow_duplicates: allow one file, or copies of it, to be given several times.

    Raises:
      UserError: as `inspect`; color profiles, or PNGs' own descriptions of colors, that differ; a duplicate.
    """
    names = [str(path) for path in paths]
    found = [inspect(path) for path in paths]
    seen: dict[str, str] = {}
    for name, (_, digest) in zip(names, found):
        if digest in seen and not allow_duplicates:
            raise UserError(f"{name}: the same shot as {seen[digest]}; leave one of them out")
        seen[digest] = name
    check_profiles([metadata.icc for metadata, _ in found], names)
    check_png_colors([metadata for metadata, _ in found], names)
    return [metadata for metadata, _ in found]


def read_shot(path: Shot) -> np.ndarray:
    """The pixels of a shot, upright: uint8 or uint16, `[H, W]` or `[H, W, 3]` RGB.

    An alpha channel is dropped if it is fully opaque.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`; transparency; a HEIC or RAW file without its extra.
    """
    image, alpha = _read(path)
    if alpha is not None and alpha.min() < np.iinfo(alpha.dtype).max:
        raise UserError(f"{path}: it has transparent pixels, which cannot be fused; flatten it, or remove its alpha "
                        "channel")
    return image


def read_shot_with_mask(path: Shot) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels of a shot as `read_shot` gives them, alpha dropped; and where it has any: bool `[H, W]`, or None.

    The mask is True where alpha is not 0, also at half-transparent pixels; None if no pixel is transparent.

    Raises:
      MissingFileError: there is no such file.
      UserError: as `read_image`; a HEIC or RAW file without its extra; every pixel is transparent.
    """
    image, alpha = _read(path)
    if alpha is None or alpha.all():
        return image, None
    if not alpha.any():
        raise UserError(f"{path}: every pixel is transparent; leave it out, or remove its alpha channel")
    return image, alpha != 0


def _read(path: Shot) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels without alpha, and alpha `[H, W]` of the same dtype, or None."""
    file, number = _place(path)
    if _is_tiff_page(path):
        from edmf_jax.io.tiff_reader import decode_tiff

        return decode_tiff(file, str(path), number)
    data, name = read_file(file), str(path)
    if heic_raw.is_raw(file) and data:
        return heic_raw.read_raw(data, name), None
    if not heic_raw.is_heic(data):
        return decode(data, name, number)
    image = heic_raw.read_heic(data, name)
    if image.ndim == 2 or image.shape[2] == 3:
        return image, None
    colors = image[..., :-1]
    return np.ascontiguousarray(colors[..., 0] if colors.shape[2] == 1 else colors), image[..., -1]
