"""HEIC and camera RAW, read by packages that are installed as extras; each is imported when such a file comes."""

import importlib
import io
from pathlib import Path
from types import ModuleType

import numpy as np

from edmf_jax import exif
from edmf_jax.errors import UserError
from edmf_jax.metadata import Metadata, checked

# By their names, since most are TIFFs by their first bytes.
RAW_SUFFIXES = frozenset({".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".fff", ".iiq", ".mef", ".mos",
                          ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
                          ".srw", ".x3f"})
_AVIF_BRANDS = (b"avif", b"avis")
_PRIMARIES_OF_SRGB = (1, 2)  # ITU-T H.273: BT.709's, which are sRGB's; unspecified
_HDR_CURVES = (16, 18)  # PQ and HLG
_EXIF_ID = b"Exif\0\0"


def is_raw(path: Path) -> bool:
    """Whether a file is a camera's RAW, by its suffix."""
    return path.suffix.lower() in RAW_SUFFIXES


def is_heic(data: bytes) -> bool:
    """Whether these are the first bytes of a HEIC or HEIF file; an AVIF is none."""
    return data[4:8] == b"ftyp" and data[8:12] not in _AVIF_BRANDS


def _imported(package: str, extra: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f'{name}: needs the package {package}, which is not installed; pip install '
                        f'"edmf-jax[{extra}]" brings it') from error


def _open_heic(data: bytes, name: str):
    pillow_heif = _imported("pillow_heif", "heic", name)
    try:
        return pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    except Exception as error:  # libheif's errors come as ValueError, RuntimeError, EOFError and more
        raise UserError(f"{name}: damaged, or no HEIC file ({_line(error)}); copy it again or convert it to "
                        "PNG") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def heic_metadata(data: bytes, name: str) -> Metadata:
    """EXIF and colour profile of a HEIC file's picture.

    Raises:
      UserError: damaged; the extra is not installed; colours of a kind that only the file itself can say.
    """
    info = _open_heic(data, name).info
    icc = info.get("icc_profile") or b""
    numbers = info.get("nclx_profile") or {}
    primaries, curve = (int(numbers.get(key, 2)) for key in ("color_primaries", "transfer_characteristics"))
    if not icc and (primaries not in _PRIMARIES_OF_SRGB or curve in _HDR_CURVES):
        raise UserError(f"{name}: its colours are described by numbers (primaries {primaries}, curve {curve}) instead "
                        "of a profile, which other formats cannot hold; convert it to a TIFF with a profile")
    return checked(Metadata((info.get("exif") or b"").removeprefix(_EXIF_ID), icc))


def read_heic(data: bytes, name: str) -> np.ndarray:
    """A HEIC file's picture, upright: `[H, W]`, `[H, W, 3]`, or with alpha as the last channel.

    8 bits stay 8; 10 and 12 bits become 16, over their full range.

    Raises:
      UserError: damaged, or the extra is not installed.
    """
    picture = _open_heic(data, name)
    try:
        image = np.asarray(picture)
    except Exception as error:
        raise UserError(f"{name}: damaged ({_line(error)}); copy it again or convert it to PNG") from error
    if image.dtype != np.uint16:
        return np.ascontiguousarray(image)
    # libheif's numbers stand in the upper bits: white of 10 bits is 65472.
    unused = 16 - int(picture.info["bit_depth"])
    full = 0xFFFF >> unused
    return (((image >> unused).astype(np.uint32) * 0xFFFF + full // 2) // full).astype(np.uint16)


def read_raw(data: bytes, name: str) -> np.ndarray:
    """A camera's RAW as uint16 `[H, W, 3]`, sRGB, upright: the camera's white balance, brightness as exposed.

    LibRaw's own brightening is off: it would look at each shot of a bracket alone.

    Raises:
      UserError: no RAW that LibRaw reads; the extra is not installed.
    """
    rawpy = _imported("rawpy", "raw", name)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            return raw.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=16, gamma=(2.4, 12.92))
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise UserError(f"{name}: not read as a camera's RAW ({reason}); copy it again, or develop it to a 16-bit "
                        "TIFF") from error


def raw_metadata(data: bytes) -> Metadata:
    """EXIF of a RAW file that is laid out like a TIFF, as most are; nothing of another one."""
    try:
        return checked(Metadata(exif.rebuilt(data, srgb=True)))
    except exif.DAMAGED:
        return Metadata()
