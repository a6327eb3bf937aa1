"""Slabs of a stack: which shots are in which, one frame and one exposure for all, resuming."""

import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.fusion import tiling
from edmf_jax.fusion.fuse import fuse_files
from edmf_jax.fusion.slabs import fuse_slabs, slab_ranges
from edmf_jax.io.images import read_image, write_image
from edmf_jax.io.metadata import Metadata, read_metadata
from edmf_jax.io.photographs import read_shot_with_mask
from tests.helpers.networks import WEIGHTS
from tests.helpers.scenes import defocused, exposed, hand_held, scene

SIZE = (200, 280)
COUNT = 4
SHIFTS = (0, 3, 6, 9)  # px to the right


def moved(shift):
    return np.array([[1.0, 0, shift], [0, 1, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def truth():
    return scene(*SIZE, seed=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, truth):
    """`1.png` to `4.png`, each sharp in a quarter, ever brighter, and moved by `SHIFTS`."""
    folder = tmp_path_factory.mktemp("shots")
    for number, shift in enumerate(SHIFTS):
        part = defocused(defocused(truth, slice(0, 70 * number), 1.5), slice(70 * (number + 1), None), 1.5)
        write_image(folder / f"{number + 1}.png", exposed(hand_held(part, moved(shift)), 0.15 * number),
                    Metadata(dpi=(100.0 + number, 100.0 + number)))
    return folder


@pytest.fixture(scope="module")
def known(folder):
    """The file of their alignment; the second one is its reference."""
    fuse_files([folder], folder.parent / "all.tif", reference=2, save_alignment=folder.parent / "known.json")
    return folder.parent / "known.json"


@pytest.mark.parametrize(("count", "size", "overlap", "expected"), [
    (11, 5, 2, ["0-4", "3-7", "6-10"]),
    (10, 5, 2, ["0-4", "3-7", "6-9"]),
    (5, 5, 2, ["0-4"]),
    (3, 5, 2, ["0-2"]),
    (6, 3, 0, ["0-2", "3-5"]),
    (7, 3, 0, ["0-2", "3-5", "5-6"]),  # a single shot is left, and two are needed
    (4, 2, 1, ["0-1", "1-2", "2-3"]),
])
def test_which_shots_are_in_which_slab(count, size, overlap, expected):
    found = slab_ranges(count, size, overlap)
    assert [f"{slab[0]}-{slab[-1]}" for slab in found] == expected
    assert {number for slab in found for number in slab} == set(range(count))


@pytest.mark.parametrize(("size", "overlap"), [(5, 5), (5, 6), (1, 0), (0, 0)])
def test_slabs_that_make_no_sense_are_refused(tmp_path, size, overlap):
    with pytest.raises(UserError, match=f"slab {size}:{overlap}: give SIZE:OVERLAP with a size of 2 or more"):
        list(fuse_slabs([tmp_path], tmp_path / "out", size, overlap))
    assert not (tmp_path / "out").exists()


def test_all_slabs_lie_in_one_frame_at_one_exposure(folder, known, tmp_path, truth):
    lines = []
    slabs = list(fuse_slabs([folder], tmp_path / "out", 2, 0, reference="2.png", use_alignment=known, suffix=".tif",
                            log=lines.append))
    assert [(slab.path.name, slab.numbers, slab.existed) for slab in slabs] == [
        ("slab-01.tif", (1, 2), False), ("slab-02.tif", (3, 4), False)]
    expected = exposed(hand_held(truth, moved(SHIFTS[1])), 0.15).astype(int)  # the second shot's frame and exposure
    for slab, columns in zip(slabs, (slice(16, 128), slice(152, 264))):
        image = read_shot_with_mask(slab.path)[0]
        assert np.abs(image[16:-16, columns].astype(int) - expected[16:-16, columns]).mean() < 2.5
        assert read_metadata(slab.path.read_bytes()).dpi == pytest.approx((101, 101), abs=0.1)
    # The last 3 columns of the reference's frame are in none of the shots of the second slab.
    masks = [read_shot_with_mask(slab.path)[1] for slab in slabs]
    assert masks[0] is None and masks[1][8:-8, :276].all() and not masks[1][:, 277:].any()
    assert len(lines) == 1 and "slab-02.tif: 1." in lines[0] and "is in no shot and is transparent" in lines[0]


def test_no_crop_is_advised_for_slabs_which_are_not_cropped(folder, known, tmp_path):
    """9 of 280 columns of the first slab are in one of its shots only."""
    paths, lines = [folder / f"{number}.png" for number in (1, 4, 2, 3)], []
    list(fuse_slabs(paths, tmp_path, 2, 0, use_alignment=known, log=lines.append))
    assert not [line for line in lines if "--crop" in line]


def test_a_slab_of_all_shots_is_their_fusion(folder, known, tmp_path):
    (slab,) = fuse_slabs([folder], tmp_path, 4, 1, reference=2, use_alignment=known, suffix=".tif")
    assert slab.path.read_bytes() == (folder.parent / "all.tif").read_bytes()


def test_a_slab_of_the_network_has_no_black_edges(folder, known, tmp_path, monkeypatch):
    """The network is the mean of its planes.  The first shot of the second slab lacks the frame's last columns."""
    monkeypatch.setattr(tiling, "fuse_piece", lambda model, params, a, b, shape: (a + b) / 2)
    _, second = fuse_slabs([folder], tmp_path, 2, 0, reference=2, use_alignment=known, suffix=".tif", weights=WEIGHTS)
    image, mask = read_shot_with_mask(second.path)
    plain = read_image(folder / "2.png").astype(int)
    assert not mask[8:-8, 277:].any() and mask[8:-8, :276].all()
    assert np.abs(image[mask].astype(int) - plain[mask]).mean() < 8 and image[mask].min() > 0


def test_it_goes_on_where_it_stopped(folder, known, tmp_path):
    run = lambda **options: list(fuse_slabs([folder], tmp_path, 2, 1, use_alignment=known, suffix=".png", **options))
    assert [slab.numbers for slab in run()] == [(1, 2), (2, 3), (3, 4)]
    before = (tmp_path / "slab-02.png").read_bytes()
    (tmp_path / "slab-02.png").unlink()
    (tmp_path / "slab-03.png").write_bytes(b"mine")
    assert [(slab.path.name, slab.existed) for slab in run()] == [("slab-02.png", False), ("slab-01.png", True),
                                                                  ("slab-03.png", True)]
    assert (tmp_path / "slab-02.png").read_bytes() == before and (tmp_path / "slab-03.png").read_bytes() == b"mine"
    assert len([slab for slab in run(force=True) if not slab.existed]) == 3
    assert read_image(tmp_path / "slab-03.png").shape[:2] == SIZE


def test_shots_that_are_left_out_are_in_no_slab(folder, tmp_path):
    """Registered shots, of which one is given twice."""
    paths = [folder / f"{number}.png" for number in (1, 2, 2, 3, 4)]
    missed, lines = [], []
    slabs = list(fuse_slabs(paths, tmp_path, 2, 0, align="none", log=lines.append,
                            left_out=lambda *words: missed.append(words)))
    assert [slab.numbers for slab in slabs] == [(1, 2), (4, 5)] and slabs[0].path.suffix == ".png"
    assert not missed and f"{folder / '2.png'}: left out, it is the same picture as {folder / '2.png'}" in lines


def test_sources_are_not_overwritten(folder, tmp_path):
    paths = []
    for number in (1, 2):
        paths.append(tmp_path / f"slab-0{number}.png")
        paths[-1].write_bytes((folder / f"{number}.png").read_bytes())
    with pytest.raises(UserError, match=r"slab-01\.png: this is one of the sources"):
        list(fuse_slabs(paths, tmp_path, 2, 0, align="none", force=True))
    deep = tmp_path / "deep.tif"
    write_image(deep, read_image(paths[0]).astype(np.uint16) * 257)
    with pytest.raises(UserError, match=r"slab-01\.jpg: \.jpg cannot hold 16-bit pictures"):
        list(fuse_slabs([deep, paths[1]], tmp_path / "out", 2, 0, align="none", suffix=".jpg"))
