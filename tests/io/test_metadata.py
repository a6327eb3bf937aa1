"""EXIF, color profiles and resolution from file to file, HEIC and RAW; Pillow reads what our code wrote."""

import importlib.util
import io
import struct
import sys
import types
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from edmf_jax.errors import UserError
from edmf_jax.io import exif
from edmf_jax.io.icc import profile_name, same_profile
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.metadata import Metadata, read_metadata, validate
from edmf_jax.io.photographs import inspect, inspect_all, read_shot
from edmf_jax.io.tiff import needs_bigtiff
from tests.helpers.photofiles import (
    MAKER_NOTE,
    camera_jpeg,
    dng,
    exif_block,
    picture,
    pillow_file,
    png,
    profile,
    tiff,
)

SUFFIXES = (".jpg", ".png", ".tif", ".webp")
KINDS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WEBP": ".webp"}
needs_heic = pytest.mark.skipif(not importlib.util.find_spec("pillow_heif"), reason="needs the extra heic")
needs_raw = pytest.mark.skipif(not importlib.util.find_spec("rawpy"), reason="needs the extra raw")


def read_with_pillow(path):
    """The metadata that Pillow finds: (IFD0, EXIF, GPS), profile, resolution."""
    with Image.open(path) as image:
        tags = image.getexif()
        dpi = tuple(map(float, image.info["dpi"])) if "dpi" in image.info else None
        return (dict(tags), tags.get_ifd(0x8769), tags.get_ifd(0x8825)), image.info.get("icc_profile"), dpi


# --- from a shot to the result


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_camera_s_metadata_reach_every_format(tmp_path, suffix, order):
    kept = Metadata(exif_block(6, order), profile("Display P3"), (300.0, 300.0))
    image = picture((48, 30, 3))
    write_image(tmp_path / f"x{suffix}", image, kept)
    (main, inner, gps), icc, dpi = read_with_pillow(tmp_path / f"x{suffix}")
    assert icc == kept.icc
    assert main[271] == "Maker" and main[274] == 1 and main[282] == main[283] == 300
    assert inner[0x9000] == b"0232" and inner[0x927C] == MAKER_NOTE and gps[1] == "N"
    assert inner[0xA005] == {1: "R98"} or inner[0xA005] > 0
    assert (inner[0xA002], inner[0xA003]) == (30, 48) == (main[256], main[257])
    if suffix != ".webp":
        np.testing.assert_allclose(dpi, (300, 300), atol=0.01)
    if suffix != ".jpg":
        np.testing.assert_array_equal(read_image(tmp_path / f"x{suffix}"), image)
    again = read_metadata((tmp_path / f"x{suffix}").read_bytes())
    assert again.icc == kept.icc and exif.resolution(again.exif) == (300, 300)


@pytest.mark.parametrize("shape", [(31, 45), (31, 45, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_with_metadata_holds_every_picture(tmp_path, shape, dtype, order):
    image = picture((700, *shape[1:]), dtype)
    write_image(tmp_path / "x.tif", image, Metadata(exif_block(3, order), dpi=(240.5, 120.0)))
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), image)
    np.testing.assert_allclose(read_with_pillow(tmp_path / "x.tif")[2], (240.5, 120), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1, 1, 3), (3, 3, 3), (3, 7, 3), (7, 3, 3)])
def test_a_tiff_with_metadata_holds_pictures_of_any_shape(tmp_path, shape):
    image = picture(shape, np.uint16)
    write_image(tmp_path / "x.tif", image, Metadata(exif_block()))
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), image)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_picture_of_more_than_4_gb_becomes_a_bigtiff_with_its_metadata(tmp_path, monkeypatch, order):
    monkeypatch.setattr("edmf_jax.io.tiff._MAX_CLASSIC_BYTES", 1000)
    image = picture((300, 45, 3), np.uint16)
    write_image(tmp_path / "x.tif", image, Metadata(exif_block(6, order), profile(), (300.0, 300.0)))
    with tifffile.TiffFile(tmp_path / "x.tif") as file:  # Pillow does not read big-endian BigTIFF
        (page,) = file.pages
        assert file.is_bigtiff and file.byteorder == order
        np.testing.assert_array_equal(page.asarray(), image)
        value = lambda tag: page.tags[tag].value
        assert (value("Make"), value("Orientation"), value("XResolution")) == ("Maker", 1, (300, 1))
        assert value("InterColorProfile") == profile()
        inner = value("ExifTag")
        assert (inner["PixelXDimension"], inner["PixelYDimension"], inner["ExifVersion"]) == (45, 300, "0232")
        assert "MakerNote" not in inner and value("GPSTag")["GPSLatitudeRef"] == "N"
    write_image(tmp_path / "x.tif", image)
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), image)


