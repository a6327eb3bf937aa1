"""Bringing shots to one exposure: what is found, what is left alone, and what can't go wrong."""

import cv2
import numpy as np
import pytest

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.fusion.stack import exposure, gain_field, leveling, tone, tone_estimate, tone_model
from edmf_jax.fusion.stack.tone_samples import Samples, small_copies
from tests.helpers.scenes import exposed, scene

SIZE = HEIGHT, WIDTH = 180, 240
ALL = np.ones(SIZE, bool)
WHOLE = slice(0, HEIGHT), slice(0, WIDTH)
EQUAL = tone.reference_curve(3)
EVERY_GROUP = "gain", "balance", "gamma", "differences", "bend", "field"


def halves(sigma=3.0, *, in_light=True, seed=0):
    """Two shots of one scene, each with the other half out of focus."""
    truth = 0.15 + 0.7 * scene(*SIZE, seed=seed)
    values = srgb_to_linear(truth) if in_light else truth
    blurred = cv2.GaussianBlur(np.float32(values), (0, 0), sigma)
    blurred = linear_to_srgb(blurred) if in_light else blurred
    left = np.arange(WIDTH)[:, None] < WIDTH // 2
    return [np.float32(np.where(mask, truth, blurred)) for mask in (left, ~left)]


def leveled(found, picture):
    """A picture at the reference's exposure."""
    return leveling.level(found.curve, found.field, [EQUAL, found.curve], EQUAL, SIZE).apply(picture, *WHOLE)


def relit(picture, stops):
    """A picture in 8 bits with so many stops more light from place to place; as floats."""
    light = srgb_to_linear(picture) * 2.0 ** stops[..., None]
    return np.float32(np.rint(255 * linear_to_srgb(np.minimum(light, 1))) / 255)


def places():
    """y and x of each pixel, from −1 to 1."""
    return np.meshgrid(*(np.linspace(-1, 1, side) for side in SIZE), indexing="ij")


@pytest.mark.parametrize("in_light", [True, False])
def test_shots_that_differ_in_focus_alone_are_not_touched(in_light):
    a, b = halves(in_light=in_light)
    for first, second in ((a, b), (b, a), (a, a)):
        found = tone_estimate.compare(first, second, ALL)
        np.testing.assert_array_equal(found.curve, EQUAL)
        assert found.field is None and found.note is None
        np.testing.assert_allclose(leveled(found, second), second, atol=1e-6)


@pytest.mark.parametrize(("stops", "balance"), [(0.25, (1, 1, 1)), (1, (1.15, 1, 0.9)), (-1.5, (0.9, 1, 1.1))])
def test_another_exposure_and_white_balance_are_found(stops, balance):
    a, b = halves()
    found = tone_estimate.compare(a, np.float32(exposed(b, stops, 1, balance)) / 255, ALL)
    seen = np.float32(exposed(b, stops, 1, balance)) / 255
    unclipped = (seen < 0.98).all(-1)
    assert found.field is None and found.note is None
    assert 255 * np.abs(leveled(found, seen) - b)[unclipped].mean() < 1.5


def test_light_that_falls_off_across_one_shot_leaves_a_gray_sky_gray():
    a, b = halves()
    y, x = places()
    sky = np.float32(0.75 - 0.1 * y[..., None]) * np.ones(3, np.float32)
    a, b = (np.where(y[..., None] < -0.2, sky, shot) for shot in (a, b))
    found = tone_estimate.compare(a, relit(b, -0.5 * (x + 1)), ALL)
    result = leveled(found, relit(b, -0.5 * (x + 1)))
    error = 255 * np.abs(result - b)
    assert found.field is not None and found.note is None
    assert np.quantile(error, 0.99) < 6 and 255 * np.ptp(result[y < -0.3], axis=-1).max() < 3


def test_the_curve_is_never_steep():
    """The kinds of difference that bent curves of one channel alone by up to 47."""
    a, b = halves(8)
    y, x = places()
    for stops in (-0.5 * (x + 1), 0.8 * np.exp(-((x - 0.5) ** 2 + y**2) / 0.3), 0.5 * np.sign(np.sin(9 * x) * y)):
        found = tone_estimate.compare(a, relit(b, stops), ALL)
        table = exposure.table(found.curve, np.tile(tone.GRID, (3, 1)), 256)
        assert np.diff(table[:, 10:245], axis=1).max() * 255 < 3
        assert 255 * np.ptp(table[:, :200], axis=0).max() < 25


