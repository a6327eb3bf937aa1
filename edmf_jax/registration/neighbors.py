"""Which shots of a stack are neighbors: how alike they are, from small copies, and the tree that joins the most alike.

Shots need not come in the order of focus.  Neighbors in focus share the most matching keypoints; where there are few,
the likeness of thumbnails decides.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from edmf_jax.registration import features, planes, trees
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
    pairs = zip(*(index.tolist() for index in np.nonzero(np.triu(scores, 1))))
    ranked = sorted((pair for pair in pairs if pair not in tried), key=lambda pair: (-scores[pair], pair))
    return sorted(set(trees.spanning_tree(len(scores), [*joined, *ranked])).difference(joined))


def closing_pairs(count: int, tree: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs that close loops in a tree: next-but-one neighbors, and the two ends of its longest path."""
    pairs = {pair for near in trees.neighbors_in(count, tree) for pair in itertools.pairwise(near)}
    ends, steps = trees.longest_path(count, tree)
    return sorted(pairs | {ends} if steps > 2 else pairs)