def test_the_limit_of_a_classic_tiff():
    one = np.zeros(1, np.uint8)
    assert not needs_bigtiff(np.broadcast_to(one, (65_000, 65_000)))
    assert needs_bigtiff(np.broadcast_to(one, (65_500, 65_500)))


def test_sixteen_bits_and_a_profile_go_into_a_png(tmp_path):
    image = picture((20, 30, 3), np.uint16)
    write_image(tmp_path / "x.png", image, Metadata(icc=profile("Adobe RGB")))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), image)
    assert profile_name(read_metadata((tmp_path / "x.png").read_bytes()).icc) == "Adobe RGB"


@pytest.mark.parametrize("kind", KINDS)
def test_what_pillow_writes_is_found(tmp_path, kind):
    options = {"icc_profile": profile(), "exif": exif_block(6)}
    if kind in ("JPEG", "PNG", "TIFF"):
        options["dpi"] = (254, 127)
    if kind == "TIFF":  # Pillow puts the tags, orientation included, into the TIFF's own directory
        options["exif"] = exif_block(1)
    found = read_metadata(pillow_file(picture((30, 40, 3)), kind, **options))
    assert found.icc == profile()
    assert b"Maker" in found.exif
    expected = (300, 300) if kind == "WEBP" else (254, 127)
    np.testing.assert_allclose(found.dpi, expected, atol=0.01)


def test_a_tiff_s_description_goes_into_a_jpeg(tmp_path):
    write_image(tmp_path / "x.tif", picture((30, 40, 3)), Metadata(exif_block(), profile(), (200.0, 200.0)))
    found = read_metadata((tmp_path / "x.tif").read_bytes())
    write_image(tmp_path / "x.jpg", picture((30, 40, 3)), found)
    (main, inner, gps), icc, dpi = read_with_pillow(tmp_path / "x.jpg")
    assert main[271] == "Maker" and inner[0xA002] == 40 and inner[0xA005] and gps[0] == b"\2\3\0\0"
    assert 0x927C not in inner  # a moved maker note would have wrong offsets
    assert icc == profile() and dpi == (200, 200)


def test_long_profiles_are_split_into_a_jpeg_s_segments_and_joined_again(tmp_path):
    icc = profile() + np.random.default_rng(0).bytes(200_000)
    write_image(tmp_path / "x.jpg", picture((30, 40, 3)), Metadata(icc=icc))
    assert read_with_pillow(tmp_path / "x.jpg")[1] == icc == read_metadata((tmp_path / "x.jpg").read_bytes()).icc


def test_exif_too_long_for_a_jpeg_loses_the_maker_note(tmp_path):
    block = exif_block(thumbnail=b"") + bytes(70_000)  # padding at the end
    write_image(tmp_path / "x.jpg", picture((30, 40, 3)), Metadata(block))
    (main, inner, _), _, _ = read_with_pillow(tmp_path / "x.jpg")
    assert main[271] == "Maker" and 0x927C not in inner and inner[0xA003] == 30


def test_a_png_s_own_color_chunks_stay_with_a_png(tmp_path):
    data = png(picture((10, 20, 3)), 2, extra=[(b"gAMA", struct.pack(">I", 100_000)), (b"cICP", bytes([12, 13, 0, 1]))])
    found = read_metadata(data)
    write_image(tmp_path / "x.png", picture((10, 20, 3)), found)
    assert read_metadata((tmp_path / "x.png").read_bytes()).png_color == found.png_color != ()
    with pytest.raises(UserError, match=r"only \.png can hold its description of colors"):
        write_image(tmp_path / "x.jpg", picture((10, 20, 3)), found)


