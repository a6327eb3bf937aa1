"""Visits of shots that are excluded in places (`motion_regions.Moved`): their evidence does not count there."""

import dataclasses

import numpy as np

from edmf_jax.fusion.stack import borders
from edmf_jax.fusion.stack.evidence import Evidence
from edmf_jax.fusion.stack.tiles import Part
from edmf_jax.fusion.stack.visits import ChangedVisits, Visits


class Excluding(ChangedVisits):
    """Visits of shots whose evidence does not count where they are excluded."""

    def __init__(self, visits: Visits, excluded: dict[int, np.ndarray]):
        """As `Moved.excluded`."""
        super().__init__(visits, lambda number, _, evidence: without(evidence, excluded[number])
                         if number in excluded else evidence)


def without(evidence: Evidence, excluded: np.ndarray) -> Evidence:
    """Evidence of a shot that does not count where a small copy's mask, bool `[h, w]`, is True."""
    return dataclasses.replace(evidence, weight=_Reduced(evidence.weight, excluded, evidence.fine.shape))


class _Reduced:
    """`Evidence.weight` that is 0 where a mask says so, made part by part: the weight itself may lie on disk."""

    nbytes = 0

    def __init__(self, weight: np.ndarray | None, excluded: np.ndarray, shape: tuple[int, ...]):
        self._weight, self._excluded, self.shape = weight, excluded, shape

    def __getitem__(self, part: Part) -> np.ndarray:
        kept = ~borders.enlarged_part(self._excluded, *part, self.shape)
        return kept * (np.uint8(255) if self._weight is None else self._weight[part])
