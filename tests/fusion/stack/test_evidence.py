"""How sharp each shot is: `evidence`."""

import cv2
import numpy as np
import pytest

from edmf_jax.fusion.stack import evidence, leveling, tiles, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from tests.helpers.scenes import defocused, scene

GRAY = np.full((96, 120, 3), 0.5, np.float32)


def shot(pixels, valid=None):
    """A shot at the target exposure."""
    curve = tone.reference_curve(pixels.shape[2])
    return AlignedShot(pixels, valid, None, leveling.level(curve, None, [curve], curve, pixels.shape))


def logits(*pictures, noise=0.0, valid=None):
    whole = slice(0, pictures[0].shape[0]), slice(0, pictures[0].shape[1])
    return [evidence.measure(shot(picture, valid), noise).logit(whole) for picture in pictures]


def test_a_plain_picture_has_the_floor_everywhere():
    (logit,) = logits(GRAY)
    np.testing.assert_allclose(logit, evidence.POWER * np.log(evidence.FLOOR), atol=1e-4)


def test_twice_the_contrast_counts_two_to_the_power():
    texture = np.random.default_rng(0).standard_normal(GRAY.shape[:2]).astype(np.float32)[..., None]
    once, twice = logits(GRAY + 0.05 * texture, GRAY + 0.1 * texture)
    np.testing.assert_allclose((twice - once)[20:-20, 20:-20], evidence.POWER * np.log(2), atol=0.05)


def test_it_does_not_depend_on_the_tiles_and_mirrors_with_the_picture(monkeypatch):
    picture = scene(150, 190)
    valid = np.ones((150, 190), bool)
    valid[:, :11] = valid[90:110, 120:] = False
    (whole,) = logits(picture, valid=valid)
    monkeypatch.setattr(tiles, "BLEND_TILE_PX", (40, 64))
    (tiled,) = logits(picture, valid=valid)
    np.testing.assert_allclose(tiled, whole, atol=2e-2)  # float16 roots of sums in another order
    (mirrored,) = logits(np.ascontiguousarray(picture[::-1]), valid=np.ascontiguousarray(valid[::-1]))
    fine = evidence.measure(shot(picture), 0).fine, evidence.measure(shot(np.ascontiguousarray(picture[::-1])), 0).fine
    np.testing.assert_allclose(fine[1][::-1].astype(float), fine[0].astype(float), atol=2e-3)
    assert mirrored.shape == whole.shape


