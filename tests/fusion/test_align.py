"""Registering shots to files, without fusing them."""

import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.align import align_files, make_folder, target_names
from edmf_jax.io.images import read_image, write_image
from tests.helpers.scenes import exposed, hand_held, shots

MATRIX = np.array([[1.0, 0, 6], [0, 1, -3], [0, 0, 1]])


@pytest.fixture(scope="module")
def pictures():
    _, a, b = shots(300, 400, seed=12)
    return exposed(a), exposed(hand_held(b, MATRIX))


def test_shots_are_written_in_the_first_ones_frame(tmp_path, pictures):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, picture in zip(paths, pictures):
        write_image(path, picture)
    written = dict(align_files(paths, tmp_path / "out", model="similarity", suffix=".tif"))
    assert [path.name for path in written] == ["a.tif", "b.tif"]
    first, found = written.values()
    assert first is None
    np.testing.assert_allclose(found.matrix[:2, 2], MATRIX[:2, 2], atol=0.7)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.tif"), pictures[0])
    moved = read_image(tmp_path / "out" / "b.tif")
    assert moved.shape == pictures[0].shape and (moved[:2] == 0).all()  # 3 px at the top are not in the second shot
    with pytest.raises(UserError, match="already there"):
        list(align_files(paths, tmp_path / "out", suffix=".tif"))


def test_one_shot_is_refused(tmp_path):
    with pytest.raises(UserError, match="two or more shots are needed to align them, got 1"):
        list(align_files(["a.png"], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_equal_names_get_numbers():
    assert target_names(["x/a.jpg", "x/b.png"], ".png") == ["a.png", "b.png"]
    assert target_names(["x/a.jpg", "y/A.jpg"], ".png") == ["1-a.png", "2-A.png"]


def test_a_folder_is_made_inside_one_that_exists(tmp_path):
    make_folder(tmp_path / "new")
    make_folder(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(MissingFileError, match="does not exist; create it first"):
        make_folder(tmp_path / "no" / "new")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="this is a file; name a folder"):
        make_folder(tmp_path / "file")
