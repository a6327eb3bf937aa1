"""Which shot shows a region in which something moved (`motion`), and which ones are excluded there."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.fusion.stack.analysis import StackAnalysis
from edmf_jax.fusion.stack.motion import Pair
from edmf_jax.fusion.stack.motion_blurs import Blurs, grown, leveled_blurs
from edmf_jax.registration.threads import on_all_cores

_ALL_PAIRS = 5  # shots of which every two are compared; of more, neighbors in focus
_NEIGHBORS = 2
_CELLS = 24
_NEAR_PX = 10  # so much further a thing may reach than where it is beyond doubt
_GROW_PX = 5
_HULL_RATIO = 1.6
_MIN_INSIDE = 0.5  # of a place that must lie in a region to be part of it
_MOST_SEARCHED = 8  # regions whose thing is looked for elsewhere
_MAX_AREAS = 3.0  # ratio of two regions in which the same thing may be
_MAX_COLOR = 0.65  # of the contrast to what is behind it


@dataclasses.dataclass(frozen=True)
class Moved:
    """Where something moved.

    Attributes:
      excluded: the number of a shot → bool `[h, w]`, where it does not count.
      count: of regions.
    """

    excluded: dict[int, np.ndarray]
    count: int


NOTHING = Moved({}, 0)


class _Move(NamedTuple):
    """Two shots, and the place in one of them where what is in another place of the other one stands."""

    pair: tuple[int, int]
    here: np.ndarray
    there: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Region:
    mask: np.ndarray  # with its blur
    core: np.ndarray  # what differs
    classes: list[frozenset[int]]

    def class_of(self, number: int) -> frozenset[int]:
        return next(one for one in self.classes if number in one)


def find(analysis: StackAnalysis) -> Moved:
    """Finds what moved between the shots of a stack; their order has no effect."""
    order = sorted(range(len(analysis.shot_analyses)), key=lambda i: analysis.shot_analyses[i].digest)
    moved = find_in(on_all_cores(lambda number: leveled_blurs(analysis, number), order))
    return Moved({order[place]: mask for place, mask in moved.excluded.items()}, moved.count)


def find_in(shots: Sequence[Blurs]) -> Moved:
    """Finds what moved between shots, from their ladders."""
    some = neighbors([shot.detail for shot in shots])
    pairs = dict(zip(some, on_all_cores(lambda pair: Pair(shots[pair[0]], shots[pair[1]]).compare(), some)))
    cores = _union([core for pair in pairs.values() for core in pair.conflicts], shots[0].valid.shape)
    seen = _divided(len(shots), pairs, cores)
    moves = _moves(seen, pairs) if seen else []
    if moves:
        cores = _union([cores, *(move.there for move in moves)], cores.shape)
        seen = _divided(len(shots), pairs, cores, moves)
    excluded: dict[int, np.ndarray] = {}
    for group in _groups(seen, shots, moves):
        best = max(range(len(shots)), key=lambda number: _sharpness(group, shots, number))
        for region in group:
            for number in set(range(len(shots))) - region.class_of(best):
                # Where that shot has nothing, all stays as it is.
                excluded.setdefault(number, np.zeros_like(cores))[region.mask & shots[best].valid] = True
    return Moved(excluded, len(seen))


def _union(masks: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return np.any(masks, 0) if masks else np.zeros(shape, bool)


def _divided(count: int, pairs: dict[tuple[int, int], Pair], cores: np.ndarray,
             moves: Sequence[_Move] = ()) -> list[_Region]:
    """The regions in which not all shots agree; two between which a thing moved do not, where it is in one of them."""
    given = _cores(cores)
    conflicts: list[set[tuple[int, int]]] = [set() for _ in given]
    for one, pair in pairs.items():
        places = [move.there for move in moves if move.pair == one]
        for core, found in zip(given, conflicts):
            if any(core[place].mean() > _MIN_INSIDE for place in places) or pair.conflicts_in(core):
                found.add(one)
        pair.forget()
    return [_Region(_whole(core, [pairs[one] for one in sorted(bad)]), core, _classes(count, pairs, core, bad))
            for core, bad in zip(given, conflicts) if bad]


def _moves(regions: list[_Region], pairs: dict[tuple[int, int], Pair]) -> list[_Move]:
    """Where else what one shot has in a place in which another one conflicts with it stands in that other one."""
    found = []
    for one, pair in pairs.items():
        own = _union(pair.conflicts, regions[0].core.shape)
        more = [region.core for region in regions if region.class_of(one[0]) != region.class_of(one[1])
                and not (own & region.core).any()]
        largest = sorted([*pair.conflicts, *more], key=lambda core: -int(core.sum()))[:_MOST_SEARCHED]
        found += [_Move(one, core, there) for core in largest for there in pair.elsewhere(core)]
        pair.forget()
    return found


def neighbors(details: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of shots that are sharp in the same places, so that all are connected: numbers, the smaller one first."""
    count = len(details)
    if count <= _ALL_PAIRS:
        return list(itertools.combinations(range(count), 2))
    cells = np.stack([cv2.resize(detail, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA) for detail in details])
    cells = np.log(cells + np.float32(1e-3)).reshape(count, -1)
    distances = np.stack([np.linalg.norm(cells - one, axis=1) for one in cells])
    np.fill_diagonal(distances, np.inf)
    found = {(min(i, int(j)), max(i, int(j))) for i in range(count) for j in np.argsort(distances[i])[:_NEIGHBORS]}
    reached = {0}
    while len(reached) < count:  # a minimum spanning tree
        rest = [number for number in range(count) if number not in reached]
        _, i, j = min((distances[i, j], i, j) for i in reached for j in rest)
        found.add((min(i, j), max(i, j)))
        reached.add(j)
    return sorted(found)


