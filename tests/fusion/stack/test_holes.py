"""Transparent pixels of shots: filled where other steps look, never shown, and told apart from black ones."""

import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, align_photos, fuse_photos, holes
from edmf_jax.fusion.stack.shots import Masked
from tests.helpers.scenes import defocused, exposed, hand_held, scene, shots

ALIGNED = PhotoOptions(align="none")
JUNK = (255, 0, 255)  # the color that transparent pixels happen to have in a file


def with_hole(image, rows, columns, color=JUNK):
    """`image` without a part."""
    image, mask = image.copy(), np.ones(image.shape[:2], bool)
    image[rows, columns] = np.array(color[: image.shape[2]], image.dtype)
    mask[rows, columns] = False
    return Masked(image, mask)


# Filling


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_known_stays_and_the_rest_continues_it(dtype):
    full = 1 if dtype is np.float32 else np.iinfo(dtype).max
    y, x = np.mgrid[:97, :131]
    smooth = np.stack([x / 200 + 0.2, y / 150 + 0.1, (x + y) / 400], -1)
    image = (smooth * full).astype(dtype)
    given, mask = with_hole(image, slice(30, 60), slice(70, None))
    filled = holes.fill(given, mask)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[mask], image[mask])
    assert np.abs(filled / full - smooth)[~mask].max() < 0.2  # JUNK is off by up to 0.9
    assert np.abs(np.diff(filled / full, axis=0)).max() < 0.08  # no edge


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (17, 2), (16, 16)])
def test_one_known_pixel_fills_a_picture(shape):
    image, mask = np.zeros((*shape, 1), np.uint8), np.zeros(shape, bool)
    image[-1, 0], mask[-1, 0] = 77, True
    assert (holes.fill(image, mask) == 77).all()


# Fusing


@pytest.mark.parametrize("pixels", ["shots", "network"])
@pytest.mark.parametrize("count", [2, 3])
def test_what_one_shot_lacks_comes_from_the_others(count, pixels):
    from tests.helpers.networks import WEIGHTS

    truth, a, b = (exposed(x) for x in shots(120, 160, seed=3))
    third = [exposed(defocused(scene(120, 160, seed=3), slice(None)))][: count - 2]
    options = PhotoOptions(align="none", pixels=pixels)
    weights = WEIGHTS if pixels == "network" else None
    hole = np.s_[10:60, 100:]  # sharp in b
    whole = fuse_photos([a, b, *third], weights=weights, options=options).image.astype(int)
    for given in ([with_hole(a, *hole), b], [a, with_hole(b, *hole)]):
        result = fuse_photos([*given, *third], weights=weights, options=options)
        assert result.covered is None
        other = given[1] if given[0] is not a else a
        inner = np.s_[12:58, 102:]  # up to tone curves, which are measured on fewer pixels
        if count == 2 and pixels == "shots":
            np.testing.assert_allclose(result.image[inner].astype(int), other[inner], atol=3)
        far = np.ones((120, 160), bool)
        far[: 60 + 60, 100 - 60 :] = False
        np.testing.assert_allclose(result.image[far].astype(int), whole[far], atol=3)
        if pixels == "shots":  # the network is a random one
            assert np.abs(result.image[hole].astype(int) - truth[hole]).mean() < 20  # of JUNK it is 130


def test_the_color_of_transparent_pixels_has_no_effect():
    _, a, b = (exposed(x) for x in shots(120, 160, seed=4))
    results = [fuse_photos([with_hole(a, slice(0, 40), slice(20, 90), color), b], options=ALIGNED)
               for color in (JUNK, (0, 0, 0), (255, 255, 255))]
    for other in results[1:]:
        np.testing.assert_array_equal(other.image, results[0].image)
        np.testing.assert_array_equal(other.sources, results[0].sources)


def test_what_no_shot_has_is_reported_and_0():
    _, a, b = (exposed(x) for x in shots(120, 160, seed=5))
    given = [with_hole(a, slice(0, 50), slice(0, 40)), with_hole(b, slice(30, 90), slice(0, 30))]
    for third in ([], [with_hole(exposed(scene(120, 160, seed=5) * 0.8), slice(0, 80), slice(0, 100))]):
        result = fuse_photos([*given, *third], options=ALIGNED)
        expected = np.ones((120, 160), bool)
        expected[30:50, :30] = False
        np.testing.assert_array_equal(result.covered, expected)
        assert not result.image[~expected].any() and result.image[expected].any(-1).all()
    cut = fuse_photos(given, options=PhotoOptions("none", crop=True))
    assert cut.covered is None and cut.frame == (0, 40, 120, 120)


def test_a_mask_that_is_true_everywhere_changes_nothing():
    _, a, b = (exposed(x) for x in shots(90, 110, seed=6))
    plain = fuse_photos([a, b], options=ALIGNED)
    masked = fuse_photos([Masked(x, np.ones((90, 110), bool)) for x in (a, b)], options=ALIGNED)
    np.testing.assert_array_equal(masked.image, plain.image)
    assert masked.covered is None


def test_a_transparent_shot_is_refused():
    _, a, b = (exposed(x) for x in shots(40, 50))
    with pytest.raises(UserError, match="B: this shot is transparent all over"):
        fuse_photos([a, with_hole(b, slice(None), slice(None))], ["A", "B"], options=ALIGNED)


def test_exposure_is_measured_where_the_shot_has_pixels():
    _, a, b = shots(240, 320, seed=7)
    darker = exposed(b, -1)
    for given in (with_hole(darker, slice(None), slice(0, 200)), with_hole(darker, slice(0, 150), slice(None))):
        assert abs(fuse_photos([exposed(a), given], options=ALIGNED).stops[1] + 1) < 0.1


# Registration


def test_holes_do_not_disturb_registration():
    _, a, b = shots(300, 400, seed=12)
    matrix = np.array([[1.0, 0, 6], [0, 1, -3], [0, 0, 1]])
    moved = exposed(hand_held(b, matrix))
    given = [with_hole(exposed(a), slice(0, 70), slice(None), (0, 0, 0)),
             with_hole(moved, slice(None), slice(0, 100), (0, 0, 0))]
    (_, first, has, _), (_, second, valid, found) = align_photos(given, options=PhotoOptions(model="similarity"))
    np.testing.assert_allclose(found.matrix[:2, 2], matrix[:2, 2], atol=0.7)
    np.testing.assert_array_equal(has, given[0].mask)
    assert not first[:70].any() and not second[~valid].any()
    x = np.arange(400)
    sure = (x != 393) & (x >= 2) & (x < 398)  # a shift of 6.004 px, which OpenCV 4 finds, covers no column 393
    np.testing.assert_array_equal(valid[10:-10].any(0)[sure], ((x >= 94) & (x < 394))[sure])  # moved by 6 px
    result = fuse_photos(given, options=PhotoOptions(model="similarity"))
    np.testing.assert_array_equal(result.covered, has | valid)
    np.testing.assert_allclose(result.image[5:60, 100:390].astype(int), second[5:60, 100:390], atol=3)
