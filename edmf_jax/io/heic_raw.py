"""HEIC and camera RAW files, read by optional packages that are imported when such a file is first read."""

import importlib
import io
from pathlib import Path
from types import ModuleType

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io import exif
from edmf_jax.io.containers import check_claimed_size
from edmf_jax.io.metadata import Metadata, validate

# RAW files are recognized by their names, since most have the first bytes of a TIFF.
RAW_SUFFIXES = frozenset({".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".iiq", ".mef", ".mos",
                          ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
                          ".srw", ".x3f"})
_AVIF_BRANDS = (b"avif", b"avis")
_SRGB_PRIMARIES = (1, 2)  # ITU-T H.273: BT.709, the same as sRGB's; unspecified
_HDR_CURVES = (16, 18)  # PQ and HLG
_EXIF_ID = b"Exif\0\0"


def is_raw(path: Path) -> bool:
    """Whether a file is a camera's RAW file, by its suffix."""
    return path.suffix.lower() in RAW_SUFFIXES


def is_heic(data: bytes) -> bool:
    """Whether a file is HEIC or HEIF, but not AVIF, by its first bytes."""
    return data[4:8] == b"ftyp" and data[8:12] not in _AVIF_BRANDS


def _import_extra(package: str, extra: str, name: str) -> ModuleType:
    """The package of an extra; UserError about the file `name` if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f'{name}: needs the package {package}, which is not installed; pip install '
                        f'"edmf-jax[{extra}]" brings it') from error


def _open_heic(data: bytes, name: str):
    pillow_heif = _import_extra("pillow_heif", "heic", name)
    try:
        return pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    except Exception as error:  # libheif's errors come as ValueError, RuntimeError, EOFError and more
        raise UserError(f"{name}: damaged, or no HEIC file ({_one_line(error)}); copy it again or convert it to "
                        "PNG") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def heic_metadata(data: bytes, name: str) -> Metadata:
    """EXIF and color profile of a HEIC file's main picture.

    Raises:
      UserError: damaged; the extra is not installed; colors described in a way that other formats cannot hold.
    """
    info = _open_heic(data, name).info
    icc = info.get("icc_profile") or b""
    numbers = info.get("nclx_profile") or {}
    primaries, curve = (int(numbers.get(key, 2)) for key in ("color_primaries", "transfer_characteristics"))
    if not icc and (primaries not in _SRGB_PRIMARIES or curve in _HDR_CURVES):
        raise UserError(f"{name}: its colors are described by numbers (primaries {primaries}, curve {curve}) instead "
                        "of a profile, which other formats cannot hold; convert it to a TIFF with a profile")
    return validate(Metadata((info.get("exif") or b"").removeprefix(_EXIF_ID), icc))


def read_heic(data: bytes, name: str) -> np.ndarray:
    """A HEIC file's main picture, upright: `[H, W]`, `[H, W, 3]`, or with alpha as the last channel.

    8 bits stay uint8; 10 and 12 bits are scaled to the full range of uint16.

    Raises:
      UserError: damaged, or the extra is not installed.
    """
    picture = _open_heic(data, name)
    width, height = picture.size
    samples, bits = len(picture.mode.split(";")[0]), int(picture.info.get("bit_depth", 8))
    check_claimed_size(len(data), name, width * height * samples * (2 if bits > 8 else 1))
    try:
        image = np.asarray(picture)
    except Exception as error:
        raise UserError(f"{name}: damaged ({_one_line(error)}); copy it again or convert it to PNG") from error
    if image.dtype != np.uint16:
        return np.ascontiguousarray(image)
    # libheif stores the values in the upper bits: white of 10 bits is 65472.
    unused = 16 - int(picture.info["bit_depth"])
    full = 0xFFFF >> unused
    return (((image >> unused).astype(np.uint32) * 0xFFFF + full // 2) // full).astype(np.uint16)


def read_raw(data: bytes, name: str) -> np.ndarray:
    """A camera's RAW file developed to uint16 sRGB `[H, W, 3]`, upright, with the camera's white balance.

    Brightness is as exposed: LibRaw's automatic brightening is off, because it would differ between the shots of a
    stack.

    Raises:
      UserError: LibRaw cannot read the file; the extra is not installed.
    """
    rawpy = _import_extra("rawpy", "raw", name)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            sizes = raw.sizes
            check_claimed_size(len(data), name, 6 * max(sizes.raw_width * sizes.raw_height, sizes.width * sizes.height))
            return raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(2.4, 12.92))
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise UserError(f"{name}: not read as a camera's RAW ({reason}); copy it again, or develop it to a 16-bit "
                        "TIFF") from error


def raw_metadata(data: bytes) -> Metadata:
    """EXIF of a RAW file that has the structure of a TIFF, as most have; empty for others."""
    try:
        return validate(Metadata(exif.rebuild(data, srgb=True)))
    except exif.DAMAGED:
        return Metadata()
