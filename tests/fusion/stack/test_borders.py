"""The small functions under `fuse_photos`: feathering, rectangles, composites, tables, the network's flat response."""

import functools

import cv2
import numpy as np
import pytest

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.core.focus import local_spatial_frequency
from edmf_jax.fusion.stack import (
    analysis,
    borders,
    composite,
    exposure,
    response,
    sharpness,
    sketches,
    tone,
    tone_estimate,
)
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.registration import Registration
from edmf_jax.weights.store import load_pretrained


def brute_rectangle(mask):
    best = 0
    for top in range(mask.shape[0]):
        for left in range(mask.shape[1]):
            for bottom in range(top + 1, mask.shape[0] + 1):
                for right in range(left + 1, mask.shape[1] + 1):
                    if mask[top:bottom, left:right].all():
                        best = max(best, (bottom - top) * (right - left))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_largest_rectangle(seed):
    mask = np.random.default_rng(seed).random((9, 11)) > 0.2
    top, left, height, width = borders.largest_rectangle(mask)
    assert mask[top : top + height, left : left + width].all() and height * width == brute_rectangle(mask)


def test_largest_rectangle_of_a_large_mask():
    y, x = np.mgrid[:900, :1300]
    mask = (y > 20 + x // 100) & (x > 17) & (x < 1290) & (y < 893)
    top, left, height, width = borders.largest_rectangle(mask)
    assert mask[top : top + height, left : left + width].all()
    assert (left, left + width, top + height) == (18, 1290, 893) and 33 <= top <= 36


def test_largest_rectangle_of_nothing():
    assert borders.largest_rectangle(np.zeros((5, 6), bool))[2:] == (0, 0)
    assert borders.largest_rectangle(np.ones((5, 6), bool)) == (0, 0, 5, 6)


def test_a_pixels_weight_rises_from_0_to_1():
    valid = np.ones((60, 80), bool)
    valid[:, :10] = False
    weight = borders.feathered_weight(valid)
    assert (weight[:, :10] == 0).all() and (weight[:, 10:] >= borders.MIN_WEIGHT).all() and (weight[:, 30:] == 1).all()
    assert (np.diff(weight[30, 10:]) >= 0).all() and np.diff(weight[30]).max() < 0.1


def test_the_crossfade_is_smooth():
    valid = np.ones((40, 80), bool)
    valid[:, :20] = False
    weight = borders.feathered_weight(valid)[..., None]
    first, second = np.zeros((40, 80, 1), np.float32), np.ones((40, 80, 1), np.float32)
    faded = borders.crossfade(first, weight, second, np.ones_like(weight))[20, :, 0]
    assert (faded[:20] == 1).all() and (faded[40:] == 0).all() and np.abs(np.diff(faded)).max() < 0.1
    alone = borders.crossfade(first, weight, second, np.zeros_like(weight))
    np.testing.assert_array_equal(alone, first)


def test_sharpness_is_the_papers(rng):
    plane = rng.random((40, 50), np.float32)
    ours = sharpness.local_spatial_frequency(plane) - np.float32(sharpness.FLOOR)
    np.testing.assert_allclose(ours, local_spatial_frequency(plane), rtol=1e-4)


def test_composite_of_one_shot_is_that_shot(rng):
    pixels = rng.random((20, 30, 3), np.float32)
    gathered = composite.Composite((20, 30, 3), 3)
    part = slice(0, 20), slice(0, 30)
    weight = np.full((20, 30), 0.5, np.float32)
    gathered.add(part, pixels, weight, np.full((20, 30), 0.1, np.float32), 2)
    gathered.add(part, 1 - pixels, 0 * weight, np.full((20, 30), 0.3, np.float32), 1)
    found = gathered.tile(*part)
    np.testing.assert_array_equal(found.channel_weight, np.repeat(found.weight[..., None], 3, -1))
    np.testing.assert_allclose(found.pixels, pixels, atol=1e-6)
    assert (gathered.sources == 2).all() and np.allclose(found.weight, 0.5, atol=1 / 255)


def test_numbers_of_more_than_256_shots_fit():
    assert composite.Composite((4, 4, 3), 256).sources.dtype == np.uint8
    assert composite.Composite((4, 4, 3), 257).sources.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equal_curves_change_nothing(rng, dtype):
    curve = tone.reference_curve(3)
    image = rng.random((10, 12, 3))
    image = image.astype(dtype) if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    np.testing.assert_allclose(exposure.apply(image, exposure.table(curve, curve)), image / full, atol=1e-6)


def test_a_table_undoes_a_curve():
    shown = np.minimum(linear_to_srgb(2 * srgb_to_linear(tone.GRID)), 1)[None]
    table = exposure.table(shown, tone.reference_curve(1))[0]
    values = np.linspace(0, 1, len(table))
    np.testing.assert_allclose(table, linear_to_srgb(srgb_to_linear(values) / 2), atol=1e-4)


def test_clipping_costs_only_where_another_shot_sees_more():
    reference = tone.reference_curve(1)
    brighter, darker = (np.minimum(linear_to_srgb(gain * srgb_to_linear(tone.GRID)), 1)[None] for gain in (4, 0.25))
    curves = [reference, brighter, darker]
    loss = [float(exposure.clipping_loss(curve, curves, reference)[0]) for curve in curves]
    assert loss[0] < 0.9 and loss[1] == 1 and loss[2] == 0
    average = np.mean(curves, axis=0)
    assert [float(exposure.clipping_loss(c, curves, average)[0]) for c in curves] == [1, 1, 0]
    values = np.array([[[0.5], [0.97], [1.0]]], np.float32)
    np.testing.assert_allclose(exposure.clipping_confidence(values, np.ones(1))[..., 0], [[1, 0.5, 0]], atol=0.01)
    np.testing.assert_array_equal(exposure.clipping_confidence(values, np.zeros(1)), 1)


def test_a_clipped_channel_is_no_darker_than_white_where_its_shot_is_sharp(rng):
    fine = rng.uniform(0.2, 0.6, (60, 80, 3)).astype(np.float32)
    fine[..., 0] = 0.7  # at the target's exposure; as the shot has it: clipped
    channel_weight = np.ones_like(fine)
    channel_weight[..., 0] = borders.MIN_WEIGHT
    flat = np.full_like(fine, 0.5)
    flat[:, 40:] = 0.9
    weight = np.ones((60, 80), np.float32)
    filled = composite.fill_missing(composite.Tile(fine, weight, channel_weight),
                                    composite.Tile(flat, weight, np.ones_like(fine)))
    np.testing.assert_array_equal(filled[..., 1:], fine[..., 1:])  # channels that are not clipped stay the sharp shot's
    np.testing.assert_allclose(filled[10:50, 10:24, 0], 0.7, atol=0.01)
    np.testing.assert_allclose(filled[10:50, 57:70, 0], 0.9, atol=0.01)
    # A lamp's blur over something dark and sharp:
    blurred = composite.Tile(flat, weight, channel_weight)
    dark = composite.Tile(fine - 0.15, weight, np.ones_like(fine))
    np.testing.assert_allclose(composite.fill_missing(blurred, dark)[10:50, 57:70, 0], 0.55, atol=0.03)


def test_the_networks_flat_response_is_corrected():
    levels = np.linspace(0, 1, 33, dtype=np.float32)
    veil = np.tanh(0.7 * levels) / 0.7
    np.testing.assert_allclose(response.correct_flat_response(veil, veil), levels, atol=1e-6)
    overshoot = np.array([-0.2, veil[0], veil[-1], 1.2])
    assert np.ptp(response.correct_flat_response(overshoot, veil)) > 1.3
    for not_invertible in (0 * levels, 1 - levels, levels**3, np.where(levels > 0.5, 0.5, levels)):
        unchanged = response.correct_flat_response(veil, not_invertible.astype(np.float32))
        np.testing.assert_array_equal(unchanged, veil)


def test_the_shipped_network_has_an_inverse():
    flat = response.measure_flat_response(load_pretrained("edmf"))
    levels = np.linspace(0, 1, 33, dtype=np.float32)
    np.testing.assert_allclose(response.correct_flat_response(flat, flat), levels, atol=1e-3)


def test_without_anything_to_compare_shots_are_taken_as_equal():
    black = np.zeros((30, 40, 1), np.float32)
    curve = tone_estimate.compare(black, black + 1, np.ones((30, 40), bool)).curve
    np.testing.assert_allclose(curve, tone.reference_curve(1), atol=1e-6)
    assert tone.stops_between(curve, black, np.ones((30, 40), bool)) == 0


ALL = np.ones((90, 120), bool)


def test_a_frame_in_parts_is_found_and_a_dark_spot_is_not():
    luma, others = np.full((90, 120), 0.5, np.float32), np.full((90, 120), 0.5, np.float32)
    framed = luma.copy()
    framed[:6], framed[-6:], framed[:, :6], framed[:, -6:] = 0, 0, 0, 0
    others[:12, 50:60] = others[-12:, 30:40] = 0.02  # dark in the other shot too: the frame is in two parts
    others[0] = others[-1] = 0  # and that one has a black line of its own
    found = borders.black_edges((framed == 0).astype(np.float32), framed, others, ALL, ALL)
    assert found[2:6, 5:48].all() and found[2:6, 62:].all() and found[2:-2, :5].all()
    assert not found[20:-20, 20:-20].any()
    spot = luma.copy()
    spot[40:42, :3] = 0
    assert not borders.black_edges((spot == 0).astype(np.float32), spot, luma, ALL, ALL).any()


def test_a_frame_is_found_where_a_dark_thing_touches_it_and_where_no_other_shot_is():
    dark = np.zeros((90, 120), np.float32)
    luma, others = np.full((90, 120), 0.5, np.float32), np.full((90, 120), 0.5, np.float32)
    luma[:6], luma[6:40, 30:90] = 0, 8 / 255  # a frame at the top, and something dark below it, dark in the other too
    others[6:40, 30:90] = 8 / 255
    dark[luma < borders.DARK] = 1
    found = borders.black_edges(dark, luma, others, ALL, ALL)
    assert found[:6].all() and not found[8:].any()
    # The other shot covers a part only, and would show too little of the black area if all of that counted.
    covers = np.broadcast_to(np.arange(120) >= 100, ALL.shape)
    found = borders.black_edges(dark, luma, np.where(covers, others, 0), ALL, covers)
    assert found[:6, 100:].all() and not found[:6, :98].any()


def test_a_frame_is_found_though_the_other_shot_is_dark_beside_most_of_it():
    luma, others = np.full((90, 120), 0.1, np.float32), np.full((90, 120), 0.02, np.float32)  # a night scene
    others[:, 80:] = luma[:, 80:] = 0.4
    luma[:, :60] = 0  # black all over, too, and touched by the frame
    luma[:5] = luma[-5:] = luma[:, :5] = luma[:, -5:] = 0
    dark = (luma < borders.DARK).astype(np.float32)
    found = borders.black_edges(dark, luma, others, ALL, ALL)
    assert found[:5].all() and found[-5:].all() and found[:, :5].all() and found[:, -5:].all()
    assert not found[12:-12, 12:-12].any()


def test_a_black_thing_at_the_border_that_the_other_shot_has_blurred_is_no_edge():
    luma = np.full((90, 120), 0.5, np.float32)
    luma[:70, 30:90] = 1 / 255
    dark, blurred = (luma < borders.DARK).astype(np.float32), cv2.GaussianBlur(luma, (0, 0), 3)
    assert not borders.black_edges(dark, luma, blurred, ALL, ALL).any()


def test_copies_of_registered_shots_have_one_size(monkeypatch):
    reduced_copy, identity = sketches.reduced_copy, Registration(np.eye(3), "pso-sift", "homography", confident=True)
    for most in range(3000, 4000, 50):
        monkeypatch.setattr(sketches, "reduced_copy", functools.partial(reduced_copy, most_px=most))
        for shape, registration in (((400, 600, 1), None), ((403, 599, 1), identity)):
            sketched = [sketches.sketch(Masked(np.full(size, 99, np.uint8), None), with_view=False)
                        for size in ((400, 600, 1), shape)]
            first, second = analysis.analyze_stack(sketched, [None, registration]).shot_analyses
            assert first.copy.shape == second.copy.shape and first.copy.shape[0] < 400
