"""Depth and movement found from the tiles of all pairs, and only where they explain what maps do not."""

import dataclasses
import itertools

import numpy as np
import pytest

from edmf_jax.registration import parallax, tilting, transforms
from edmf_jax.registration.flow import Step
from edmf_jax.registration.matches import TileMatches
from edmf_jax.registration.parallax import explain

SHAPE = 240, 360
SIDE = max(SHAPE)
UNIT = np.array([[1 / SIDE, 0, (1 - SHAPE[1]) / (2 * SIDE)], [0, 1 / SIDE, (1 - SHAPE[0]) / (2 * SIDE)], [0, 0, 1]])
# Reference, and three shots that turn, zoom, tilt and shift the picture a little.
MAPS = np.array([[SIDE, 0, 179.5, 119.5, 0, 0], [1.01 * SIDE, 2, 183, 121, 0.003, 0], [SIDE, -3, 178, 118, 0, -0.004],
                 [1.02 * SIDE, 1, 181, 122, 0.002, 0.002]])
MOVES = np.array([[0.0, 0], [2, 1], [-1, 2], [3, -1]])
FOCUS = -1.0, -0.3, 0.4, 1.0  # the depth that is in focus in each shot


def depth_at(points):
    """A slope from left to right, and a near thing on it."""
    x, y = points.T
    return 1.6 * x / SHAPE[1] - 1 + 0.4 * np.exp(-(((x - 120) / 40) ** 2 + ((y - 100) / 40) ** 2))


def lies(shot, points, depth, moves):
    ends, *_ = tilting.forward(np.tile(MAPS[shot], (len(points), 1)), transforms.project(UNIT, points))
    return ends + moves[shot] * depth[:, None]


def tiles(rng, moves, pairs, noise_px=0.05):
    x, y = np.meshgrid(np.arange(16.0, SHAPE[1] - 16, 16), np.arange(16.0, SHAPE[0] - 16, 16))
    points = np.stack([x.ravel(), y.ravel()], -1)
    depth = depth_at(points)
    found = {}
    for first, second in pairs:
        sharper = 4 * ((depth - FOCUS[second]) ** 2 - (depth - FOCUS[first]) ** 2)  # px², of the first shot
        targets = lies(second, points, depth, moves) + rng.normal(0, noise_px, points.shape)
        targets[::29] += 20  # something that moved
        found[first, second] = TileMatches(lies(first, points, depth, moves), targets,
                                           np.tile(np.eye(2) / noise_px**2, (len(points), 1, 1)),
                                           np.sign(sharper) * np.sqrt(np.abs(sharper)))
    return found


def plain_start(shots=3):
    """Maps as they would be without depth, a pixel off."""
    start = {}
    for shot in range(1, shots + 1):
        start[shot] = Step(transforms.normalize(tilting.to_matrix(MAPS[shot] + [0, 0, 1, -1, 0, 0]) @ UNIT), None)
    return start


@pytest.fixture(scope="module")
def places():
    pairs = list(itertools.combinations(range(4), 2))
    return explain(tiles(np.random.default_rng(0), MOVES, pairs), plain_start(), 0, SHAPE)


@pytest.mark.parametrize("shot", [1, 2, 3])
def test_everything_lies_where_its_depth_says(places, shot):
    x, y = np.meshgrid(np.arange(20.0, SHAPE[1] - 20, 20), np.arange(20.0, SHAPE[0] - 20, 20))
    points = np.stack([x.ravel(), y.ravel()], -1)
    found = Step(places[shot].matrix, places[shot].flow).follow(points, True)
    errors = np.linalg.norm(found - lies(shot, points, depth_at(points), MOVES), axis=-1)
    assert np.median(errors) < 0.1 and np.quantile(errors, 0.9) < 0.6  # the spline rounds the near thing's slopes


@pytest.mark.parametrize("shot", [1, 2])
def test_the_map_alone_is_right_for_what_is_in_focus(places, shot):
    """In the mean: movements past a slanted depth are told from zooms and turns only by the flow."""
    x, y = np.meshgrid(np.arange(10.0, SHAPE[1] - 10, 5), np.arange(10.0, SHAPE[0] - 10, 5))
    points = np.stack([x.ravel(), y.ravel()], -1)
    points = points[np.abs(depth_at(points) - FOCUS[shot]) < 0.1]
    wanted = lies(shot, points, depth_at(points), MOVES)
    assert np.linalg.norm((transforms.project(places[shot].matrix, points) - wanted).mean(0)) < 0.3
    assert places[shot].unknown_px < 0.4


def test_a_shot_with_nothing_in_focus_says_how_far_apart_its_depths_are(rng):
    pairs = list(itertools.combinations(range(4), 2))
    found = tiles(rng, MOVES, pairs)
    for pair, one in found.items():
        if 2 in pair:  # the other shot is sharper everywhere
            one.blurs[:] = 3 if pair[0] != 2 else -3
    places = explain(found, plain_start(), 0, SHAPE)
    assert places[2].unknown_px > 0.8 and places[1].unknown_px < 0.4


