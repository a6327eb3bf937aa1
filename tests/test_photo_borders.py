"""The small functions beneath `fuse_photos`: feathering, rectangles, composites, tables."""

import numpy as np
import pytest

from edmf_jax.focus import local_spatial_frequency
from edmf_jax.photo import PhotoOptions, borders, exposure, layers, response, sharpness, study, tone
from edmf_jax.weights import load_pretrained


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


def test_the_say_of_a_pixel_rises_from_nothing_to_all():
    there = np.ones((60, 80), bool)
    there[:, :10] = False
    say = borders.weights(there)
    assert (say[:, :10] == 0).all() and (say[:, 10:] >= borders.LEAST).all() and (say[:, 30:] == 1).all()
    assert (np.diff(say[30, 10:]) >= 0).all() and np.diff(say[30]).max() < 0.1


def test_the_other_takes_over_smoothly():
    there = np.ones((40, 80), bool)
    there[:, :20] = False
    say = borders.weights(there)[..., None]
    first, second = np.zeros((40, 80, 1), np.float32), np.ones((40, 80, 1), np.float32)
    mixed = borders.take_over(first, say, second, np.ones_like(say))[20, :, 0]
    assert (mixed[:20] == 1).all() and (mixed[40:] == 0).all() and np.abs(np.diff(mixed)).max() < 0.1
    alone = borders.take_over(first, say, second, np.zeros_like(say))
    np.testing.assert_array_equal(alone, first)


def test_sharpness_is_the_papers(rng):
    plane = rng.random((40, 50), np.float32)
    ours = sharpness.local_spatial_frequency(plane) - np.float32(sharpness.FLOOR)
    np.testing.assert_allclose(ours, local_spatial_frequency(plane), rtol=1e-4)


def test_composite_of_one_shot_is_that_shot(rng):
    pixels = rng.random((20, 30, 3), np.float32)
    composite = layers.Composite((20, 30, 3), 3)
    place = slice(0, 20), slice(0, 30)
    say = np.full((20, 30), 0.5, np.float32)
    composite.add(place, pixels, say, np.full((20, 30), 0.1, np.float32), 2)
    composite.add(place, 1 - pixels, 0 * say, np.full((20, 30), 0.3, np.float32), 1)
    found, certain, own = composite.tile(*place)
    np.testing.assert_array_equal(own, np.repeat(certain[..., None], 3, -1))
    np.testing.assert_allclose(found, pixels, atol=1e-6)
    assert (composite.sources == 2).all() and np.allclose(certain, 0.5, atol=1 / 255)


def test_numbers_of_more_than_256_shots_fit():
    assert layers.Composite((4, 4, 3), 256).sources.dtype == np.uint8
    assert layers.Composite((4, 4, 3), 257).sources.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_equal_curves_change_nothing(rng, dtype):
    own = tone.own_curve(3)
    image = rng.random((10, 12, 3))
    image = image.astype(dtype) if dtype == np.float32 else (image * np.iinfo(dtype).max).astype(dtype)
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    np.testing.assert_allclose(exposure.apply(image, exposure.table(own, own)), image / full, atol=1e-6)


def test_a_table_undoes_a_curve():
    shown = np.minimum(tone.encode(2 * tone.to_linear(tone.GRID)), 1)[None]
    table = exposure.table(shown, tone.own_curve(1))[0]
    values = np.linspace(0, 1, len(table))
    np.testing.assert_allclose(table, tone.encode(tone.to_linear(values) / 2), atol=1e-4)


def test_clipping_costs_only_where_another_shot_sees_more():
    own = tone.own_curve(1)
    brighter, darker = (np.minimum(tone.encode(gain * tone.to_linear(tone.GRID)), 1)[None] for gain in (4, 0.25))
    curves = [own, brighter, darker]
    lost = [float(exposure.hidden(curve, curves, own)[0]) for curve in curves]
    assert lost[0] < 0.9 and lost[1] == 1 and lost[2] == 0
    average = np.mean(curves, axis=0)
    assert [float(exposure.hidden(c, curves, average)[0]) for c in curves] == [1, 1, 0]
    values = np.array([[[0.5], [0.97], [1.0]]], np.float32)
    np.testing.assert_allclose(exposure.trust(values, np.ones(1))[..., 0], [[1, 0.5, 0]], atol=0.01)
    np.testing.assert_array_equal(exposure.trust(values, np.zeros(1)), 1)


