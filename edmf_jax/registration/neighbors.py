"""Which shots of a stack are neighbors: how alike they are, from small copies, and the tree that joins the most alike.

Shots need not come in the order of focus.  Neighbors in focus share the most matching keypoints; where there are few,
the likeness of thumbnails decides.
"""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from edmf_jax.registration import features, planes
from edmf_jax.registration.views import View

_KEYPOINTS = 500  # the strongest ones of each shot
_THUMBNAIL_PX = (32, 48)
_THUMBNAIL_MATCHES = 20.0  # equal thumbnails count as this many matches
_ALL_PAIRS = 24  # of more shots, only pairs of similar thumbnails are compared by keypoints
_SIMILAR = 10  # for each shot


def likeness(views: Sequence[View], run: Callable[[Callable, Iterable], Iterable] = map) -> np.ndarray:
    """How alike each two shots are, `[N, N]`, symmetric; 0 for pairs that were not compared, and on the diagonal.

    `run` works like `map`; that of a thread pool compares several pairs at once.
    """
    thumbnails = np.stack(list(run(_thumbnail, views)))
    correlation = np.maximum(thumbnails @ thumbnails.T, 0)
    np.fill_diagonal(correlation, 0)
    strongest = [features.strongest(view.keypoints, _KEYPOINTS) for view in views]
    scores, pairs = np.zeros_like(correlation), list(_pairs_to_compare(correlation))
    counts = run(lambda pair: len(features.match(strongest[pair[0]], strongest[pair[1]])), pairs)
    for (i, j), count in zip(pairs, counts):
        scores[i, j] = scores[j, i] = max(count + _THUMBNAIL_MATCHES * correlation[i, j], 1e-3)
    return scores


def _thumbnail(view: View) -> np.ndarray:
    """A small copy of the log luma, of mean 0 and length 1, `[P]`."""
    small = cv2.resize(planes.log_plane(view.match_plane), _THUMBNAIL_PX[::-1], interpolation=cv2.INTER_AREA).ravel()
    centered = small - small.mean()
    return centered / (np.linalg.norm(centered) + 1e-6)


def _pairs_to_compare(correlation: np.ndarray) -> Iterable[tuple[int, int]]:
    """All pairs of a small stack; of a large one those whose thumbnails are most alike."""
    count = len(correlation)
    if count <= _ALL_PAIRS:
        return ((i, j) for i in range(count) for j in range(i + 1, count))
    nearest = np.argsort(-correlation, axis=1, kind="stable")[:, :_SIMILAR]
    similar = {(min(i, int(j)), max(i, int(j))) for i in range(count) for j in nearest[i] if i != j}
    # Groups of more shots than that, all nearly the same, would be compared among themselves only.
    return sorted(similar | set(spanning_forest(correlation, [], set())))


def spanning_forest(scores: np.ndarray, joined: Sequence[tuple[int, int]], tried: set[tuple[int, int]]
                    ) -> list[tuple[int, int]]:
    """Pairs, not tried yet, that join the parts that `joined` leaves apart, by the largest scores; a pair is i < j."""
    parts = components(len(scores), joined)
    i, j = np.nonzero(np.triu(scores, 1))
    free = np.array([parts[a] != parts[b] and (int(a), int(b)) not in tried for a, b in zip(i, j)], bool)
    i, j = i[free], j[free]
    if not len(i):
        return []
    # The best pair of each two parts; SciPy's trees are of least weight, and it takes 0 for no edge.
    best = {}
    for a, b in sorted(zip(i.tolist(), j.tolist()), key=lambda pair: (-scores[pair], pair)):
        best.setdefault((min(parts[a], parts[b]), max(parts[a], parts[b])), (a, b))
    if len(best) == 1:
        return list(best.values())
    from scipy.sparse.csgraph import minimum_spanning_tree  # SciPy's import takes a fifth of a second; pairs need none

    rows, columns = np.array(list(best)).T
    ranks = np.arange(1.0, len(best) + 1)  # in the order of falling scores: a tree depends on their order alone
    tree = minimum_spanning_tree(_sparse(ranks, rows, columns, len(scores))).tocoo()
    return sorted(best[(min(a, b), max(a, b))] for a, b in zip(tree.row.tolist(), tree.col.tolist()))


def components(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The number of the connected part that each of `count` shots belongs to, `[count]`."""
    if not len(pairs):
        return np.arange(count)
    if count == 2:
        return np.zeros(2, int)
    from scipy.sparse.csgraph import connected_components

    return connected_components(_graph(count, pairs), directed=False)[1]


def closing_pairs(count: int, tree: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs that close loops in a tree: next-but-one neighbors, and the two ends of its longest path."""
    from scipy.sparse.csgraph import shortest_path

    around = {i: [] for i in range(count)}
    for i, j in tree:
        around[i].append(j)
        around[j].append(i)
    pairs = {tuple(sorted(pair)) for near in around.values() for pair in zip(sorted(near), sorted(near)[1:])}
    distances = shortest_path(_graph(count, tree), directed=False, unweighted=True)
    distances[~np.isfinite(distances)] = 0
    first, last = np.unravel_index(distances.argmax(), distances.shape)
    if distances[first, last] > 2:
        pairs.add((min(int(first), int(last)), max(int(first), int(last))))
    return sorted(pairs)


def paths_from(root: int, count: int, tree: Sequence[tuple[int, int]]) -> dict[int, int]:
    """For each shot that the tree joins to `root`: the one before it on the way from there, nearest first."""
    if count == 2:
        return {1 - root: root} if len(tree) else {}
    from scipy.sparse.csgraph import breadth_first_order

    order, before = breadth_first_order(_graph(count, tree), root, directed=False)
    return {int(shot): int(before[shot]) for shot in order[1:]}


def _graph(count: int, pairs: Sequence[tuple[int, int]]):
    rows, columns = np.array(list(pairs), int).reshape(-1, 2).T
    return _sparse(np.ones(len(rows)), rows, columns, count)


def _sparse(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, count: int):
    from scipy.sparse import coo_array

    return coo_array((values, (rows, columns)), shape=(count, count)).tocsr()
