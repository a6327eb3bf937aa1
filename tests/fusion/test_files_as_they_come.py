"""Paths given to `fuse`, transparent files, and files of several pages, from files to files."""

import cv2
import numpy as np
import pytest
import tifffile

import edmf_jax
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.align import align_files
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.metadata import Metadata
from edmf_jax.io.photographs import read_shot_with_mask
from tests.helpers.networks import WEIGHTS
from tests.helpers.photofiles import profile
from tests.helpers.scenes import exposed, shots


@pytest.fixture
def pictures():
    return [exposed(shot) for shot in shots(60, 80, seed=1)[1:]]


@pytest.fixture
def folder(tmp_path, pictures):
    """`a.png` and `b.png`."""
    for name, picture in zip("ab", pictures):
        write_image(tmp_path / f"{name}.png", picture)
    return tmp_path


# Paths in Python


def test_paths_and_arrays_may_be_mixed(folder, pictures):
    expected = edmf_jax.fuse(pictures, align="none")
    a, b = folder / "a.png", folder / "b.png"
    for given in ([a, b], [str(a), pictures[1]], [pictures[0], b], [folder], folder, f"{folder}/*.png"):
        np.testing.assert_array_equal(edmf_jax.fuse(given, align="none"), expected)


def test_choices_among_paths_are_warnings_or_go_to_the_log(folder, pictures):
    tifffile.imwrite(folder / "c.tif", np.stack([pictures[1] // 2] * 2), photometric="rgb")
    with pytest.warns(UserWarning, match=r"c\.tif: it holds 2 pages") as caught:
        edmf_jax.fuse([folder], align="none")
    assert caught[0].filename == __file__
    lines = []
    edmf_jax.fuse([folder], align="none", log=lines.append)
    assert len(lines) == 1


def test_files_given_to_fuse_are_checked(folder):
    write_image(folder / "c.png", read_image(folder / "b.png") // 2, Metadata(icc=profile("other")))
    with pytest.raises(UserError, match=r"c\.png"):
        edmf_jax.fuse([folder / "a.png", folder / "c.png"], align="none")
    with pytest.raises(UserError, match="the same shot"):
        edmf_jax.fuse([folder / "a.png", folder / "a.png"], align="none")
    with pytest.raises(MissingFileError, match=r"gone\.png: no such file"):
        edmf_jax.fuse([folder / "a.png", folder / "gone.png"], align="none")


# Pages


def test_the_pages_of_a_file_are_fused(folder, pictures):
    tifffile.imwrite(folder / "stack.tif", np.stack(pictures), photometric="rgb")
    fused = fuse_files([folder / "stack.tif"], folder / "out.png", align="none")
    np.testing.assert_array_equal(fused, edmf_jax.fuse(pictures, align="none"))
    written = [path.name for path, _ in align_files([folder / "stack.tif"], folder / "aligned", align="none")]
    assert written == ["1-stack.png", "2-stack.png"]
    with pytest.raises(UserError, match="one of the sources"):
        fuse_files([folder / "stack.tif"], folder / "stack.tif", align="none", force=True)


# Transparency


def rgba(picture, rows, columns):
    alpha = np.full((*picture.shape[:2], 1), np.iinfo(picture.dtype).max, picture.dtype)
    alpha[rows, columns] = 0
    return np.concatenate([picture, alpha], -1)


@pytest.fixture
def both_lack(folder, pictures):
    """`a.png` and `b.png` both lack the same 10 × 20 px; `b.png` lacks more."""
    write_image(folder / "a.png", rgba(pictures[0], slice(0, 10), slice(0, 20)))
    write_image(folder / "b.png", rgba(pictures[1], slice(0, 30), slice(0, 30)))
    return [folder / "a.png", folder / "b.png"]


def test_what_one_file_lacks_comes_from_the_other(folder, pictures):
    write_image(folder / "b.png", rgba(pictures[1], slice(0, 30), slice(0, 30)))
    lines = []
    fused = fuse_files([folder / "a.png", folder / "b.png"], folder / "out.png", align="none", log=lines.append)
    assert fused.shape == (60, 80, 3) and not lines
    np.testing.assert_array_equal(fused[:25, :25], pictures[0][:25, :25])


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8),
                                               (".tif", np.uint16), (".webp", np.uint8)])
def test_what_no_file_has_is_transparent(folder, pictures, suffix, dtype):
    deep = [picture.astype(dtype) * (257 if dtype == np.uint16 else 1) for picture in pictures]
    for name, picture in zip("ab", deep):
        write_image(folder / f"{name}.png", rgba(picture, slice(0, 10), slice(0, 20)), Metadata(icc=profile()))
    lines = []
    fused = fuse_files([folder / "a.png", folder / "b.png"], folder / f"out{suffix}", align="none", log=lines.append)
    assert len(lines) == 1 and lines[0].endswith("4.2 % of it is in no shot and is transparent")
    image, mask = read_shot_with_mask(folder / f"out{suffix}")
    expected = np.ones((60, 80), bool)
    expected[:10, :20] = False
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(image[mask], fused[mask][:, :3])
    stored = (tifffile.imread(folder / "out.tif") if suffix == ".tif" else
              cv2.imread(str(folder / f"out{suffix}"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(stored, fused)
    assert fused.dtype == dtype and (fused[~mask] == 0).all()


def test_a_format_without_alpha_gets_black_and_a_line(folder, both_lack):
    lines = []
    fused = fuse_files(both_lack, folder / "out.jpg", align="none", log=lines.append)
    assert fused.shape == (60, 80, 3) and not fused[:10, :20].any() and fused[12:, 22:].any(-1).all()
    assert len(lines) == 1 and "out.jpg: 4.2 % of it is in no shot and became black" in lines[0]
    assert read_image(folder / "out.jpg").shape == (60, 80, 3)


def test_arrays_have_no_alpha_and_a_warning_says_where_it_was(both_lack):
    with pytest.warns(UserWarning, match=r"4\.2 % of the result is transparent in all files; it is 0 there"):
        fused = edmf_jax.fuse(both_lack, align="none")
    assert fused.shape == (60, 80, 3) and not fused[:10, :20].any()


def test_preset_paper_takes_what_one_lacks_from_the_other(folder, pictures, both_lack):
    fused = fuse_files(both_lack, folder / "out.png", preset="paper", weights=WEIGHTS)
    assert fused.shape == (60, 80, 4) and (fused[..., 3] == 0).sum() == 200 and not fused[:10, :20].any()
    whole = edmf_jax.fuse(pictures, preset="paper", weights=WEIGHTS)
    np.testing.assert_array_equal(fused[56:, 56:, :3], whole[56:, 56:])  # beyond the network's reach


def test_a_shot_with_alpha_is_aligned_with_alpha(folder, pictures):
    write_image(folder / "b.png", rgba(pictures[1], slice(0, 30), slice(0, 30)))
    given = [folder / "a.png", folder / "b.png"]
    (first, _), (second, _) = align_files(given, folder / "out", align="none")
    assert cv2.imread(str(first), cv2.IMREAD_UNCHANGED).shape == (60, 80, 3)
    again = cv2.imread(str(second), cv2.IMREAD_UNCHANGED)
    assert (again[:30, :30] == 0).all() and (again[30:, :, 3] == 255).all()
    again = [path for path, _ in align_files(given, folder / "jpg", align="none", suffix=".jpg")]
    assert not read_image(again[1])[:24, :24].any()
