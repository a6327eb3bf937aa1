"""What one curve and one smooth field leave of the light between two shots: `local_light`."""

import cv2
import numpy as np
import pytest

from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, local_light
from tests.helpers.scenes import defocused, scene

HEIGHT, WIDTH = 240, 320
ALL = np.ones((HEIGHT, WIDTH), bool)


def panel():
    """A textured scene over a plain dark panel, and bool `[H, W]`: where the panel is."""
    picture = 0.3 + 0.5 * scene(HEIGHT, WIDTH)
    below = np.arange(HEIGHT)[:, None] > 140 + np.arange(WIDTH)[None] / 20
    picture[below] = 0.08
    return np.float32(picture), below


def corrected(found, picture):
    """A picture at the reference's light."""
    light = np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
    root = np.sqrt(light @ np.float32([0.299, 0.587, 0.114]))
    stops = found.stops(root, slice(0, HEIGHT), slice(0, WIDTH), picture.shape)
    light = light * np.exp2(-stops)[..., None]
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_equal_shots_and_small_differences_need_nothing():
    picture, below = panel()
    assert local_light.find(picture, picture, ALL) is None
    assert local_light.find(picture, picture + np.float32(0.02) * below[..., None], ALL) is None


def test_focus_is_not_light():
    picture, _ = panel()
    for sigma in (1.5, 4.0, 8.0):
        assert local_light.find(picture, cv2.GaussianBlur(picture, (0, 0), sigma), ALL) is None


def test_bars_that_one_shot_has_blurred_away_are_no_light():
    bars = np.repeat(np.where(np.arange(WIDTH) // 32 % 2, 0.8, 0.1)[None], HEIGHT, 0)[..., None]
    sharp = np.repeat(bars, 3, -1).astype(np.float32)
    light = cv2.GaussianBlur(sharp**2.2, (0, 0), 25)
    assert local_light.find(light ** np.float32(1 / 2.2), sharp, ALL) is None


def test_a_lifted_shadow_comes_down_and_what_is_beside_it_stays():
    picture, below = panel()
    lifted = picture + np.float32(0.12) * below[..., None]
    found = local_light.find(picture, lifted, ALL)
    after = corrected(found, lifted)
    inner = cv2.erode(below.astype(np.uint8), np.ones((15, 15))) > 0
    outer = cv2.erode((~below).astype(np.uint8), np.ones((15, 15))) > 0
    assert np.abs(after - picture)[inner].mean() < local_light.TOLERANCE + 0.02
    assert np.abs(after - picture)[outer].mean() < 0.02
    assert found.lowest <= 0 < found.highest <= local_light.LARGEST_STOPS


def test_a_small_thing_that_moved_is_no_light():
    picture, _ = panel()
    moved = picture.copy()
    cv2.circle(moved, (100, 200), 4, (0.5, 0.5, 0.5), -1)
    assert local_light.find(picture, moved, ALL) is None


def test_missing_pixels_do_not_count():
    picture, below = panel()
    lifted = picture + np.float32(0.12) * below[..., None]
    assert local_light.find(picture, lifted, ~below) is None


@pytest.mark.parametrize("gray", [False, True])
def test_a_fusion_keeps_the_shadows_of_the_reference(gray):
    picture, below = panel()
    other = defocused(picture, slice(0, 120), 3) + np.float32(0.12) * below[..., None]
    reference = defocused(picture, slice(120, 240), 3)
    shots = [np.rint(255 * x[..., :1] if gray else 255 * x).astype(np.uint8) for x in (reference, other)]
    fused = fuse_photos(shots, options=PhotoOptions(align="none")).image
    inner = cv2.erode(below.astype(np.uint8), np.ones((25, 25))) > 0
    assert np.abs(fused[inner].astype(int) - 20).mean() < 8
