"""The estimated deviation of a registration: the jackknife over blocks of the picture, and the limit on it."""

import dataclasses

import numpy as np
import pytest

from edmf_jax.registration import Registration, RegistrationConfig, fitting, tiles, transforms
from edmf_jax.registration.verdict import doubt_of_deviation, judge

CORNERS = transforms.CONTROL_POINTS["homography"]
WIDE_LIMIT = 10.0  # gives all points nearly the same weight


def simulate(rng, *, shared_error=0.0, noise=1e-3, count=300, model="homography", corner=True):
    """Points, targets, block numbers and the map; all points of a block share one error, and each has its own noise.

    Args:
      shared_error, noise: standard deviations in the unit square.
      corner: whether the top left block has points.
    """
    matrix = transforms.from_controls(transforms.CONTROL_POINTS[model] + rng.uniform(-0.03, 0.03,
                                                                              transforms.CONTROL_POINTS[model].shape))
    points = rng.random((count, 2))
    if not corner:
        points = points[(points > 1 / 3).any(1)]
    blocks = block_numbers(points)
    shared = rng.normal(0, shared_error, (9, 2))[blocks]
    targets = transforms.project(matrix, points) + shared + rng.normal(0, noise, points.shape)
    return points, targets, blocks, matrix


def block_numbers(points):
    return np.minimum(points[:, 1] * 3 // 1, 2).astype(int) * 3 + np.minimum(points[:, 0] * 3 // 1, 2).astype(int)


def estimates_and_error(shared_error, draws=60, **kwargs):
    """Root mean squares at the four corners: the fit's estimate, the jackknife's estimate, the true error."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(draws):
        points, targets, blocks, truth = simulate(rng, shared_error=shared_error, **kwargs)
        matrix, _, scatter = fitting.fit(truth, points, targets, "homography", limit=WIDE_LIMIT)
        jackknife, _ = fitting.leave_out(matrix, points, targets, "homography", blocks, limit=WIDE_LIMIT)
        error = np.linalg.norm(transforms.project(matrix, CORNERS) - transforms.project(truth, CORNERS), axis=1)
        estimates = (fitting.corner_deviation(matrix, c, "homography", CORNERS) for c in (scatter, jackknife))
        found.append([*estimates, error])
    return np.sqrt(np.mean(np.square(found), 0))


def test_the_jackknife_equals_fits_without_each_block_in_turn(rng):
    points, targets, blocks, matrix = simulate(rng, shared_error=2e-3, model="affine")
    keep = blocks != 4  # an empty block does not count as one
    points, targets, blocks = points[keep], targets[keep], blocks[keep]
    homogeneous = lambda x: np.c_[x, np.ones(len(x))]
    solve = lambda some: (homogeneous(CORNERS)
                          @ np.linalg.lstsq(homogeneous(points[some]), targets[some], rcond=None)[0])
    whole = solve(np.full(len(points), True))
    changes = np.array([solve(blocks != block) - whole for block in np.unique(blocks)])
    expected = np.sqrt(7 / 8 * np.square(changes).sum((0, 2)))
    found, *_ = fitting.fit(matrix, points, targets, "affine", limit=1e4)
    covariance, predicted = fitting.leave_out(found, points, targets, "affine", blocks, limit=1e4)
    np.testing.assert_allclose(fitting.corner_deviation(found, covariance, "affine", CORNERS), expected, rtol=1e-4)
    for block in np.unique(blocks):  # and each block is predicted by the fit to the others
        inside = blocks == block
        others = np.linalg.lstsq(homogeneous(points[~inside]), targets[~inside], rcond=None)[0]
        np.testing.assert_allclose(predicted[inside], targets[inside] - homogeneous(points[inside]) @ others, atol=1e-6)


def test_with_weights_information_and_perspective_the_jackknife_is_close_to_such_fits(rng):
    points, targets, blocks, matrix = simulate(rng, shared_error=1e-3)
    options = {"limit": 8.0, "information": np.array([1e6, 4e5])[rng.integers(0, 2, (len(points), 1, 1))] * np.eye(2)}
    found, *_ = fitting.fit(matrix, points, targets, "homography", **options)
    changes = []
    for block in range(9):
        some = blocks != block
        without, *_ = fitting.fit(found, points[some], targets[some], "homography", limit=options["limit"],
                                  information=options["information"][some])
        changes.append(transforms.project(without, CORNERS) - transforms.project(found, CORNERS))
    expected = np.sqrt(8 / 9 * np.square(changes).sum((0, 2)))
    covariance, _ = fitting.leave_out(found, points, targets, "homography", blocks, **options)
    np.testing.assert_allclose(fitting.corner_deviation(found, covariance, "homography", CORNERS), expected, rtol=0.25)


def test_for_independent_errors_both_estimates_are_the_error():
    scatter, jackknife, error = estimates_and_error(shared_error=0)
    np.testing.assert_allclose(scatter, error, rtol=0.25)
    assert (jackknife > 0.9 * error).all() and (jackknife < 1.7 * error).all()  # the jackknife overestimates


def test_for_errors_shared_within_a_block_only_the_jackknife_is_large_enough():
    scatter, jackknife, error = estimates_and_error(shared_error=3e-3)
    assert (scatter < 0.4 * error).all()
    assert (jackknife > 0.9 * error).all() and (jackknife < 2.5 * error).all()


def test_the_corner_without_points_is_the_least_certain_one():
    scatter, jackknife, error = estimates_and_error(shared_error=3e-3, corner=False)
    assert jackknife.argmax() == error.argmax() == 0
    assert scatter[0] < 0.4 * error[0] < 0.5 * jackknife[0]


def test_points_in_a_single_block_are_no_evidence(rng):
    points, targets, _, matrix = simulate(rng)
    covariance, predicted = fitting.leave_out(matrix, points, targets, "homography", np.zeros(len(points), int),
                                              limit=WIDE_LIMIT)
    deviation = fitting.corner_deviation(matrix, covariance, "homography", CORNERS)
    for error in (deviation, predicted):
        assert np.isfinite(error).all() and (error > 1000).all()


def test_a_picture_has_nine_blocks():
    x, y = np.meshgrid(np.arange(90), np.arange(60))
    blocks = tiles._block_numbers(np.stack([x, y], -1).reshape(-1, 2), (60, 90)).reshape(60, 90)
    np.testing.assert_array_equal(blocks, np.arange(60)[:, None] // 20 * 3 + np.arange(90) // 30)


@pytest.mark.parametrize(("diagonal_px", "limit_px"),
                         [(300, 0.9), (800, 2.4), (1000, 3), (1700, 3), (2000, 3.4), (5000, 8.5)])
def test_the_limit_is_3_px_within_shares_of_the_diagonal(diagonal_px, limit_px):
    good = Registration(np.eye(3), "pso-sift", "homography", matches=99, inliers=99, tiles=99, agreeing_tiles=99,
                        overlap=1.0)
    shape = 0.6 * diagonal_px, 0.8 * diagonal_px
    for deviation, doubt in ((limit_px - 0.01, None), (limit_px + 0.01, "the corners are uncertain by "),
                             (float("nan"), "too little content agrees to tell how exact its place is")):
        found = judge(dataclasses.replace(good, deviation_px=deviation), RegistrationConfig(), shape, shape)
        assert found.confident == (doubt is None)
        assert found.doubts.startswith(doubt or "")


@pytest.mark.parametrize(("deviation_px", "doubt"), [
    (4.52, "the corners are uncertain by 4.5 px, more than 3.0"),
    (3.004, "the corners are uncertain by 3.004 px, more than 3.000"),
    (1e9, "the corners are uncertain by more than the whole picture"),
    (float("inf"), "too little content agrees to tell how exact its place is")])
def test_doubts_about_the_deviation_say_something(deviation_px, doubt):
    found = Registration(np.eye(3), "pso-sift", "homography", deviation_px=deviation_px)
    assert doubt_of_deviation(found, RegistrationConfig(), (900, 1200)) == [doubt]
