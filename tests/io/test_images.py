"""Codecs: pictures are read upright, complete and at the file's bit depth, and written whole or not at all."""

import os
import struct

import cv2
import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.capture_time import capture_time
from edmf_jax.io.images import check_target, decode_image, read_file, read_image, write_image
from tests.helpers.files import shared_file
from tests.helpers.photofiles import picture, png, tiff

# EXIF orientation → how the stored picture is turned upright (TIFF 6.0, tag 274).
UPRIGHT = {1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
           5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
           8: lambda x: np.rot90(x)}


def encoded(suffix, image, *settings):
    return cv2.imencode(suffix, image if image.ndim == 2 else image[..., ::-1].copy(), settings)[1].tobytes()


def exif_segment(orientation, thumbnail=b""):
    """An APP1 segment with the orientation tag and a thumbnail, assembled by hand after TIFF 6.0."""
    body = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0) + thumbnail
    return b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body


def with_exif(jpeg, orientation, thumbnail=b""):
    return jpeg[:2] + exif_segment(orientation, thumbnail) + jpeg[2:]


def refused(data, *words):
    with pytest.raises(UserError) as caught:
        decode_image(data, "shot.img")
    message = str(caught.value)
    assert message.startswith("shot.img: ") and "\n" not in message
    for word in words:
        assert word in message, message


# --- reading


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_lossless_color_comes_back(tmp_path, suffix):
    image = picture()
    write_image(tmp_path / f"x{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"x{suffix}"), image)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(33, 20), (33, 20, 3)])
def test_sixteen_bits_come_back(tmp_path, suffix, shape):
    image = picture(shape, np.uint16)
    write_image(tmp_path / f"x{suffix}", image)
    back = read_image(tmp_path / f"x{suffix}")
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_single_channel_comes_back_as_one_plane(tmp_path, suffix):
    image = picture((21, 34))
    write_image(tmp_path / f"x{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"x{suffix}"), image)


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_jpeg_is_close_and_keeps_its_channels(tmp_path, shape):
    smooth = cv2.GaussianBlur(picture(shape), (0, 0), 4)
    write_image(tmp_path / "x.JPG", smooth)
    back = read_image(tmp_path / "x.JPG")
    assert back.shape == shape and np.abs(back.astype(int) - smooth).max() <= 6


@pytest.mark.parametrize("orientation", list(UPRIGHT))
@pytest.mark.parametrize("shape", [(24, 40), (24, 40, 3)])
def test_exif_orientation_is_applied(orientation, shape):
    jpeg = encoded(".jpg", picture(shape))
    expected = UPRIGHT[orientation](decode_image(jpeg, "plain"))
    np.testing.assert_array_equal(decode_image(with_exif(jpeg, orientation), "turned"), expected)


def test_exif_orientation_of_a_png_is_applied():
    image = picture((10, 20), np.uint16)
    data = png(image, 0, bits=16, extra=[(b"eXIf", exif_segment(6)[10:])])
    np.testing.assert_array_equal(decode_image(data, "turned"), np.rot90(image, -1))


def test_alpha_is_dropped_and_color_under_it_kept():
    rgba = picture((12, 18, 4), np.uint16)
    np.testing.assert_array_equal(decode_image(png(rgba, 6, bits=16), "x"), rgba[..., :3])
    tiff = cv2.imencode(".tif", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    np.testing.assert_array_equal(decode_image(tiff, "x"), rgba[..., :3])


@pytest.mark.parametrize("bits", [8, 16])
def test_gray_with_alpha_is_one_plane(bits):
    gray_alpha = picture((12, 18, 2), np.dtype(f"u{bits // 8}"))
    np.testing.assert_array_equal(decode_image(png(gray_alpha, 4, bits), "x"), gray_alpha[..., 0])


def test_palette_becomes_color():
    colors, indices = picture((256, 3)), picture((9, 14))
    data = png(indices, 3, extra=[(b"PLTE", colors.tobytes())])
    np.testing.assert_array_equal(decode_image(data, "x"), colors[indices])


def test_names_with_spaces_and_other_scripts(tmp_path):
    image = picture((16, 16))
    write_image(tmp_path / "Straße 写真 1.png", image)
    np.testing.assert_array_equal(read_image(str(tmp_path / "Straße 写真 1.png")), image)


def test_real_photograph_is_opencvs_decoding():
    path = shared_file("data/EDMF/Source_A/bg-A-1.jpg")
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path))[..., ::-1])


# --- damaged and unsupported files


