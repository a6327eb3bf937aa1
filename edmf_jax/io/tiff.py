"""Writing a TIFF with EXIF and a color profile, or of 4 GB or more, neither of which OpenCV can do.

tifffile writes the file.  It has no means to write the EXIF and GPS directories, so their bytes are stored right after
the file's header, before tifffile adds the pixels and the first directory, which gets tags that point to them.
"""

import io

import numpy as np

from edmf_jax.io import exif

# Larger pictures become BigTIFFs, with offsets of 8 bytes.  This is the rule of `tifffile.imwrite` for uncompressed
# pictures; the compressed size is not known in advance.
_MAX_CLASSIC_BYTES = 2**32 - 2**25
_DEFLATE_LEVEL = 5  # a little larger than the best, in half the time
# tifffile refuses tags of directories by their numbers, but not by their names.
_NAMES = {exif.EXIF_IFD: "ExifTag", exif.GPS_IFD: "GPSTag"}
_WRITTEN_BY_TIFFFILE = {exif.X_RESOLUTION, exif.Y_RESOLUTION, exif.RESOLUTION_UNIT}


def needs_bigtiff(image: np.ndarray) -> bool:
    """Whether a picture may exceed the 4 GB that a classic TIFF can hold."""
    return image.nbytes > _MAX_CLASSIC_BYTES


def encode_tiff(image: np.ndarray, block: bytes, icc: bytes, dpi: tuple[float, float] | None) -> memoryview:
    """uint8 or uint16 `[H, W]`, `[H, W, 3]` RGB or `[H, W, 4]` RGBA as a TIFF or BigTIFF, compressed by DEFLATE.

    A BigTIFF goes without the maker note, which would not survive the conversion of the directories.

    Args:
      block: EXIF; empty: none.
      icc: a color profile; empty: none.
      dpi: pixels per inch, across and down; None: as in `block`.

    Raises:
      one of exif.DAMAGED: `block` is no EXIF.
    """
    import tifffile  # takes 25 ms, and few results are TIFFs

    rgb, big = image.ndim == 3, needs_bigtiff(image)
    order = exif.byte_order(block) if block else "<"
    dpi = dpi or (exif.resolution(block) if block else None)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=order) as writer:
        directories, tags = _place_exif(block, file.tell(), big) if block else (b"", {})
        file.write(directories)
        writer.write(
            image, photometric="rgb" if rgb else "minisblack", planarconfig="contig" if rgb else None,
            extrasamples=("unassalpha",) if image.shape[2:] == (4,) else None,
            compression="zlib", compressionargs={"level": _DEFLATE_LEVEL}, predictor=True,
            resolution=dpi, resolutionunit="inch" if dpi else None, iccprofile=icc or None,
            metadata=None, software=False,  # none of tifffile's own
            extratags=[(_NAMES.get(tag, tag), *value, True) for tag, value in tags.items()
                       if tag not in _WRITTEN_BY_TIFFFILE])
    return file.getbuffer()


def _place_exif(block: bytes, at: int, big: bool) -> tuple[bytes, dict[int, exif.Value]]:
    """The bytes to store at offset `at`, right after the file's header, and the tags of the first directory."""
    if not big:  # the header is as long as the block's own, so every offset in the block stays valid
        return block[at:], exif.descriptive_values(block)
    order, directories, tags = exif.byte_order(block), b"", exif.descriptive_tree(block)
    for tag in tags.keys() & {exif.EXIF_IFD, exif.GPS_IFD}:
        start = at + len(directories)
        directories += exif.directory_bytes(tags[tag], start, order, big=True)
        tags[tag] = exif.offset_value(start, order, big)
    return directories, tags
