"""Which files, folders, patterns and pages are the shots, in which order, and what is said about it."""

import importlib.util

import numpy as np
import pytest
import tifffile
from PIL import Image

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.capture_time import capture_time
from edmf_jax.io.photographs import Page
from edmf_jax.io.shot_list import expand_shots, path_of
from tests.helpers.photofiles import pillow_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder `stack`, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stack").mkdir()
    return tmp_path / "stack"


@pytest.fixture
def rawpy(monkeypatch):
    """A function that says whether the package rawpy is installed."""
    found = importlib.util.find_spec

    def install(installed):
        monkeypatch.setattr(importlib.util, "find_spec",
                            lambda name: installed or None if name == "rawpy" else found(name))

    install(True)
    return install


def touch(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"")


def expand(*given):
    """The names of the shots, and what was said."""
    lines = []
    shots = expand_shots(given, lines.append)
    return [shot.name if hasattr(shot, "name") else f"{shot.path.name}#{shot.number}" for shot in shots], lines


def taken(path, time, fraction=None, kind="JPEG"):
    """A file whose EXIF says when it was taken; None: it does not."""
    exif = Image.Exif()
    exif[271] = "Maker"
    if time:
        exif.get_ifd(0x8769)[0x9003] = time
    if fraction:
        exif.get_ifd(0x8769)[0x9291] = fraction
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    path.write_bytes(pillow_file(np.full((16, 16, 3), 90, np.uint8), kind, exif=block))


# Folders and patterns


def test_a_folder_is_the_stack_in_it(folder):
    touch(folder, "10.JPG", "9.jpg", "notes.txt", ".hidden.jpg")
    assert expand(folder) == expand(str(folder)) == (["9.jpg", "10.JPG"], [])


@pytest.mark.parametrize("pattern", ["stack/*.jpg", "stack/?.jpg", "st[a]ck/*", "*/*.jpg"])
def test_a_pattern_that_the_shell_left_is_expanded(folder, pattern):
    touch(folder, "b.jpg", "a.jpg", "a.txt")
    assert expand(pattern) == (["a.jpg", "b.jpg"], [])


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder):
    touch(folder, "a[1].jpg", "a1.jpg")
    assert expand("stack/a[1].jpg", "stack/a1.jpg") == (["a[1].jpg", "a1.jpg"], [])


def test_files_stay_as_they_are_given(folder):
    touch(folder, "2.jpg", "1.jpg")
    image, page = np.zeros((16, 16)), Page(folder / "x.tif", 2)
    assert expand_shots([folder / "2.jpg", image, "gone.jpg", page, folder / "1.jpg"], print) == [
        folder / "2.jpg", image, path_of("gone.jpg"), page, folder / "1.jpg"]


def test_what_holds_no_pictures_says_what_it_holds(folder):
    for given, error, words in ((folder, UserError, "stack: this folder is empty"),
                                ("stack/*.jpg", MissingFileError, r"'stack/\*.jpg': no file matches it")):
        with pytest.raises(error, match=words):
            expand(given)
    touch(folder, "readme.txt")
    for given in (folder, "stack/*"):
        with pytest.raises(UserError, match=r"no pictures, only readme\.txt"):
            expand(given)
    (folder / "inner").mkdir()
    for given in (folder, "stack/*"):
        with pytest.raises(UserError, match=r"no pictures, only the folder inner; .*--stacks"):
            expand(given)
    touch(folder, "a.jpg", "b.jpg")
    names, lines = expand(folder)
    assert names == ["a.jpg", "b.jpg"] and len(lines) == 1 and lines[0].endswith("without the folder inner")


# RAW beside JPEG


def test_raw_is_taken_where_it_can_be_read(folder, rawpy):
    touch(folder, "DSC_1.NEF", "DSC_1.JPG", "dsc_2.jpg", "DSC_2.NEF")
    for given in ([folder], sorted(folder.iterdir())):
        names, lines = expand(*given)
        assert names == ["DSC_1.NEF", "DSC_2.NEF"] and len(lines) == 1
        assert "2 shots both as .nef and .jpg; .nef is used" in lines[0]
    rawpy(False)
    names, lines = expand(folder)
    assert names == ["DSC_1.JPG", "dsc_2.jpg"] and len(lines) == 1
    assert ".jpg is used (RAW needs the package rawpy" in lines[0]


def test_a_stack_is_not_half_raw(folder, rawpy):
    touch(folder, "1.nef", "1.jpg", "2.jpg")
    names, lines = expand(folder)
    assert names == ["1.jpg", "2.jpg"] and "1: 1 shot both as" in lines[0] and "not every shot" in lines[0]
    touch(folder, "3.nef")
    names, lines = expand(folder)
    assert names == ["1.jpg", "2.jpg", "3.nef"]


