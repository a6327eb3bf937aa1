"""Pairs with a truth at any exposure: their pictures have the exposures that the settings say."""

import numpy as np
import pytest

from edmf_jax.core.color import rgb_to_gray
from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, tone
from edmf_jax.weights.store import load_pretrained
from studies import photograph_scenes
from studies.photograph_scenes import SETTINGS, ExposedPair, apply_exposure, rendered_pairs, true_curves
from tfds_edmf.edmf_synthetic.exposure import Exposure, reexpose
from tfds_edmf.edmf_synthetic.pair import make_pair

LEVELS = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_true_curves_are_what_the_exposures_do(setting):
    for number in (0, 1):
        exposures = setting.exposures(number)
        a, b = (apply_exposure(LEVELS, e) for e in exposures)
        curve = true_curves(exposures)[1]
        seen = np.stack([np.interp(a[..., c] / 255, tone.GRID, curve[c]) for c in range(3)], -1)
        unclipped = ((a > 20) & (a < 255)).all(-1)
        assert np.abs(255 * seen - b)[unclipped].max() < 2.1  # a is rounded
        truth = ExposedPair(a, b, LEVELS, exposures)
        assert np.abs(truth.truth_at("reference").astype(int) - a).max() <= 1
        middle = (a.astype(float) + b) / 2
        assert np.abs(truth.truth_at("average") - middle).max() <= 1.1


def test_the_published_conditions_are_the_packages():
    condition = CONDITIONS["half-stop-gamma"]
    a, b, truth = condition.apply(LEVELS, LEVELS, LEVELS)
    setting = next(s for s in SETTINGS if s.name == condition.name)
    scene = ExposedPair(*(apply_exposure(LEVELS, e) for e in setting.exposures(0)), LEVELS, setting.exposures(0))
    np.testing.assert_array_equal(scene.a, a)
    np.testing.assert_array_equal(scene.b, b)
    assert np.abs(scene.truth_at("average").astype(int) - truth).max() <= 1


def test_a_rendered_pair_takes_exposures_and_keeps_its_scene():
    drawn = make_pair(1, "test", 0, (96, 80))
    given = make_pair(1, "test", 0, (96, 80), (Exposure(2.0 ** np.array([1, 0.5, 0])), Exposure(0.5)))
    for same in ("truth", "focus_map", "attainable"):
        np.testing.assert_array_equal(given[same], drawn[same])
    means = [given[f"source_{x}"].astype(float).mean((0, 1)) for x in "ab"]
    wanted = [np.mean([reexpose(drawn["truth"][..., c], gain, 1.0) for c, gain in enumerate(gains)], axis=(1, 2))
              for gains in ((2, 2**0.5, 1), (0.5, 0.5, 0.5))]
    for got, want, border in zip(means, wanted, (given["border_a"], given["border_b"])):
        assert np.abs(got / want - 1).max() < (0.08 if not border.any() else 0.5)


def test_the_middle_of_a_picture_is_a_shape_of_its_own():
    for shape in ((428, 644, 3), (644, 428, 3), (100, 90, 3)):
        middle = photograph_scenes.crop_middle(np.zeros(shape))
        assert sorted(middle.shape[:2]) == sorted(min(s, m) for s, m in zip(sorted(shape[:2]), (240, 304)))


@pytest.mark.parametrize("exposed_anew", [False, True])
def test_nearer_to_the_truth_than_the_network(exposed_anew):
    pair = next(rendered_pairs(SETTINGS[-1] if exposed_anew else None, 1))
    errors = {}
    for pixels in ("shots", "network"):
        options = PhotoOptions("none", exposure="average", pixels=pixels)
        fused = fuse_photos([pair.a, pair.b], weights=load_pretrained("edmf"), options=options).image
        errors[pixels] = np.square(rgb_to_gray(fused).astype(float) - rgb_to_gray(pair.truth_at("average"))).mean()
    assert 10 * np.log10(errors["network"] / errors["shots"]) > 0.5
