"""The plots of means: axes, labels, numbers."""

import re

import pytest

from edmf_jax.reports.dot_plots import axis_ticks, dot_plots, format_number
from edmf_jax.reports.evaluation_data import load_evaluation
from edmf_jax.reports.evaluation_html import render
from tests.helpers.reports import make_evaluation, make_scene


def test_axes_say_where_they_begin(tmp_path):
    def values(method, pair, metric):
        return {"SSIM": 0.9, "Qabf": 0.1 + 0.5 * method}.get(metric, 1.0) + 0.001 * pair

    scenes = {str(i): make_scene(str(i), 20, 24) for i in range(14)}
    make_evaluation(tmp_path, ["x", "y"], scenes, values=values, pictures=False)
    evaluation = load_evaluation(tmp_path)
    near, wide, *_ = re.findall(r"<figure.*?</figure>", render(evaluation, []))
    assert "axis not from 0" in near and "axis from 0: 0.000" in wide and "higher is better" in near
    assert re.search(r'aria-label="SSIM: x 0\.\d{3}, 0\.\d{3} to 0\.\d{3}; y ', near)
    assert [row.rank for row in dot_plots(evaluation.summary)[1].rows] == ["second", "best"]


def test_ticks_are_round_numbers():
    assert axis_ticks(0.557, 0.726) == pytest.approx([0.6, 0.65, 0.7])
    assert axis_ticks(3.0, 3.0) == [3.0]


def test_numbers_for_readers():
    assert [format_number(v) for v in (-1.5, float("nan"), float("inf"), -float("inf"))] == ["−1.500", "–", "∞", "−∞"]
