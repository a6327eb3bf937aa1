"""The network that chooses (`core.chooser`) at work on whole stacks: it corrects the hand-made logits.

    visits = ChosenVisits(visits, engine(path), shape)

visits the shots once more, and then gives `blend` evidence whose logits are the hand-made ones and the network's
correction.

**Large pictures** are seen reduced (`reduced`): what the network adds to the hand-made choice is where in the scene
each shot is in focus, and that is as well seen there (docs/chooser.md has the comparison).  Detail of a pixel's size is
left to the hand-made logits, to which the correction is added enlarged.  So time and memory have a bound.

The first visit pools every shot's features, the second compares its own with the pooled ones.  In memory are the
pooled features, about 60 bytes a pixel that the network sees for any number of shots, and those of one shot.  Besides,
features and corrections are kept for the next visit as far as `KEPT_BYTES` allow; others are computed again.

Threads compute features while the next shots are measured, and compare what is kept: two if the shots are small.

The frame is continued mirrored.
"""

import dataclasses
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from edmf_jax.core import chooser_layout as core
from edmf_jax.core.evidence_numbers import RIM_PX
from edmf_jax.fusion.stack import reduced
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.chooser_engine import Engine, features
from edmf_jax.fusion.stack.evidence import Evidence, enlarged
from edmf_jax.fusion.stack.reblur import CAP_BESIDE_NETWORK
from edmf_jax.fusion.stack.tiles import Part
from edmf_jax.fusion.stack.visits import ChangedVisits, Visits

MARGIN_PX = 32  # of the mirrored continuation of the frame; the network was not taught at the ends of its patches
KEPT_BYTES = 0.3e9
_THREADS_UP_TO_PX = 1.2e6  # two threads compare shots of so many pixels; each takes 300 bytes a pixel


@dataclasses.dataclass(frozen=True)
class ChosenEvidence(Evidence):
    """A shot's evidence with the network's correction.

    Attributes:
      correction: `Network.correction` of the shot, float16 `[h, w]`.
      factor: by how much that is smaller than the frame.
    """

    correction: np.ndarray = dataclasses.field(kw_only=True)
    factor: int = dataclasses.field(kw_only=True)

    def logit(self, part: Part) -> np.ndarray:
        """The corrected logits of rows and columns `part`, float32 `[h, w]`."""
        hand = super().logit(part)
        if self.factor == 1:
            return hand + self.correction[part]
        return hand + enlarged(self.correction, part, self.factor)


class ChosenVisits(ChangedVisits):
    """Visits of shots whose logits are corrected by the network."""

    def __init__(self, visits: Visits, computes: tuple[Engine, core.Params], shape: tuple[int, ...],
                 report: Callable[[str], None] = lambda what: None):
        """Goes through the shots once.

        Args:
          visits: of the same shots with their hand-made evidence.
          computes: see `chooser_engine.engine`.
          shape: of the frame, (H, W, …).
          report: called with a few words before each shot.
        """
        super().__init__(visits, self._chosen)
        self._factor = reduced.factor_of(shape, visits.count)
        self._network = Network(computes, reduced.reduced_shape(shape, self._factor), core.most_change(visits.count))
        for number, shot, evidence in visits:
            report("comparing")
            self._network.add(number, reduced.view(shot, evidence, self._factor))

    @property
    def edge_cap(self) -> float:
        """See `Visits`."""
        return CAP_BESIDE_NETWORK

    def _chosen(self, number: int, shot: AlignedShot, evidence: Evidence) -> ChosenEvidence:
        fields = {field.name: getattr(evidence, field.name) for field in dataclasses.fields(Evidence)}
        correction = self._network.correction(number, lambda: reduced.view(shot, evidence, self._factor))
        return ChosenEvidence(**fields, correction=correction, factor=self._factor)


class _Pooled(NamedTuple):
    largest: np.ndarray  # [c, h, w], float32: NumPy is slow with halves
    total: np.ndarray
    count: np.ndarray  # [1, h, w], uint16


class _Kept(NamedTuple):
    """What the comparison of a shot needs: its features, hand-made logits and validity, of the continued frame."""

    features: list[np.ndarray]
    hand: np.ndarray
    valid: np.ndarray

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.features) + self.hand.nbytes + self.valid.nbytes


