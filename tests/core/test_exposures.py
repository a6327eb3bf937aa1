"""Exposure conditions: formulas with known values, extremes, and the exposure of the truth."""

import dataclasses
import json

import numpy as np
import pytest

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.core.exposures import CONDITIONS, Exposures, find_condition, tone_curve
from edmf_jax.errors import UserError

LEVELS = np.arange(256, dtype=np.uint8)
ALL = list(CONDITIONS.values())


def test_conditions_are_those_of_the_benchmark():
    assert {c.name: (c.stops, c.gamma) for c in ALL} == {
        "published": ((0, 0), (1, 1)),
        "quarter-stop": ((0.25, -0.25), (1, 1)),
        "half-stop-gamma": ((0.5, -0.5), (0.9, 1.1)),
    }


def test_the_transfer_function_is_srgb():
    # IEC 61966-2-1: a linear toe up to 0.04045, middle gray 0.5 ↔ 0.2140, and each other's inverse.
    assert srgb_to_linear(np.array([0, 0.04, 0.5, 1])) == pytest.approx([0, 0.04 / 12.92, 0.21404114, 1], abs=1e-8)
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-6)


def test_known_values():
    # By hand: 128 → light 0.21586; doubled 0.43172 → sRGB 0.68845 → level 175.56; ^0.9 → 0.71464 → level 182.23.
    assert 255 * tone_curve(1, 1)[128] == pytest.approx(175.56, abs=0.01)
    assert 255 * tone_curve(1, 0.9)[128] == pytest.approx(182.23, abs=0.01)
    # In the toe a stop is a factor of 2 in levels too.
    assert 255 * tone_curve(1, 1)[4] == pytest.approx(8, abs=1e-9)
    assert 255 * tone_curve(-1, 1)[10] == pytest.approx(5, abs=1e-9)
    a, b, truth = CONDITIONS["quarter-stop"].apply(*[np.full((2, 2), 128, np.uint8)] * 3)
    assert (a[0, 0], b[0, 0], truth[0, 0]) == (139, 118, 128)


def test_the_truth_is_at_the_mean_or_as_a_shows_it():
    condition = CONDITIONS["half-stop-gamma"]
    a, b, truth = condition.apply(LEVELS, LEVELS, LEVELS, "reference")
    np.testing.assert_array_equal(truth, a)
    np.testing.assert_array_equal(condition.expose_truth(LEVELS), condition.apply(LEVELS, LEVELS, LEVELS)[2])
    assert not np.array_equal(a, b)


def test_published_leaves_every_level_as_it_is():
    for picture in CONDITIONS["published"].apply(LEVELS, LEVELS, LEVELS):
        np.testing.assert_array_equal(picture, LEVELS)


@pytest.mark.parametrize("condition", ALL, ids=lambda c: c.name)
def test_curves_keep_the_order_of_levels_and_black(condition):
    for picture in condition.apply(LEVELS, LEVELS, LEVELS):
        assert picture.dtype == np.uint8 and picture[0] == 0 and (np.diff(picture.astype(int)) >= 0).all()


@pytest.mark.parametrize("condition", ALL[1:], ids=lambda c: c.name)
def test_brighter_light_clips_and_the_truth_lies_between(condition):
    a, b, truth = (picture.astype(int) for picture in condition.apply(LEVELS, LEVELS, LEVELS))
    white = 255 * linear_to_srgb(2.0 ** -condition.stops[0])  # the level whose light is white at A's exposure
    assert (a[white <= LEVELS] == 255).all() and a[int(white) - 3] < 255
    assert b[255] == round(255 * linear_to_srgb(2.0 ** condition.stops[1]) ** condition.gamma[1]) < 255
    assert (b <= LEVELS).all() and (a >= LEVELS).all()
    # The mean of the unrounded exposures, rounded once: within a level of the mean of the pictures.
    first, second = (tone_curve(*setting) for setting in zip(condition.stops, condition.gamma))
    np.testing.assert_array_equal(truth, np.rint(255 * (first + second) / 2))
    assert np.abs(truth - (a + b) / 2).max() <= 1


def test_swapped_settings_swap_the_sources_and_keep_the_truth():
    condition = CONDITIONS["half-stop-gamma"]
    swapped = dataclasses.replace(condition, stops=condition.stops[::-1], gamma=condition.gamma[::-1])
    a, b, truth = condition.apply(LEVELS, LEVELS, LEVELS)
    for here, there in zip((b, a, truth), swapped.apply(LEVELS, LEVELS, LEVELS)):
        np.testing.assert_array_equal(here, there)


def test_exposure_model_equals_that_of_the_synthetic_pairs():
    exposure = pytest.importorskip("tfds_edmf.edmf_synthetic.exposure")
    a, b, _ = CONDITIONS["half-stop-gamma"].apply(LEVELS, LEVELS)
    for picture, stops, gamma in ((a, 0.5, 0.9), (b, -0.5, 1.1)):
        theirs = exposure.reexpose(LEVELS, 2**stops, gamma)  # in float32
        assert np.abs(picture.astype(int) - theirs).max() <= 1 and (picture == theirs).mean() > 0.98


def test_channels_and_shapes_are_kept_and_the_truth_is_optional():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    a, b, truth = CONDITIONS["quarter-stop"].apply(rgb, rgb[..., 0])
    assert a.shape == (5, 7, 3) and b.shape == (5, 7) and truth is None
    np.testing.assert_array_equal(a[..., 1], CONDITIONS["quarter-stop"].apply(rgb[..., 1], b)[0])


def test_record_has_the_numbers_and_survives_json():
    for condition in ALL:
        assert Exposures.from_record(json.loads(json.dumps(condition.to_record()))) == condition
    record = CONDITIONS["quarter-stop"].to_record()
    assert record == {"name": "quarter-stop", "stops": [0.25, -0.25], "gamma": [1, 1]}
    assert CONDITIONS["half-stop-gamma"].describe() == "A +0.5 stops, gamma 0.9; B −0.5 stops, gamma 1.1"


def test_unknown_names_and_16_bits_are_refused():
    assert find_condition(None) is None
    with pytest.raises(UserError, match=r"^--exposures=night is unknown; use one of published, quarter-stop, half-"):
        find_condition("night")
    with pytest.raises(ValueError, match=r"8-bit pictures .* got uint16"):
        CONDITIONS["published"].apply(LEVELS.astype(np.uint16), LEVELS)
