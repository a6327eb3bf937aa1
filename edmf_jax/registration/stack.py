"""Registration of any number of shots: neighbors to each other, and all maps adjusted together.

1. Neighbors are found by how alike small copies are (`neighbors`), and the most alike are joined to a tree.
2. Each pair of the tree is registered (`pipeline`).  Where that fails, the next best pairs are tried.
3. Pairs that close loops are refined from the chains of maps.
4. All maps are adjusted (`adjustment`).  A shot that no confident map joins to the others is left out.
5. Where the camera moved, so that near and far need different maps, one depth may explain all pairs (`parallax`).

Shots are taken in an order of their content, so the order in which they are given has no effect on the result.
"""

import collections
import dataclasses
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from edmf_jax.registration import adjustment, flow, neighbors, transforms
from edmf_jax.registration.adjustment import Link
from edmf_jax.registration.matches import TileMatches
from edmf_jax.registration.pipeline import check_options, refine_views, register_views
from edmf_jax.registration.threads import one_thread_each, usable_cores
from edmf_jax.registration.verdict import Registration, RegistrationConfig, doubt_of_deviation
from edmf_jax.registration.views import View

Pair = tuple[int, int]
Closing = tuple[Link, TileMatches | None]
Result = TypeVar("Result")
_MAX_ATTEMPTS = 3  # rounds of trying to join what is still apart
_MIN_LOOP_PX = 2.0  # a loop's map that is farther from the chain's, in addition to three deviations, is not used
_KEPT_BYTES = 200e6  # of all shots' planes
_PLANES = 12  # that a shot keeps, counted in its own size
_MIN_OVERLAP = 0.1  # of the reference: a shot that covers less is left out; neighbors must share more


def import_solvers() -> None:
    """Imports what stacks need of SciPy: a third of a second, which costs nothing while files are read."""
    for name in ("csgraph", "linalg"):
        importlib.import_module(f"scipy.sparse.{name}")


@dataclasses.dataclass(frozen=True)
class StackRegistration:
    """The maps of all shots of a stack.

    Attributes:
      registrations: for each shot its map from the reference, with the evidence of the pair that joins it to the shot
        before it in the chain; `neighbor` is the number of that shot.  None for the reference and for shots that are
        left out.
      left_out: the number of each shot that can't be placed → the reason; `{3}` in it stands for the name of shot 3.
      reference: the number of the reference.
    """

    registrations: tuple[Registration | None, ...]
    left_out: dict[int, str]
    reference: int


def register_stack(views: Sequence[View], keys: Sequence[bytes], *, reference: int = 0, model: str = "auto",
                   method: str = "pso-sift", config: RegistrationConfig = RegistrationConfig(),  # noqa: B008 (frozen)
                   best_effort: bool = False, progress: Callable[[float], None] = lambda share: None
                   ) -> StackRegistration:
    """Registers the shots of one scene to each other.

    Args:
      views: the shots, in any order of focus.
      keys: for each a hash of its content; they decide the order of the work.
      reference: the shot whose frame the maps start from.  If it can't be joined to most of the others, the first one
        that can takes its place.
      model, method, config: as for `pipeline.register`.
      best_effort: the best maps are used where none is confident; their `confident` stays False.
      progress: called with the share of the work that is done.

    Returns:
      The maps.  Whether a run may go on without the shots that are left out is for the caller to decide.
    """
    check_options(model, method)
    order = sorted(range(len(views)), key=lambda i: (i != reference, keys[i], i))
    ordered = [views[i] for i in order]
    work = _Work(ordered, model, method, config, progress)
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as work.pool:
        work.join()
        if best_effort:
            work.join_at_best()
        part = work.largest_part()
        root = 0 if 0 in part else min(part, key=order.__getitem__)
        tree = [pair for pair in work.tree if pair[0] in part]
        found, reasons = work.place(root, tree), work.reasons(part)
    for number in [number for number, one in found.items() if one.overlap < _MIN_OVERLAP]:
        share = 100 * found.pop(number).overlap
        reasons[number] = lambda name, share=share: f"it shows {share:.0f} % of what the reference shows"
    for view in views:
        view.release()
    registrations = [None] * len(views)
    for number, registration in found.items():
        registrations[order[number]] = dataclasses.replace(registration, neighbor=order[registration.neighbor])
    return StackRegistration(tuple(registrations), {order[number]: reason(lambda i: order[i])
                                                    for number, reason in reasons.items()}, order[root])