# --- corrections of EXIF


@pytest.mark.parametrize("order", ["<", ">"])
def test_nothing_is_moved_and_the_thumbnail_is_gone(order):
    block = exif_block(8, order, thumbnail=b"an old picture")
    new = exif.correct(block, 123, 45)
    assert len(new) == len(block) - len(b"an old picture")
    assert b"an old picture" not in new and new.index(MAKER_NOTE) == block.index(MAKER_NOTE)
    changed = [i for i in range(len(new)) if new[i] != block[i]]
    assert len(changed) < 40
    assert exif.correct(new, 123, 45) == new


def test_a_thumbnail_that_is_not_the_last_is_blanked():
    block = exif_block(thumbnail=b"an old picture") + b"more"
    new = exif.correct(block, 1, 1)
    assert len(new) == len(block) and b"an old picture" not in new and new.endswith(b"more")


@pytest.mark.parametrize("damage", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", exif_block()[:60], b"hello" * 30,
                                    exif_block()[:8] + b"\xff\xff" + exif_block()[10:]])
def test_damaged_exif_is_left_out(tmp_path, damage):
    assert validate(Metadata(damage)).exif == b""
    assert validate(Metadata(exif_block())).exif == exif_block()


def test_every_cut_of_a_block_is_read_or_left_out():
    block = exif_block()
    for end in range(len(block)):
        validate(Metadata(block[:end]))


# --- profiles


def test_profiles_are_compared_by_their_meaning():
    dated = bytearray(profile())
    dated[24:36] = bytes(12)
    assert same_profile(profile(), bytes(dated))
    assert same_profile(b"", profile("sRGB IEC61966-2.1")) and same_profile(profile(), b"") and same_profile(b"", b"")
    assert not same_profile(b"", profile("Display P3")) and not same_profile(profile(), profile("Display P3"))
    assert profile_name(b"") == "sRGB" and profile_name(b"short") == profile_name(bytes(200)) == "unnamed"


def test_shots_of_different_profiles_are_refused_by_name(tmp_path):
    for name, icc in (("a.jpg", profile()), ("b.jpg", b""), ("c.jpg", profile("Display P3"))):
        (tmp_path / name).write_bytes(camera_jpeg(picture(seed=ord(name[0])), icc=icc))
    assert len(inspect_all([tmp_path / "a.jpg", tmp_path / "b.jpg"])) == 2
    with pytest.raises(UserError, match=r"c\.jpg has the color profile 'Display P3' and .*a\.jpg has 'sRGB'; convert"):
        inspect_all([tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.jpg"])


@pytest.mark.parametrize("suffix, shape, space, words", [
    (".bmp", (9, 9, 3), b"RGB ", "cannot hold its color profile"), (".webp", (9, 9), b"GRAY", "cannot hold"),
    (".png", (9, 9, 3), b"CMYK", "is for CMYK pictures, but the picture is RGB"),
    (".png", (9, 9), b"RGB ", "is for RGB pictures, but the picture is single-channel"),
])
def test_pixels_are_not_written_without_their_profile(tmp_path, suffix, shape, space, words):
    icc = profile()[:16] + space + profile()[20:]
    with pytest.raises(UserError, match=words):
        write_image(tmp_path / f"x{suffix}", picture(shape), Metadata(icc=icc))
    assert not list(tmp_path.iterdir())


# --- alpha


def rgba(alpha, dtype=np.uint8):
    image = picture((16, 18, 4), dtype)
    image[..., 3] = np.iinfo(dtype).max
    image[3, 4, 3] = alpha if alpha < 255 else image[3, 4, 3]
    return image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("write", [lambda image: png(image, 6, 8 * image.itemsize), lambda image: tiff(image, t338=2)],
                         ids=["png", "tiff"])
def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path, write, dtype):
    (tmp_path / "opaque").write_bytes(write(rgba(255, dtype)))
    np.testing.assert_array_equal(read_shot(tmp_path / "opaque"), rgba(255, dtype)[..., :3])
    (tmp_path / "hole").write_bytes(write(rgba(254, dtype)))
    inspect(tmp_path / "hole")
    with pytest.raises(UserError, match="hole: it has transparent pixels, which cannot be fused; flatten it"):
        read_shot(tmp_path / "hole")


def test_alpha_of_other_kinds(tmp_path):
    gray_alpha = picture((12, 18, 2))
    colors, indices = picture((256, 3)), picture((9, 14))
    files = {
        "webp": pillow_file(rgba(0), "WEBP", lossless=True), "gray": png(gray_alpha, 4),
        "key": png(gray_alpha[..., 0], 0, extra=[(b"tRNS", b"\0\7")]),
        "palette": png(indices, 3, extra=[(b"PLTE", colors.tobytes()), (b"tRNS", bytes(256))]),
        "tiff": tiff(gray_alpha, t338=2),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"{name}: .*(transparent|alpha)"):
            read_shot(tmp_path / name)
    gray_alpha[..., 1] = 255
    opaque = {"webp": (pillow_file(rgba(255), "WEBP", lossless=True), rgba(255)[..., :3]),
              "gray": (png(gray_alpha, 4), gray_alpha[..., 0]),
              "palette": (png(indices, 3, extra=[(b"PLTE", colors.tobytes()), (b"tRNS", b"\xff" * 9)]),
                          colors[indices])}
    for name, (data, image) in opaque.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_shot(tmp_path / name), image)


