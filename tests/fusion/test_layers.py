"""Layers for retouching: files that hold the fusion, checks before the work, masks taken back."""

import re

import numpy as np
import pytest
import tifffile

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.layers import EditedMasks, LayerFiles, names_of_layers
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.metadata import Metadata

SHOTS = ["b.jpg", "a.jpg", "c.jpg"]
NAMES = names_of_layers(SHOTS, [1, 0, 2])  # the second shot is the reference


@pytest.fixture
def given():
    """Three pictures, where they are valid, and weights that add up to 1."""
    rng = np.random.default_rng(0)
    weights = rng.random((3, 20, 30)).astype(np.float32) ** 4
    weights[0, :5], weights[2, :, :4] = 0, 0
    valid = np.ones((3, 20, 30), bool)
    valid[2, :, :4] = False
    return rng.random((3, 20, 30, 3)).astype(np.float32), valid, weights / weights.sum(0)


def write(target, given, dtype=np.uint8, icc=b""):
    with LayerFiles(target, NAMES, Metadata(icc=icc), np.dtype(dtype)) as layers:
        for number, layer in enumerate(zip(*given)):
            layers(number, *layer)


def test_names_keep_the_users_numbers():
    assert NAMES == ["02-b", "01-a", "03-c"]
    assert names_of_layers(["x.png"] * 100, range(100))[6] == "007-x"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_folder_holds_shots_and_masks_that_give_the_result(tmp_path, given, dtype):
    write(tmp_path / "layers", given, dtype)
    assert sorted(path.name for path in (tmp_path / "layers").iterdir()) == sorted(
        [f"{name}.tif" for name in NAMES] + [f"{name}-mask.png" for name in NAMES])
    pictures, valid, _ = given
    full, total = np.iinfo(dtype).max, 0
    for number, name in enumerate(NAMES):
        shot = tifffile.imread(tmp_path / "layers" / f"{name}.tif")
        mask = read_image(tmp_path / "layers" / f"{name}-mask.png")
        assert shot.dtype == dtype and shot.shape[2] == (4 if number == 2 else 3) and mask.dtype == np.uint16
        assert np.abs(shot[..., :3] / full - pictures[number])[valid[number]].max() <= 0.51 / full
        if number == 2:
            assert np.array_equal(shot[..., 3] > 0, valid[2])
        total = total + mask / 65535
    assert np.abs(total - 1).max() < 1e-4


def test_the_pages_of_a_tiff_over_each_other_show_the_result(tmp_path, given):
    write(tmp_path / "layers.tif", given, np.uint16)
    pictures, _, weights = given
    with tifffile.TiffFile(tmp_path / "layers.tif") as file:
        assert [page.tags[285].value for page in file.pages] == NAMES
        assert all(page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,) for page in file.pages)
        shown = 0
        for page in file.pages:
            layer = page.asarray() / 65535
            shown = layer[..., :3] * layer[..., 3:] + shown * (1 - layer[..., 3:])
    assert np.abs(shown - (pictures * weights[..., None]).sum(0)).max() < 1e-4


def test_gray_layers(tmp_path, given):
    pictures, valid, weights = given
    given = pictures[..., :1], valid, weights
    write(tmp_path / "layers", given)
    write(tmp_path / "layers.tif", given, icc=b"gray profile")
    assert read_image(tmp_path / "layers" / "02-b.tif").shape == (20, 30)
    with tifffile.TiffFile(tmp_path / "layers.tif") as file:
        assert file.pages[0].shape == (20, 30, 4) and 34675 not in file.pages[0].tags


def test_pages_may_have_names_of_any_alphabet(tmp_path, given):
    names = ["01-früh", "02-晚", "03-\udcff"]  # the last one is no UTF-8
    with LayerFiles(tmp_path / "layers.tif", names, Metadata(), np.dtype(np.uint8)) as layers:
        for number, (picture, valid, weight) in enumerate(zip(*given)):
            layers(number, picture, valid, weight)
    with tifffile.TiffFile(tmp_path / "layers.tif") as file:
        written = [page.tags["PageName"].value for page in file.pages]
    assert written[:2] == names[:2] and len(written) == 3