def test_what_was_developed_from_raw_is_taken(folder, rawpy):
    touch(folder, "1.nef", "1.tif", "2.nef", "2.tif")
    names, lines = expand(folder)
    assert names == ["1.tif", "2.tif"] and "developed already" in lines[0]


def test_equal_names_in_two_folders_are_two_shots(folder, rawpy):
    (folder / "b").mkdir()
    touch(folder, "1.nef"), touch(folder / "b", "1.jpg")
    assert expand("stack/1.nef", "stack/b/1.jpg") == (["1.nef", "1.jpg"], [])


# Time of capture


def test_numbering_that_rolls_over_is_ordered_by_time(folder):
    taken(folder / "DSC_9998.jpg", "2026:05:01 10:00:01")
    taken(folder / "DSC_9999.jpg", "2026:05:01 10:00:02")
    taken(folder / "DSC_0001.jpg", "2026:05:01 10:00:03")
    expected = ["DSC_9998.jpg", "DSC_9999.jpg", "DSC_0001.jpg"]
    for given in (folder, "stack/*.jpg"):
        names, lines = expand(given)
        assert names == expected and len(lines) == 1
        assert "ordered by time of capture, DSC_9998.jpg to DSC_0001.jpg" in lines[0]
    assert expand(*sorted(folder.iterdir())) == (sorted(expected), [])  # the user's own order


def test_fractions_of_a_second_count_if_all_have_one(folder):
    taken(folder / "1.jpg", "2026:05:01 10:00:01", "5")
    taken(folder / "2.jpg", "2026:05:01 10:00:01", "25")
    assert expand(folder)[0] == ["2.jpg", "1.jpg"]
    taken(folder / "2.jpg", "2026:05:01 10:00:01")
    assert expand(folder) == (["1.jpg", "2.jpg"], [])


def test_names_decide_where_times_are_missing_or_agree(folder):
    taken(folder / "9.jpg", "2026:05:01 10:00:02")
    taken(folder / "10.jpg", "2026:05:01 10:00:02")
    assert expand(folder) == (["9.jpg", "10.jpg"], [])
    taken(folder / "10.jpg", "2026:05:01 10:00:01")
    assert expand(folder)[0] == ["10.jpg", "9.jpg"]
    taken(folder / "11.jpg", None)
    assert expand(folder) == (["9.jpg", "10.jpg", "11.jpg"], [])


@pytest.mark.parametrize(("name", "kind"), [("x", "JPEG"), ("x", "PNG"), ("x", "WebP"), ("x", "TIFF"),
                                            ("x.NEF", "TIFF")])
def test_the_time_is_found_in_every_container(tmp_path, name, kind):
    taken(tmp_path / name, "2026:05:01 10:00:02", "07", kind)
    assert capture_time(tmp_path / name) == ("2026:05:01 10:00:02", "07")


def test_no_time_is_none(tmp_path):
    taken(tmp_path / "unset", "0000:00:00 00:00:00")
    taken(tmp_path / "words", "yesterday, at noon .")
    touch(tmp_path, "empty", "empty.nef")
    for name in ("unset", "words", "empty", "empty.nef", "gone"):
        assert capture_time(tmp_path / name) is None


# Pages


def pages(path, count):
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (count, 20, 24, 3), np.uint8), photometric="rgb")


def test_the_pages_of_the_only_file_are_the_shots(folder):
    pages(folder / "stack.tif", 3)
    for given in (folder, "stack/*.tif", folder / "stack.tif"):
        assert expand(given) == (["stack.tif#1", "stack.tif#2", "stack.tif#3"], [])


def test_beside_other_files_the_first_page_is_used_and_that_is_said_once(folder):
    pages(folder / "stack.tif", 3)
    touch(folder, "z.jpg")
    names, lines = expand(folder)
    assert names == ["stack.tif#1", "z.jpg"] and len(lines) == 1
    assert "stack.tif: it holds 3 pages, and the first is used" in lines[0]
    said = []
    assert [str(shot) for shot in expand_shots(expand_shots([folder], print), said.append)] == [
        f"{folder / 'stack.tif'}, page 1", str(folder / "z.jpg")]
    assert not said


def test_the_pictures_of_an_mpo_are_pages(folder):
    first, second = (Image.fromarray(np.random.default_rng(i).integers(0, 255, (64, 80, 3), np.uint8)) for i in (0, 1))
    first.save(folder / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert expand(folder) == (["a.jpg#1", "a.jpg#2"], [])
    first.save(folder / "plain.jpg", "JPEG")
    assert expand(folder / "plain.jpg", folder / "plain.jpg")[1] == []