def test_a_macro_shot_far_out_of_focus_does_not_lift_black():
    bars = np.float32(np.where(np.arange(WIDTH) // 30 % 2 == 0, 0.1, 0.8)) * np.ones((HEIGHT, 1), np.float32)
    sharp = np.repeat((bars + 0.1 * scene(*SIZE, 1)[..., 0])[..., None], 3, -1)
    soft = np.float32(linear_to_srgb(cv2.GaussianBlur(srgb_to_linear(sharp), (0, 0), 0.06 * float(np.hypot(*SIZE)))))
    for first, second in ((soft, sharp), (sharp, soft)):
        found = tone_estimate.compare(first, second, ALL)
        np.testing.assert_allclose(leveled(found, second), second, atol=6 / 255)


def test_below_the_darkest_value_that_both_have_black_stays_black():
    a, b = halves()
    a, b = (0.3 + 0.6 * shot for shot in (a, b))
    found = tone_estimate.compare(a, np.float32(exposed(b, -1)) / 255, ALL)
    table = exposure.table(found.curve, EQUAL)
    assert (table[:, 0] == 0).all()
    light = srgb_to_linear(table[:, 1000:8000:500]) / srgb_to_linear(np.linspace(0, 1, 65536)[1000:8000:500])
    np.testing.assert_allclose(light, light[:, -1:] * np.ones(light.shape[1]), rtol=0.02)  # one gain


def test_what_neither_curve_nor_field_explains_is_said():
    a, b = halves()
    y, x = places()
    patches = np.sign(np.sin(11 * x) * np.sin(9 * y)) - 1
    found = tone_estimate.compare(a, relit(b, patches), ALL)
    assert found.note == tone_estimate.NOTE and found.field is None
    ratio = srgb_to_linear(found.curve[:, 100:1500]) / srgb_to_linear(tone.GRID[100:1500])
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-6)  # gain alone, the same for all channels


@pytest.mark.parametrize("channels", [1, 3])
def test_slopes_of_the_model_are_its_derivatives(channels):
    a, b = (shot[..., :channels] for shot in halves())
    samples = Samples(small_copies(a, b, ALL), 0.04, True)
    found = tone_model.fit(samples, EVERY_GROUP, tone_model.knots_of(samples), rounds=0)
    found.values = np.random.default_rng(0).normal(0, 0.05, len(found.values))
    predicted, slopes = found._with_slopes(samples)
    for k in range(len(found.values)):
        found.values[k] += 1e-6
        np.testing.assert_allclose((found.predicted(samples) - predicted) / 1e-6, slopes[:, k], atol=1e-4)
        found.values[k] -= 1e-6


def test_a_fit_finds_the_model_that_made_the_samples():
    a, b = halves()
    samples = Samples(small_copies(a, b, ALL), 0.02, True)
    made = tone_model.fit(samples, ("gain", "balance", "gamma", "field"), tone_model.knots_of(samples), rounds=0)
    made.values[:] = [0.7, 0.1, 0, -0.1, 0.08, *np.linspace(-0.2, 0.2, gain_field.TERM_COUNT)]
    samples.y = made.predicted(samples)
    found = tone_model.fit(samples, ("gain", "balance", "gamma", "field"), made.knots)
    np.testing.assert_allclose(found.predicted(samples), samples.y, atol=1e-3)
    assert tone_model.spread(samples, found.held_out(samples, 5)) < 1e-3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_field_is_applied_part_by_part_as_its_formula_says(dtype):
    y, x = (v.ravel() for v in places())
    terms = np.random.default_rng(1).normal(0, 0.2, gain_field.TERM_COUNT)
    field = gain_field.from_terms(terms, gain_field.basis(y, x) @ terms)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    picture = (scene(*SIZE) * full).astype(dtype)
    target = np.minimum(tone.GRID**0.9, 1) * np.ones((3, 1))
    one = leveling.level(EQUAL, field, [EQUAL], target, (*SIZE, 3))
    whole = one.apply(picture, *WHOLE)
    part = slice(20, 71), slice(33, 200)
    np.testing.assert_array_equal(one.apply(picture[part], *part), whole[part])
    stops = field.stops(*WHOLE, SIZE)[..., None]
    expected = np.minimum(linear_to_srgb(srgb_to_linear(picture / full) / 2.0**stops) ** 0.9, 1)
    np.testing.assert_allclose(whole, expected, atol=2e-4)
    assert whole.dtype == np.float32 and np.ptp(stops) > 0.2


def test_a_field_stays_within_what_was_seen():
    field = gain_field.from_terms(np.full(gain_field.TERM_COUNT, 3.0), np.array([-0.1, 0.3]))
    stops = field.stops(slice(0, 9), slice(0, 9), (9, 9))
    assert stops.min() == np.float32(-0.1) and stops.max() == np.float32(0.3)


def test_leveling_without_clipping_is_fully_confident_and_has_slope_1():
    one = leveling.level(EQUAL, None, [EQUAL], EQUAL, SIZE)
    assert one.confidence(scene(20, 20)) is None and one.slope == pytest.approx(1, abs=1e-5)
    darker = exposure.table(np.minimum(EQUAL / 2, 1), EQUAL)
    assert leveling.Leveling(darker, np.zeros(3), SIZE).slope > 1.2
