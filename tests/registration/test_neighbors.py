"""Which shots are neighbors: trees and loops of scores, and the likeness of pictures."""

import itertools

import numpy as np

from edmf_jax.registration import RegistrationConfig, View, neighbors, trees
from tests.helpers.focus_stacks import camera, take

ROUGH = RegistrationConfig(match_pixels=30_000, refine_pixels=30_000)


def chain_scores(order):
    """Scores that fall with the distance in the chain; shot `order[k]` is its k-th link."""
    place = np.argsort(order)
    scores = 100.0 / (1 + np.abs(place[:, None] - place[None]) ** 2)
    np.fill_diagonal(scores, 0)
    return scores


def links(order):
    return sorted((min(pair), max(pair)) for pair in itertools.pairwise(order))


def test_the_tree_of_a_shuffled_chain_is_the_chain(rng):
    order = rng.permutation(9).tolist()
    assert neighbors.spanning_forest(chain_scores(order), [], set()) == links(order)


def test_pairs_that_were_tried_are_replaced_by_the_next_best():
    scores = chain_scores(range(5))
    assert neighbors.spanning_forest(scores, [(0, 1), (1, 2), (3, 4)], {(2, 3)}) == [(1, 3)]
    everything = {(i, j) for i in range(5) for j in range(i + 1, 5)}
    assert neighbors.spanning_forest(scores, [], everything) == []
    assert neighbors.spanning_forest(scores, links(range(5)), set()) == []


def test_parts_without_a_score_between_them_stay_apart():
    scores = np.zeros((6, 6))
    scores[:3, :3], scores[3:5, 3:5] = chain_scores(range(3)), chain_scores(range(2))
    tree = neighbors.spanning_forest(scores, [], set())
    assert tree == [(0, 1), (1, 2), (3, 4)]


def test_loops_are_closed_between_next_but_one_and_from_end_to_end():
    order = [3, 0, 4, 1, 2]
    assert set(neighbors.closing_pairs(5, links(order))) == {(3, 4), (0, 1), (2, 4), (2, 3)}
    assert neighbors.closing_pairs(3, [(0, 1), (1, 2)]) == [(0, 2)]
    assert neighbors.closing_pairs(4, [(0, 1), (2, 3)]) == []  # two parts of two
    assert neighbors.closing_pairs(2, []) == []
    star = [(0, 1), (0, 2), (0, 3)]
    assert set(neighbors.closing_pairs(4, star)) == {(1, 2), (2, 3)}


def test_shots_that_are_next_in_focus_are_most_alike():
    steps, order = (0.0, 0.35, 0.7, 1.0), [2, 0, 3, 1]
    views = [View(take(steps[k], camera(1 + 0.02 * steps[k]), noise_seed=k).images[0], ROUGH) for k in order]
    views.append(View(take(0.5, camera(), seed=9).images[0], ROUGH))  # of another scene
    scores = neighbors.likeness(views)
    np.testing.assert_array_equal(scores, scores.T)
    assert not scores.diagonal().any() and scores[4, :4].max() < scores[:4, :4][~np.eye(4, dtype=bool)].min()
    assert neighbors.spanning_forest(scores[:4, :4], [], set()) == links([order.index(k) for k in range(4)])


def test_groups_of_many_shots_that_are_nearly_the_same_are_joined(rng):
    first, second = rng.standard_normal((2, 100))
    thumbnails = np.stack([first] * 13 + [first + second] * 13) + 0.3 * rng.standard_normal((26, 100))
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    correlation = np.maximum(thumbnails @ thumbnails.T, 0)
    np.fill_diagonal(correlation, 0)
    pairs = list(neighbors._pairs_to_compare(correlation))
    assert not trees.components(26, pairs).any()
    assert len(pairs) < 26 * 25 / 2 and all(i < j for i, j in pairs)
    assert len(list(neighbors._pairs_to_compare(correlation[:24, :24]))) == 24 * 23 / 2