def test_a_run_that_fails_leaves_no_tiff(tmp_path, given):
    with pytest.raises(RuntimeError), LayerFiles(tmp_path / "layers.tif", NAMES, Metadata(), np.dtype(np.uint8)) as one:
        one(0, *next(zip(*given)))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_leaves_no_part_of_the_layers(tmp_path, given):
    """Nor the folder, if it was new."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "notes.txt").touch()
    for folder in ("old", "new"):
        with pytest.raises(RuntimeError), LayerFiles(tmp_path / folder, NAMES, Metadata(), np.dtype(np.uint8)) as one:
            one(0, *next(zip(*given)))
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "notes.txt"]


def test_a_run_that_is_killed_leaves_no_part_of_the_layers(tmp_path, given):
    """Only a hidden folder, which the next run removes; files that somebody else has put there stay."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "notes.txt").touch()
    kept = []
    for folder in ("old", "new"):
        killed = LayerFiles(tmp_path / folder, NAMES, Metadata(), np.dtype(np.uint8))
        killed.__enter__()
        killed(0, *next(zip(*given)))
        kept.append(killed)  # as when a process is killed, nothing is cleaned up
    seen = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert seen == ["old"] and [path.name for path in (tmp_path / "old").iterdir()] == ["notes.txt"]
    for hidden in tmp_path.glob(".edmf-*"):
        first, name, host, _, token = hidden.name.split("-")
        hidden.rename(hidden.with_name(f"{first}-{name}-{host}-{2**22 + 1}-{token}"))  # no process has this number
    for folder in ("old", "new"):
        write(tmp_path / folder, given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
    assert len(list((tmp_path / "new").iterdir())) == 6 and len(list((tmp_path / "old").iterdir())) == 7


def test_layers_replace_no_shot_in_their_folder(tmp_path):
    (tmp_path / "01-a.tif").touch()
    with pytest.raises(UserError, match=r"01-a\.tif: this is one of the sources"):
        LayerFiles.check_target(tmp_path, NAMES, [tmp_path / "01-a.tif"], force=True)


def test_targets_are_checked_before_the_work(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.tif").touch()
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "file").touch()
    for name, message in (("full", "there are files in this folder; name a new one"), ("there.tif", "already there"),
                          ("folder.tif", "this is a folder"), ("a.psd", "layers go into a folder, or into a TIFF"),
                          ("file", "layers go into a folder")):
        with pytest.raises(UserError, match=re.escape(message)):
            LayerFiles.check_target(tmp_path / name, NAMES, [], force=False)
    with pytest.raises(UserError, match="one of the sources"):
        LayerFiles.check_target(tmp_path / "there.tif", NAMES, [tmp_path / "there.tif"], force=True)
    with pytest.raises(MissingFileError, match="does not exist; create it first"):
        LayerFiles.check_target(tmp_path / "no" / "layers", NAMES, [], force=False)
    for name, force in (("new", False), ("new.tif", False), ("empty", False), ("full", True), ("there.tif", True),
                        ("lab.v2", False)):
        LayerFiles.check_target(tmp_path / name, NAMES, [], force)


def test_unedited_masks_are_the_weights(tmp_path, given):
    write(tmp_path / "layers", given)
    masks, everything = EditedMasks(tmp_path / "layers", SHOTS, [1, 0, 2]), (slice(None), slice(None))
    masks.check_size((20, 30, 3), "b.jpg")
    for number, weight in enumerate(given[2]):
        assert np.abs(masks(number, *everything) - weight).max() < 1e-5
    assert np.array_equal(masks(1, slice(3, 9), slice(5, 7)), masks(1, *everything)[3:9, 5:7])


def test_edited_masks(tmp_path, given):
    """One is painted black where the others are black too, one is saved as RGB in 8 bits, one was deleted."""
    write(tmp_path / "layers", given)
    black = np.full((20, 30), 65535, np.uint16)
    black[:7] = 0
    write_image(tmp_path / "layers" / "02-b-mask.png", black)
    half = np.zeros((20, 30, 3), np.uint8)
    half[10:] = 51
    write_image(tmp_path / "layers" / "01-a-mask.png", half)
    (tmp_path / "layers" / "03-c-mask.png").unlink()
    masks = EditedMasks(tmp_path / "layers", SHOTS, [1, 0, 2])
    b, a, c = (masks(number, slice(0, 20), slice(0, 30)) for number in range(3))
    assert all(np.isnan(mask[:7]).all() and not np.isnan(mask[7:]).any() for mask in (a, b, c))
    assert (b[7:] == 1).all() and np.allclose(a[10:], 0.2) and (a[7:10] == 0).all() and (c[7:] == 0).all()


def test_masks_go_with_the_names_of_the_shots(tmp_path, given):
    """Also if these are given in another order, or without one of them; numbers tell apart those of one name."""
    write(tmp_path / "layers", given)
    everything = slice(0, 20), slice(0, 30)
    numbered = EditedMasks(tmp_path / "layers", SHOTS, [1, 0, 2])
    reordered = EditedMasks(tmp_path / "layers", ["c.tif", "b.tif", "a.tif"], [0, 1, 2])
    for before, after in ((0, 1), (1, 2), (2, 0)):
        assert np.array_equal(numbered(before, *everything), reordered(after, *everything))
    (tmp_path / "layers" / "01-a-mask.png").unlink()
    two = EditedMasks(tmp_path / "layers", ["b.jpg", "c.jpg"], [0, 1])
    assert np.array_equal(np.nan_to_num(two(0, *everything)), numbered(0, *everything))
    (tmp_path / "layers" / "02-b-mask.png").rename(tmp_path / "layers" / "01-c-mask.png")
    same_name = EditedMasks(tmp_path / "layers", ["near/c.jpg", "far/c.jpg", "c.jpg"], [0, 1, 2])
    assert np.array_equal(same_name(0, *everything), two(0, *everything), equal_nan=True)
    with pytest.raises(UserError, match=r"01-c-mask\.png: no shot 1 is called c; give the shots"):
        EditedMasks(tmp_path / "layers", ["a.jpg", "x/c.jpg", "y/c.jpg"], [0, 1, 2])


def test_masks_that_do_not_fit_are_refused_by_name(tmp_path, given):
    with pytest.raises(MissingFileError, match="no such folder; name the one that --layers wrote"):
        EditedMasks(tmp_path / "no", SHOTS[:2], [0, 1])
    with pytest.raises(UserError, match=r"no masks in it; they are called 01-NAME-mask\.png"):
        EditedMasks(tmp_path, SHOTS[:2], [0, 1])
    write(tmp_path / "layers", given)
    with pytest.raises(UserError, match=r"03-c-mask\.png: none of the shots is called c; give the shots of these"):
        EditedMasks(tmp_path / "layers", SHOTS[:2], [0, 1])
    masks = EditedMasks(tmp_path / "layers", SHOTS, [1, 0, 2])
    with pytest.raises(UserError, match=r"layers: the masks have 30×20 px, but the reference r\.png has 31×20 px"):
        masks.check_size((20, 31, 3), "r.png")
    write_image(tmp_path / "layers" / "01-a-mask.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match=r"02-b-mask\.png: 30×20 px, but other masks have 9×9 px"):
        EditedMasks(tmp_path / "layers", SHOTS, [1, 0, 2])
    write_image(tmp_path / "layers" / "1-a-mask.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match=r"1-a-mask\.tif: a second mask of the shot a\.jpg, beside 01-a-mask\.png"):
        EditedMasks(tmp_path / "layers", SHOTS, [1, 0, 2])