class Network:
    """The features of the shots of one frame, pooled, and the corrections that follow."""

    def __init__(self, computes: tuple[Engine, core.Params], shape: tuple[int, ...], most: float = core.MOST_CHANGE):
        """Of no shots.

        Args:
          computes: see `chooser_engine.engine`.
          shape: of the frame that it sees, (H, W, …).
          most: no correction is larger.
        """
        (self._engine, params), self._most = computes, np.float32(most)
        factor = core.factor(params)
        self._frame = shape[:2]
        sides = tuple(-(-(side + 2 * MARGIN_PX) // factor) * factor for side in self._frame)
        self._ends = [(MARGIN_PX, whole - side - MARGIN_PX) for whole, side in zip(sides, self._frame)]
        self._pooled = []
        for scale in range(core.scales(params)):
            width = params[f"own{scale}"]["kernel"].shape[-1] + core.ENERGIES
            size = tuple(side >> (scale + 1) for side in sides)
            self._pooled.append(_Pooled(np.full((width, *size), -np.inf, np.float32),
                                        np.zeros((width, *size), np.float32), np.zeros((1, *size), np.uint16)))
        self._hand = np.full(sides, -np.inf, np.float32)
        self._ahead = 2 if sides[0] * sides[1] <= _THREADS_UP_TO_PX else 1
        self._threads = ThreadPoolExecutor(self._ahead)
        self._encoding: deque[tuple[int, Future[_Kept]]] = deque()
        self._over_shots: tuple[list[np.ndarray], list[np.ndarray]] | None = None  # largest and mean, at every scale
        self._kept: dict[int, _Kept] = {}
        self._compared: dict[int, Future[np.ndarray]] = {}
        self._corrections: dict[int, np.ndarray] = {}
        self._free = KEPT_BYTES

    def add(self, number: int, view: reduced.View) -> None:
        """Pools the features of shot `number`."""
        hand, valid, (pixels, clipped) = self._measured(view)
        np.maximum(self._hand, np.where(valid, hand, -np.inf), out=self._hand)
        if len(self._encoding) == self._ahead:
            self._gather()
        self._encoding.append((number, self._threads.submit(
            lambda: _Kept(self._engine.encode(features(pixels, hand, valid, clipped)), hand, valid))))

    def _gather(self) -> None:
        """Pools the features that were begun first."""
        number, future = self._encoding.popleft()
        found = future.result()
        if self._take(found.nbytes):
            self._kept[number] = found
        present = None if found.valid.all() else found.valid
        for own, pooled in zip(found.features, self._pooled):
            if present is not None:
                present = present[::2, ::2] | present[1::2, ::2] | present[::2, 1::2] | present[1::2, 1::2]
            there = True if present is None else present
            np.maximum(pooled.largest, own, out=pooled.largest, where=there)
            np.add(pooled.total, own, out=pooled.total, where=there)
            np.add(pooled.count, 1, out=pooled.count, where=there)

    def correction(self, number: int, view: Callable[[], reduced.View]) -> np.ndarray:
        """What the network adds to the hand-made logits of a shot that was added: float16 `[h, w]`.

        Args:
          number: of the shot.
          view: gives it again, if its features were not kept.
        """
        if self._over_shots is None:
            self._finish()
        found = self._corrections.get(number)
        if found is None:
            if number in self._kept or number in self._compared:
                found = self._compared_ahead(number)
            else:
                hand, valid, (pixels, clipped) = self._measured(view())
                found = self._compare(_Kept(self._engine.encode(features(pixels, hand, valid, clipped)), hand, valid))
            if self._take(found.nbytes):
                self._corrections[number] = found
        return found

    def _finish(self) -> None:
        """Pools what is left, and begins the comparison."""
        while self._encoding:
            self._gather()
        # With the threads go their networks' memory.
        self._threads.shutdown(wait=False)
        self._threads = ThreadPoolExecutor(self._ahead)
        self._over_shots = ([np.where(x.count > 0, x.largest, np.float32(0)) for x in self._pooled],
                            [x.total / np.maximum(x.count, np.float32(1)) for x in self._pooled])
        self._pooled.clear()

    def _compared_ahead(self, number: int) -> np.ndarray:
        """The correction of a kept shot; the threads go on with the next one."""
        for ahead in (number, *self._kept):
            if ahead in self._kept and len(self._compared) < self._ahead:
                kept = self._kept.pop(ahead)
                self._free += kept.nbytes
                self._compared[ahead] = self._threads.submit(self._compare, kept)
        found = self._compared.pop(number).result()
        if not (self._kept or self._compared):
            self._threads.shutdown(wait=False)
        return found

    def _take(self, size: int) -> bool:
        """Whether so many bytes may be kept."""
        taken = size <= self._free
        self._free -= size * taken
        return taken

    def _compare(self, own: _Kept) -> np.ndarray:
        behind = np.where(own.valid, own.hand - self._hand, 0).astype(np.float32)
        added = self._engine.decode(own.features, *self._over_shots, behind) - behind
        added = core.certainty(self._hand, np) * np.clip(added, -self._most, self._most)
        return added[tuple(slice(MARGIN_PX, MARGIN_PX + side) for side in self._frame)].astype(np.float16)

    def _measured(self, view: reduced.View) -> tuple:
        """Hand-made logits, validity, and pixels with clipping, of the continued frame."""
        whole = tuple(slice(0, side) for side in self._frame)
        tile = view.shot.part(whole)
        evidence = view.evidence if view.evidence.weight is None else dataclasses.replace(view.evidence, weight=None)
        continued = lambda x, ends: np.pad(x, ends + [(0, 0)] * (x.ndim - 2), mode="reflect")
        # As in `evidence`, the frame's outermost pixels do not count: here, what is inside continues over them.
        own = tuple(slice(RIM_PX, side - RIM_PX) for side in self._frame)
        wider = [(first + RIM_PX, last + RIM_PX) for first, last in self._ends]
        return (continued(evidence.logit(whole), self._ends), continued(tile.weight > 0, self._ends),
                tuple(continued(x[own], wider) for x in (tile.pixels, view.clipped(whole))))
