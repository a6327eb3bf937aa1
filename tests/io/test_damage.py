"""Files damaged by a seeded test: what a format's own strict decoder reports is refused; the rest is counted.

The reference decoders are Pillow, imagecodecs and, where it is installed, libjpeg's `djpeg -strict`.
"""

import collections
import functools
import io
import shutil
import struct
import subprocess
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from edmf_jax.errors import UserError
from edmf_jax.io.photographs import inspect, read_shot_with_mask
from tests.helpers.photofiles import pillow_file, png_parts, scene

DAMAGES = ("zeroed sector", "overwritten sector", "flipped byte", "flipped bit", "truncated", "wrong checksum",
           "rows missing")
SECTOR = 512  # bytes


@functools.cache
def good_files():
    """Suffix and name → bytes, of all formats: (kind, file)."""
    rgb = scene(120, 152)
    gray, deep = np.ascontiguousarray(rgb[..., 1]), rgb.astype(np.uint16) * 257 - 40
    rgba = np.dstack([rgb, np.where(np.arange(152) < 20, 0, 255).astype(np.uint8)[None].repeat(120, 0)])
    files = {
        "baseline.jpg": pillow_file(rgb, "JPEG", quality=90),
        "fine.jpg": pillow_file(rgb, "JPEG", quality=95, subsampling=0),
        "progressive.jpg": pillow_file(rgb, "JPEG", quality=90, progressive=True),
        "gray.jpg": pillow_file(gray, "JPEG", quality=90),
        "restart.jpg": pillow_file(rgb, "JPEG", quality=90, restart_marker_rows=1),
        "color.png": pillow_file(rgb, "PNG"), "gray.png": pillow_file(gray, "PNG"),
        "alpha.png": pillow_file(rgba, "PNG"),
        "deep.png": cv2.imencode(".png", deep)[1].tobytes(),
        "palette.png": palette_file(rgb),
        "lossy.webp": pillow_file(rgb, "WEBP", quality=90), "lossless.webp": pillow_file(rgb, "WEBP", lossless=True),
        "alpha.webp": pillow_file(rgba, "WEBP", lossless=True), "color.bmp": pillow_file(rgb, "BMP"),
        "gray.bmp": pillow_file(gray, "BMP"), "color.ppm": pillow_file(rgb, "PPM"),
        "color.jp2": pillow_file(rgb, "JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[45]),
    }
    for name, image, options in (
            ("plain", rgb, {}), ("deflate", rgb, {"compression": "zlib", "predictor": True}),
            ("lzw", rgba, {"compression": "lzw"}),
            ("packbits", rgba, {"compression": "packbits"}), ("deep", deep, {"compression": "lzw", "predictor": True}),
            ("jpeg", rgb, {"compression": "jpeg"}), ("tiles", rgb, {"compression": "zlib", "tile": (64, 64)}),
            ("planar", np.moveaxis(rgb, 2, 0).copy(), {"compression": "lzw", "planarconfig": "separate"})):
        file = io.BytesIO()
        rows = {} if "tile" in options else {"rowsperstrip": 32}
        tifffile.imwrite(file, image, photometric="rgb", metadata=None, **rows, **options)
        files[f"{name}.tif"] = file.getvalue()
    return files


def palette_file(rgb):
    file = io.BytesIO()
    Image.fromarray(rgb).quantize(64).save(file, "PNG")
    return file.getvalue()


def damaged(data, damage, rng):
    """The file with one damage, or None if its format cannot have it."""
    bad = bytearray(data)
    if damage in ("zeroed sector", "overwritten sector"):
        sector = SECTOR * int(rng.integers(1, len(data) // SECTOR))
        bad[sector : sector + SECTOR] = bytes(SECTOR) if damage == "zeroed sector" else rng.bytes(SECTOR)
        del bad[len(data):]
    elif damage == "flipped byte":
        bad[rng.integers(len(data))] ^= int(rng.integers(1, 256))
    elif damage == "flipped bit":
        bad[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    elif damage == "truncated":
        del bad[int(rng.integers(1, len(data) - 1)):]
    elif damage == "wrong checksum":
        return with_wrong_checksum(data, rng)
    else:
        return with_rows_missing(data, rng)
    return bytes(bad)


def with_wrong_checksum(data, rng):
    """Of a PNG a chunk's CRC, or with right CRCs the packed pixels' Adler-32; of a DEFLATE TIFF a strip's."""
    if data[:4] == b"\x89PNG":
        if rng.integers(2):
            at = data.index(b"IEND") - 8 + int(rng.integers(4))
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        head, packed, tail = png_parts(data)
        return head + idat(packed[:-1] + bytes([packed[-1] ^ 1])) + tail
    if data[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            if page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE:
                strip = int(rng.integers(len(page.dataoffsets)))
                at = page.dataoffsets[strip] + page.databytecounts[strip] - 1
                return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    return None


def idat(packed):
    return struct.pack(">I", len(packed)) + b"IDAT" + packed + struct.pack(">I", zlib.crc32(b"IDAT" + packed))


def with_rows_missing(data, rng):
    """A file in good order, but for rows that are not there."""
    if data[:4] == b"\x89PNG":
        head, packed, tail = png_parts(data)
        rows = zlib.decompress(packed)
        return head + idat(zlib.compress(rows[: int(rng.integers(len(rows)))])) + tail
    if data[:2] == b"\xff\xd8":
        scan = data.index(b"\xff\xda") + 14
        cut = int(rng.integers(scan, len(data) - 40))
        return data[:cut].rstrip(b"\xff") + b"\xff\xd9"
    if data[:2] in (b"II", b"MM"):
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            tag = file.pages[0].tags["StripByteCounts" if "StripByteCounts" in file.pages[0].tags else "TileByteCounts"]
            size = {3: 2, 4: 4}[int(tag.dtype)]
            at = tag.valueoffset + size * int(rng.integers(tag.count))
            (count,) = struct.unpack_from("<H" if size == 2 else "<I", data, at)
            return data[:at] + struct.pack("<H" if size == 2 else "<I", int(rng.integers(count))) + data[at + size :]
    if data[:2] == b"BM" or data[:2] == b"P6":
        return data[: -152 * int(rng.integers(1, 50))]
    return None


def reported(data, name):
    """Whether a strict decoder of the format refuses the file."""
    if name.endswith(".jpg"):
        if shutil.which("djpeg"):
            run = subprocess.run(["djpeg", "-strict", "-outfile", "/dev/null"], input=data, capture_output=True)
            if run.returncode:
                return True
        decoders = (imagecodecs.jpeg8_decode,)
    else:
        decoders = {"png": (imagecodecs.png_decode,), "webp": (imagecodecs.webp_decode,),
                    "jp2": (imagecodecs.jpeg2k_decode,),
                    "tif": (lambda part: tifffile.imread(io.BytesIO(part)),)}.get(name.split(".")[1], ())
    for decode in (*decoders, lambda part: Image.open(io.BytesIO(part)).load()):
        try:
            decode(data)
        except Exception:  # each has its own classes
            return True
    return False


@pytest.mark.parametrize("count, seed", [(100, 1), pytest.param(1000, 0, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")  # Pillow's about odd tags
def test_damaged_files_are_refused_by_name_and_no_other_error_comes_up(tmp_path, count, seed):
    rng = np.random.default_rng(seed)
    files, whole = good_files(), {}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        whole[name] = read_shot_with_mask(tmp_path / name)[0]
        assert not reported(data, name), name
    made, silent, missed = collections.Counter(), collections.Counter(), []
    while made.total() < count:
        name, damage = list(files)[rng.integers(len(files))], DAMAGES[made.total() % len(DAMAGES)]
        data = damaged(files[name], damage, rng)
        if data is None or data == files[name]:
            continue
        kind = (name.split(".")[1], damage)
        made[kind] += 1
        path = tmp_path / f"bad-{name}"
        path.write_bytes(data)
        try:
            inspect(path)
            image, _ = read_shot_with_mask(path)
        except UserError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            continue
        if image.shape == whole[name].shape and (image == whole[name]).all():
            continue  # the damage is in a place that does not matter
        silent[kind] += 1
        if reported(data, name):
            missed.append((name, damage, made.total()))
    for kind in sorted(made):
        print(*kind, f"{silent[kind]} of {made[kind]} read with other pixels")
    print("all", silent.total(), "of", made.total())
    assert not missed, missed
    assert not any(number for (kind, _), number in silent.items() if kind == "png")
    assert not any(number for (kind, damage), number in silent.items()  # a JPEG may lose its last, finest scan
                   if damage in ("truncated", "wrong checksum") or (damage == "rows missing" and kind != "jpg"))
    assert silent.total() <= 0.4 * count
    sectors = [(kind, damage) for kind, damage in made if kind == "jpg" and damage.endswith("sector")]
    assert sum(silent[kind] for kind in sectors) <= 0.1 * sum(made[kind] for kind in sectors) + 1
