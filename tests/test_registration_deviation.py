"""How far a registration may be off: the jackknife over parts of the picture, and the limit on what it says."""

import dataclasses

import numpy as np
import pytest

from edmf_jax.registration import Registration, RegistrationConfig, fitting, tiles, transforms
from edmf_jax.registration.result import judge

ENDS = transforms.CONTROLS["homography"]
WIDE = 10.0  # a limit that gives all points the same weight


def field(rng, *, alike=0.0, noise=1e-3, count=300, model="homography", corner=True):
    """Points, targets and the map they are from; each of 3 × 3 parts is off by `alike`, each point by `noise`."""
    matrix = transforms.from_controls(transforms.CONTROLS[model] + rng.uniform(-0.03, 0.03,
                                                                              transforms.CONTROLS[model].shape))
    points = rng.random((count, 2))
    if not corner:
        points = points[(points > 1 / 3).any(1)]
    blocks = thirds(points)
    shared = rng.normal(0, alike, (9, 2))[blocks]
    targets = transforms.project(matrix, points) + shared + rng.normal(0, noise, points.shape)
    return points, targets, blocks, matrix


def thirds(points):
    return np.minimum(points[:, 1] * 3 // 1, 2).astype(int) * 3 + np.minimum(points[:, 0] * 3 // 1, 2).astype(int)


def said_and_done(alike, draws=60, **kwargs):
    """Root mean squares at the four corners: what the fit says, what the jackknife says, what the error is."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(draws):
        points, targets, blocks, truth = field(rng, alike=alike, **kwargs)
        matrix, _, plain = fitting.fit(truth, points, targets, "homography", limit=WIDE)
        parts = fitting.jackknife(matrix, points, targets, "homography", blocks, limit=WIDE)
        apart = np.linalg.norm(transforms.project(matrix, ENDS) - transforms.project(truth, ENDS), axis=1)
        found.append([*(fitting.corner_deviation(matrix, c, "homography", ENDS) for c in (plain, parts)), apart])
    return np.sqrt(np.mean(np.square(found), 0))


def test_the_jackknife_equals_fits_without_each_part_in_turn(rng):
    points, targets, blocks, matrix = field(rng, alike=2e-3, model="affine")
    keep = blocks != 4  # a part without points is none
    points, targets, blocks = points[keep], targets[keep], blocks[keep]
    columns = lambda x: np.c_[x, np.ones(len(x))]
    solve = lambda of: columns(ENDS) @ np.linalg.lstsq(columns(points[of]), targets[of], rcond=None)[0]
    whole = solve(np.full(len(points), True))
    steps = np.array([solve(blocks != name) - whole for name in np.unique(blocks)])
    expected = np.sqrt(7 / 8 * np.square(steps).sum((0, 2)))
    found, *_ = fitting.fit(matrix, points, targets, "affine", limit=1e4)
    covariance = fitting.jackknife(found, points, targets, "affine", blocks, limit=1e4)
    np.testing.assert_allclose(fitting.corner_deviation(found, covariance, "affine", ENDS), expected, rtol=1e-4)


def test_with_weights_information_and_perspective_it_is_near_to_such_fits(rng):
    points, targets, blocks, matrix = field(rng, alike=1e-3)
    how = {"limit": 8.0, "information": np.array([1e6, 4e5])[rng.integers(0, 2, (len(points), 1, 1))] * np.eye(2)}
    found, *_ = fitting.fit(matrix, points, targets, "homography", **how)
    steps = []
    for name in range(9):
        some = blocks != name
        left, *_ = fitting.fit(found, points[some], targets[some], "homography", limit=how["limit"],
                               information=how["information"][some])
        steps.append(transforms.project(left, ENDS) - transforms.project(found, ENDS))
    expected = np.sqrt(8 / 9 * np.square(steps).sum((0, 2)))
    covariance = fitting.jackknife(found, points, targets, "homography", blocks, **how)
    np.testing.assert_allclose(fitting.corner_deviation(found, covariance, "homography", ENDS), expected, rtol=0.25)


def test_for_independent_errors_both_estimates_are_the_error():
    plain, parts, error = said_and_done(alike=0)
    np.testing.assert_allclose(plain, error, rtol=0.25)
    assert (parts > 0.9 * error).all() and (parts < 1.7 * error).all()  # leaving a ninth out errs on the safe side


def test_for_errors_that_a_part_shares_only_the_jackknife_is_large_enough():
    plain, parts, error = said_and_done(alike=3e-3)
    assert (plain < 0.4 * error).all()
    assert (parts > 0.9 * error).all() and (parts < 2.5 * error).all()


def test_the_corner_without_points_is_the_least_certain_one():
    plain, parts, error = said_and_done(alike=3e-3, corner=False)
    assert parts.argmax() == error.argmax() == 0
    assert plain[0] < 0.4 * error[0] < 0.5 * parts[0]


def test_points_in_one_part_only_are_no_evidence(rng):
    points, targets, _, matrix = field(rng)
    covariance = fitting.jackknife(matrix, points, targets, "homography", np.zeros(len(points), int), limit=WIDE)
    deviation = fitting.corner_deviation(matrix, covariance, "homography", ENDS)
    assert np.isfinite(deviation).all() and (deviation > 1000).all()


def test_a_picture_has_nine_parts():
    x, y = np.meshgrid(np.arange(90), np.arange(60))
    blocks = tiles._blocks(np.stack([x, y], -1).reshape(-1, 2), (60, 90)).reshape(60, 90)
    np.testing.assert_array_equal(blocks, np.arange(60)[:, None] // 20 * 3 + np.arange(90) // 30)


@pytest.mark.parametrize(("diagonal_px", "limit_px"),
                         [(300, 0.9), (800, 2.4), (1000, 3), (1700, 3), (2000, 3.4), (5000, 8.5)])
def test_the_limit_is_3_px_within_shares_of_the_diagonal(diagonal_px, limit_px):
    good = Registration(np.eye(3), "pso-sift", "homography", matches=99, inliers=99, tiles=99, agreeing=99, overlap=1.0)
    for deviation, confident in ((limit_px - 0.01, True), (limit_px + 0.01, False), (float("nan"), False)):
        found = judge(dataclasses.replace(good, deviation_px=deviation), RegistrationConfig(), diagonal_px, (1, 1))
        assert found.confident == confident
        assert confident or found.doubts.startswith("the corners are uncertain by ")