def test_detail_in_color_alone_counts():
    stripes = np.where(np.arange(120) // 3 % 2, 0.1, -0.1)[None, :, None]
    red_green = (GRAY + stripes * np.array([1, -0.299 / 0.587, 0])).astype(np.float32)
    colored, plain = logits(red_green, GRAY)
    assert (colored - plain)[12:-12, 12:-12].min() > 10


def test_noise_is_not_sharpness():
    rng = np.random.default_rng(1)
    grainy, fine = (GRAY + sigma * rng.standard_normal(GRAY.shape).astype(np.float32) for sigma in (0.03, 0.005))
    blind = logits(grainy, fine)
    assert np.median(blind[0] - blind[1]) > 8
    energies = [evidence.noise_energy(x, 1.0) for x in (grainy, fine)]
    assert energies[0] / energies[1] == pytest.approx(36, rel=0.3)
    seeing = [logits(x, noise=noise)[0] for x, noise in zip((grainy, fine), energies)]
    assert abs(np.median(seeing[0] - seeing[1])) < 1


def test_noise_is_measured_where_the_picture_is_quiet_and_the_shot_has_pixels():
    rng = np.random.default_rng(2)
    picture = scene(200, 300)
    picture[:, 200:] = 0.4
    picture += 0.02 * rng.standard_normal(picture.shape).astype(np.float32)
    plain = 0.4 + 0.02 * rng.standard_normal(picture.shape).astype(np.float32)
    assert evidence.noise_energy(picture, 1.0) == pytest.approx(evidence.noise_energy(plain, 1.0), rel=0.3)
    mask = np.ones((200, 300), bool)
    mask[:, :100] = False
    half_black = np.where(mask[..., None], plain, 0)
    assert evidence.noise_energy(half_black, 1.0, mask) == pytest.approx(evidence.noise_energy(plain, 1.0), rel=0.3)
    assert evidence.noise_energy(half_black, 1.0, np.zeros_like(mask)) == 0


def test_detail_everywhere_is_not_taken_for_noise():
    sharp = scene(120, 160)
    energies = [evidence.noise_energy(x, 1.0) for x in (sharp, defocused(sharp, slice(None), 3.0))]
    plausible = evidence.plausible_noise(energies)
    assert plausible[1] == energies[1] and plausible[0] <= 8 * energies[1] < energies[0]


def test_what_lies_beyond_a_shot_is_no_evidence():
    valid = np.ones(GRAY.shape[:2], bool)
    valid[:, :30] = False
    garbage = np.where(valid[..., None], GRAY, np.random.default_rng(3).random(GRAY.shape)).astype(np.float32)
    (logit,) = logits(garbage, valid=valid)
    assert (logit[:, 62:] < evidence.POWER * np.log(evidence.FLOOR) + 0.1).all()
    assert (logit[:, :30] < -5000).all()


def test_a_dark_rim_of_the_frame_is_no_detail():
    rim = GRAY.copy()
    rim[:2] = rim[:, -2:] = 0.2
    rimmed, plain = logits(rim, GRAY)
    np.testing.assert_allclose(rimmed, plain, atol=1e-3)


def test_an_outline_far_away_tells_which_of_two_plain_places_is_sharp():
    sharp = GRAY.copy()
    sharp[:, 60:] = 0.1
    soft = cv2.GaussianBlur(sharp, (0, 0), 9.0)
    in_focus, out_of_focus = logits(sharp, soft)
    assert (in_focus > out_of_focus)[20:-20, 20:100].all()


def test_the_rim_of_a_defocused_lamp_is_not_taken():
    sharp = np.full((120, 120, 1), 0.1, np.float32)
    blurred = sharp.copy()
    cv2.circle(sharp, (60, 60), 2, 1.0, -1)
    cv2.circle(blurred, (60, 60), 9, 0.15, -1)  # the same light on twenty times the area
    in_focus, out_of_focus = logits(sharp, blurred)
    assert (in_focus > out_of_focus)[45:76, 45:76].all()


def test_a_shot_that_ends_loses_weight_long_before_where_nothing_is_sharp():
    valid = np.ones((400, 400), bool)
    valid[:, :40] = False
    found = evidence.measure(shot(np.full((400, 400, 1), 0.5, np.float32), valid), 0)
    whole = slice(0, 400), slice(0, 400)
    ramp = found.ramp_weight(whole, np.float32(0))
    assert (np.diff(ramp[200]) > -1e-6).all()
    assert ramp[200, 45] < 0.15 and 0.3 < ramp[200, 62] < 0.8 and ramp[200, 99] == 1
    np.testing.assert_array_equal(found.ramp_weight(whole, np.float32(1)), 1)
    assert evidence.measure(shot(GRAY), 0).ramp is None


def test_cells_are_means_and_come_back_the_same_in_parts():
    plane = np.random.default_rng(4).random((37, 50)).astype(np.float32)
    cells = evidence.cell_means(plane, 8)
    assert cells.shape == (5, 7)
    np.testing.assert_allclose(cells[1, 2], plane[8:16, 16:24].mean(), rtol=1e-5)
    whole = evidence.enlarged(cells, (slice(0, 37), slice(0, 50)), 8)
    assert whole.shape == (37, 50)
    part = slice(16, 37), slice(8, 40)
    np.testing.assert_array_equal(evidence.enlarged(cells, part, 8), whole[part])
