"""Shots that show too little to register by, and lie on each other already."""

import cv2
import numpy as np
import pytest

from edmf_jax.registration import Registration, RegistrationConfig, View, in_place, pipeline, register, transforms
from tests.helpers.scenes import defocused, scene

HEIGHT, WIDTH = 240, 320


def blob(sigma_px, x=150.0, y=110.0):
    """A soft ellipse on a plain ground: no keypoints, no detail."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot((columns - x) / 2, rows - y)
    sharp = (distance < 30).astype(np.float32)
    soft = cv2.GaussianBlur(sharp, (0, 0), sigma_px)
    return np.rint(255 * np.dstack([0.7 - 0.5 * soft, 0.75 - 0.6 * soft, 0.9 - 0.7 * soft])).astype(np.uint8)


def lie(first, second):
    return in_place.lie_in_place(in_place.color_copy(first), in_place.color_copy(second))


def warped(image, matrix):
    return cv2.warpAffine(image, np.float32(matrix), (image.shape[1], image.shape[0]), borderMode=cv2.BORDER_REFLECT)


def test_a_blur_of_one_shot_speaks_for_nothing():
    for sigma in (2.0, 6.0, 12.0):
        assert lie(blob(1.0), blob(sigma)) and lie(blob(sigma), blob(1.0))


def test_exposure_speaks_for_nothing():
    darker = np.rint(blob(3.0) * [0.6, 0.5, 0.55]).astype(np.uint8)
    assert lie(blob(1.0), darker)
    assert lie(blob(1.0)[..., 1], darker[..., 1])


@pytest.mark.parametrize("matrix", [[[1, 0, 6], [0, 1, 0]], [[1, 0, 0], [0, 1, -9]]])
def test_a_shot_that_lies_elsewhere_is_noticed(matrix):
    assert not lie(blob(1.0), warped(blob(4.0), matrix))


@pytest.mark.parametrize(("degrees", "zoom"), [(6, 1), (0, 1.05), (0, 0.95)])
def test_a_turn_and_a_zoom_are_noticed(degrees, zoom):
    first = np.rint(255 * scene(HEIGHT, WIDTH, seed=5)).astype(np.uint8)
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, zoom)
    assert not lie(first, warped(cv2.GaussianBlur(first, (0, 0), 2.0), matrix))


def test_unrelated_pictures_and_other_sizes_do_not_lie_in_place():
    first, second = (np.rint(255 * scene(HEIGHT, WIDTH, seed=seed)).astype(np.uint8) for seed in (1, 2))
    assert lie(first, first) and not lie(first, second)
    assert not lie(first, first[:-40]) and not lie(first[:60], first[:60])


def test_along_bars_any_place_will_do():
    bars = np.repeat((np.arange(WIDTH) // 40 % 2 * 150 + 50)[None], HEIGHT, 0).astype(np.uint8)
    soft = cv2.GaussianBlur(bars, (0, 0), 7)
    assert lie(bars, soft) and not lie(bars, np.roll(soft, 12, 1))


def test_detail_in_color_alone_is_enough():
    plane = scene(HEIGHT, WIDTH)[..., 0] - 0.5
    luma_free = np.dstack([0.5 + 0.4 * plane, 0.5 - 0.4 * plane * (0.299 + 0.114) / 0.587, 0.5 + 0.4 * plane])
    soft = defocused(luma_free.astype(np.float32), slice(100, 220), 3)
    first, second = (np.rint(255 * x).astype(np.uint8) for x in (luma_free, soft))
    found = register(first, second)
    assert found.confident
    assert np.abs(found.matrix - np.eye(3)).max() < 0.5


def test_a_map_that_was_found_wins_if_it_is_right_and_loses_if_it_is_not():
    sharp = np.rint(255 * scene(HEIGHT, WIDTH, seed=5)).astype(np.uint8)
    first = cv2.GaussianBlur(sharp, (0, 0), 9.0)
    zoom = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, 1.01)
    copies = [in_place.color_copy(x) for x in (first, warped(first, zoom))]
    rival = np.vstack([zoom, [0, 0, 1]])
    assert in_place.lie_in_place(*copies)  # a zoom of 1 % is within what blur may do
    assert not in_place.lie_in_place(*copies, rival) and not in_place.lie_in_place(*copies, rival, True)
    still = copies[0], copies[0]
    assert in_place.lie_in_place(*still, rival) and in_place.lie_in_place(*still, rival @ rival, True)
    assert not in_place.lie_in_place(*still, np.eye(3), True)  # it says the same, and has evidence


def test_tiles_alone_do_not_zoom_what_is_only_blurred():
    found = register(blob(2.0), blob(12.0))
    assert found.confident and found.in_place


def test_a_pair_with_nothing_to_register_by_is_taken_as_it_is():
    found = register(blob(1.0), blob(9.0))
    assert found.confident and found.in_place and not found.doubts
    np.testing.assert_array_equal(found.matrix, np.eye(3))
    elsewhere = register(blob(1.0), warped(blob(9.0), [[1, 0, 25], [0, 1, 0]]))
    assert not elsewhere.in_place


@pytest.mark.parametrize(("moved_px", "noise_px", "inliers", "stays"), [
    (1.0, 0.5, 12, True), (9.0, 0.5, 12, False), (9.0, 9.0, 12, True), (9.0, 0.5, 11, True)])
def test_matching_points_that_lie_elsewhere_speak_against_it(monkeypatch, moved_px, noise_px, inliers, stays):
    # A map whose corners are uncertain may still show that the content moved.
    monkeypatch.setattr(pipeline, "lie_in_place", lambda *copies: True)
    views, rng = [View(blob(sigma)) for sigma in (1.0, 9.0)], np.random.default_rng(0)
    points, matrix = rng.uniform(20, 200, (inliers, 2)), np.array([[1, 0, moved_px], [0, 1, 0], [0, 0, 1]])
    found = Registration(matrix, "pso-sift", "homography", inliers=inliers, points=points,
                         targets=transforms.project(matrix, points) + noise_px * rng.normal(size=points.shape))
    assert pipeline._in_place_if_so(found, *views, RegistrationConfig()).in_place == stays
