"""The benchmark's truth: the exposures it says are those that the pictures have."""

import numpy as np
import pytest

from benchmarks import photograph_scenes, photographs
from benchmarks.photograph_scenes import SETTINGS, Scene, exposed, true_curves
from edmf_jax.exposures import CONDITIONS
from edmf_jax.photo import tone
from tfds_edmf.edmf_synthetic.exposure import Exposure, reexpose
from tfds_edmf.edmf_synthetic.pair import make_pair

LEVELS = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_true_curves_are_what_the_exposures_do(setting):
    for number in (0, 1):
        exposures = setting.of(number)
        a, b = (exposed(LEVELS, e) for e in exposures)
        curve = true_curves(exposures)[1]
        seen = np.stack([np.interp(a[..., c] / 255, tone.GRID, curve[c]) for c in range(3)], -1)
        unclipped = ((a > 20) & (a < 255)).all(-1)
        assert np.abs(255 * seen - b)[unclipped].max() < 2.1  # a is rounded
        truth = Scene(a, b, LEVELS, exposures)
        assert np.abs(truth.truth_at("reference").astype(int) - a).max() <= 1
        middle = (a.astype(float) + b) / 2
        assert np.abs(truth.truth_at("average") - middle).max() <= 1.1


def test_the_published_conditions_are_the_packages():
    condition = CONDITIONS["half-stop-gamma"]
    a, b, truth = condition.apply(LEVELS, LEVELS, LEVELS)
    setting = next(s for s in SETTINGS if s.name == condition.name)
    scene = Scene(*(exposed(LEVELS, e) for e in setting.of(0)), LEVELS, setting.of(0))
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


def test_a_table_has_a_row_for_each_setting():
    scores = {("exposure", setting, method): [(30.0 + i, 0.9, 1.5), (32.0 + i, 0.7, 2.5)]
              for i, setting in enumerate(("one", "two")) for method in ("x", "y")}
    lines = photographs.table_of(scores, "exposure", "PSNR", settings_down=True).splitlines()
    assert lines[:2] == ["| PSNR ↑ | x | y |", "| --- | ---: | ---: |"]
    assert lines[2:] == ["| one | 31.00 | 31.00 |", "| two | 32.00 | 32.00 |"]
    assert photographs.table_of(scores, "exposure", "ΔE", settings_down=False).splitlines()[2] == "| x | 2.00 | 2.00 |"


def test_the_middle_of_a_picture_is_a_shape_of_its_own():
    for shape in ((428, 644, 3), (644, 428, 3), (100, 90, 3)):
        middle = photograph_scenes.middle(np.zeros(shape))
        assert sorted(middle.shape[:2]) == sorted(min(s, m) for s, m in zip(sorted(shape[:2]), (240, 304)))
