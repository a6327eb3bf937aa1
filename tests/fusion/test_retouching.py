"""What a fusion of files writes and reads for retouching, end to end: depth, layers, masks, a dark frame, ties."""

import numpy as np
import pytest

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.fusion.retouching import Retouching
from edmf_jax.fusion.shot_files import ShotFiles
from edmf_jax.fusion.slabs import fuse_slabs
from edmf_jax.fusion.stack import PhotoOptions
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.outputs import check_outputs
from tests.helpers.scenes import defocused, scene

SIZE = (90, 120)


@pytest.fixture
def stack(tmp_path):
    """Three shots, each sharp in a third of its columns, from left to right; given out of order of names."""
    truth = scene(*SIZE, seed=4)
    paths = []
    for number, name in enumerate("bac"):
        shot = defocused(truth, slice(None))
        columns = slice(40 * number, 40 * (number + 1))
        shot[:, columns] = truth[:, columns]
        paths.append(tmp_path / f"{name}.png")
        write_image(paths[-1], np.uint8(np.rint(255 * shot)))
    return paths


def test_masks_of_layers_give_the_result_again_and_edited_ones_another(stack, tmp_path):
    given = {"align": "none", "reference": "a.png"}
    automatic = fuse_files(stack, tmp_path / "1.png", layers=tmp_path / "layers", **given)
    again = fuse_files(stack, tmp_path / "2.png", use_masks=tmp_path / "layers", layers=tmp_path / "again.tif", **given)
    assert np.abs(again.astype(int) - automatic).max() <= 1 and (tmp_path / "again.tif").stat().st_size > 10000
    for name in ("01-b", "02-a", "03-c"):  # the second quarter from the blurred c, the first black in all
        mask = read_image(tmp_path / "layers" / f"{name}-mask.png").copy()
        mask[:, :30], mask[:, 30:60] = 0, 65535 if name == "03-c" else 0
        write_image(tmp_path / "layers" / f"{name}-mask.png", mask)
    edited = fuse_files(stack, tmp_path / "3.png", use_masks=tmp_path / "layers", **given)
    assert np.abs(edited[:, :30].astype(int) - automatic[:, :30]).max() <= 1
    assert np.abs(edited[:, 60:].astype(int) - automatic[:, 60:]).max() <= 1
    assert np.abs(edited[:, 30:60].astype(int) - read_image(tmp_path / "layers" / "03-c.tif")[:, 30:60]).max() <= 1
    assert np.abs(edited[:, 32:58].astype(int) - automatic[:, 32:58]).mean() > 3


def test_depth_goes_from_the_first_shot_to_the_last_whichever_is_the_reference(stack, tmp_path):
    for reference in ("b.png", "c.png"):
        fuse_files(stack, tmp_path / "f.png", align="none", reference=reference, save_depth=tmp_path / "d.png",
                   force=True)
        depth = read_image(tmp_path / "d.png")
        assert depth.dtype == np.uint16 and depth.shape == SIZE
        left, middle, right = (depth[:, columns].mean() for columns in (slice(0, 30), slice(48, 72), slice(90, 120)))
        assert left > 55000 and 28000 < middle < 37000 and right < 10000
    assert read_image(tmp_path / "d-confidence.png").mean() > 20000


def test_depth_and_layers_of_ten_bits_in_files_of_sixteen(stack, tmp_path):
    for white in (1023, 65535):
        shots = []
        for path in stack:
            shots.append(tmp_path / f"{white}-{path.stem}.tif")
            write_image(shots[-1], np.uint16(np.rint(read_image(path) / 255 * white)))
        fused = fuse_files(shots, tmp_path / "f.tif", align="none", save_depth=tmp_path / f"{white}.png", force=True,
                           layers=tmp_path / "layers")
        layers = [(read_image(tmp_path / "layers" / f"0{i}-{white}-{name}.tif").astype(np.float32),
                   read_image(tmp_path / "layers" / f"0{i}-{white}-{name}-mask.png")[..., None] / np.float32(65535))
                  for i, name in enumerate("bac", 1)]
        assert np.abs(sum(layer * mask for layer, mask in layers) - fused).max() <= 2
    ten, sixteen = (read_image(tmp_path / f"{white}.png").astype(float) for white in (1023, 65535))
    assert np.abs(ten - sixteen).mean() < 300


def test_masks_of_a_frame_that_another_shot_gives_are_refused(stack, tmp_path):
    """The reference is left out, and the shot whose frame is taken then has another size."""
    reference = tmp_path / "reference.png"
    write_image(reference, np.uint8(np.random.default_rng(0).integers(0, 255, (90, 130, 3))))
    (tmp_path / "masks").mkdir()
    write_image(tmp_path / "masks" / "01-reference-mask.png", np.full((90, 130), 255, np.uint8))
    with pytest.raises(UserError, match=r"the masks have 130×90 px, but the reference .* has 120×90 px"):
        Retouching.checked(ShotFiles.find([reference, *stack], None, print), PhotoOptions(), False, (),
                           use_masks=tmp_path / "masks").check_frame((90, 120, 3), str(stack[0]))


