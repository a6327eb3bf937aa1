"""A shot that can't be placed is left out, stops the run, or takes the best map; and which shot is the reference."""

import numpy as np
import pytest

import edmf_jax
from edmf_jax.errors import UserError
from edmf_jax.fusion.align import align_files
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.fusion.shot_files import ShotFiles, reference_first, reference_number
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.metadata import Metadata, read_metadata
from edmf_jax.io.photographs import Page
from tests.helpers.scenes import exposed, hand_held, scene, shots

MATRIX = np.array([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]])
SIZE = (180, 240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`a.png` and `c.png` show one scene, `b.png` another; each has a resolution of its own."""
    folder = tmp_path_factory.mktemp("shots")
    _, left, right = shots(*SIZE, seed=12)
    pictures = (exposed(left), exposed(scene(*SIZE, seed=50)), exposed(hand_held(right, MATRIX), 0.3))
    for name, picture, dpi in zip("abc", pictures, (100, 200, 300)):
        write_image(folder / f"{name}.png", picture, Metadata(dpi=(dpi, dpi)))
    return folder


def paths(folder, names):
    return [folder / f"{name}.png" for name in names]


def dpi_of(path):
    return round(read_metadata(path.read_bytes()).dpi[0])


def test_it_is_left_out_of_three_and_the_rest_is_as_without_it(folder, tmp_path):
    lines = []
    fuse_files([folder], tmp_path / "three.png", log=lines.append)
    fuse_files(paths(folder, "ac"), tmp_path / "two.png")
    assert (tmp_path / "three.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert lines[0].startswith(f"{folder / 'b.png'}: left out, it can't be placed: ")
    assert len(lines) == 2 and lines[1][0] in "45"  # a row of pixels more or less
    assert lines[1][1:] == " % of the frame, at its edges, are in one shot only; --crop cuts them off"


def test_a_reference_that_is_left_out_hands_on_its_part(folder, tmp_path):
    gone = []
    fused = fuse_files(paths(folder, "bca"), tmp_path / "out.png", left_out=lambda *words: gone.append(words))
    assert [name for name, _ in gone] == [str(folder / "b.png")] and dpi_of(tmp_path / "out.png") == 300
    np.testing.assert_array_equal(fused, fuse_files(paths(folder, "ca"), tmp_path / "two.png"))


def test_a_black_file_is_left_out_of_three_whichever_comes_first(folder, tmp_path):
    write_image(tmp_path / "black.png", np.zeros((*SIZE, 3), np.uint8), Metadata(dpi=(99, 99)))
    fuse_files(paths(folder, "ac"), tmp_path / "two.png")
    for given in ([tmp_path / "black.png", *paths(folder, "ac")], [*paths(folder, "ac"), tmp_path / "black.png"]):
        gone = {}
        fuse_files(given, tmp_path / "out.png", left_out=gone.__setitem__, force=True,
                   save_alignment=tmp_path / "a.json")
        assert gone == {str(tmp_path / "black.png"): "it is black all over"}
        assert (tmp_path / "out.png").read_bytes() == (tmp_path / "two.png").read_bytes()
        fuse_files(given, tmp_path / "again.png", force=True, use_alignment=tmp_path / "a.json", left_out=print)
        np.testing.assert_array_equal(read_image(tmp_path / "again.png"), read_image(tmp_path / "two.png"))
    assert [name.name for name, _ in align_files(given, tmp_path / "aligned", left_out=print)] == ["a.png", "c.png"]


@pytest.mark.parametrize(("names", "on_bad_shot"), [("abc", "stop"), ("ab", None), ("ab", "skip")])
def test_a_run_that_may_not_go_on_writes_nothing(folder, tmp_path, names, on_bad_shot):
    with pytest.raises(UserError) as caught:
        fuse_files(paths(folder, names), tmp_path / "out.png", on_bad_shot=on_bad_shot,
                   save_alignment=tmp_path / "a.json")
    message = str(caught.value)
    assert f"{folder / 'b.png'}: cannot be registered" in message and "\n" not in message
    assert "--align best-effort" in message and ("--on-bad-shot skip" in message) == (names == "abc")
    assert not list(tmp_path.iterdir())


def test_the_best_map_is_taken_with_a_warning(folder, tmp_path):
    lines = []
    fuse_files(paths(folder, "ab"), tmp_path / "out.png", align="best-effort", log=lines.append)
    uncertain = [line for line in lines if "its place is uncertain, and used because of --align best-effort" in line]
    assert len(uncertain) == 1 and uncertain[0].startswith(str(folder / "b.png"))
    assert read_image(tmp_path / "out.png").shape == (*SIZE, 3)


def test_the_reference_gives_frame_brightness_and_metadata(folder, tmp_path):
    expected = fuse_files(paths(folder, "ca"), tmp_path / "expected.png")
    fused = fuse_files(paths(folder, "ac"), tmp_path / "out.png", reference="c.png")
    np.testing.assert_array_equal(fused, expected)
    assert dpi_of(tmp_path / "out.png") == 300
    pictures = [read_image(path) for path in paths(folder, "ac")]
    np.testing.assert_array_equal(edmf_jax.fuse(pictures, reference=2, log=lambda line: None), expected)
    np.testing.assert_array_equal(edmf_jax.fuse(folder, reference=3, log=lambda line: None), expected)
    written = [(path.name, found is None) for path, found in align_files(paths(folder, "ac"), tmp_path, reference=2)]
    assert written == [("c.png", True), ("a.png", False)]
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), pictures[1])


def test_the_reference_of_arrays_has_a_number_only(folder):
    pictures = [read_image(path) for path in paths(folder, "ac")]
    with pytest.raises(UserError, match=r"reference 3: none of the 2 shots; give a file name, or a number from 1 to 2"):
        edmf_jax.fuse(pictures, reference=3)
    with pytest.raises(UserError, match=r"images\[1\]: "):  # names stay those of the caller
        edmf_jax.fuse([pictures[0], pictures[1].astype(np.int64)], reference=2)


def test_which_shot_a_reference_means():
    given = ["x/1.png", "x/2.png", "y/2.png", "x/12"]
    assert [reference_number(one, given) for one in (None, 1, "4", "x/2.png", "./x/1.png", "1.png", "12")] == [
        0, 0, 3, 1, 0, 0, 3]
    with pytest.raises(UserError, match=r"reference 2\.png: 2 shots have this name; .* for example 2"):
        reference_number("2.png", given)
    with pytest.raises(UserError, match=r"reference 5: none of the 4 shots \(x/1\.png, x/2\.png, y/2\.png, …\)"):
        reference_number(5, given)
    pages = [Page("all.tif", number) for number in (1, 2, 3)]
    assert reference_number("2", pages) == 1
    assert reference_first(4, 2) == (2, 0, 1, 3)


def test_shots_know_the_user_s_order(folder):
    found = ShotFiles.find([folder], "b.png", print)
    assert [path.name for path in found.paths] == ["b.png", "a.png", "c.png"] and found.order == (1, 0, 2)
    assert [path.name for path in found.as_given] == ["a.png", "b.png", "c.png"]
