"""Files as cameras and programs write them, for the tests: laid out by hand or by other programs' libraries."""

import io
import struct

import cv2
import numpy as np
from PIL import Image, ImageCms

MAKER_NOTE = b"Nikon\0" + bytes(range(200))


def profile(name="sRGB") -> bytes:
    """A colour profile of version 4 with that description; always of the same date."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", made, 128)
    for entry in range(132, 132 + 12 * count, 12):
        tag, _, _ = struct.unpack_from(">4sII", made, entry)
        if tag == b"desc":
            text = name.encode("utf-16-be")
            field = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
            made = bytearray(made) + field
            struct.pack_into(">6H", made, 24, 2024, 1, 1, 0, 0, 0)  # else the time of the call
            struct.pack_into(">II", made, entry + 4, len(made) - len(field), len(field))
            struct.pack_into(">I", made, 0, len(made))
            return bytes(made)
    raise AssertionError("no description")


def exif_block(orientation=6, order="<", thumbnail=b"thumbnail") -> bytes:
    """What a camera writes: IFD0 with EXIF, interoperability and GPS, a maker's note, a second directory, a thumbnail.

    Laid out by hand after TIFF 6.0 and EXIF 2.32, values behind their directories.
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
                      entry(0xA001, 3, 1, number(0xFFFF, "H")), entry(0xA002, 3, 1, number(4000, "H")),
                      entry(0xA003, 4, 1, number(3000)), entry(0xA005, 4, 1, number(at["interoperability"]))])
    gps = directory([entry(0, 1, 4, b"\2\3\0\0"), entry(1, 2, 2, b"N\0\0\0")])
    interoperability = directory([entry(1, 2, 4, b"R03\0")])
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
    """The bytes of a file that Pillow writes; `exif` without its six letters."""
    out = io.BytesIO()
    if "exif" in options and kind != "PNG":
        options["exif"] = b"Exif\0\0" + options["exif"]
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def camera_jpeg(image, orientation=6, icc=b"") -> bytes:
    """A JPEG with everything that a camera writes beside the pixels."""
    options = {"icc_profile": icc} if icc else {}
    return pillow_file(image, "JPEG", quality=95, subsampling=0, exif=exif_block(orientation), **options)


def dng(height=64, width=96, orientation=1) -> bytes:
    """A small camera RAW laid out by hand: an uncompressed Bayer mosaic after the DNG specification 1.4."""
    mosaic = np.random.default_rng(0).integers(500, 16000, (height, width)).astype("<u2")
    mosaic[:, width // 2:] //= 4  # one half is darker
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
    """Texture on all scales: uint8 RGB, nowhere black or white."""
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
