"""Shots as cameras, phones and programs write them: transparency, pages, colors, orientation, missing end markers."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile
from PIL import Image, ImageCms

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.containers import add_jpeg_segments
from edmf_jax.io.icc import ADOBE_RGB, profile_name, same_profile
from edmf_jax.io.images import decode_image, read_image, write_image
from edmf_jax.io.metadata import read_metadata
from edmf_jax.io.photographs import Page, inspect, inspect_all, page_count, read_shot, read_shot_with_mask
from tests.helpers.files import shared_file
from tests.helpers.photofiles import camera_jpeg, exif_block, picture, pillow_file, png, profile, scene, tiff

JPEG_KINDS = [{"quality": 90, "subsampling": 2}, {"quality": 95, "subsampling": 0}, {"quality": 80, "subsampling": 1},
              {"quality": 90, "progressive": True}, {"quality": 90, "keep_rgb": True},
              {"quality": 90, "restart_marker_rows": 1}]


def written(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def tiff_file(image, photometric="rgb", **options):
    file = io.BytesIO()
    tifffile.imwrite(file, image, photometric=photometric, metadata=None, **options)
    return file.getvalue()


def refused(path, *words):
    for read in (read_shot, read_shot_with_mask):
        with pytest.raises(UserError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message
        for word in words:
            assert word in message, message


# --- JPEG: strict, and with the same pixels as before


@pytest.mark.parametrize("options", JPEG_KINDS, ids=lambda options: "-".join(map(str, options.values())))
def test_a_jpeg_has_opencvs_pixels(options):
    data = pillow_file(scene(65, 83), "JPEG", **options)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(decode_image(data, "x"), expected)


def test_a_gray_jpeg_has_opencvs_pixels():
    data = pillow_file(scene(65, 83)[..., 1], "JPEG", quality=90)
    np.testing.assert_array_equal(decode_image(data, "x"), cv2.imdecode(np.frombuffer(data, np.uint8),
                                                                        cv2.IMREAD_UNCHANGED))


def test_a_jpeg_with_a_zeroed_sector_is_refused(tmp_path):
    data = bytearray(pillow_file(scene(), "JPEG", quality=90))
    data[2560:3072] = bytes(512)
    inspect(written(tmp_path, "x.jpg", data))
    refused(tmp_path / "x.jpg", "damaged", "Corrupt JPEG data")


@pytest.mark.parametrize("quality", [75, 90])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_zeroed_sector_is_found_wherever_it_is(tmp_path, quality, subsampling):
    whole = pillow_file(scene(192, 256), "JPEG", quality=quality, subsampling=subsampling)
    for at in range(1024, len(whole) - 520, 512):
        refused(written(tmp_path, "x.jpg", whole[:at] + bytes(512) + whole[at + 512 :]), "damaged")


def test_a_picture_that_is_coded_as_zeros_is_read(tmp_path):
    data = pillow_file(np.zeros((2048, 2048), np.uint8), "JPEG", optimize=True)
    assert data.count(bytes(256)) > 3
    assert not read_shot(written(tmp_path, "x.jpg", data)).any()


def mp4_box():
    return b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(600) + b"\xff\xc0\xff\xd9" + bytes(50)


def samsung_trailer():
    block = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1700000000000"
    directory = b"SEFH" + struct.pack("<II", 107, 1) + struct.pack("<HHII", 0, 0x0A01, len(block), len(block))
    return block + directory + struct.pack("<I", len(directory)) + b"SEFT"


@pytest.mark.parametrize("options", JPEG_KINDS, ids=lambda options: "-".join(map(str, options.values())))
@pytest.mark.parametrize("trailer", [mp4_box(), samsung_trailer(), pillow_file(scene(16, 16), "JPEG")],
                         ids=["mp4", "samsung", "jpeg"])
def test_a_whole_scan_whose_end_marker_a_phone_left_out_is_read_and_a_cut_one_is_not(tmp_path, options, trailer):
    data = pillow_file(scene(), "JPEG", **options)
    path = written(tmp_path, "x.jpg", data[:-2] + trailer)
    inspect(path)
    np.testing.assert_array_equal(read_shot(path), decode_image(data, "whole"))
    for end in (-40, -len(data) // 3):
        refused(written(tmp_path, "cut.jpg", data[:end].rstrip(b"\xff") + trailer), "damaged")


def test_cmyk_jpegs_are_refused(tmp_path):
    file = io.BytesIO()
    Image.fromarray(scene()).convert("CMYK").save(file, "JPEG")
    refused(written(tmp_path, "x.jpg", file.getvalue()), "CMYK", "convert it to RGB")


# --- PNG and WebP


def test_a_png_whose_rows_end_early_is_refused_with_right_checksums(tmp_path):
    image = picture((20, 30, 3))
    whole = png(image, 2)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in image[:12]))
    at = whole.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(packed)) + b"IDAT" + packed
    data = whole[:at] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + whole[-12:]
    refused(written(tmp_path, "x.png", data), "damaged", f"{20 * 91}", f"{12 * 91}")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (13, 9)])
def test_png_of_every_kind_are_whole(tmp_path, mode, size):
    image = Image.fromarray(picture((*size[::-1], 3))).convert(mode)
    image.save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape[:2] == size[::-1]


def test_a_png_in_seven_passes_is_whole(tmp_path):
    # Assembled by hand after the PNG specification, 8.2: a gray picture of 3×2 px in Adam7 order.
    rows = bytes([0, 10, 0, 30, 0, 20, 0, 40, 50, 60])  # passes 1, 4 (column 2), 6 (column 1), 7 (row 1)
    head = struct.pack(">IIBBBBB", 3, 2, 8, 0, 0, 0, 1)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body
                                           + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks)
    np.testing.assert_array_equal(read_shot(written(tmp_path, "x.png", data)), [[10, 20, 30], [40, 50, 60]])


# --- transparency


def rgba_picture(dtype=np.uint8):
    """Noise whose alpha is 0 in the left six columns, half in the next two, full elsewhere."""
    image = picture((16, 18, 4), dtype)
    image[..., 3] = np.iinfo(dtype).max
    image[:, 6:8, 3] //= 2
    image[:, :6, 3] = 0
    return image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_s_transparent_pixels_are_masked(tmp_path, dtype, compression, planar):
    image = rgba_picture(dtype)
    stored = image if planar == "contig" else np.moveaxis(image, 2, 0).copy()
    path = written(tmp_path, "x.tif", tiff_file(stored, compression=compression, planarconfig=planar, rowsperstrip=5,
                                                extrasamples=["unassalpha"]))
    pixels, mask = read_shot_with_mask(path)
    np.testing.assert_array_equal(pixels, image[..., :3])
    np.testing.assert_array_equal(mask, np.broadcast_to(np.arange(18) >= 6, (16, 18)))
    with pytest.raises(UserError, match=r"x\.tif: it has transparent pixels"):
        read_shot(path)


@pytest.mark.parametrize("write", [lambda image: png(image, 6), lambda image: pillow_file(image, "WEBP", lossless=True,
                                                                                       exact=True)],
                         ids=["png", "webp"])
def test_transparent_pixels_of_other_formats_are_masked(tmp_path, write):
    image = rgba_picture()
    pixels, mask = read_shot_with_mask(written(tmp_path, "x", write(image)))
    np.testing.assert_array_equal(pixels, image[..., :3])
    np.testing.assert_array_equal(mask, image[..., 3] > 0)


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_with_alpha_is_gray_and_a_mask(tmp_path, bits):
    image = rgba_picture(np.dtype(f"u{bits // 8}"))[..., 2:]
    for name, data in (("x.png", png(image, 4, bits)),
                       ("x.tif", tiff_file(image, "minisblack", planarconfig="contig", extrasamples=["unassalpha"]))):
        pixels, mask = read_shot_with_mask(written(tmp_path, name, data))
        np.testing.assert_array_equal(pixels, image[..., 0])
        np.testing.assert_array_equal(mask, image[..., 1] > 0)


def test_a_png_s_transparent_color_is_masked(tmp_path):
    gray, color = picture((12, 18)), picture((12, 18, 3))
    gray[2:5], color[2:5] = 7, (1, 2, 3)
    deep = gray.astype(np.uint16) * 257
    for image, kind, bits, key in ((gray, 0, 8, b"\0\7"), (color, 2, 8, b"\0\1\0\2\0\3"), (deep, 0, 16, b"\7\7")):
        pixels, mask = read_shot_with_mask(written(tmp_path, "x.png", png(image, kind, bits, [(b"tRNS", key)])))
        np.testing.assert_array_equal(pixels, image)
        np.testing.assert_array_equal(mask, (image != image[3, 3]).reshape(12, 18, -1).any(2))


def test_colors_stored_multiplied_by_alpha_are_divided(tmp_path):
    image = np.full((4, 6, 4), (60, 30, 10, 128), np.uint8)
    image[:, :2] = 0
    pixels, mask = read_shot_with_mask(written(tmp_path, "x.tif", tiff_file(image, extrasamples=["assocalpha"])))
    assert (pixels[:, 2:] == (120, 60, 20)).all() and (pixels[:, :2] == 0).all()
    np.testing.assert_array_equal(mask, image[..., 3] > 0)


def test_a_channel_that_may_be_a_spot_color_is_refused(tmp_path):
    data = tiff_file(rgba_picture(), extrasamples=["unspecified"])
    refused(written(tmp_path, "x.tif", data), "not declared as alpha")


def test_a_wholly_transparent_shot_is_refused_and_an_opaque_one_has_no_mask(tmp_path):
    image = picture((9, 9, 4))
    image[..., 3] = 0
    refused(written(tmp_path, "x.png", png(image, 6)), "transparent")
    image[..., 3] = 255
    assert read_shot_with_mask(written(tmp_path, "y.png", png(image, 6)))[1] is None


def test_the_mask_turns_with_the_picture(tmp_path):
    image = rgba_picture()
    data = tiff_file(image, extrasamples=["unassalpha"], extratags=[(274, "H", 1, 6, True)])
    pixels, mask = read_shot_with_mask(written(tmp_path, "x.tif", data))
    np.testing.assert_array_equal(pixels, np.rot90(image[..., :3], -1))
    np.testing.assert_array_equal(mask, np.rot90(image[..., 3] > 0, -1))


# --- colors of TIFFs


def test_tiffs_of_every_layout_have_their_colors(tmp_path):
    color, deep, gray = picture((40, 50, 3)), picture((40, 50, 3), np.uint16), picture((40, 50))
    table = picture((3, 256), np.uint16)
    bit = picture((40, 50)) > 99
    files = {
        "planar": (tiff_file(np.moveaxis(color, 2, 0).copy(), planarconfig="separate"), color),
        "planar deep": (tiff_file(np.moveaxis(deep, 2, 0).copy(), planarconfig="separate", compression="lzw"), deep),
        "tiles": (tiff_file(color, tile=(16, 32), compression="lzw", predictor=True), color),
        "big": (tiff_file(deep, bigtiff=True, byteorder=">"), deep),
        "white is 0": (tiff_file(gray, "miniswhite"), 255 - gray),
        "white is 0, deep": (tiff_file(deep[..., 0], "miniswhite"), 65535 - deep[..., 0]),
        "palette": (tiff_file(gray, "palette", colormap=table), (table.T >> 8).astype(np.uint8)[gray]),
        "bits": (tiff_file(bit, "minisblack"), np.where(bit, 255, 0)),
        "ten bits": (tiff_file(deep[..., 0] >> 6, "minisblack"), deep[..., 0] >> 6),
    }
    for name, (data, expected) in files.items():
        image = read_shot(written(tmp_path, "x.tif", data))
        assert image.dtype == (np.uint16 if "deep" in name or name in ("big", "ten bits") else np.uint8), name
        np.testing.assert_array_equal(image, expected, err_msg=name)


def test_a_jpeg_in_a_tiff_has_its_colors_and_damage_is_found(tmp_path):
    image = scene()
    data = tiff_file(image, compression="jpeg", compressionargs={"level": 95}, rowsperstrip=32)
    path = written(tmp_path, "x.tif", data)
    assert np.abs(read_shot(path).astype(int) - image).mean() < 6
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[1] + file.pages[0].databytecounts[1] // 2
    refused(written(tmp_path, "y.tif", data[:at] + bytes(200) + data[at + 200 :]), "damaged")


@pytest.mark.parametrize("data, words", [
    (tiff(picture((16, 18, 3)), t262=8), "CIELAB"), (tiff(picture((16, 18, 4)), t262=5), "SEPARATED"),
    (tiff(picture((16, 18, 3)), t262=6), "YCbCr"), (tiff(picture((16, 18, 3)), t262=9), "ICCLAB"),
    (tiff(picture((16, 18, 5))), "5 channels"),
    (tiff_file(picture((16, 18)).astype(np.float32), "minisblack"), "32 bits"),
    (tiff_file(picture((16, 18)).astype(np.float16), "minisblack"), "float"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_other_colors_are_refused_by_name(tmp_path, data, words):
    path = written(tmp_path, "x.tif", data)
    refused(path, words, "convert it")
    with pytest.raises(UserError, match=words):
        inspect(path)


def test_a_strip_that_is_missing_or_outside_is_refused(tmp_path):
    data = tiff_file(picture((64, 64, 3)), rowsperstrip=16, compression="zlib")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = {tag: file.pages[0].tags[tag].valueoffset for tag in ("StripOffsets", "StripByteCounts")}
        kinds = {tag: int(file.pages[0].tags[tag].dtype) for tag in places}
    for tag, value in (("StripByteCounts", 0), ("StripOffsets", 60_000)):
        bad = bytearray(data)
        struct.pack_into("<H" if kinds[tag] == 3 else "<I", bad, places[tag], value)
        path = written(tmp_path, "x.tif", bad)
        refused(path, "damaged")
        with pytest.raises(UserError, match="damaged"):
            inspect(path)


# --- Adobe RGB and profiles


def colors_in_srgb(icc, colors):
    image = Image.fromarray(np.array([colors], np.uint8))
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB")))[0].tolist()


def test_the_adobe_rgb_profile_has_the_colors_of_its_definition():
    # Adobe RGB (1998) 4.3: gamma 2.19921875, red and blue as sRGB's, white the same.  (180, 180, 180) is
    # (180/255)^2.2 = 0.4649 of white, which is 181.5 in sRGB; full red leaves sRGB's red at its limit.
    gray, white, red, black = colors_in_srgb(ADOBE_RGB, [(180,) * 3, (255,) * 3, (255, 0, 0), (0,) * 3])
    assert white == [255] * 3 and black == [0] * 3 and red == [255, 0, 0]
    assert all(abs(channel - 181) <= 1 for channel in gray)
    assert "Adobe RGB" in profile_name(ADOBE_RGB) and same_profile(ADOBE_RGB, bytes(ADOBE_RGB))
    assert not same_profile(ADOBE_RGB, b"") and not same_profile(profile(), ADOBE_RGB)


def test_adobe_rgb_by_the_dcf_rule_is_not_mixed_with_srgb_and_keeps_its_colors(tmp_path):
    adobe = add_jpeg_segments(pillow_file(scene(), "JPEG"), [(0xE1, b"Exif\0\0" + exif_block(1, adobe_rgb=True))])
    first, second = written(tmp_path, "_DSC0001.jpg", adobe), tmp_path / "DSC0002.jpg"
    second.write_bytes(camera_jpeg(scene(seed=1)))
    with pytest.raises(UserError, match=r"DSC0002\.jpg has the color profile 'sRGB' and .*Adobe RGB"):
        inspect_all([first, second])
    second.write_bytes(adobe + b"\0")
    (metadata, _) = inspect_all([first, second])
    write_image(tmp_path / "out.png", picture((9, 9, 3)), metadata)
    assert read_metadata((tmp_path / "out.png").read_bytes()).icc == ADOBE_RGB


@pytest.mark.parametrize("name, adobe", [("_MG_1.jpg", True), ("IMG_1.jpg", False)])
def test_without_an_index_the_name_tells(tmp_path, name, adobe):
    block = exif_block(1, adobe_rgb=True).replace(b"R03\0", b"XXX\0")
    at = block.index(struct.pack("<HHI", 1, 2, 4) + b"XXX")
    block = block[:at] + struct.pack("<HHI", 2, 2, 4) + block[at + 8 :]  # no tag 1
    data = add_jpeg_segments(pillow_file(scene(), "JPEG"), [(0xE1, b"Exif\0\0" + block)])
    assert inspect(written(tmp_path, name, data))[0].icc == (ADOBE_RGB if adobe else b"")


def test_two_files_of_one_color_space_go_together_and_others_do_not(tmp_path):
    matrix = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    renamed = profile("sRGB of another program")
    assert same_profile(matrix, renamed) and same_profile(b"", renamed)
    odd = png(picture((9, 9, 3)), 2, extra=[(b"gAMA", struct.pack(">I", 100_000))])
    usual = png(picture((9, 9, 3), seed=1), 2, extra=[(b"gAMA", struct.pack(">I", 45_455))])
    plain = png(picture((9, 9, 3), seed=2), 2)
    paths = [written(tmp_path, f"{i}.png", data) for i, data in enumerate((plain, usual, odd))]
    inspect_all(paths[:2])
    with pytest.raises(UserError, match=r"2\.png and .*0\.png describe their colors differently"):
        inspect_all(paths)


# --- orientation


def raw_profile(block):
    body = (b"Exif\0\0" + block).hex().encode()
    return b"\nexif\n%8d\n" % (len(body) // 2) + b"\n".join(body[i : i + 72] for i in range(0, len(body), 72)) + b"\n"


def xmp(value, as_attribute=True):
    inner = b'<rdf:Description tiff:Orientation="%d"/>' if as_attribute else b"<tiff:Orientation>%d</tiff:Orientation>"
    return b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + inner % value + b"</x:xmpmeta>"


def webp_with(data, kind, body):
    chunk = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    width, height = 56, 40
    canvas = struct.pack("<I", 0x0C) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + data[12:] + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def turned_files():
    """Name → a file of a noise picture, 40×56 px, that says it is to be turned by a quarter clockwise."""
    image = picture()
    webp, plain = pillow_file(image, "WEBP", lossless=True), pillow_file(image, "JPEG", quality=95)
    text = lambda kind, keyword, body: png(image, 2, extra=[(kind, keyword + body)])
    return {
        "x.webp": webp_with(webp, b"EXIF", exif_block(6)),
        "prefix.webp": webp_with(webp, b"EXIF", b"Exif\0\0" + exif_block(6)),
        "xmp.webp": webp_with(webp, b"XMP ", xmp(6)),
        "eXIf.png": png(image, 2, extra=[(b"eXIf", exif_block(6))]),
        "prefix.png": png(image, 2, extra=[(b"eXIf", b"Exif\0\0" + exif_block(6, ">"))]),
        "zTXt.png": text(b"zTXt", b"Raw profile type exif\0\0", zlib.compress(raw_profile(exif_block(6)))),
        "tEXt.png": text(b"tEXt", b"Raw profile type APP1\0", raw_profile(exif_block(6))),
        "iTXt.png": text(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0", xmp(6)),
        "packed.png": text(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0", zlib.compress(xmp(6, False))),
        "xmp.tif": tiff_file(image, extratags=[(700, "B", len(xmp(6)), xmp(6), True)]),
        "x.tif": tiff_file(image, extratags=[(274, "H", 1, 6, True)]),
        "x.jpg": add_jpeg_segments(plain, [(0xE1, b"Exif\0\0" + exif_block(6))]),
        "xmp.jpg": add_jpeg_segments(plain, [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6))]),
        "both.jpg": add_jpeg_segments(plain, [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(3)),
                                              (0xE1, b"Exif\0\0" + exif_block(6))]),
    }


@pytest.mark.parametrize("name", turned_files())
def test_a_picture_is_upright_wherever_its_orientation_is_written(tmp_path, name, capfd):
    path = written(tmp_path, name, turned_files()[name])
    stored = picture()
    if name.endswith("jpg"):
        stored = simplejpeg.decode_jpeg(pillow_file(stored, "JPEG", quality=95))
    image = read_shot(path)
    np.testing.assert_array_equal(image, np.rot90(stored, -1))
    found, _ = inspect(path)
    write_image(tmp_path / "out.png", image, found)
    np.testing.assert_array_equal(read_shot(tmp_path / "out.png"), image)  # not turned a second time
    assert capfd.readouterr().err == ""


def test_a_damaged_block_still_tells_the_orientation():
    block = bytearray(exif_block(6))
    block[8 + 2 + 2 : 8 + 2 + 4] = b"\xee\xee"  # the first tag's type is none
    data = add_jpeg_segments(pillow_file(picture(), "JPEG"), [(0xE1, b"Exif\0\0" + bytes(block))])
    assert decode_image(data, "x").shape == (56, 40, 3)


# --- pages


def stack_file(path, shapes=((20, 30, 3),) * 3, thumbnail=True, **options):
    pages = [picture(shape, seed=i) for i, shape in enumerate(shapes)]
    with tifffile.TiffWriter(path) as file:
        for page in pages:
            file.write(page, photometric="rgb", metadata=None, **options)
            if thumbnail:
                file.write(page[::4, ::4].copy(), photometric="rgb", metadata=None, subfiletype=1)
    return pages


def test_pages_of_a_tiff_are_shots(tmp_path):
    path = tmp_path / "stack.tif"
    pages = stack_file(path, compression="lzw")
    assert page_count(path) == 3
    shots = [Page(path, number) for number in (1, 2, 3)]
    assert str(shots[2]) == f"{path}, page 3"
    for shot, page in zip(shots, pages):
        np.testing.assert_array_equal(read_shot(shot), page)
        np.testing.assert_array_equal(read_shot_with_mask(shot)[0], page)
    assert len(inspect_all(shots)) == 3
    np.testing.assert_array_equal(read_shot(path), pages[0])
    for number in (0, 4):
        with pytest.raises(UserError, match=f"page {number}: it holds 3 pictures"):
            read_shot(Page(path, number))


def test_the_same_page_twice_is_a_duplicate(tmp_path):
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):
            file.write(picture(), photometric="rgb", metadata=None)
    with pytest.raises(UserError, match=r"page 2: the same shot as .*page 1"):
        inspect_all([Page(path, 1), Page(path, 2)])


def test_a_page_has_the_profile_of_its_own_or_of_the_first(tmp_path):
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as file:
        for seed, icc in enumerate((profile("Wide"), None, profile())):
            file.write(picture(seed=seed), photometric="rgb", metadata=None, iccprofile=icc)
    assert [profile_name(inspect(Page(path, number))[0].icc) for number in (1, 2, 3)] == ["Wide", "Wide", "sRGB"]


def test_imagej_stacks(tmp_path):
    stack = picture((5, 20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    assert page_count(tmp_path / "z.tif") == 5
    np.testing.assert_array_equal(read_shot(Page(tmp_path / "z.tif", 4)), stack[3])
    tifffile.imwrite(tmp_path / "c.tif", stack[:3], imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(UserError, match=r"c\.tif: its pages are 3 color channels, not pictures"):
        page_count(tmp_path / "c.tif")


def test_pictures_of_an_mpo_are_shots_and_previews_are_not(tmp_path):
    images = [Image.fromarray(scene(seed=i)) for i in range(2)]
    preview = Image.fromarray(scene(48, 64))
    images[0].save(tmp_path / "x.mpo", "MPO", save_all=True, append_images=[images[1], preview], quality=95)
    assert page_count(tmp_path / "x.mpo") == 2
    for number in (1, 2):
        pixels = read_shot(Page(tmp_path / "x.mpo", number)).astype(int)
        assert np.abs(pixels - np.asarray(images[number - 1])).mean() < 4
    inspect_all([Page(tmp_path / "x.mpo", 1), Page(tmp_path / "x.mpo", 2)])
    with pytest.raises(UserError, match="holds 2 pictures"):
        read_shot(Page(tmp_path / "x.mpo", 3))


def test_other_files_hold_one_picture(tmp_path):
    for name in ("x.jpg", "x.png", "x.tif", "x.webp", "x.bmp"):
        write_image(tmp_path / name, picture())
        assert page_count(tmp_path / name) == 1
        np.testing.assert_array_equal(read_shot(Page(tmp_path / name, 1)), read_shot(tmp_path / name))
        with pytest.raises(UserError, match="page 2"):
            read_shot(Page(tmp_path / name, 2))
    with pytest.raises(MissingFileError, match="gone"):
        page_count(tmp_path / "gone.tif")


# --- the cases beside the checkout


def test_the_cases_come_out_as_they_should():
    case = lambda name: shared_file(f"cases/{name}")
    assert read_shot(case("samsung-no-eoi/b.jpg")).shape == (240, 320, 3)
    for name in ("b-zero-sector.jpg", "b-zero-tail.jpg"):
        refused(case(f"jpeg-damaged/{name}"), "damaged")
    assert page_count(case("tiff-pages/stack.tif")) == 2
    _, mask = read_shot_with_mask(case("tiff-hugin-alpha/b.tif"))
    assert 0.9 < mask.mean() < 1
    with pytest.raises(UserError, match="Adobe RGB"):
        inspect_all([case("adobe-rgb-dcf/_DSC0001.jpg"), case("adobe-rgb-dcf/DSC_0002.jpg")])
    a, b = (read_shot(case(f"webp-orientation/{name}.webp")) for name in "ab")
    assert np.abs(cv2.blur(a, (25, 25)).astype(int) - cv2.blur(b, (25, 25))).mean() < 6  # the same way up