def test_a_map_of_too_many_shots_is_refused_before_the_work(tmp_path):
    with pytest.raises(UserError, match=r"m\.png: a map shows 256 shots, and there are 257; leave it out"):
        check_outputs(tmp_path / "o.png", tmp_path / "m.png", None, ["s.png"] * 257, "photo", False)
    check_outputs(tmp_path / "o.png", tmp_path / "m.png", None, ["s.png"] * 256, "photo", False, read_only=["d.png"])


def test_a_tie_goes_to_the_near_or_the_far_shot(tmp_path):
    """In the left half the far shot has the negative of the near one's detail: as sharp, and their mean is flat."""
    common = 255 * scene(*SIZE, seed=6)
    detail = np.random.default_rng(0).normal(0, 20, (SIZE[0], 60, 1))
    for name, sign in (("near", 1), ("far", -1)):
        shot = common.copy()
        shot[:, :60] = 120 + sign * detail
        write_image(tmp_path / f"{name}.png", np.uint8(np.clip(shot, 0, 255)))
    paths = [tmp_path / "near.png", tmp_path / "far.png"]
    near, far = (
        np.corrcoef(fuse_files(paths, tmp_path / f"fused-{tie}.png", align="none", tie=tie)[5:-5, 5:50, 1].ravel(),
                    detail[5:-5, 5:50].ravel())[0, 1] for tie in ("near", "far"))
    assert near > 0.9 and far < -0.9


def test_a_dark_frame_cleans_every_shot(stack, tmp_path):
    expected, lines, shots = fuse_files(stack, tmp_path / "e.png", align="none"), [], []
    places = np.array([(20, 17), (45, 60), (70, 101)])
    for path in stack:
        image = read_image(path).copy()
        image[places[:, 0], places[:, 1]] = 255
        shots.append(tmp_path / f"hot-{path.name}")
        write_image(shots[-1], image)
    dark = np.zeros((*SIZE, 3), np.uint8)
    dark[places[:, 0], places[:, 1]] = 90
    write_image(tmp_path / "dark.png", dark)
    fused = fuse_files(shots, tmp_path / "f.png", align="none", dark=tmp_path / "dark.png", log=lines.append)
    assert lines == [f"{tmp_path / 'dark.png'}: 3 hot pixels, replaced in all shots"]
    assert np.abs(fused.astype(int) - expected).mean() < 1
    assert (fused[places[:, 0], places[:, 1]].astype(int) - expected[places[:, 0], places[:, 1]]).max() < 60
    list(fuse_slabs(shots, tmp_path / "slabs", 2, 1, align="none", dark=tmp_path / "dark.png"))
    assert read_image(tmp_path / "slabs" / "slab-01.png")[20, 17].max() < 255
    write_image(tmp_path / "small.png", dark[:-1])
    with pytest.raises(UserError, match=r"small\.png is 120×89 px and the shot .*hot-b\.png 120×90 px; give a dark"):
        fuse_files(shots, tmp_path / "g.png", align="none", dark=tmp_path / "small.png")
    with pytest.raises(MissingFileError, match=r"no\.png: no such file"):
        fuse_files(shots, tmp_path / "g.png", align="none", dark=tmp_path / "no.png")


@pytest.mark.parametrize(("options", "message"), [
    ({"layers": "l", "crop": True}, r"--layers l: layers have the reference's whole frame; leave out --crop"),
    ({"layers": "l.tif", "pixels": "network"}, r"--layers l\.tif: a network's pixels are not a mean of the shots"),
    ({"save_depth": "d.png", "preset": "paper", "align": None}, r'--save-depth d\.png: this is for the preset "photo"'),
    ({"save_depth": "d.jpg"}, r"d\.jpg: \.jpg cannot hold 16-bit pictures"),
    ({"save_depth": "out.png"}, r"out\.png: the depth map and another file of this run would be one"),
    ({"layers": "out-confidence.tif", "save_depth": "out.tif"}, r"the depth map and another file of this run"),
    ({"layers": "masks", "use_masks": "masks"}, r"masks: .*(files in this folder|would be one)"),
    ({"use_masks": "masks"}, r"masks: the masks have 9×9 px, but the reference b\.png has 120×90 px"),
    ({"hot_pixels": "maybe"}, r"hot_pixels='maybe' is unknown; use one of replace, keep"),
    ({"tie": "middle"}, r"tie='middle' is unknown; use one of near, far"),
    ({"tie": "near", "pixels": "network"}, r"tie='near' \(--near-first\): a network knows no near and far"),
    ({"tie": "far", "preset": "paper", "align": None}, r"tie='far' \(--far-first\) is for the preset \"photo\""),
    ({"dark": "masks/dark.png", "save_map": "masks/dark.png"}, r"dark\.png: this is one of the sources"),
])
def test_what_does_not_fit_is_refused_before_anything_is_written(stack, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "masks").mkdir()
    write_image("masks/01-b-mask.png", np.full((9, 9), 255, np.uint8))
    write_image("masks/dark.png", np.zeros((*SIZE, 3), np.uint8))
    before = sorted(tmp_path.rglob("*"))
    shots = [path.name for path in stack[: 2 if "preset" in options else 3]]
    with pytest.raises(UserError, match=message):
        fuse_files(shots, "out.png", **{"align": "none", "force": "dark" in options, **options})
    assert sorted(tmp_path.rglob("*")) == before
