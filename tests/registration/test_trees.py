"""Trees that join shots: against SciPy's graphs, and what they are by definition."""

import numpy as np
import pytest
from scipy.sparse import coo_array, csgraph

from edmf_jax.registration import trees


def graph(count, pairs, values=None):
    rows, columns = np.array(list(pairs), int).reshape(-1, 2).T
    return coo_array((np.ones(len(rows)) if values is None else values, (rows, columns)), shape=(count, count)).tocsr()


@pytest.fixture(params=range(30))
def pairs(request):
    """A number of shots, and random pairs of them in random order: many parts, one part, none."""
    rng = np.random.default_rng(request.param)
    count = int(rng.integers(1, 14))
    everything = [(i, j) for i in range(count) for j in range(i + 1, count)]
    chosen = rng.permutation(len(everything))[: int(rng.integers(0, 2 * count))]
    return count, [everything[k] for k in chosen]


def test_as_scipy(pairs):
    count, pairs = pairs
    assert trees.components(count, pairs).tolist() == csgraph.connected_components(graph(count, pairs),
                                                                                  directed=False)[1].tolist()
    tree = trees.spanning_tree(count, pairs)
    theirs = csgraph.minimum_spanning_tree(graph(count, pairs, np.arange(1.0, len(pairs) + 1))).tocoo()
    assert sorted(tree) == sorted(zip(theirs.row.tolist(), theirs.col.tolist()))

    order, before = csgraph.breadth_first_order(graph(count, tree), 0, directed=False)
    steps = csgraph.shortest_path(graph(count, tree), directed=False, unweighted=True)
    paths = trees.paths_from(0, count, tree)
    assert paths == {shot: before[shot] for shot in order[1:]}
    assert (np.diff([steps[0, shot] for shot in paths]) >= 0).all()  # nearest first

    steps[~np.isfinite(steps)] = 0
    ends, most = trees.longest_path(count, tree)
    assert most == steps.max()
    assert ends == (np.unravel_index(steps.argmax(), steps.shape) if most else (0, 0))


def test_parts_are_numbered_in_the_order_of_the_shots():
    assert trees.components(6, [(0, 1), (2, 1), (3, 4)]).tolist() == [0, 0, 0, 1, 1, 2]
    assert trees.components(3, []).tolist() == [0, 1, 2]


def test_paths_go_from_the_root_outward():
    before = trees.paths_from(4, 6, [(0, 1), (1, 4), (2, 4), (3, 5)])
    assert before == {1: 4, 2: 4, 0: 1}
    assert list(before).index(0) == 2  # nearest first


def test_the_first_pairs_join_first():
    assert trees.spanning_tree(4, [(2, 3), (0, 1), (1, 3), (0, 2)]) == [(2, 3), (0, 1), (1, 3)]
    assert trees.spanning_tree(3, []) == []


def test_a_thousand_shots_take_no_time():
    chain = [(shot, shot + 1) for shot in range(999)]
    assert trees.longest_path(1000, chain) == ((0, 999), 999)
    assert len(trees.spanning_tree(1000, chain)) == 999
