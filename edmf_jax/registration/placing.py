"""Where the shots of a stack lie: the maps of its pairs, adjusted together, with what the chains leave open."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from edmf_jax.registration import adjustment, flow, neighbors, transforms, trees
from edmf_jax.registration.adjustment import Link
from edmf_jax.registration.joining import Pairs
from edmf_jax.registration.matches import TileMatches
from edmf_jax.registration.pipeline import refine_views
from edmf_jax.registration.trees import Pair
from edmf_jax.registration.verdict import Registration, doubt_of_deviation

Closing = tuple[Link, TileMatches | None]
Places = tuple[dict[int, np.ndarray], dict[int, float], dict[int, flow.Flow | None]]
_MIN_LOOP_PX = 2.0  # a loop's map that is farther from the chain's, in addition to three deviations, is not used


def place(pairs: Pairs, root: int, tree: Sequence[Pair]) -> dict[int, Registration]:
    """For each shot that `tree` joins to `root`: its registration, mapped from `root`, which itself is not among them.

    Args:
      pairs: all that were registered.
      root: the number of the shot whose frame the maps start from.
      tree: the pairs that join the shots, numbers in ascending order.
    """
    if not tree:
        return {}
    work = _Placing(pairs, root, tree)
    maps, deviations, flows = work.adjusted()
    placed: dict[int, Registration] = {}
    for number, previous in work.before.items():  # nearest to the root first
        one = work.placed(number, maps, deviations[number], flows[number])
        before_it = placed.get(previous)
        placed[number] = work.judged(one, before_it is None or before_it.confident)
    return placed


class _Placing:
    """The chains of maps from the root to every other shot.

    Attributes:
      before: for each shot but the root the one before it in its chain, nearest to the root first.
    """

    def __init__(self, pairs: Pairs, root: int, tree: Sequence[Pair]):
        self._pairs, self._root, self._tree = pairs, root, tree
        self._shape = pairs.views[root].shape
        self.before = trees.paths_from(root, len(pairs.views), tree)
        self._chains = {root: []}
        for number, previous in self.before.items():
            self._chains[number] = [*self._chains[previous], self._step(previous, number)]

    def adjusted(self) -> Places:
        """Maps, deviations and flows of all shots, adjusted together if there are three or more."""
        maps = {number: _product(steps) for number, steps in self._chains.items()}
        deviations = {number: self._link(previous, number).deviation_px for number, previous in self.before.items()}
        flows = {number: flow.compose(self._chains[number], self._shape) for number in self.before}
        if len(maps) == 2:
            return maps, deviations, flows
        closing = self._closing_links(maps)
        links = [self._as_link(pair) for pair in self._tree] + [link for link, _ in closing]
        maps, deviations = adjustment.adjust(links, maps, self._root, self._shape, self._richest())
        return self._explained(closing, maps, deviations, flows)

    def _explained(self, closing: Sequence[Closing], maps: dict[int, np.ndarray], deviations: dict[int, float],
                   flows: dict[int, flow.Flow | None]) -> Places:
        """Maps, deviations and flows by depth and movement, if these explain the tiles of all pairs; else as given."""
        tree = [self._pairs.found[pair] for pair in self._tree]
        # Neither a similarity nor an affine map, if one is asked for, says what a camera does that turns.
        if self._pairs.model not in ("auto", "homography") or any(
                not one.confident or one.tile_matches is None for one in tree):
            return maps, deviations, flows
        found = {pair: one.tile_matches for pair, one in zip(self._tree, tree)}
        found |= {(link.first, link.second): matches for link, matches in closing if matches is not None}
        start = {number: flow.Step(maps[number], flows[number]) for number in flows}
        from edmf_jax.registration import parallax  # which pairs do without

        places = parallax.explain(found, start, self._root, self._shape)
        return ({number: place.matrix for number, place in places.items()} | {self._root: np.eye(3)},
                {number: float(np.hypot(deviations[number], place.unknown_px)) for number, place in places.items()},
                {number: place.flow for number, place in places.items()})

    def _closing_links(self, maps: dict[int, np.ndarray]) -> list[Closing]:
        """Pairs that close loops, refined from the chain's maps; those that contradict it are left out."""
        work = self._pairs
        if work.method != "pso-sift" or not work.config.refine:
            return []
        closing = [pair for pair in neighbors.closing_pairs(len(work.views), self._tree) if pair not in work.found]

        def refine(pair: Pair) -> Closing | None:
            first, second = (work.views[number] for number in pair)
            chain = transforms.normalize(maps[pair[1]] @ np.linalg.inv(maps[pair[0]]))
            known = Registration(chain, work.method, work.model, inliers=work.config.min_inliers)
            config = dataclasses.replace(work.config, may_bend=False)
            result = refine_views(first, second, chain, known, config, is_near=True)
            apart = transforms.corner_errors(result.matrix, chain, first.shape).max()
            if not result.confident or apart > _MIN_LOOP_PX * first.levels[0].zoom + 3 * result.deviation_px:
                return None
            return Link(*pair, result.matrix, result.deviation_px), result.tile_matches

        return [link for link in work.for_each(closing, refine) if link is not None]

    def _richest(self) -> str:
        """The richest model that a pair of the tree has."""
        return max((self._pairs.found[pair].model for pair in self._tree),
                   key=list(transforms.CONTROL_POINTS).index)

    def _link(self, first: int, second: int) -> Registration:
        return self._pairs.found[min(first, second), max(first, second)]

    def _as_link(self, pair: Pair) -> Link:
        found = self._pairs.found[pair]
        # A map that nobody trusts still places its shot, but does not move the others.
        return Link(*pair, found.matrix, found.deviation_px if found.confident else 1e3)

    def _step(self, previous: int, number: int) -> flow.Step:
        found = self._link(previous, number)
        return flow.Step(found.matrix, found.flow, inverse=previous > number)

    def placed(self, number: int, maps: dict[int, np.ndarray], deviation_px: float, bend: flow.Flow | None
               ) -> Registration:
        """The registration of one shot, from the root, with the evidence of the pair that joins it."""
        previous = self.before[number]
        found, view = self._link(previous, number), self._pairs.views[number]
        points, targets = (found.points, found.targets) if previous < number else (found.targets, found.points)
        if points is not None and previous != self._root:
            points = transforms.project(np.linalg.inv(maps[previous]), points)
        return dataclasses.replace(
            found, matrix=maps[number], deviation_px=deviation_px, points=points, targets=targets, neighbor=previous,
            overlap=transforms.overlap(maps[number], self._shape, view.shape), flow=bend, tile_matches=None)

    def judged(self, placed: Registration, follows_certain: bool) -> Registration:
        """`placed`, with a doubt if its neighbor has no certain place, or if deviations along the chain add up."""
        doubts = [] if placed.in_place else doubt_of_deviation(placed, self._pairs.config, self._shape)
        if not placed.confident or (follows_certain and not doubts):
            return placed
        return dataclasses.replace(placed, confident=False, doubts=(
            f"along its chain of neighbors {doubts[0]}" if follows_certain else
            "the shot that it was registered to has no certain place itself"))


def _product(steps: Iterable[flow.Step]) -> np.ndarray:
    """The matrix of a chain of maps, without their flows."""
    matrix = np.eye(3)
    for step in steps:
        matrix = (np.linalg.inv(step.matrix) if step.inverse else step.matrix) @ matrix
    return transforms.normalize(matrix)