def test_a_clipped_channel_is_no_darker_than_white_where_its_shot_is_sharp(rng):
    fine = rng.uniform(0.2, 0.6, (60, 80, 3)).astype(np.float32)
    fine[..., 0] = 0.7  # at the target's exposure; as the shot has it: clipped
    own = np.ones_like(fine)
    own[..., 0] = borders.LEAST
    flat = np.full_like(fine, 0.5)
    flat[:, 40:] = 0.9
    say = np.ones((60, 80), np.float32)
    taken = layers.filled(layers.Tile(fine, say, own), layers.Tile(flat, say, np.ones_like(fine)))
    np.testing.assert_array_equal(taken[..., 1:], fine[..., 1:])  # what is not clipped stays the sharp one's
    np.testing.assert_allclose(taken[10:50, 10:24, 0], 0.7, atol=0.01)
    np.testing.assert_allclose(taken[10:50, 57:70, 0], 0.9, atol=0.01)
    # A lamp's blur over something dark and sharp:
    blurred, dark = layers.Tile(flat, say, own), layers.Tile(fine - 0.15, say, np.ones_like(fine))
    np.testing.assert_allclose(layers.filled(blurred, dark)[10:50, 57:70, 0], 0.55, atol=0.03)


def test_what_a_network_makes_of_flat_areas_is_undone():
    levels = np.linspace(0, 1, 33, dtype=np.float32)
    veil = np.tanh(0.7 * levels) / 0.7
    np.testing.assert_allclose(response.undone(veil, veil), levels, atol=1e-6)
    assert np.ptp(response.undone(np.array([-0.2, veil[0], veil[-1], 1.2]), veil)) > 1.3  # overshoot goes on
    for none in (0 * levels, 1 - levels, levels**3, np.where(levels > 0.5, 0.5, levels)):
        np.testing.assert_array_equal(response.undone(veil, none.astype(np.float32)), veil)


def test_the_shipped_network_has_an_inverse():
    flat = response.measured(load_pretrained("edmf"))
    levels = np.linspace(0, 1, 33, dtype=np.float32)
    np.testing.assert_allclose(response.undone(flat, flat), levels, atol=1e-3)


def test_without_anything_to_compare_shots_are_taken_as_equal():
    black = np.zeros((30, 40, 1), np.float32)
    curve = tone.estimate(black, black + 1, np.ones((30, 40), bool))
    np.testing.assert_allclose(curve, tone.own_curve(1), atol=1e-6)
    assert tone.stops_between(curve, black, np.ones((30, 40), bool)) == 0


def test_a_frame_in_parts_is_found_and_a_dark_spot_is_not():
    luma, others = np.full((90, 120), 0.5, np.float32), np.full((90, 120), 0.5, np.float32)
    framed = luma.copy()
    framed[:6], framed[-6:], framed[:, :6], framed[:, -6:] = 0, 0, 0, 0
    others[:12, 50:60] = others[-12:, 30:40] = 0.02  # dark in the other shot too: the frame is in two parts
    others[0] = others[-1] = 0  # and that one has a black line of its own
    found = borders.black_edges((framed == 0).astype(np.float32), framed, others, np.ones((90, 120), bool))
    assert found[2:6, 5:48].all() and found[2:6, 62:].all() and found[2:-2, :5].all()
    assert not found[20:-20, 20:-20].any()
    spot = luma.copy()
    spot[40:42, :3] = 0
    assert not borders.black_edges((spot == 0).astype(np.float32), spot, luma, np.ones((90, 120), bool)).any()


def test_copies_of_registered_shots_have_one_size(monkeypatch):
    image = np.full((400, 600, 1), 99, np.uint8)
    for most in range(3000, 4000, 25):
        monkeypatch.setattr(study, "_COPY_PX", most)
        found = study.study([image, image + 1], ["a", "b"], image, PhotoOptions("none"), lambda *_: None,
                            lambda _: None)
        assert found.looks[0].copy.shape == found.looks[1].copy.shape
