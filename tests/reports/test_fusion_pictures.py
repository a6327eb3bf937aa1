"""The pictures of a fusion: its focus mask, its cut-outs, how many pixels are kept."""

import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.core.focus import focus_masks
from edmf_jax.reports.fusion_html import picture_record
from edmf_jax.reports.fusion_pictures import FUSION_LEVELS, make_fusion_pictures
from tests.helpers.fusion_records import make_record, two_shots


def test_the_focus_mask_is_the_paper_s(monkeypatch):
    monkeypatch.setattr("edmf_jax.reports.fusion_pictures._MASK_STRIP_ROWS", 64)  # several strips
    near, far = two_shots()
    fused = make_record((near, far), result=None, options=None)
    mask = make_fusion_pictures(fused, [near, far]).layers["mask"].whole
    planes = (jnp.asarray(luma(x.astype(np.float32) / 255)) for x in (near, far))
    expected = 255 * np.asarray(focus_masks(*planes)[0]).astype(np.uint8)
    assert (mask == expected).mean() > 0.9999 and 0.2 < (mask == 0).mean() < 0.8


def test_cut_outs_are_in_full_resolution_and_in_place(monkeypatch):
    monkeypatch.setattr("edmf_jax.reports.fusion_pictures.FUSION_LEVELS", FUSION_LEVELS[-3:])
    near, far = two_shots(900, 1200)
    fused = make_record((near, far), frame=(20, 30, 840, 1100))
    pictures = make_fusion_pictures(fused, [near, far])
    assert len(pictures.crops) >= 2 and pictures.layers["s0"].whole.shape[1] == 320
    for crop, cut in zip(pictures.crops, pictures.layers["s0"].crops):
        place = np.s_[20 + crop.y : 20 + crop.y + crop.height, 30 + crop.x : 30 + crop.x + crop.width]
        np.testing.assert_array_equal(cut, near[place])
    wholes = [pictures.layers[key].whole for key in ("s0", "result", "s1", "map", "mask")]
    assert {whole.shape[:2] for whole in wholes} == {(244, 320)}
    assert np.abs(wholes[0].astype(int) - wholes[1]).mean() < 3


def test_few_pictures_are_kept_of_many(monkeypatch):
    monkeypatch.setattr("edmf_jax.reports.fusion_pictures._MAX_KEPT_PIXELS", 300_000)
    shots = two_shots(600, 900)
    fused = make_record(shots)
    pictures = make_fusion_pictures(fused, list(shots))
    assert pictures.first_level > 2
    kept = sum(x.size / x.shape[-1] for views in pictures.layers.values() for x in (views.whole, *views.crops)
               if x.ndim == 3)
    assert kept < 300_000
    assert picture_record(fused, pictures, {}, FUSION_LEVELS[pictures.first_level])["matches"][1]
