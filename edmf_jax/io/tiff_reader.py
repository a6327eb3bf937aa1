"""Reading TIFF and BigTIFF strictly: every strip or tile must be there, unpack without error and fill its place.

tifffile reads the structure and imagecodecs unpacks, neither of which goes on after an error as libtiff does.
Colors that cannot be shown as RGB or gray without a profile are refused.
"""

import contextlib
import hashlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage

from edmf_jax.errors import UserError
from edmf_jax.io.containers import check_claimed_size
from edmf_jax.io.jpeg import check_jpeg_part
from edmf_jax.io.orientation import orientation_from, upright

_DEPTHS = (1, 2, 4, 8, 16)
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = 0, 1, 2  # values of ExtraSamples
_COLORS = {PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.RGB: 3, PHOTOMETRIC.PALETTE: 1,
           PHOTOMETRIC.YCBCR: 3}
_ICC_TAG, _XMP_TAG, _ORIENTATION_TAG, _JPEG_TABLES, _COLOR_MAP = 34675, 700, 274, 347, 320
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its notices about odd tags stay off stderr


Source = bytes | Path
"""The content of a file, or the path of one: of a long stack each page is read from the file on its own."""


@contextlib.contextmanager
def _open(source: Source, name: str) -> Iterator[tifffile.TiffFile]:
    """The opened file; whatever tifffile or a codec raises inside becomes UserError."""
    try:
        with tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # tifffile and its codecs raise some twenty classes on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{name}: TIFF file is truncated or damaged ({reason}); copy or download it again") from error


def _full_pages(file: tifffile.TiffFile, name: str) -> list[TiffPage]:
    """The pages as large as the largest that is not marked as a preview or a mask."""
    _check_stack(file, name)
    pages = [page.aspage() if hasattr(page, "aspage") else page for page in file.pages]
    pages = [page for page in pages if not (page.is_reduced or page.is_mask)] or pages
    if not pages:
        raise UserError(f"{name}: TIFF file is damaged: it holds no picture; copy or download it again")
    size = max((page.imagewidth * page.imagelength, page.imagewidth) for page in pages)
    return [page for page in pages if (page.imagewidth * page.imagelength, page.imagewidth) == size]


def _check_stack(file: tifffile.TiffFile, name: str) -> None:
    """Raises UserError for the stacks of microscopes whose pages are not shots, or are not listed in the file."""
    found = (file.imagej_metadata or {}) if file.is_imagej else {}
    if int(found.get("images", 1)) > len(file.pages):
        raise UserError(f"{name}: an ImageJ stack whose pages have no directories of their own is not read; save it "
                        "as an image sequence")
    channels = int(found.get("channels", 1))
    if file.is_ome and len(file.pages) > 1:
        channels = max(dict(zip(series.axes, series.shape)).get("C", 1) for series in file.series)
    if channels > 1:
        raise UserError(f"{name}: its pages are {channels} color channels, not pictures; save it as RGB")


def tiff_page_count(source: Source, name: str) -> int:
    """How many pictures of full size a TIFF holds.

    Raises:
      UserError: its directories are damaged.
    """
    with _open(source, name) as file:
        return len(_full_pages(file, name))


def inspect_tiff(source: Source, name: str, number: int = 1) -> tuple[bytes, str]:
    """The color profile of a page (empty: none) and the SHA-256 of what it holds.

    Args:
      number: of the page, from 1.

    Raises:
      UserError: damaged as far as can be seen without unpacking; claims an impossible size; no such page; of a kind
        that is not read.
    """
    with _open(source, name) as file:
        page = _page(file, name, number)
        _check_kind(page, name)
        check_claimed_size(file.filehandle.size, name, _decoded_bytes(page))
        _check_segments(page, name)
        digest = hashlib.sha256(repr([(tag.code, str(tag.value)) for tag in page.tags
                                      if tag.code in (256, 257, 258, 259, 262, 277)]).encode())
        for part in _parts(page):
            digest.update(part)
        profile = page.tags.get(_ICC_TAG)
        return bytes(profile.value) if profile else b"", digest.hexdigest()


