"""Trees that join shots, as pairs of their numbers.

In plain Python: SciPy's import takes as long as registering two pairs, and a stack has a few hundred pairs at most.
"""

from collections.abc import Iterable, Sequence

import numpy as np

Pair = tuple[int, int]


def neighbors_in(count: int, pairs: Iterable[Pair]) -> list[list[int]]:
    """The neighbors of each of `count` shots, in ascending order."""
    around = [[] for _ in range(count)]
    for first, second in pairs:
        around[first].append(second)
        around[second].append(first)
    return [sorted(near) for near in around]


def _outward(root: int, around: Sequence[Sequence[int]]) -> dict[int, tuple[int | None, int]]:
    """For each shot that is joined to `root`, nearest first: the one before it on the way from there, and the steps."""
    found, waiting = {root: (None, 0)}, [root]
    for shot in waiting:  # grows meanwhile: breadth first
        for other in around[shot]:
            if other not in found:
                found[other] = shot, found[shot][1] + 1
                waiting.append(other)
    return found


def components(count: int, pairs: Sequence[Pair]) -> np.ndarray:
    """The number of the connected part that each of `count` shots belongs to, `[count]`, in the order of the shots."""
    around, numbers = neighbors_in(count, pairs), np.full(count, -1)
    for shot in range(count):
        if numbers[shot] < 0:
            numbers[list(_outward(shot, around))] = numbers.max() + 1
    return numbers


def spanning_tree(count: int, pairs: Iterable[Pair]) -> list[Pair]:
    """Those of `pairs` that join what the pairs before them leave apart: Kruskal's tree, if the best come first."""
    part_of, members, tree = list(range(count)), [[shot] for shot in range(count)], []
    for pair in pairs:
        small, large = sorted((part_of[shot] for shot in pair), key=lambda part: len(members[part]))
        if small == large:
            continue
        tree.append(pair)
        for shot in members[small]:
            part_of[shot] = large
        members[large] += members[small]
    return tree


def paths_from(root: int, count: int, tree: Sequence[Pair]) -> dict[int, int]:
    """For each shot that the tree joins to `root`: the one before it on the way from there, nearest first."""
    found = _outward(root, neighbors_in(count, tree))
    return {shot: before for shot, (before, _) in found.items() if before is not None}


def longest_path(count: int, tree: Sequence[Pair]) -> tuple[Pair, int]:
    """The two ends, in ascending order, of the longest path in a tree or several, and its steps; 0 without pairs.

    Of several as long, the one whose ends have the lowest numbers.
    """
    around, best = neighbors_in(count, tree), ((0, 0), 0)
    left = set(range(count))
    while left:
        part = _outward(min(left), around)
        left -= part.keys()
        # In a tree no shot is farther from any other than from one of the two ends of a longest path.
        one = _outward(list(part)[-1], around)
        other = _outward(list(one)[-1], around)
        steps = list(other.values())[-1][1]
        first = min(shot for shot in part if max(one[shot][1], other[shot][1]) == steps)
        last = min(shot for shot, (_, far) in _outward(first, around).items() if far == steps)
        if steps and (-steps, (first, last)) < (-best[1], best[0]):
            best = (first, last), steps
    return best
