"""The photographs study: its tables and its color rules."""

import numpy as np

from edmf_jax.fusion.stack import PhotoOptions
from studies import color_rules, photographs
from studies.photograph_scenes import SETTINGS, rendered_pairs


def test_a_table_has_a_row_for_each_setting():
    scores = {("exposure", setting, method): [(30.0 + i, 0.9, 1.5), (32.0 + i, 0.7, 2.5)]
              for i, setting in enumerate(("one", "two")) for method in ("x", "y")}
    lines = photographs.markdown_table(scores, "exposure", "PSNR", setting_rows=True).splitlines()
    assert lines[:2] == ["| PSNR ↑ | x | y |", "| --- | ---: | ---: |"]
    assert lines[2:] == ["| one | 31.00 | 31.00 |", "| two | 32.00 | 32.00 |"]
    lines = photographs.markdown_table(scores, "exposure", "ΔE", setting_rows=False).splitlines()
    assert lines[2] == "| x | 2.00 | 2.00 |"


def test_every_color_rule_gives_a_picture_of_the_fused_luma():
    pair = next(rendered_pairs(SETTINGS[-1], 1))
    a, b = color_rules.to_one_exposure(pair.a, pair.b, PhotoOptions(align="none", exposure="average"))
    assert a.dtype == b.dtype == np.float32 and a.shape == b.shape == pair.a.shape
    assert np.abs(a - b).mean() < 0.25 * np.abs(pair.a / 255.0 - pair.b / 255.0).mean()
    luma = np.full(pair.a.shape[:2], 0.5, np.float32)
    found = dict(color_rules.apply_rules(luma, a, b))
    assert list(found) == list(color_rules.RULES)
    for picture in found.values():
        np.testing.assert_allclose(picture @ np.float32([0.299, 0.587, 0.114]), luma, atol=1e-3)
