"""Hot pixels: found where they stay and the scene does not, not where they may be the scene's; and replaced."""

import dataclasses
import types

import cv2
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, sensor, sensor_repair
from edmf_jax.fusion.stack.alignment import Alignment
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.fusion.stack.sketches import sketch
from tests.helpers.focus_stacks import SIZE, focus_stack
from tests.helpers.scenes import scene

PLACES = np.array([(20, 30), (40, 200), (77, 121), (120, 60), (150, 222), (180, 130)])
FLAT = np.sort(PLACES[:, 0] * SIZE[1] + PLACES[:, 1])


def with_dots(image, places, color=(255, 90, 80)):
    image = image.copy()
    image[places[:, 0], places[:, 1]] = color
    return image


def hot_pixels(images, maps=None):
    peaks = sensor.Peaks()
    for number, image in enumerate(images):
        peaks.see(number, image)
    found = {number: None if maps is None or number == 0 else types.SimpleNamespace(matrix=maps(number))
             for number in range(len(images))}
    return peaks.hot_pixels(range(len(images)), found, [sketch(Masked(i, None), with_view=False) for i in images])


@pytest.fixture(scope="module")
def moving():
    """A stack whose shots have moved by some px."""
    stack = focus_stack(4, seed=3, shift_px=5.0)
    return dataclasses.replace(stack, images=[image // 2 for image in stack.images])


def test_a_peak_is_a_single_pixel_in_every_dtype():
    image = np.full((40, 50, 3), 60, np.uint8)
    image[10, 20, 2] = 200  # a hot blue pixel
    image[20, 5:15] = 200  # a line
    image[25:31, 30:36] = 200  # a larger dot
    image[0, 7] = image[39, 9] = image[8, 49] = 200  # their rings are not whole
    image[35, 20] = 70  # a weak one
    for given in (image, image.astype(np.uint16) * 257, image / np.float32(255), image[..., 2:]):
        assert sensor.find_peaks(given).tolist() == [10 * 50 + 20]


def test_peaks_do_not_depend_on_the_strips(monkeypatch):
    image = np.random.default_rng(0).integers(0, 60, (150, 40, 3)).astype(np.uint8)
    image[2::7, 5::9] = 250
    whole = sensor.find_peaks(image)
    assert len(whole) > 50
    monkeypatch.setattr(sensor, "_STRIP_PX", 5)
    assert np.array_equal(sensor.find_peaks(image), whole)


def test_of_too_many_peaks_the_highest_are_kept(monkeypatch):
    monkeypatch.setattr(sensor, "_MAX_PEAKS", 2)
    image = np.full((30, 30, 1), 20, np.uint8)
    image[[5, 10, 15, 20], 10] = [[100], [200], [90], [150]]
    assert sensor.find_peaks(image).tolist() == [10 * 30 + 10, 20 * 30 + 10]


def test_dots_that_stay_while_the_scene_moves_are_found_and_nothing_else(moving):
    images = [with_dots(image, PLACES) for image in moving.images]
    assert hot_pixels(images, lambda number: moving.truth(0, number)).tolist() == FLAT.tolist()
    assert len(hot_pixels(moving.images, lambda number: moving.truth(0, number))) == 0


def test_two_shots_that_moved_are_enough_and_two_that_did_not_are_not(moving):
    images = [with_dots(moving.images[number], PLACES) for number in (0, 2)]
    assert hot_pixels(images, lambda number: moving.truth(0, 2)).tolist() == FLAT.tolist()
    assert len(hot_pixels(images)) == 0


def test_a_dot_may_be_hidden_in_a_third_of_the_shots(moving):
    images = [with_dots(image, PLACES) for image in moving.images]
    images[2][15:26, 25:36] = 255
    assert hot_pixels(images, lambda number: moving.truth(0, number)).tolist() == FLAT.tolist()


def test_dots_of_the_scene_stay(moving):
    """Glints at places of the scene, in shots that moved by whole px so that they stay single pixels."""
    base = with_dots(moving.images[0], np.random.default_rng(0).integers(10, 150, (150, 2)))
    shift = lambda number: np.array([[1, 0, 4 * number], [0, 1, 4 * number], [0, 0, 1.0]])
    images = [np.roll(base, (4 * number, 4 * number), (0, 1)) for number in range(4)]
    assert min(len(sensor.find_peaks(image)) for image in images) > 40
    assert len(hot_pixels(images, shift)) == 0


def test_a_lattice_of_lamps_that_moves_by_its_period_stays():
    image = np.full((120, 160, 3), 30, np.uint8)
    image[6::8, 6::8] = 250
    shift = lambda number: np.array([[1, 0, 8 * number], [0, 1, 0], [0, 0, 1.0]])
    assert len(sensor.find_peaks(image)) > 200
    assert len(hot_pixels([image] * 3, shift)) == 0


def test_stars_on_a_tripod_stay_and_a_hot_pixel_over_defocused_detail_goes():
    sharp = np.uint8(120 * scene(160, 200, seed=5))
    sky = sharp.copy()
    sky[:, 100:] = 12
    stars = np.array([(30, 130), (70, 150), (120, 180)])
    images = [with_dots(picture, stars) for picture in (sky, cv2.GaussianBlur(sky, (0, 0), 3), sky)]
    dot = np.array([(80, 50)])
    assert hot_pixels([with_dots(image, dot) for image in images]).tolist() == [80 * 200 + 50]
    assert len(hot_pixels(images)) == 0


def test_places_repeat_by_chance_as_often_as_expected():
    rng, shape = np.random.default_rng(0), (100, 140)
    shares = rng.uniform(0.02, 0.1, (3, 2, 3)).repeat(64, 1).repeat(64, 2)[:, :100, :140]
    counts = sum(np.bincount(np.sum(rng.random(shares.shape) < shares, 0).ravel(), minlength=4) for _ in range(300))
    sets = [np.flatnonzero(rng.random(shape) < share) for share in shares]
    np.testing.assert_allclose(sensor.expected_by_chance(sets, shape)[1:], counts[1:] / 300, rtol=0.15)


def test_one_place_that_repeats_in_texture_is_chance_and_in_a_sky_is_not():
    """Two shots with 60 peaks each in a square of texture, one of them in common."""
    shape, rng = (128, 256), np.random.default_rng(1)
    free = rng.permutation(64 * 64)[:119]
    y, x = np.divmod(free, 64)
    texture = y * 256 + x
    sets = [np.sort(texture[:60]), np.sort(texture[59:])]
    assert len(sensor.repeated(sets, shape)) == 0
    assert sensor.repeated([texture[:1], texture[:1]], shape).tolist() == [texture[0]]


def test_shots_of_different_sizes_are_skipped(moving):
    images = [with_dots(image, PLACES) for image in moving.images]
    images[1] = images[1][:-1]
    assert len(hot_pixels(images, lambda number: moving.truth(0, number))) == 0


def test_replacing_keeps_a_gradient_to_the_level_also_next_to_the_edge():
    y, x = np.mgrid[:40, :60]
    clean = (2 * y + x + 20)[..., None].astype(np.uint8)
    dotted = clean.copy()
    places = np.array([(20, 30), (1, 30), (39, 10), (20, 0), (0, 59)])
    dotted[places[:, 0], places[:, 1]] = 255
    before = dotted.copy()
    repaired = sensor_repair.replace(dotted, places[:, 0] * 60 + places[:, 1])
    assert np.array_equal(dotted, before)
    inner = repaired[5:35, 5:55]
    assert np.array_equal(inner, clean[5:35, 5:55])
    assert np.abs(repaired.astype(int) - clean).max() <= 6  # beyond the edge there is nothing to go by
    unit = sensor_repair.replace(dotted / np.float32(255), places[:1, 0] * 60 + places[:1, 1])
    assert np.allclose(unit[18:23, 28:33], clean[18:23, 28:33] / 255, atol=1e-6)


def test_a_wider_dot_is_replaced_whole():
    image = np.full((20, 20, 3), 50, np.uint8)
    image[8:13, 8:13, 0] = 120
    image[10, 10] = 255
    assert (sensor_repair.replace(image, np.array([10 * 20 + 10])) == 50).all()


def test_no_places_no_copy():
    image = np.zeros((20, 20, 3), np.uint8)
    assert sensor_repair.replace(image, np.empty(0, np.int64)) is image


def test_a_dark_frame_names_its_outliers():
    rng = np.random.default_rng(0)
    frame = np.clip(rng.normal(6, 2, (60, 80, 3)), 0, 255).astype(np.uint8)
    frame[30, 40, 1] = 60
    frame[0, 0] = 200
    for given in (frame, frame.astype(np.uint16) * 257, frame.astype(np.uint16) * 4, frame.max(-1)):
        assert sensor_repair.dark_frame_pixels(given, "dark.png").tolist() == [0, 30 * 80 + 40]
    with pytest.raises(UserError, match=r"^lit\.png: half of it is brighter than 47 % of white"):
        sensor_repair.dark_frame_pixels(np.full((60, 80), 120, np.uint8), "lit.png")
    frame[::5, ::5] = 250
    with pytest.raises(UserError, match=r"^noisy\.png: 192 of 4800 pixels are outliers"):
        sensor_repair.dark_frame_pixels(frame, "noisy.png")


def test_a_dark_frame_of_another_size_is_refused_by_name():
    shot = Masked(np.full((60, 80), 100, np.uint8), None)
    with pytest.raises(UserError, match=r"^d\.png is 40×30 px and the shot a\.png 80×60 px; give a dark frame"):
        sensor_repair.without_dark_frame_pixels(shot, np.array([5]), (30, 40), "a.png", "d.png")


def test_a_stack_is_fused_without_its_hot_pixels_and_says_so(moving):
    """Trails are gone with it and there without it; the shots themselves are not changed."""
    images = [with_dots(image, PLACES, (255, 0, 255)) for image in moving.images]
    before, lines = [image.copy() for image in images], []
    options = PhotoOptions(align="none")
    fused = fuse_photos(images, options=options, known=_known(moving), warn=lines.append).image
    kept = fuse_photos(images, options=dataclasses.replace(options, hot_pixels="keep"), known=_known(moving)).image
    clean = fuse_photos(moving.images, options=options, known=_known(moving)).image
    assert lines == ["6 hot pixels replaced"]
    assert all(np.array_equal(a, b) for a, b in zip(images, before))
    magenta = lambda image: int((np.minimum(image[..., 0], image[..., 2]).astype(int) - image[..., 1] > 100).sum())
    assert magenta(kept) >= 6 and magenta(fused) == magenta(clean) == 0


def _known(stack):
    maps = {number: types.SimpleNamespace(matrix=stack.truth(0, number), flow=None, confident=True)
            for number in range(1, len(stack.images))}
    return lambda shapes: Alignment(tuple(range(len(shapes))), {0: None, **maps})
