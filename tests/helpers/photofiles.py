"""Picture files as cameras and programs write them, for the tests: assembled by hand or by other libraries."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageCms

MAKER_NOTE = b"Nikon\0" + bytes(range(200))


def profile(name="sRGB") -> bytes:
    """A profile of ICC version 4 with `name` as its description; the same bytes in every call.

    Its colors are sRGB's if the name says so; else red and green are exchanged.
    """
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", made, 128)
    if "sRGB" not in name:
        made = made.replace(b"rXYZ", b"hold").replace(b"gXYZ", b"rXYZ").replace(b"hold", b"gXYZ")
    for entry in range(132, 132 + 12 * count, 12):
        tag, _, _ = struct.unpack_from(">4sII", made, entry)
        if tag == b"desc":
            text = name.encode("utf-16-be")
            field = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
            made = bytearray(made) + field
            struct.pack_into(">6H", made, 24, 2024, 1, 1, 0, 0, 0)  # a fixed date
            struct.pack_into(">II", made, entry + 4, len(made) - len(field), len(field))
            struct.pack_into(">I", made, 0, len(made))
            return bytes(made)
    raise AssertionError("no description")


def exif_block(orientation=6, order="<", thumbnail=b"thumbnail", adobe_rgb=False) -> bytes:
    """A camera's EXIF: IFD0 with EXIF, interoperability and GPS, a maker note, a second directory, a thumbnail.

    Assembled by hand after TIFF 6.0 and EXIF 2.32.  `adobe_rgb`: a DCF optional file.
    """
    def entry(tag, kind, count, field):
        return struct.pack(order + "HHI", tag, kind, count) + field

    def number(value, kind="I"):
        return struct.pack(order + kind, value).ljust(4, b"\0")

    def directory(entries, link=0):
        return struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", link)

    at = {"ifd0": 8, "values": 150, "exif": 200, "note": 300, "gps": 520, "interoperability": 560, "ifd1": 600,
          "thumbnail": 650}
    values = b"Maker\0" + struct.pack(order + "IIII", 300, 1, 300, 1)
    ifd0 = directory([entry(256, 4, 1, number(4000)), entry(257, 4, 1, number(3000)),
                      entry(271, 2, 6, number(at["values"])), entry(274, 3, 1, number(orientation, "H")),
                      entry(282, 5, 1, number(at["values"] + 6)), entry(283, 5, 1, number(at["values"] + 14)),
                      entry(296, 3, 1, number(2, "H")), entry(0x8769, 4, 1, number(at["exif"])),
                      entry(0x8825, 4, 1, number(at["gps"]))], at["ifd1"])
    exif = directory([entry(0x9000, 7, 4, b"0232"), entry(0x927C, 7, len(MAKER_NOTE), number(at["note"])),
                      entry(0xA001, 3, 1, number(0xFFFF if adobe_rgb else 1, "H")),
                      entry(0xA002, 3, 1, number(4000, "H")),
                      entry(0xA003, 4, 1, number(3000)), entry(0xA005, 4, 1, number(at["interoperability"]))])
    gps = directory([entry(0, 1, 4, b"\2\3\0\0"), entry(1, 2, 2, b"N\0\0\0")])
    interoperability = directory([entry(1, 2, 4, b"R03\0" if adobe_rgb else b"R98\0")])
    ifd1 = directory([entry(259, 3, 1, number(6, "H")), entry(513, 4, 1, number(at["thumbnail"])),
                      entry(514, 4, 1, number(len(thumbnail)))])
    block = bytearray(at["thumbnail"]) + thumbnail
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    for start, part in ((0, head), (8, ifd0), (at["values"], values), (at["exif"], exif), (at["note"], MAKER_NOTE),
                        (at["gps"], gps), (at["interoperability"], interoperability), (at["ifd1"], ifd1)):
        assert not any(block[start : start + len(part)])
        block[start : start + len(part)] = part
    return bytes(block)


def pillow_file(image, kind, **options) -> bytes:
    """The bytes of a file written by Pillow; the option `exif` is a block without the prefix `Exif\\0\\0`."""
    out = io.BytesIO()
    if "exif" in options and kind != "PNG":
        options["exif"] = b"Exif\0\0" + options["exif"]
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def camera_jpeg(image, orientation=6, icc=b"") -> bytes:
    """A JPEG with the metadata that a camera writes."""
    options = {"icc_profile": icc} if icc else {}
    return pillow_file(image, "JPEG", quality=95, subsampling=0, exif=exif_block(orientation), **options)


def dng(height=64, width=96, orientation=1) -> bytes:
    """A small camera RAW file: an uncompressed Bayer mosaic, assembled by hand after the DNG specification 1.4."""
    mosaic = np.random.default_rng(0).integers(500, 16000, (height, width)).astype("<u2")
    mosaic[:, width // 2:] //= 4  # the right half is darker
    rational = lambda *numbers: b"".join(struct.pack("<ii", int(x * 10000), 10000) for x in numbers)
    short, long = (lambda *n: struct.pack(f"<{len(n)}H", *n)), (lambda *n: struct.pack(f"<{len(n)}I", *n))
    tags = {254: (4, long(0)), 256: (4, long(width)), 257: (4, long(height)), 258: (3, short(16)), 259: (3, short(1)),
            262: (3, short(32803)), 271: (2, b"Maker\0"), 272: (2, b"Model X\0"), 273: (4, long(8)),
            274: (3, short(orientation)), 277: (3, short(1)), 278: (4, long(height)), 279: (4, long(mosaic.nbytes)),
            284: (3, short(1)), 33421: (3, short(2, 2)), 33422: (1, bytes([0, 1, 1, 2])),
            50706: (1, bytes([1, 4, 0, 0])), 50708: (2, b"Maker Model X\0"), 50714: (3, short(0)),
            50717: (4, long(16383)), 50721: (10, rational(0.64, -0.1, -0.05, -0.4, 1.2, 0.2, -0.05, 0.1, 0.6)),
            50728: (5, rational(0.5, 1, 0.6)), 50778: (3, short(21))}
    out = b"II*\0" + struct.pack("<I", 8 + mosaic.nbytes) + mosaic.tobytes()
    entries, values, at = b"", b"", len(out) + 2 + 12 * len(tags) + 4
    for tag, (kind, data) in sorted(tags.items()):
        field = data.ljust(4, b"\0")
        if len(data) > 4:
            field, values = struct.pack("<I", at + len(values)), values + data + b"\0" * (len(data) % 2)
        entries += struct.pack("<HHI", tag, kind, len(data) // {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}[kind]) + field
    return out + struct.pack("<H", len(tags)) + entries + bytes(4) + values


def scene(height=96, width=128, seed=0) -> np.ndarray:
    """Texture on all scales, uint8 RGB, without black and white pixels."""
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((height // k, width // k, 3), np.float32), (width, height),
                         interpolation=cv2.INTER_CUBIC) * k**0.5 for k in (2, 4, 8, 16)]
    total = sum(layers)
    return (20 + 210 * (total - total.min()) / (total.max() - total.min())).astype(np.uint8)


def focused_pair(height=96, width=128) -> tuple[np.ndarray, np.ndarray]:
    """Two shots of a scene: the first is sharp on the left, the second on the right."""
    sharp = scene(height, width)
    soft = cv2.GaussianBlur(sharp, (0, 0), 2.5)
    left = np.arange(width)[None, :, None] < width // 2
    return np.where(left, sharp, soft), np.where(left, soft, sharp)


def picture(shape=(40, 56, 3), dtype=np.uint8, seed=0):
    """Uniform noise over the full range of `dtype`."""
    white = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, white, shape, dtype, endpoint=True)


def png(rows, color_type, bits=8, extra=()):
    """A PNG assembled by hand, for the kinds that OpenCV does not write; `extra` are chunks (kind, body)."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, samples = rows.shape[:2], rows.astype(f">u{bits // 8}")
    lines = b"".join(b"\0" + line.tobytes() for line in samples)
    header = struct.pack(">IIBBBBB", height[1], height[0], bits, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def png_parts(data) -> tuple[bytes, bytes, bytes]:
    """A PNG in three: what is before its first IDAT, the bodies of all IDATs joined, and what is after the last."""
    head, packed, tail, at = data[:8], b"", b"", 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        elif packed:
            tail += data[at : at + 12 + length]
        else:
            head += data[at : at + 12 + length]
        at += 12 + length
    return head, packed, tail


def tiff(image, **changed):
    """An uncompressed TIFF assembled by hand; `changed` sets tags by number (`t284=2`)."""
    samples = 1 if image.ndim == 2 else image.shape[2]
    tags = {256: image.shape[1], 257: image.shape[0], 258: image.itemsize * 8, 259: 1, 262: 2 if samples > 2 else 1,
            273: 8, 277: samples, 278: image.shape[0], 284: 1}
    tags |= {int(key[1:]): value for key, value in changed.items()}
    entries = [struct.pack("<HHII", tag, 3, 1, value) for tag, value in sorted(tags.items())]
    entries.insert(sorted(tags).index(278) + 1, struct.pack("<HHII", 279, 4, 1, image.nbytes))
    pixels = image.astype(image.dtype.newbyteorder("<")).tobytes()
    return (b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels
            + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