def tiff_profile(data: bytes) -> bytes:
    """The color profile of the first page of full size; empty without one, or if the file is damaged."""
    try:
        with _open(data, "") as file:
            profile = _page(file, "", 1).tags.get(_ICC_TAG)
            return bytes(profile.value) if profile else b""
    except UserError:
        return b""


def _decoded_bytes(page: TiffPage) -> int:
    """The size of a page's pixels, from its tags."""
    return page.imagewidth * page.imagelength * page.samplesperpixel * max(page.bitspersample // 8, 1)


def _page(file: tifffile.TiffFile, name: str, number: int) -> TiffPage:
    pages = _full_pages(file, name)
    if not 1 <= number <= len(pages):
        raise UserError(f"{name}: it holds {len(pages)} pictures, so there is no page {number}")
    return pages[number - 1]


def decode_tiff(source: Source, name: str, number: int = 1) -> tuple[np.ndarray, np.ndarray | None]:
    """A page's pixels, upright: uint8 or uint16 `[H, W]` or RGB `[H, W, 3]`; and its alpha `[H, W]`, or None.

    Args:
      number: of the page, from 1.

    Raises:
      UserError: damaged; no such page; of a kind that is not read.
    """
    with _open(source, name) as file:
        page = _page(file, name, number)
        colors = _check_kind(page, name)
        check_claimed_size(file.filehandle.size, name, _decoded_bytes(page))
        _check_segments(page, name)
        _check_jpegs(page, name)
        pixels = page.asarray()
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            pixels = np.moveaxis(pixels.reshape(-1, page.imagelength, page.imagewidth), 0, -1)
        pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
        image, alpha = pixels[..., :colors], _alpha(page, pixels, colors, name)
        image = _colors(page, image[..., 0] if colors == 1 else image)
        if alpha is not None and page.extrasamples[:1] == (_PREMULTIPLIED,):
            image = _divided(image, alpha)
        turn = _orientation(page)
    image = upright(np.ascontiguousarray(image), turn)
    return image, None if alpha is None else upright(np.ascontiguousarray(alpha), turn)


def _orientation(page: TiffPage) -> int:
    tag, xmp = page.tags.get(_ORIENTATION_TAG), page.tags.get(_XMP_TAG)
    if tag is not None and tag.value in range(1, 9):
        return int(tag.value)
    packet = xmp.value if xmp is not None else b""
    return orientation_from(b"", packet if isinstance(packet, bytes) else str(packet).encode())


def _check_kind(page: TiffPage, name: str) -> int:
    """The number of color channels, 1 or 3.

    Raises:
      UserError: other colors, depths or channels than are read.
    """
    colors, bits = _COLORS.get(page.photometric), page.bitspersample
    kind = "int16" if page.sampleformat == 2 else "float" if page.sampleformat not in (1, 4) else ""
    refused = (
        (colors is None, f"{getattr(page.photometric, 'name', page.photometric)} colors"),
        (page.photometric == PHOTOMETRIC.YCBCR and page.compression != COMPRESSION.JPEG, "YCbCr colors, but no JPEG,"),
        (page.compression == COMPRESSION.OJPEG, "JPEG data of the old kind"),
        (bits not in _DEPTHS, f"{bits} bits per sample"), (bool(kind), f"{kind} pixels"),
        (bits < 8 and page.samplesperpixel > 1, f"{bits} bits per sample in several channels"),
        (page.imagedepth > 1, f"{page.imagedepth} planes in one picture"),
        (colors is not None and page.samplesperpixel not in (colors, colors + 1),
         f"{page.samplesperpixel} channels"),
        (page.photometric == PHOTOMETRIC.PALETTE and _COLOR_MAP not in page.tags, "a palette without colors"))
    for wrong, what in refused:
        if wrong:
            raise UserError(f"{name}: TIFF files with {what} are not read; convert it to a PNG, or to a plain RGB or "
                            "gray TIFF of 8 or 16 bits")
    return colors


def _parts(page: TiffPage) -> Iterator[bytes]:
    """The packed bytes of each strip or tile."""
    for at, count in zip(page.dataoffsets, page.databytecounts):
        page.parent.filehandle.seek(at)
        yield page.parent.filehandle.read(count)


def _check_segments(page: TiffPage, name: str) -> None:
    """Checks that all strips or tiles are there and lie in the file.

    Raises:
      UserError: one is missing or lies outside.
    """
    expected, size = int(np.prod(page.chunked)), page.parent.filehandle.size
    places = list(zip(page.dataoffsets, page.databytecounts))
    if len(page.dataoffsets) != expected or len(page.databytecounts) != expected:
        raise UserError(f"{name}: TIFF file is damaged: {len(places)} strips or tiles instead of {expected}; copy or "
                        "download it again")
    for at, count in places:
        if at < 8 or count < 1 or at + count > size:
            raise UserError(f"{name}: TIFF file is truncated or damaged: {count} bytes of pixels at byte {at} of "
                            f"{size}; copy or download it again")
    if page.compression == COMPRESSION.NONE:
        needed = page.imagelength * -(-page.imagewidth * page.bitspersample * page.samplesperpixel // 8)
        found = sum(count for _, count in places)
        if found < needed and not page.is_tiled:
            raise UserError(f"{name}: TIFF file is damaged: {found} bytes of pixels instead of {needed}; copy or "
                            "download it again")


def _check_jpegs(page: TiffPage, name: str) -> None:
    """Raises UserError if the strips or tiles are JPEGs and libjpeg reports damage in one."""
    if page.compression == COMPRESSION.JPEG:
        tables = page.tags[_JPEG_TABLES].value if _JPEG_TABLES in page.tags else b""
        for part in _parts(page):
            check_jpeg_part(tables[:-2] + part[2:] if len(tables) > 4 else part, name)


def _alpha(page: TiffPage, pixels: np.ndarray, colors: int, name: str) -> np.ndarray | None:
    """The alpha channel `[H, W]`, None if the file declares none.

    Raises:
      UserError: a further channel that may be something else.
    """
    if pixels.shape[2] == colors:
        return None
    alpha, kind = pixels[..., colors], (tuple(page.extrasamples) or (_UNSPECIFIED,))[0]
    if kind in (_PREMULTIPLIED, _ALPHA):
        return alpha
    # Some programs do not declare their alpha.  Where it is 0 they leave no color either; a spot color or a stored
    # selection does not look like this.
    if pixels[..., :colors][alpha == 0].any():
        raise UserError(f"{name}: its channel {colors + 1} is not declared as alpha and may be something else; remove "
                        "that channel")
    return alpha


def _colors(page: TiffPage, image: np.ndarray) -> np.ndarray:
    """Gray with black 0 over the full range of its dtype, or RGB."""
    bits = page.bitspersample
    if page.photometric == PHOTOMETRIC.PALETTE:
        table = np.asarray(page.colormap)[:3].T  # [colors, 3], 16 bits
        if image.max() >= len(table):
            raise ValueError(f"a color {image.max()} that its palette of {len(table)} does not hold")
        return (table if table.max() < 256 else table >> 8).astype(np.uint8)[image]
    if bits < 8:
        image = image.astype(np.uint8) * np.uint8(255 // ((1 << bits) - 1))
    return np.iinfo(image.dtype).max - image if page.photometric == PHOTOMETRIC.MINISWHITE else image


def _divided(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colors that were stored multiplied by alpha, as they were before."""
    white = np.iinfo(image.dtype).max
    share = np.where(alpha == 0, white, alpha).astype(np.float64) / white
    divided = image / (share if image.ndim == 2 else share[..., None])
    return np.clip(np.rint(divided), 0, white).astype(image.dtype)