FEW, MANY = [(0, 1), (1, 2)], [(0, 1), (1, 2), (0, 2), (2, 3), (1, 3)]


@pytest.mark.parametrize("pairs", [FEW, MANY])
def test_noise_alone_is_no_depth(rng, pairs):
    """Without movement the maps are found that only turn; they are nearer to the truth than the start."""
    shots = max(max(pair) for pair in pairs)
    places = explain(tiles(rng, 0 * MOVES, pairs), plain_start(shots), 0, SHAPE)
    for shot, place in places.items():
        assert place.flow is None and place.unknown_px == 0
        truth = transforms.normalize(tilting.to_matrix(MAPS[shot]) @ UNIT)
        assert transforms.corner_errors(place.matrix, truth, SHAPE).max() < 0.1


def assert_kept(places, start):
    """The maps of `start` are used, and nothing speaks against them."""
    assert list(places) == list(start)
    for shot, step in start.items():
        assert (places[shot].matrix == step.matrix).all() and places[shot].flow is None and places[shot].unknown_px == 0


def test_tiles_that_scatter_much_know_no_better(rng):
    assert_kept(explain(tiles(rng, 0 * MOVES, MANY, 1.0), plain_start(), 0, SHAPE), plain_start())


def test_a_start_that_explains_more_is_kept(rng):
    """An export that stretched the pictures in one direction needs affine maps."""
    stretch = np.diag([1.0, 1.1, 1])
    found = {pair: dataclasses.replace(one, targets=transforms.project(stretch, one.targets)) for pair, one in
             tiles(rng, 0 * MOVES, [(0, 1), (0, 2)]).items()}
    exact = {shot: Step(transforms.normalize(stretch @ tilting.to_matrix(MAPS[shot]) @ UNIT), None) for shot in (1, 2)}
    assert_kept(explain(found, exact, 0, SHAPE), exact)


def test_what_depth_does_not_explain_makes_shots_uncertain(rng):
    found = tiles(rng, MOVES, list(itertools.combinations(range(4), 2)), 0.4)
    places = explain(found, plain_start(), 0, SHAPE)
    assert all(place.unknown_px > 1 for place in places.values())


def test_a_depth_that_explains_little_is_as_uncertain_as_it_moves_things(places, monkeypatch):
    monkeypatch.setattr(parallax, "_CLEARLY_BETTER", 0.0)  # so no depth explains enough
    found = tiles(np.random.default_rng(0), MOVES, list(itertools.combinations(range(4), 2)))
    for shot, doubted in explain(found, plain_start(), 0, SHAPE).items():
        np.testing.assert_array_equal(doubted.matrix, places[shot].matrix)
        assert doubted.unknown_px > places[shot].unknown_px + 0.3


def test_two_shots_have_no_depth_in_common(rng):
    assert_kept(explain(tiles(rng, MOVES, [(0, 1)]), plain_start(1), 0, SHAPE), plain_start(1))


# Maps that turn, zoom and tilt


def test_slopes_are_those_of_differences(rng):
    maps, at = np.repeat(MAPS, 3, 0), rng.uniform(-0.4, 0.4, (12, 2))
    ends, slopes, turn = tilting.forward(maps, at)
    for k in range(6):
        step = np.zeros(6)
        step[k] = 1e-4
        change = (tilting.forward(maps + step, at)[0] - tilting.forward(maps - step, at)[0]) / 2e-4
        np.testing.assert_allclose(slopes[..., k], change, rtol=1e-5, atol=1e-5)
    for k in range(2):
        step = np.eye(2)[k] * 1e-5
        change = (tilting.forward(maps, at + step)[0] - tilting.forward(maps, at - step)[0]) / 2e-5
        np.testing.assert_allclose(turn[..., k], change, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(tilting.inverse(maps, ends), at, atol=1e-9)
    np.testing.assert_allclose(tilting.inverted(turn) @ turn, np.tile(np.eye(2), (12, 1, 1)), atol=1e-9)


@pytest.mark.parametrize("shot", range(4))
def test_the_nearest_map_of_one_of_them_is_itself(shot):
    matrix = tilting.to_matrix(MAPS[shot]) @ UNIT
    np.testing.assert_allclose(tilting.nearest(matrix, UNIT, SHAPE), MAPS[shot], rtol=1e-6, atol=1e-6)


def test_matches_scale_with_their_pictures(rng):
    found = tiles(rng, MOVES, [(0, 1)])[0, 1]
    moved = found.moved(np.diag([2.0, 2, 1]), np.diag([4.0, 4, 1]))
    np.testing.assert_allclose(moved.points, 2 * found.points)
    np.testing.assert_allclose(moved.targets, 4 * found.targets)
    np.testing.assert_allclose(moved.information, found.information / 16)
