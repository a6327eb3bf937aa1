"""Registration: its formulas, its steps, whole pictures with a known map, pairs that must be refused, resampling."""

import cv2
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from edmf_jax.errors import UserError
from edmf_jax.registration import (
    RegistrationConfig,
    features,
    fitting,
    pipeline,
    planes,
    register,
    require_confident,
    shifts,
    swarm,
    tiles,
    transforms,
    warp,
)
from edmf_jax.registration.blurs import BlurCache
from tests.helpers.files import shared_file

SIZE = (301, 259)


def scene(seed, size=SIZE):
    """A picture with detail on all scales, noise in octaves and rectangles: float32 RGB in [0, 1]."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((*size, 3), np.float32)
    for sigma in (1.5, 3, 6, 12, 24):
        noise = cv2.GaussianBlur(rng.standard_normal((*size, 3)).astype(np.float32), (0, 0), sigma)
        picture += noise / noise.std()
    for _ in range(60):
        x, y, w, h = rng.integers(0, [size[1], size[0], 40, 40])
        picture[y : y + h + 3, x : x + w + 3] = 0.5 * picture[y : y + h + 3, x : x + w + 3] + rng.normal(0, 2, 3)
    return np.clip(0.5 + picture / 12, 0.02, 0.98).astype(np.float32)


def known_map(seed, size, model):
    """A random map of the model, 3×3: turned by up to 4°, zoomed by up to 5 %, shifted by up to 6 px, corners bent."""
    rng = np.random.default_rng(seed)
    angle, zoom = np.radians(rng.uniform(-4, 4)), rng.uniform(0.96, 1.05)
    center = np.array([size[1], size[0]]) / 2
    rotation = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    base = np.vstack([np.c_[rotation, center - rotation @ center + rng.uniform(-6, 6, 2)], [0, 0, 1]])
    unit = transforms.unit_matrix(size)
    controls = transforms.project(unit @ base @ np.linalg.inv(unit), transforms.CONTROL_POINTS[model])
    if model != "similarity":
        controls = controls + rng.uniform(-0.01, 0.01, controls.shape)
    return transforms.normalize(np.linalg.inv(unit) @ transforms.from_controls(controls) @ unit)


def shots(seed, matrix, size=SIZE, stops=0.6):
    """Two uint8 shots: opposite halves out of focus, different exposure and noise, the second warped by `matrix`."""
    rng = np.random.default_rng(seed)
    sharp = scene(seed, size)
    left = np.broadcast_to((np.arange(size[1]) < size[1] // 2)[None, :, None], sharp.shape)
    soft = cv2.GaussianBlur(sharp, (0, 0), 1.8)
    first, second = np.where(left, sharp, soft), np.where(left, soft, sharp)
    second = cv2.warpPerspective(second, matrix, size[::-1], flags=cv2.INTER_CUBIC)
    second = np.clip(second * 2**-stops, 0, 1) ** 1.1
    return tuple(np.uint8(np.clip(np.rint(x * 255 + rng.normal(0, 1, x.shape)), 0, 255)) for x in (first, second))


def matches(rng, model, count=200, wrong=0.5, noise=5e-4):
    """Matches in the unit square: points, targets, the map (near the identity), and which of the matches are right.

    Args:
      wrong: the share of matches whose target is random.
      noise: standard deviation of the other targets.
    """
    controls = transforms.CONTROL_POINTS[model] + rng.uniform(-0.05, 0.05, transforms.CONTROL_POINTS[model].shape)
    matrix = transforms.from_controls(controls)
    points = rng.random((count, 2))
    targets = transforms.project(matrix, points) + rng.normal(0, noise, points.shape)
    bad = rng.random(count) < wrong
    targets[bad] = rng.random((bad.sum(), 2))
    return points, targets, matrix, ~bad


# --- formulas


@pytest.mark.parametrize("model", transforms.CONTROL_POINTS)
def test_a_map_sends_the_control_points_to_its_parameters(rng, model):
    controls = transforms.CONTROL_POINTS[model] + rng.uniform(-0.2, 0.2, (5, *transforms.CONTROL_POINTS[model].shape))
    matrices = transforms.from_controls(controls)
    np.testing.assert_allclose(transforms.project(matrices, transforms.CONTROL_POINTS[model]), controls, atol=1e-12)
    np.testing.assert_allclose(transforms.from_controls(controls.astype(np.float32)), matrices, atol=2e-6)


def test_the_homography_equals_opencvs(rng):
    ends = np.float32(transforms.CONTROL_POINTS["homography"] + rng.uniform(-0.2, 0.2, (4, 2)))
    expected = cv2.getPerspectiveTransform(np.float32(transforms.CONTROL_POINTS["homography"]), ends)
    np.testing.assert_allclose(transforms.normalize(transforms.from_controls(np.float64(ends))), expected, atol=1e-6)


def test_the_similarity_keeps_angles_and_the_affine_map_keeps_parallels(rng):
    matrix = transforms.from_controls(transforms.CONTROL_POINTS["similarity"] + rng.uniform(-0.2, 0.2, (2, 2)))
    values = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    assert values[0] == pytest.approx(values[1])
    matrix = transforms.from_controls(transforms.CONTROL_POINTS["affine"] + rng.uniform(-0.2, 0.2, (3, 2)))
    np.testing.assert_array_equal(matrix[2], [0, 0, 1])


@pytest.mark.parametrize("model", transforms.CONTROL_POINTS)
def test_the_objective_equals_a_plain_loop(rng, model):
    points, targets, *_ = matches(rng, model, count=40)
    controls = transforms.CONTROL_POINTS[model] + rng.uniform(-0.05, 0.05, (6, *transforms.CONTROL_POINTS[model].shape))
    limit = 0.05
    expected = []
    for particle in controls:
        matrix, total = transforms.from_controls(particle), 0.0
        for point, target in zip(points, targets):
            x, y, w = matrix @ [*point, 1]
            total += min(((x / w - target[0]) ** 2 + (y / w - target[1]) ** 2) / limit**2, 1)
        expected.append(total / len(points))
    np.testing.assert_allclose(swarm.objective(controls, points, targets, limit), expected, rtol=2e-4)


@pytest.mark.parametrize("wrong", [0.0, 0.6])
@pytest.mark.parametrize("model", transforms.CONTROL_POINTS)
def test_the_swarm_and_the_fit_recover_a_map_from_exact_matches(rng, model, wrong):
    points, targets, truth, good = matches(rng, model, wrong=wrong, noise=0)
    found, cost = swarm.search(points, targets, model, limit=0.005)
    assert cost < (~good).mean() + 0.05
    assert np.abs(transforms.project(found, points) - transforms.project(truth, points)).max() < 0.005
    found, weights, _ = fitting.fit(found, points, targets, model, limit=0.005)
    np.testing.assert_allclose(transforms.normalize(found), transforms.normalize(truth), atol=1e-6)
    assert (weights[good] > 0.99).all()


def test_the_swarm_is_a_function_of_its_seed(rng):
    points, targets, *_ = matches(rng, "homography")
    first, again, other = (swarm.search(points, targets, "homography", limit=0.005, seed=s)[0] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_fits_deviation_is_the_scatter_of_its_results(rng):
    errors, estimates = [], []
    ends = np.array([[0.0, 0], [1, 1]])
    for _ in range(60):
        points, targets, truth, _ = matches(rng, "homography", count=60, wrong=0, noise=1e-3)
        found, _, covariance = fitting.fit(truth, points, targets, "homography", limit=0.05)
        errors.append(transforms.project(found, ends) - transforms.project(truth, ends))
        estimates.append(fitting.corner_deviation(found, covariance, "homography", ends))
    # Of both components together.
    np.testing.assert_allclose(np.mean(estimates, 0), np.sqrt((np.square(errors)).sum(-1).mean(0)), rtol=0.25)


def test_consistent_matches_are_those_of_the_dominant_scale_turn_and_shift(rng):
    count, good = 100, np.arange(100) < 60
    first = features.Keypoints(rng.uniform(0, 500, (count, 2)), rng.uniform(1, 3, count), rng.uniform(-3, 3, count),
                              np.zeros((count, 128), np.float32))
    matrix = known_map(0, (500, 500), "similarity")
    points = np.where(good[:, None], transforms.project(matrix, first.points), rng.uniform(0, 500, (count, 2)))
    angles = first.angles + np.where(good, 0, rng.uniform(1, 5, count))
    second = features.Keypoints(points, first.octaves + rng.normal(0, 0.1, count), angles, first.descriptors)
    pairs = np.stack([np.arange(count)] * 2, -1)
    kept = features.filter_consistent(first, second, pairs, 500)[:, 0]
    assert good[kept].all() and len(kept) >= 58


def test_tile_shifts_are_those_that_the_picture_was_moved_by():
    plane = planes.luma_plane(scene(5))
    matrix = np.array([[1, 0, 2.3], [0, 1, -1.6], [0, 0, 1]])
    pair = [BlurCache(x) for x in (plane, cv2.warpPerspective(plane, matrix, plane.shape[::-1], flags=cv2.INTER_CUBIC))]
    found = shifts.measure_shifts(*pair, np.eye(3))
    clear = found.peaks > 0.5
    assert clear.sum() > 50
    # They come out too short: tiles that are off by that much choose a blur that hides a part of the shift.
    np.testing.assert_allclose(np.median(found.shifts[clear], 0), [2.3, -1.6], atol=0.6)
    refined = tiles.refine(*pair, np.eye(3), "homography")
    assert transforms.corner_errors(refined.matrix, matrix, plane.shape).max() < 0.05
    assert np.median(np.abs(refined.remaining.shifts)) < 0.05


@pytest.mark.parametrize(("sigma", "stops"), [(1.0, 0), (2.0, 0.8), (4.0, -0.8)])
def test_tiles_of_a_blurred_shot_are_as_precise_as_those_of_a_sharp_one(sigma, stops):
    light = planes.luma_plane(scene(5)) ** 2.2
    matrix = np.array([[1, 0, 0.3], [0, 1, -0.4], [0, 0, 1]])
    moved = cv2.warpPerspective(light, matrix, light.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    moved = np.clip(cv2.GaussianBlur(moved, (0, 0), sigma) * 2**stops, 0, 1)
    pair = [BlurCache(np.float32(x ** (1 / 2.2))) for x in (light, moved)]
    found = shifts.measure_shifts(*pair, matrix)
    inside = (found.centers > 60).all(1) & (found.centers < np.array(light.shape[::-1]) - 60).all(1)
    assert np.median(found.blurs) == pytest.approx(sigma, rel=0.35)
    assert np.median(shifts.weighted_lengths(found.shifts, found.information)[inside]) < 0.1
    assert (found.peaks[inside] > 0.9).mean() > 0.9


def test_a_black_border_is_not_content():
    plane = planes.luma_plane(scene(5))
    edged = plane.copy()
    edged[:40], edged[:, 200:] = 0, 0.004
    cache = BlurCache(edged)
    assert not cache.valid[:40].any() and not cache.valid[:, 200:].any()
    assert cache.valid[50:, :190].all()
    assert BlurCache(plane).valid.all()
    far = np.s_[80:, :150]
    np.testing.assert_allclose(cache.band(0.0)[far], BlurCache(plane).band(0.0)[far], atol=0.02)
    plane[100:140, 60:90] = 0  # a black object inside the picture stays content
    assert BlurCache(plane).valid.all()


# --- whole pictures


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("model", transforms.CONTROL_POINTS)
def test_a_known_map_is_found_through_blur_exposure_and_noise(model, seed):
    matrix = known_map(seed, SIZE, model)
    found = register(*shots(seed, matrix), model=model)
    errors = transforms.corner_errors(found.matrix, matrix, SIZE)
    assert found.confident, found.doubts
    assert errors.mean() < 0.3 and errors.max() < 0.6
    assert found.deviation_px < 1 and found.residual_px < 0.5 and found.inliers >= 50
    assert require_confident(found, "a.jpg", "b.jpg") is found


@pytest.mark.parametrize("method", ["sift+ransac", "sift+magsac", "ecc"])
def test_opencvs_methods_are_available_for_comparison(method):
    matrix = np.array([[1, 0, 2.0], [0, 1, -1], [0, 0, 1]])
    found = register(*shots(3, matrix, stops=0.2), method=method)
    error = transforms.corner_errors(found.matrix, matrix, SIZE).mean()
    assert error < 2
    # They are not refined, so their distance from the refined map is added to the deviation.
    assert found.deviation_px > 0.5 * error
    assert found.confident or found.doubts.startswith("the corners are uncertain by ")


def test_a_lone_pair_is_registered_on_one_thread_of_blas(monkeypatch):
    threads = []

    def register_views(*views, **options):
        threads.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")

    monkeypatch.setattr(pipeline, "register_views", register_views)
    register(scene(4), scene(4))
    assert set(threads) == {1}


def test_the_same_picture_twice_is_the_identity():
    image = np.uint8(scene(4) * 255)
    found = register(image, image)
    assert found.confident and found.overlap == 1
    np.testing.assert_allclose(transforms.corner_errors(found.matrix, np.eye(3), SIZE), 0, atol=0.02)


def test_the_result_is_reproducible_and_the_same_for_every_dtype():
    first, second = shots(6, known_map(6, SIZE, "homography"))
    found, again = register(first, second), register(first, second)
    np.testing.assert_array_equal(found.matrix, again.matrix)
    of_uint16 = register(np.uint16(first) * 257, np.uint16(second) * 257)
    of_floats = register(first / 255, second / np.float32(255))
    for other in (of_uint16, of_floats):
        assert transforms.corner_errors(found.matrix, other.matrix, SIZE).max() < 0.05


def test_the_pictures_may_differ_in_size_and_be_odd_or_gray():
    matrix = known_map(7, SIZE, "similarity")
    first, second = shots(7, matrix)
    found = register(first[..., 1], second[: SIZE[0] - 34, : SIZE[1] - 20, 1])
    assert found.confident, found.doubts
    assert transforms.corner_errors(found.matrix, matrix, SIZE).mean() < 0.5
    assert found.overlap < 0.95


def test_a_large_picture_is_matched_on_a_copy_and_refined_on_a_larger_one():
    size = (602, 518)
    matrix = known_map(8, size, "homography")
    first, second = shots(8, matrix, size)
    config = RegistrationConfig(match_pixels=80_000, refine_pixels=200_000)
    found = register(first, second, config=config)
    coarse = register(first, second, config=RegistrationConfig(match_pixels=80_000, refine=False))
    assert found.confident, found.doubts
    assert transforms.corner_errors(found.matrix, matrix, size).mean() < 0.3
    assert transforms.corner_errors(coarse.matrix, matrix, size).mean() < 3


# --- refusals

FLAT = np.full((*SIZE, 3), 128, np.uint8)
HOPELESS = {
    "unrelated": lambda image: np.uint8(scene(100) * 255),
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "flat": lambda image: FLAT,
    "black": lambda image: np.zeros_like(image),
    "noise": lambda image: np.random.default_rng(0).integers(0, 256, image.shape, np.uint8),
    "faint noise": lambda image: FLAT + np.random.default_rng(0).integers(0, 9, image.shape, np.uint8),
    "ramp": lambda image: np.broadcast_to(np.uint8(np.linspace(0, 255, SIZE[1]))[None, :, None], image.shape),
    "stripes": lambda image: np.broadcast_to(np.uint8(np.arange(SIZE[1]) % 8 // 4 * 200)[None, :, None], image.shape),
    "a fifth shared": lambda image: np.roll(np.where(np.arange(SIZE[1])[None, :, None] < SIZE[1] // 5, image,
                                                     np.uint8(scene(100) * 255)), SIZE[1] * 4 // 5, 1),
}


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("what", HOPELESS)
def test_hopeless_pairs_give_a_result_without_confidence(what, swap):
    image = np.uint8(scene(9) * 255)
    pair = image, HOPELESS[what](image)
    found = register(*(pair[::-1] if swap else pair))
    assert not found.confident and found.doubts
    assert np.isfinite(found.matrix).all()


@pytest.mark.parametrize("what", ["flat", "black"])
def test_two_pictures_without_content_are_not_registered(what):
    image = HOPELESS[what](np.uint8(scene(9) * 255))
    assert not register(image, image).confident


def test_the_error_is_one_line_that_names_the_way_out():
    image = np.uint8(scene(9) * 255)
    with pytest.raises(UserError, match=r"b\.jpg: cannot be registered to a\.jpg .*--align none") as error:
        require_confident(register(image, HOPELESS["unrelated"](image)), "a.jpg", "b.jpg")
    assert "\n" not in str(error.value)


def test_wrong_arguments_are_named():
    image = FLAT
    with pytest.raises(ValueError, match="model must be one of similarity, affine, homography, got 'rigid'"):
        register(image, image, model="rigid")
    with pytest.raises(ValueError, match="method must be one of"):
        register(image, image, method="orb")
    with pytest.raises(ValueError, match=r"\[H, W\] or \[H, W, 3\], got \(5, 5, 4\)"):
        register(np.zeros((5, 5, 4), np.uint8), image)
    with pytest.raises(ValueError, match="uint8, uint16 or floating point, got int64"):
        register(np.zeros((5, 5), np.int64), image)
    with pytest.raises(ValueError, match="finite"):
        register(np.full((50, 50), np.nan), image)
    assert "smaller than 32 px" in register(np.zeros((1, 1), np.uint8), image).doubts


# --- resampling


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_warping_by_whole_pixels_moves_them_and_marks_the_valid_ones(dtype):
    white = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    image = (scene(10) * white).astype(dtype)
    result, valid = warp(image, np.array([[1, 0, 5], [0, 1, -3], [0, 0, 1.0]]), image.shape)
    assert result.dtype == dtype and valid.dtype == bool
    expected = np.zeros(SIZE, bool)
    expected[3:, :-5] = True
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_allclose(result[3:, :-5], image[:-3, 5:], atol=1e-6 * white)
    assert not result[~valid].any()


def test_subpixel_warping_is_exact_for_smooth_pictures_and_does_not_ring():
    y, x = np.mgrid[:60, :70].astype(np.float32)
    smooth = lambda x, y: 0.5 + 0.3 * np.sin(x / 7) * np.cos(y / 9)
    result, valid = warp(smooth(x, y), np.array([[1.02, 0.03, 3.3], [-0.02, 0.99, 4.7], [0, 0, 1]]), (50, 55))
    y, x = np.mgrid[:50, :55]
    expected = smooth(1.02 * x + 0.03 * y + 3.3, -0.02 * x + 0.99 * y + 4.7)
    inside = cv2.erode(np.uint8(valid), np.ones((9, 9))) > 0
    np.testing.assert_allclose(result[inside], expected[inside], atol=0.004)
    edge = np.where(np.mgrid[:60, :70][1] < 35, 0.2, 0.8)
    assert np.ptp(warp(edge, np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]), (50, 60))[0]) <= 0.6 + 1e-6


def test_warping_the_moving_shot_brings_it_onto_the_reference():
    matrix = known_map(11, SIZE, "homography")
    sharp = scene(11)
    moving = cv2.warpPerspective(sharp, matrix, SIZE[::-1], flags=cv2.INTER_CUBIC)
    back, valid = warp(moving, matrix, SIZE)
    inside = cv2.erode(np.uint8(valid), np.ones((9, 9))) > 0
    inside[[*range(12), *range(-12, 0)]] = inside[:, [*range(12), *range(-12, 0)]] = False
    assert np.abs(back - sharp)[inside].mean() < 0.01


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.eye(2), np.full((3, 3), np.nan)])
def test_a_matrix_that_is_no_map_is_refused(matrix):
    with pytest.raises(ValueError, match="invertible 3×3"):
        warp(FLAT, matrix, SIZE)


def test_real_pairs_are_registered():
    folder = shared_file("data/EDMF")
    from edmf_jax.io.images import read_image

    first, second = (read_image(folder / f"Source_{s}" / f"bg-{s}-50.jpg") for s in "AB")
    matrix = known_map(12, first.shape, "homography")
    moved = cv2.warpPerspective(second, matrix, second.shape[1::-1], flags=cv2.INTER_CUBIC)
    found = register(first, moved)
    assert found.confident, found.doubts
    assert transforms.corner_errors(found.matrix, matrix, first.shape).mean() < 2
