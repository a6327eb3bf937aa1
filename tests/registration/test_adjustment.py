"""The adjustment of all maps of a stack: exact where links agree, weighed by certainty where they do not."""

import cv2
import numpy as np
import pytest

from edmf_jax.registration import adjustment, transforms
from edmf_jax.registration.adjustment import Link, adjust

SHAPE = (300, 400)
CHAIN = [(0, 1), (1, 2), (2, 3), (3, 4)]
LOOPS = [(0, 2), (1, 3), (2, 4), (0, 4)]


def moved_corners(rng, sigma_px):
    """A homography that moves each corner by independent errors of `sigma_px` in x and in y."""
    corners = transforms.corners(SHAPE)
    return cv2.getPerspectiveTransform(np.float32(corners), np.float32(corners + rng.normal(0, sigma_px, (4, 2))))


def shift(x, y=0.0):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def links_between(maps, pairs, deviation_px=0.5):
    return [Link(i, j, maps[j] @ np.linalg.inv(maps[i]), deviation_px) for i, j in pairs]


def chained(links):
    """The maps from shot 0, along the first links."""
    maps = {0: np.eye(3)}
    for link in links:
        if link.second not in maps:
            maps[link.second] = link.matrix @ maps[link.first]
    return maps


def errors(maps, truth):
    return {shot: transforms.corner_errors(maps[shot], truth[shot], SHAPE).max() for shot in maps}


@pytest.mark.parametrize("model", transforms.CONTROL_POINTS)
def test_links_that_agree_give_their_maps_from_any_start(rng, model):
    unit = transforms.unit_matrix(SHAPE)
    draw = lambda size: np.linalg.inv(unit) @ transforms.from_controls(
        transforms.CONTROL_POINTS[model] + rng.normal(0, size, transforms.CONTROL_POINTS[model].shape)) @ unit
    truth = {0: np.eye(3)} | {shot: transforms.normalize(draw(0.02)) for shot in range(1, 5)}
    start = {shot: matrix @ draw(0.003) for shot, matrix in truth.items()}
    found, deviations = adjust(links_between(truth, CHAIN + LOOPS), start, 0, SHAPE, model)
    assert max(errors(found, truth).values()) < 1e-4
    np.testing.assert_array_equal(found[0], np.eye(3))
    assert deviations[0] == 0 and all(0 < deviations[shot] < 1 for shot in range(1, 5))


def test_a_contradiction_is_spread_by_variance():
    links = [Link(0, 1, shift(10), 1.0), Link(1, 2, shift(10), 1.0), Link(0, 2, shift(20.6), 2.0)]
    found, _ = adjust(links, chained(links), 0, SHAPE, "affine")
    # Variances 1, 1 and 4 share 0.6 px as 0.1, 0.1 and 0.4.
    np.testing.assert_allclose(found[1], shift(10.1), atol=5e-3)
    np.testing.assert_allclose(found[2], shift(20.2), atol=1e-2)


def test_a_wrong_loop_has_little_weight():
    links = [*links_between({i: shift(5.0 * i) for i in range(5)}, CHAIN, 0.3), Link(0, 4, shift(50), 0.3)]
    start = chained(links)
    found, _ = adjust(links, start, 0, SHAPE, "homography")
    assert max(errors(found, start).values()) < 0.15  # of 30 px; with full weight it would be 24


def test_a_link_may_be_given_in_either_direction(rng):
    truth = {shot: moved_corners(rng, 4) if shot else np.eye(3) for shot in range(5)}
    links = [Link(link.first, link.second, link.matrix @ moved_corners(rng, 0.3), 0.5)
             for link in links_between(truth, CHAIN + LOOPS)]
    turned = [Link(link.second, link.first, np.linalg.inv(link.matrix), 0.5) if number % 2 else link
              for number, link in enumerate(links)]
    start = chained(links)
    one, other = (adjust(given, start, 0, SHAPE, "homography") for given in (links, turned))
    for shot in range(1, 5):
        assert transforms.corner_errors(one[0][shot], other[0][shot], SHAPE).max() < 0.05
        assert one[1][shot] == pytest.approx(other[1][shot], rel=0.1)


def test_any_shot_can_be_the_reference(rng):
    truth = {shot: shift(*rng.uniform(-9, 9, 2)) for shot in range(5)}
    to_two = {shot: matrix @ np.linalg.inv(truth[2]) for shot, matrix in truth.items()}
    found, deviations = adjust(links_between(truth, CHAIN), to_two, 2, SHAPE, "similarity")
    assert max(errors(found, to_two).values()) < 1e-4
    assert deviations[2] == 0 and deviations[0] > deviations[1] and deviations[4] > deviations[3]


@pytest.mark.parametrize("pairs", [CHAIN, CHAIN + LOOPS])
def test_the_deviation_is_the_scatter_of_the_maps(pairs):
    rng, sigma = np.random.default_rng(4), 0.6
    truth = {shot: shift(6.0 * shot, -2.0 * shot) for shot in range(5)}
    found = []
    for _ in range(40):
        links = [Link(link.first, link.second, link.matrix @ moved_corners(rng, sigma), np.sqrt(2) * sigma)
                 for link in links_between(truth, pairs)]
        maps, deviations = adjust(links, chained(links), 0, SHAPE, "homography")
        found.append([(transforms.corner_errors(maps[shot], truth[shot], SHAPE), deviations[shot])
                      for shot in range(1, 5)])
    scatter = np.sqrt([np.mean([draw[k][0] ** 2 for draw in found]) for k in range(4)])
    estimate = np.mean([[draw[k][1] for k in range(4)] for draw in found], 0)
    np.testing.assert_allclose(estimate, scatter, rtol=0.3)
    if pairs is CHAIN:
        np.testing.assert_allclose(scatter, np.sqrt(2 * np.arange(1, 5)) * sigma, rtol=0.2)  # errors add up
    else:
        assert scatter[3] < 1.5 * np.sqrt(2) * sigma


def test_a_sparse_matrix_gives_the_same_as_a_dense_one(rng, monkeypatch):
    truth = {0: np.eye(3)} | {shot: moved_corners(rng, 8.0) for shot in range(1, 5)}
    links = [Link(link.first, link.second, moved_corners(rng, 0.4) @ link.matrix, link.deviation_px)
             for link in links_between(truth, CHAIN + LOOPS)]
    dense = adjust(links, chained(links), 0, SHAPE, "homography")
    monkeypatch.setattr(adjustment, "_DENSE_PARAMETERS", 0)
    sparse = adjust(links, chained(links), 0, SHAPE, "homography")
    assert max(errors(dense[0], sparse[0]).values()) < 1e-6
    assert [dense[1][shot] for shot in range(5)] == pytest.approx([sparse[1][shot] for shot in range(5)], rel=1e-6)