def _cores(cores: np.ndarray) -> list[np.ndarray]:
    """The connected regions of what conflicts."""
    count, labels = cv2.connectedComponents(grown(cores, 2).astype(np.uint8))
    return [cores & (labels == label) for label in range(1, count)]


def _whole(core: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    """A region with all of a thing of which the core is what is beyond doubt, and with its blur: bool `[h, w]`."""
    near = grown(core, _NEAR_PX)
    differs = _union([pair.differs() for pair in pairs], core.shape) & near | core
    _, labels = cv2.connectedComponents(differs.astype(np.uint8))
    whole = np.isin(labels, np.unique(labels[core]))
    points = cv2.findNonZero(whole.astype(np.uint8))
    hull = cv2.fillConvexPoly(np.zeros(core.shape, np.uint8), cv2.convexHull(points), 1)
    if hull.sum() > _HULL_RATIO * whole.sum():
        hull = cv2.morphologyEx(whole.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    return grown(hull > 0, _GROW_PX)


def _classes(count: int, pairs: dict[tuple[int, int], Pair], core: np.ndarray, conflicts: set[tuple[int, int]]
             ) -> list[frozenset[int]]:
    """Shots that agree in a region, directly or through others, the most alike first; none with one it conflicts with.

    A shot so blurred that it can't tell does not join two that conflict.
    """
    classes = [frozenset([number]) for number in range(count)]
    for i, j in sorted(pairs, key=lambda one: (pairs[one].difference(core), one)):
        one, other = (next(c for c in classes if number in c) for number in (i, j))
        if one != other and not any((min(a, b), max(a, b)) in conflicts for a in one for b in other):
            classes = [c for c in classes if c not in (one, other)] + [one | other]
    return sorted(classes, key=min)


def _groups(regions: list[_Region], shots: Sequence[Blurs], moves: list[_Move]) -> list[list[_Region]]:
    """Regions of the same thing, so that one shot shows it in one of them and not in the others."""
    labels = list(range(len(regions)))
    for i, j in itertools.combinations(range(len(regions)), 2):
        one, other = regions[i], regions[j]
        # Two regions alone are most often the two places of one thing, however it looks before what is behind it.
        # And where two overlap, two shots must not exclude each other.
        if labels[i] != labels[j] and (len(regions) == 2 or (one.mask & other.mask).any() or _moved(one, other, moves)
                                       or _same_thing(one, other, shots)):
            labels = [labels[i] if label == labels[j] else label for label in labels]
    return [[region for region, label in zip(regions, labels) if label == one] for one in sorted(set(labels))]


def _moved(one: _Region, other: _Region, moves: list[_Move]) -> bool:
    return any((a.core & move.here).any() and (b.core & move.there).any()
               for move in moves for a, b in ((one, other), (other, one)))


def _same_thing(one: _Region, other: _Region, shots: Sequence[Blurs]) -> bool:
    """Whether what a shot has in one region, another one has in the other."""
    areas = sorted((one.core.sum(), other.core.sum()))
    if areas[1] > _MAX_AREAS * areas[0]:
        return False
    colors = [[shot.steps[1][region.core].mean(0) / 255 for shot in shots] for region in (one, other)]
    for a, b in itertools.permutations(range(len(shots)), 2):
        if one.class_of(a) != one.class_of(b) and other.class_of(a) != other.class_of(b):
            contrast = min(np.linalg.norm(color[a] - color[b]) for color in colors)
            if np.linalg.norm(colors[0][a] - colors[1][b]) < _MAX_COLOR * contrast:
                return True
    return False


def _sharpness(group: list[_Region], shots: Sequence[Blurs], number: int) -> float:
    """How sharp the regions are if they are as this shot has them; what it lacks is not sharp at all."""
    total = 0.0
    for region in group:
        details = [(shots[i].detail * shots[i].valid)[region.mask] for i in sorted(region.class_of(number))]
        total += float(np.max(details, 0).sum())
    return total
