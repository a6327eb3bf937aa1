"""The pairs of a stack: which shots are registered to which, until all are joined to a tree that can be."""

import collections
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from edmf_jax.registration import neighbors, transforms, trees
from edmf_jax.registration.pipeline import register_views
from edmf_jax.registration.threads import usable_cores
from edmf_jax.registration.trees import Pair
from edmf_jax.registration.verdict import Registration, RegistrationConfig
from edmf_jax.registration.views import View

Result = TypeVar("Result")
_MAX_ATTEMPTS = 3  # rounds of trying to join what is still apart
_KEPT_BYTES = 200e6  # of all shots' planes
_PLANES = 12  # that a shot keeps, counted in its own size


class Pairs:
    """The pairs that were registered so far; shots are numbered in the order of the work."""

    def __init__(self, views: Sequence[View], model: str, method: str, config: RegistrationConfig,
                 progress: Callable[[float], None]):
        self.views, self.model, self.method, self.config = views, model, method, config
        self._progress, self._done = progress, 0
        # Small shots keep their planes for the pairs that close loops; large ones make them twice, to save memory.
        kept = _PLANES * 4 * sum(view.copied_pixels for view in views)
        self._keeps_planes = len(views) > 2 and kept < _KEPT_BYTES
        self.found: dict[Pair, Registration] = {}
        self.tree: list[Pair] = []
        self.pool: ThreadPoolExecutor | None = None

    def join(self) -> None:
        """Registers pairs until all shots are joined, or what is left can't be."""
        usable = [number for number, view in enumerate(self.views) if not view.doubts]
        for _ in self.pool.map(lambda i: self.views[i].find_keypoints(), usable):
            self._advance(0.5)
        scores = np.zeros((len(self.views),) * 2)
        if len(usable) > 1:
            scores[np.ix_(usable, usable)] = neighbors.likeness([self.views[i] for i in usable], self.pool.map)
        for _ in range(_MAX_ATTEMPTS):
            pairs = neighbors.spanning_forest(scores, self.tree, set(self.found))
            if not pairs:
                return
            self._register(pairs)
            self.tree = sorted(self.tree + [pair for pair in pairs if self.found[pair].confident])

    def join_at_best(self) -> None:
        """Joins what is still apart by the pairs with the most agreeing content."""
        scores = np.zeros((len(self.views),) * 2)
        for pair, found in self.found.items():
            scores[pair] = found.agreeing_tiles if transforms.is_invertible(found.matrix) else 0
        self.tree = sorted(self.tree + neighbors.spanning_forest(scores, self.tree, set()))

    def _register(self, pairs: Sequence[Pair]) -> None:
        """Registers pairs, several at once."""
        register = lambda pair: register_views(*(self.views[number] for number in pair), model=self.model,
                                               method=self.method, config=self.config)
        results = self.for_each(pairs, register, is_last=not self._keeps_planes)
        if len(self.views) == 2 and usable_cores() > 1 and self.method == "pso-sift" and self.config.refine:
            for view in self.views:  # while another thread matches the keypoints of the only pair
                self.pool.submit(view.prepare)
        for pair, result in zip(pairs, results):
            self.found[pair] = result
            self._advance(1.0)

    def for_each(self, pairs: Sequence[Pair], work: Callable[[Pair], Result], *, is_last: bool = True
                  ) -> Iterator[Result]:
        """What `work` gives for each pair, several at once; with `is_last`, planes are freed after the last pair."""
        pending, lock = collections.Counter(number for pair in pairs for number in pair), threading.Lock()

        def work_and_free(pair: Pair) -> Result:
            result = work(pair)
            with lock:
                pending.subtract(pair)
                done = [number for number in pair if is_last and not pending[number]]
            for number in done:
                self.views[number].release()
            return result

        return self.pool.map(work_and_free, pairs)

    def _advance(self, work: float) -> None:
        self._done += work
        self._progress(min(1.0, self._done / (2.0 * len(self.views))))

    def largest_part(self) -> set[int]:
        """The shots that are joined to the reference; or the most that are joined, if they are twice as many."""
        parts = trees.components(len(self.views), self.tree)
        sizes = np.bincount(parts)
        own = parts[0]
        chosen = own if 2 * sizes[own] > sizes.max() else sizes.argmax()
        return set(np.flatnonzero(parts == chosen).tolist())

    def reasons(self, part: set[int]) -> dict[int, Callable[[Callable[[int], int]], str]]:
        """Why each shot outside of `part` is not joined to it; functions of what a number becomes in the text."""
        return {number: self._reason(number, part) for number in range(len(self.views)) if number not in part}

    def _reason(self, number: int, part: set[int]) -> Callable[[Callable[[int], int]], str]:
        if self.views[number].doubts:
            return lambda name: f"it {self.views[number].doubts}"
        tried = {pair: found for pair, found in self.found.items() if number in pair and not found.confident}
        blank = next((other for other in part if self.views[other].doubts), None)
        if not tried and blank is not None:  # it is alone: such a shot is joined to none
            return lambda name: f"to {{{name(blank)}}}: that one {self.views[blank].doubts}"
        if not tried:
            return lambda name: "it matches no other shot that is used"
        pair, best = max(tried.items(), key=lambda item: (item[1].agreeing_tiles, item[0]))
        other = pair[0] if pair[1] == number else pair[1]
        return lambda name: f"to {{{name(other)}}}: {best.doubts}"