class _Work:
    """The pairs that were registered so far; shots are numbered in the order of the work."""

    def __init__(self, views: Sequence[View], model: str, method: str, config: RegistrationConfig,
                 progress: Callable[[float], None]):
        self._views, self._model, self._method, self._config = views, model, method, config
        self._progress, self._done = progress, 0
        # Small shots keep their planes for the pairs that close loops; large ones make them twice, to save memory.
        kept = _PLANES * 4 * sum(view.copied_pixels for view in views)
        self._keeps_planes = len(views) > 2 and kept < _KEPT_BYTES
        self.found: dict[Pair, Registration] = {}
        self.tree: list[Pair] = []
        self.pool: ThreadPoolExecutor | None = None

    def join(self) -> None:
        """Registers pairs until all shots are joined, or what is left can't be."""
        usable = [number for number, view in enumerate(self._views) if not view.doubts]
        for _ in self.pool.map(lambda i: self._views[i].find_keypoints(), usable):
            self._advance(0.5)
        scores = np.zeros((len(self._views),) * 2)
        if len(usable) > 1:
            scores[np.ix_(usable, usable)] = neighbors.likeness([self._views[i] for i in usable], self.pool.map)
        for _ in range(_MAX_ATTEMPTS):
            pairs = neighbors.spanning_forest(scores, self.tree, set(self.found))
            if not pairs:
                return
            self._register(pairs)
            self.tree = sorted(self.tree + [pair for pair in pairs if self.found[pair].confident])

    def join_at_best(self) -> None:
        """Joins what is still apart by the pairs with the most agreeing content."""
        scores = np.zeros((len(self._views),) * 2)
        for pair, found in self.found.items():
            scores[pair] = found.agreeing_tiles if transforms.is_invertible(found.matrix) else 0
        self.tree = sorted(self.tree + neighbors.spanning_forest(scores, self.tree, set()))

    def _register(self, pairs: Sequence[Pair]) -> None:
        """Registers pairs, several at once."""
        register = lambda pair: register_views(*(self._views[number] for number in pair), model=self._model,
                                               method=self._method, config=self._config)
        results = self._for_each(pairs, register, is_last=not self._keeps_planes)
        if len(self._views) == 2 and usable_cores() > 1 and self._method == "pso-sift" and self._config.refine:
            for view in self._views:  # while another thread matches the keypoints of the only pair
                self.pool.submit(view.prepare)
        for pair, result in zip(pairs, results):
            self.found[pair] = result
            self._advance(1.0)

    def _for_each(self, pairs: Sequence[Pair], work: Callable[[Pair], Result], *, is_last: bool = True
                  ) -> Iterator[Result]:
        """What `work` gives for each pair, several at once; with `is_last`, planes are freed after the last pair."""
        pending, lock = collections.Counter(number for pair in pairs for number in pair), threading.Lock()

        def work_and_free(pair: Pair) -> Result:
            result = work(pair)
            with lock:
                pending.subtract(pair)
                done = [number for number in pair if is_last and not pending[number]]
            for number in done:
                self._views[number].release()
            return result

        return self.pool.map(work_and_free, pairs)

    def _advance(self, work: float) -> None:
        self._done += work
        self._progress(min(1.0, self._done / (2.0 * len(self._views))))

    def largest_part(self) -> set[int]:
        """The shots that are joined to the reference; or the most that are joined, if they are twice as many."""
        parts = neighbors.components(len(self._views), self.tree)
        sizes = np.bincount(parts)
        own = parts[0]
        chosen = own if 2 * sizes[own] > sizes.max() else sizes.argmax()
        return set(np.flatnonzero(parts == chosen).tolist())

    def place(self, root: int, tree: Sequence[Pair]) -> dict[int, Registration]:
        """For each shot of the tree but the root: its registration, mapped from the root."""
        if not tree:
            return {}
        before = neighbors.paths_from(root, len(self._views), tree)
        chains = {root: []}
        for number, previous in before.items():
            chains[number] = [*chains[previous], self._step(previous, number)]
        start = {number: _product(steps) for number, steps in chains.items()}
        deviations = {number: self._link(before[number], number).deviation_px for number in before}
        shape, flows = self._views[root].shape, None
        if len(start) > 2:
            closing = self._closing_links(tree, start)
            links = [self._as_link(pair) for pair in tree] + [link for link, _ in closing]
            start, deviations = adjustment.adjust(links, start, root, shape, self._richest(tree))
            flows = {number: flow.compose(chains[number], shape) for number in before}
            start, deviations, flows = self._explained(tree, closing, root, start, deviations, flows)
        placed: dict[int, Registration] = {}
        for number, previous in before.items():  # nearest to the root first
            bend = flows[number] if flows else flow.compose(chains[number], shape)
            one = self._placed(number, previous, start, deviations[number], bend, root)
            before_it = placed.get(previous)
            placed[number] = self._judged(one, before_it is None or before_it.confident, root)
        return placed

    def _explained(self, tree: Sequence[Pair], closing: Sequence[Closing], root: int, maps: dict[int, np.ndarray],
                   deviations: dict[int, float], flows: dict[int, flow.Flow | None]
                   ) -> tuple[dict[int, np.ndarray], dict[int, float], dict[int, flow.Flow | None]]:
        """Maps, deviations and flows by depth and movement, if these explain the tiles of all pairs; else as given."""
        found = {pair: self.found[pair].tile_matches for pair in tree if self.found[pair].confident}
        # Neither a similarity nor an affine map, if one is asked for, says what a camera does that turns.
        if self._model not in ("auto", "homography") or len(found) < len(tree) or None in found.values():
            return maps, deviations, flows
        found |= {(link.first, link.second): matches for link, matches in closing if matches is not None}
        start = {number: flow.Step(maps[number], flows[number]) for number in flows}
        from edmf_jax.registration import parallax  # which pairs do without

        places = parallax.explain(found, start, root, self._views[root].shape)
        return ({number: place.matrix for number, place in places.items()} | {root: np.eye(3)},
                {number: float(np.hypot(deviations[number], place.unknown_px)) for number, place in places.items()},
                {number: place.flow for number, place in places.items()})

    def _closing_links(self, tree: Sequence[Pair], start: dict[int, np.ndarray]) -> list[Closing]:
        """Pairs that close loops, refined from the chain's maps; those that contradict it are left out."""
        if self._method != "pso-sift" or not self._config.refine:
            return []
        pairs = [pair for pair in neighbors.closing_pairs(len(self._views), tree) if pair not in self.found]

        def refine(pair: Pair) -> Closing | None:
            first, second = (self._views[number] for number in pair)
            chain = transforms.normalize(start[pair[1]] @ np.linalg.inv(start[pair[0]]))
            known = Registration(chain, self._method, self._model, inliers=self._config.min_inliers)
            config = dataclasses.replace(self._config, may_bend=False)
            result = refine_views(first, second, chain, known, config, is_near=True)
            apart = transforms.corner_errors(result.matrix, chain, first.shape).max()
            if not result.confident or apart > _MIN_LOOP_PX * first.levels[0].zoom + 3 * result.deviation_px:
                return None
            return Link(*pair, result.matrix, result.deviation_px), result.tile_matches

        return [link for link in self._for_each(pairs, refine) if link is not None]

    def _richest(self, tree: Iterable[Pair]) -> str:
        """The richest model that a pair of the tree has."""
        return max((self.found[pair].model for pair in tree), key=list(transforms.CONTROL_POINTS).index)

    def _link(self, first: int, second: int) -> Registration:
        return self.found[min(first, second), max(first, second)]

    def _as_link(self, pair: Pair) -> Link:
        found = self.found[pair]
        # A map that nobody trusts still places its shot, but does not move the others.
        return Link(*pair, found.matrix, found.deviation_px if found.confident else 1e3)

    def _step(self, previous: int, number: int) -> flow.Step:
        found = self._link(previous, number)
        return flow.Step(found.matrix, found.flow, inverse=previous > number)

    def _placed(self, number: int, previous: int, maps: dict[int, np.ndarray], deviation_px: float,
                bend: flow.Flow | None, root: int) -> Registration:
        """The registration of one shot, from the root, with the evidence of the pair that joins it."""
        found, view, frame = self._link(previous, number), self._views[number], self._views[root]
        points, targets = (found.points, found.targets) if previous < number else (found.targets, found.points)
        if points is not None and previous != root:
            points = transforms.project(np.linalg.inv(maps[previous]), points)
        return dataclasses.replace(
            found, matrix=maps[number], deviation_px=deviation_px, points=points, targets=targets, neighbor=previous,
            overlap=transforms.overlap(maps[number], frame.shape, view.shape), flow=bend, tile_matches=None)

    def _judged(self, placed: Registration, follows_certain: bool, root: int) -> Registration:
        """`placed`, with a doubt if its neighbor has no certain place, or if deviations along the chain add up."""
        doubts = [] if placed.in_place else doubt_of_deviation(placed, self._config, self._views[root].shape)
        if not placed.confident or (follows_certain and not doubts):
            return placed
        return dataclasses.replace(placed, confident=False, doubts=(
            f"along its chain of neighbors {doubts[0]}" if follows_certain else
            "the shot that it was registered to has no certain place itself"))

    def reasons(self, part: set[int]) -> dict[int, Callable[[Callable[[int], int]], str]]:
        """Why each shot outside of `part` is not joined to it; functions of what a number becomes in the text."""
        return {number: self._reason(number, part) for number in range(len(self._views)) if number not in part}

    def _reason(self, number: int, part: set[int]) -> Callable[[Callable[[int], int]], str]:
        if self._views[number].doubts:
            return lambda name: f"it {self._views[number].doubts}"
        tried = {pair: found for pair, found in self.found.items() if number in pair and not found.confident}
        blank = next((other for other in part if self._views[other].doubts), None)
        if not tried and blank is not None:  # it is alone: such a shot is joined to none
            return lambda name: f"to {{{name(blank)}}}: that one {self._views[blank].doubts}"
        if not tried:
            return lambda name: "it matches no other shot that is used"
        pair, best = max(tried.items(), key=lambda item: (item[1].agreeing_tiles, item[0]))
        other = pair[0] if pair[1] == number else pair[1]
        return lambda name: f"to {{{name(other)}}}: {best.doubts}"


def _product(steps: Iterable[flow.Step]) -> np.ndarray:
    """The matrix of a chain of maps, without their flows."""
    matrix = np.eye(3)
    for step in steps:
        matrix = (np.linalg.inv(step.matrix) if step.inverse else step.matrix) @ matrix
    return transforms.normalize(matrix)