# --- files with a wrong header or name


def files_with_impossible_sizes():
    whole = png(picture((8, 8, 3)), 2)
    header = struct.pack(">IIBBBBB", 9000, 8000, 8, 2, 0, 0, 0)
    jpeg = bytearray(cv2.imencode(".jpg", picture((16, 16, 3)))[1].tobytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    webp = bytearray(pillow_file(picture((16, 16, 3)), "WEBP", lossless=True))
    at = webp.index(b"VP8L") + 9
    webp[at : at + 4] = struct.pack("<I", 16_000 - 1 | (16_000 - 1) << 14)
    bmp = bytearray(cv2.imencode(".bmp", picture((16, 16, 3)))[1].tobytes())
    bmp[18:26] = struct.pack("<ii", 9000, 8000)
    return {"png": whole[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + whole[33:],
            "jpg": bytes(jpeg), "webp": bytes(webp), "bmp": bytes(bmp),
            "tif": tiff(picture((16, 18, 3)), t256=60_000, t257=60_000),
            "alpha.tif": tiff(rgba(255), t338=2, t256=60_000, t257=60_000)}


@pytest.mark.parametrize("name", files_with_impossible_sizes())
def test_a_small_file_that_claims_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, name, monkeypatch):
    (tmp_path / name).write_bytes(files_with_impossible_sizes()[name])
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for read in (inspect, read_shot):
        with pytest.raises(UserError, match=r"its header claims a picture of \d+ MB, which a file of \d+ bytes cannot"):
            read(tmp_path / name)


def test_a_large_picture_of_one_tone_is_accepted(tmp_path):
    for suffix in (".png", ".jpg", ".tif"):
        write_image(tmp_path / f"x{suffix}", np.zeros((5000, 5000, 3), np.uint8))
        assert inspect(tmp_path / f"x{suffix}")


def test_the_suffix_does_not_matter_and_names_may_be_in_any_script(tmp_path):
    image = picture((20, 30, 3))
    (tmp_path / "写真 é.jpg").write_bytes(cv2.imencode(".png", image[..., ::-1].copy())[1].tobytes())
    np.testing.assert_array_equal(read_shot(tmp_path / "写真 é.jpg"), image)


# --- HEIC and RAW


def heic(image, mode, **options):
    import pillow_heif

    out = io.BytesIO()
    file = pillow_heif.from_bytes(mode, (image.shape[1], image.shape[0]), image.tobytes())
    file.save(out, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return out.getvalue()


@needs_heic
def test_heic_comes_upright_with_its_metadata(tmp_path):
    image = picture((40, 56, 3))
    (tmp_path / "x.heic").write_bytes(heic(image, "RGB", exif=b"Exif\0\0" + exif_block(1), icc_profile=profile("P3")))
    np.testing.assert_array_equal(read_shot(tmp_path / "x.heic"), image)
    found, _ = inspect(tmp_path / "x.heic")
    assert profile_name(found.icc) == "P3" and b"Maker" in found.exif and found.dpi == (300, 300)


@needs_heic
def test_ten_bits_of_a_heic_fill_sixteen(tmp_path):
    image = np.full((40, 56, 3), 65535, np.uint16)
    image[:20] = 0
    (tmp_path / "x.heic").write_bytes(heic(image, "RGB;16"))
    np.testing.assert_array_equal(read_shot(tmp_path / "x.heic"), image)


@needs_heic
def test_heic_that_is_cut_off_or_transparent_is_refused(tmp_path):
    image = rgba(255)
    (tmp_path / "x.heic").write_bytes(heic(image, "RGBA"))
    np.testing.assert_array_equal(read_shot(tmp_path / "x.heic"), image[..., :3])
    (tmp_path / "x.heic").write_bytes(heic(rgba(0), "RGBA"))
    with pytest.raises(UserError, match="transparent"):
        read_shot(tmp_path / "x.heic")
    (tmp_path / "x.heic").write_bytes(heic(picture((40, 56, 3)), "RGB")[:-400])
    with pytest.raises(UserError, match="damaged") as caught:
        read_shot(tmp_path / "x.heic")
    assert "\n" not in str(caught.value)


@needs_raw
@pytest.mark.parametrize("orientation, shape", [(1, (64, 96, 3)), (6, (96, 64, 3))])
def test_raw_is_developed_upright_to_sixteen_bits(tmp_path, orientation, shape):
    (tmp_path / "x.DNG").write_bytes(dng(orientation=orientation))
    image = read_shot(tmp_path / "x.DNG")
    assert image.shape == shape and image.dtype == np.uint16
    dark = image[:, 56:] if orientation == 1 else image[56:]
    assert dark.mean() < 0.8 * image.mean()
    found, _ = inspect(tmp_path / "x.DNG")
    assert b"Model X" in found.exif and len(found.exif) < 300


@needs_raw
def test_a_file_that_is_no_raw_is_refused(tmp_path):
    (tmp_path / "x.nef").write_bytes(b"hello" * 100)
    with pytest.raises(UserError, match=r"x\.nef: not read as a camera's RAW"):
        read_shot(tmp_path / "x.nef")


class Huge:
    """A picture of 60,000 × 60,000 px, as pillow_heif and rawpy present it, that must not be decoded."""

    size, mode, info = (60_000, 60_000), "RGB", {"bit_depth": 10}
    sizes = types.SimpleNamespace(raw_width=60_000, raw_height=60_000, width=60_000, height=60_000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __array__(self, *_, **__):
        pytest.fail("decoded")

    def postprocess(self, **_):
        pytest.fail("decoded")


@pytest.mark.parametrize("name, data, package", [("x.heic", b"\0\0\0\x1cftypheic" + bytes(20), "pillow_heif"),
                                                 ("x.cr2", b"II*\0" + bytes(30), "rawpy")])
def test_a_small_heic_or_raw_that_claims_a_huge_picture_is_refused(tmp_path, monkeypatch, name, data, package):
    opened = lambda *_, **__: Huge()
    stub = types.SimpleNamespace(open_heif=opened, imread=opened, LibRawError=ValueError)
    monkeypatch.setitem(sys.modules, package, stub)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"{name}: its header claims a picture of 21600 MB"):
        read_shot(tmp_path / name)


@pytest.mark.parametrize("name, data, package, extra", [
    ("x.heic", b"\0\0\0\x1cftypheic" + bytes(20), "pillow_heif", "heic"),
    ("x.cr2", b"II*\0" + bytes(30), "rawpy", "raw"),
])
def test_the_missing_extra_is_named(tmp_path, monkeypatch, name, data, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf'{name}: needs the package {package}.*pip install "edmf-jax\[{extra}\]"'):
        read_shot(tmp_path / name)
