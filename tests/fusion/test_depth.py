"""The depth map of a fusion: ordered, smooth where nothing is known, with edges where the picture has them."""

import types

import cv2
import numpy as np
import pytest

from edmf_jax.fusion.depth import depth_map
from edmf_jax.fusion.stack.focus_order import focus_ranks, magnification
from tests.helpers.scenes import scene


def test_one_shot_everywhere_is_its_plane():
    picture = np.uint8(255 * scene(60, 80))
    for number, expected in ((0, 65535), (1, 32768), (2, 0)):
        found = depth_map(np.full((60, 80), number, np.uint8), np.array([0, 0.5, 1]), picture)
        assert found.depth.dtype == np.uint16 and np.abs(found.depth.astype(int) - expected).max() <= 1
        assert found.confidence.min() == 65535


@pytest.mark.parametrize("kind", ["gray", "color", "16 bit", "floats"])
def test_what_is_not_sure_takes_its_depth_from_what_is(kind):
    """A near disk before a far wall that is smooth: there the sharpest shot is chance and the confidence low."""
    y, x = np.mgrid[:160, :200]
    disk = (y - 80) ** 2 + (x - 90) ** 2 < 45**2
    rng = np.random.default_rng(0)
    picture = np.where(disk[..., None], scene(160, 200, seed=1) * 0.4, 0.9)
    sources = np.where(disk, 0, rng.integers(0, 4, disk.shape)).astype(np.uint8)
    sure = np.where(disk, 0.9, 0.02).astype(np.float32)
    sources[:, :12], sure[:, :12] = 3, 0.9  # the wall has detail at its left edge alone
    given = {"gray": picture[..., 1], "color": np.uint8(255 * picture), "16 bit": np.uint16(65535 * picture),
             "floats": picture}[kind]
    found = depth_map(sources, np.linspace(0, 1, 4), given, sure)
    depth = found.depth / 65535
    inside = cv2.erode(disk.astype(np.uint8), np.ones((11, 11))) > 0
    wall = cv2.dilate(disk.astype(np.uint8), np.ones((25, 25))) == 0
    assert depth[inside].min() > 0.9
    assert depth[wall & (x < 40)].max() < 0.25
    noise = np.abs(depth - cv2.GaussianBlur(depth, (0, 0), 2))
    assert noise[wall].max() < 0.02  # of the sources' own ± 1/3 nothing is left
    assert found.confidence[inside].min() > 50000 and found.confidence[wall & (x > 20)].max() < 10000


def test_edges_are_those_of_the_picture():
    """The sources' border is off by 4 px; where the picture has its edge the depth has one too."""
    picture = np.full((120, 160), 0.2, np.float32)
    picture[:, 80:] = 0.8
    sources = np.zeros((120, 160), np.uint8)
    sources[:, 84:] = 1
    sure = np.full((120, 160), 0.9, np.float32)
    sure[:, 72:92] = 0.05
    steps = np.abs(np.diff(depth_map(sources, np.array([0, 1]), picture, sure).depth.astype(int)[60]))
    assert steps.argmax() == 79 and steps.max() > 30000


def test_pixels_of_no_shot_have_no_confidence_and_do_not_spread():
    sources = np.zeros((80, 100), np.uint8)
    sources[:, :30] = 1
    covered = np.ones((80, 100), bool)
    covered[:, :30] = False
    found = depth_map(sources, np.array([0, 1]), np.full((80, 100), 128, np.uint8), None, covered)
    assert found.confidence[:, :25].max() == 0 and found.depth.min() > 60000


def test_a_large_picture_is_done_on_a_copy_and_looks_the_same(monkeypatch):
    from edmf_jax.fusion import depth

    picture, sources = np.uint8(255 * scene(240, 320, seed=2)), np.zeros((240, 320), np.uint8)
    sources[:, 150:] = 1
    whole = depth_map(sources, np.array([0, 1]), picture).depth
    monkeypatch.setattr(depth, "_COPY_PX", 240 * 320 / 4)
    halved = depth_map(sources, np.array([0, 1]), picture).depth
    difference = np.abs(whole.astype(int) - halved)
    assert halved.shape == (240, 320) and difference[:, :130].max() < 2000 and difference.mean() < 1500


def maps(*zooms):
    return {number: zoom and types.SimpleNamespace(matrix=np.diag([zoom, zoom, 1.0]))
            for number, zoom in enumerate(zooms)}


def test_shots_count_as_taken_from_near_to_far():
    assert focus_ranks(range(3), maps(None, None, None)).tolist() == [0, 0.5, 1]
    # The reference was moved to the front, and one shot was left out.
    assert focus_ranks([2, 0, 3], maps(1.01, None, None, 1.02), order=[0, 1, 2, 3]).tolist() == [0.5, 0, 1]
    assert focus_ranks([0, 1, 2], maps(None, 0.98, 0.97), order=[1, 0, 2]).tolist() == [0.5, 0, 1]


def test_files_in_no_order_are_ordered_by_magnification():
    """Zooms of a stack whose files were shuffled; either way round the end nearer to the first file is near."""
    zooms = (1.02, 1.0, 1.04, 1.01, 1.03)
    ranks = focus_ranks(range(5), maps(*zooms))
    assert ranks.tolist() in ([0.5, 0, 1, 0.25, 0.75], [0.5, 1, 0, 0.75, 0.25])
    same = (1.02, 1.0, 1.0, 1.01, 1.03)  # two that can't be told apart: the order of the files stays
    assert focus_ranks(range(5), maps(*same)).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_the_magnification_of_a_map():
    turn = 1.03 * np.array([[0.6, -0.8, 5 / 1.03], [0.8, 0.6, 0], [0, 0, 1 / 1.03]])
    assert magnification(turn) == pytest.approx(1.03) == magnification(2 * turn)