@pytest.mark.parametrize("progressive", [0, 1])
def test_truncated_jpeg_is_refused_wherever_it_ends(progressive):
    thumbnail = encoded(".jpg", picture((8, 8)))  # an end marker of its own
    whole = with_exif(encoded(".jpg", picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive), 1, thumbnail)
    assert decode_image(whole, "whole").shape == (40, 56, 3)
    for end in (*range(3, len(whole), len(whole) // 40), len(whole) - 2, len(whole) - 1):
        refused(whole[:end], "JPEG", "truncated")


def test_half_copied_jpeg_padded_with_zeros_is_refused():
    whole = encoded(".jpg", picture())
    refused(whole[: len(whole) // 2] + bytes(len(whole) // 2), "truncated")


def test_jpeg_with_restarts_fill_bytes_and_a_second_picture_behind_it_is_read():
    image = picture()
    whole = encoded(".jpg", image, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    assert b"\xff\xd0" in whole
    again = decode_image(whole[:2] + b"\xff\xff" + whole[2:] + b"\0\0" + whole[:100], "phone")
    np.testing.assert_array_equal(again, decode_image(whole, "plain"))


def test_truncated_png_is_refused_wherever_it_ends(capfd):
    whole = encoded(".png", picture())
    for end in (*range(9, len(whole), len(whole) // 30), len(whole) - 1):
        refused(whole[:end], "PNG", "truncated")
    assert capfd.readouterr().err == ""


def test_flipped_byte_in_a_png_is_refused():
    whole = bytearray(encoded(".png", picture()))
    for position in (20, len(whole) // 2, len(whole) - 3):
        broken = whole.copy()
        broken[position] ^= 1
        refused(bytes(broken), "PNG", "checksum")


def test_bytes_behind_a_png_are_ignored():
    image = picture((5, 6))
    np.testing.assert_array_equal(decode_image(encoded(".png", image) + b"more", "x"), image)


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".bmp", ".ppm", ".jp2"])
def test_truncated_files_of_other_kinds_are_refused_quietly(suffix, capfd):
    whole = encoded(suffix, picture((80, 96, 3)))
    assert decode_image(whole, "whole").shape == (80, 96, 3)
    for end in (6, len(whole) // 3, int(len(whole) * 0.9)):
        refused(whole[:end])
    assert capfd.readouterr().err == ""


def test_uncompressed_tiffs_assembled_by_hand_are_read():
    for image in (picture((16, 18)), picture((16, 18, 3), np.uint16)):
        np.testing.assert_array_equal(decode_image(tiff(image), "x"), image)
    rgba = picture((16, 18, 4), np.uint16)
    np.testing.assert_array_equal(decode_image(tiff(rgba, t338=2), "x"), rgba[..., :3])


@pytest.mark.parametrize("data, words", [
    (tiff(picture((16, 18), np.uint32)), "32 bits per sample"),
    (tiff(picture((16, 18), np.uint16), t339=2), "int16"),
    (b"\0\0\0\x20ftypavif" + bytes(60), "AVIF"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_kinds_that_would_be_read_wrongly_are_refused(data, words):
    refused(data, words, "PNG")


@pytest.mark.parametrize("data, words", [
    (b"", "empty"), (b"hello, I am a text file\n" * 20, "not a picture"), (os.urandom(500), "not a picture"),
    (b"\xff\xd8", "truncated"), (b"\x89PNG\r\n\x1a\n", "truncated"), (b"II*\0", "truncated"),
    (b"\xff\xd8\xff\xda\0\x02\xff\xd9", "not a picture"),
])
def test_files_that_are_not_pictures_are_refused(data, words, capfd):
    refused(data, words)
    assert capfd.readouterr().err == ""


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "gone.png")
    with pytest.raises(UserError, match="this is a folder"):
        read_image(tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UserError, match="this is a pipe or a device"):
        read_file(tmp_path / "pipe.jpg")
    assert capture_time(tmp_path / "pipe.jpg") is None



# --- writing


def test_existing_file_is_replaced_and_nothing_else_is_left(tmp_path):
    for seed in (0, 1):
        write_image(tmp_path / "x.png", picture(seed=seed))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), picture(seed=1))
    assert os.listdir(tmp_path) == ["x.png"]


def test_link_is_written_through(tmp_path):
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    write_image(tmp_path / "link.png", picture())
    assert (tmp_path / "link.png").is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "real.png"), picture())


def test_full_disk_leaves_the_old_file_and_no_new_one(tmp_path, tiny_files):
    (tmp_path / "x.png").write_bytes(b"old")
    with tiny_files(1000), pytest.raises(UserError, match=r"x.png: cannot be written \(File too large\)"):
        write_image(tmp_path / "x.png", picture())
    assert os.listdir(tmp_path) == ["x.png"] and (tmp_path / "x.png").read_bytes() == b"old"


@pytest.mark.parametrize("name, dtype, words", [
    ("x.xyz", np.uint8, "suffix '.xyz' is not one that is written; use one of .png"),
    ("x", np.uint8, "suffix ''"),
    ("x.jpg", np.uint16, ".jpg cannot hold 16-bit pictures; use one of .png"),
    ("x.webp", np.uint16, "16-bit"),
    ("no/such/x.png", np.uint8, "does not exist; create it first"),
    ("folder.png", np.uint8, "this is a folder"),
])
def test_targets_that_cannot_be_written_are_refused(tmp_path, name, dtype, words):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError) as caught:
        write_image(tmp_path / name, picture(dtype=dtype))
    assert words in str(caught.value) and name in str(caught.value)
    with pytest.raises(UserError):
        check_target(tmp_path / name, dtype)
    assert os.listdir(tmp_path) == ["folder.png"]


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 5), np.uint8), np.zeros((2, 4, 4, 3), np.uint8)])
def test_arrays_that_are_not_pictures_are_refused(tmp_path, image):
    with pytest.raises(UserError, match="a picture is uint8 or uint16"):
        write_image(tmp_path / "x.png", image)


def test_picture_too_large_for_its_format_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"\.jpg cannot hold a picture of 70000×1 px"):
        write_image(tmp_path / "x.jpg", np.zeros((1, 70_000), np.uint8))
    assert os.listdir(tmp_path) == []
