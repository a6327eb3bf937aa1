"""The network that chooses (`core.chooser`) at work on whole stacks: it corrects the hand-made logits.

    visits = ChosenVisits(visits, engine(path), shape)

visits the shots once more, and then gives `blend` evidence whose logits are the hand-made ones and the network's
correction.

**Large pictures** are seen reduced (`reduced`): what the network adds to the hand-made choice is where in the scene
each shot is in focus, and that is as well seen there (docs/chooser.md has the comparison).  Detail of a pixel's size is
left to the hand-made logits, to which the correction is added enlarged.  So time and memory have a bound.

The first visit pools every shot's features, the second compares its own with the pooled ones.  In memory are the
pooled features, about 60 bytes a pixel that the network sees for any number of shots, and those of one shot.  Besides,
reduced shots, their features and corrections are kept for the next visit as far as `KEPT_BYTES` allow; others are
computed again.

The frame is continued mirrored.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from edmf_jax.core import chooser as core
from edmf_jax.fusion.stack import reduced
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.blend import ChangedVisits, Visits
from edmf_jax.fusion.stack.chooser_engine import Engine, features
from edmf_jax.fusion.stack.evidence import Evidence, enlarged
from edmf_jax.fusion.stack.reblur import CAP_BESIDE_NETWORK
from edmf_jax.fusion.stack.tiles import Part

MARGIN_PX = 32  # of the mirrored continuation of the frame; the network was not taught at the ends of its patches
KEPT_BYTES = 0.3e9
TAUGHT_SHOTS = 3  # the most that it has seen in training; among more it takes means of shots that are nearly as sharp
_RIM_PX = 6


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
        self._factor = reduced.factor_of(shape)
        self._network = Network(computes, reduced.reduced_shape(shape, self._factor),
                                min(1.0, TAUGHT_SHOTS / visits.count))
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


class Network:
    """The features of the shots of one frame, pooled, and the corrections that follow."""

    def __init__(self, computes: tuple[Engine, core.Params], shape: tuple[int, ...], heard: float = 1.0):
        """Of no shots.

        Args:
          computes: see `chooser_engine.engine`.
          shape: of the frame that it sees, (H, W, …).
          heard: factor of the corrections.
        """
        (self._engine, params), self._heard = computes, np.float32(heard)
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
        self._views: dict[int, reduced.View] = {}
        self._encoded: dict[int, list[np.ndarray]] = {}
        self._corrections: dict[int, np.ndarray] = {}
        self._free = KEPT_BYTES

    def add(self, number: int, view: reduced.View) -> None:
        """Pools the features of shot `number`."""
        hand, valid, (pixels, clipped) = self._measured(view)
        encoded = self._engine.encode(features(pixels, hand, valid, clipped))
        if self._take(sum(x.nbytes for x in encoded)):
            self._encoded[number] = encoded
            if view.is_reduced and self._take(view.nbytes):  # what is not, the visits keep
                self._views[number] = view
        np.maximum(self._hand, np.where(valid, hand, -np.inf), out=self._hand)
        present = None if valid.all() else valid
        for found, pooled in zip(encoded, self._pooled):
            if present is not None:
                present = present[::2, ::2] | present[1::2, ::2] | present[::2, 1::2] | present[1::2, 1::2]
            there = True if present is None else present
            np.maximum(pooled.largest, found, out=pooled.largest, where=there)
            np.add(pooled.total, found, out=pooled.total, where=there)
            np.add(pooled.count, 1, out=pooled.count, where=there)

    def correction(self, number: int, view: Callable[[], reduced.View]) -> np.ndarray:
        """What the network adds to the hand-made logits of a shot that was added: float16 `[h, w]`.

        Args:
          number: of the shot.
          view: gives it again, if it was not kept.
        """
        found = self._corrections.get(number)
        if found is None:
            kept = self._views.pop(number, None)
            self._free += 0 if kept is None else kept.nbytes
            found = self._compare(number, kept or view())
            if self._take(found.nbytes):
                self._corrections[number] = found
        return found

    def _take(self, size: int) -> bool:
        """Whether so many bytes may be kept."""
        taken = size <= self._free
        self._free -= size * taken
        return taken

    def _compare(self, number: int, view: reduced.View) -> np.ndarray:
        hand, valid, (pixels, clipped) = self._measured(view)
        encoded = self._encoded.pop(number, None)
        if encoded is None:
            encoded = self._engine.encode(features(pixels, hand, valid, clipped))
        else:
            self._free += sum(x.nbytes for x in encoded)
        behind = np.where(valid, hand - self._hand, 0).astype(np.float32)
        largest, mean = self._over_shots()
        heard = self._heard * core.certainty(self._hand, np)
        added = heard * (self._engine.decode(encoded, largest, mean, behind) - behind)
        return added[tuple(slice(MARGIN_PX, MARGIN_PX + side) for side in self._frame)].astype(np.float16)

    def _over_shots(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Largest and mean features of all shots, at every scale."""
        largest = [np.where(x.count > 0, x.largest, np.float32(0)) for x in self._pooled]
        return largest, [x.total / np.maximum(x.count, np.float32(1)) for x in self._pooled]

    def _measured(self, view: reduced.View) -> tuple:
        """Hand-made logits, validity, and pixels with clipping, of the continued frame."""
        whole = tuple(slice(0, side) for side in self._frame)
        tile = view.shot.part(whole)
        evidence = view.evidence if view.evidence.weight is None else dataclasses.replace(view.evidence, weight=None)
        continued = lambda x, ends: np.pad(x, ends + [(0, 0)] * (x.ndim - 2), mode="reflect")
        # As in `evidence`, the frame's outermost pixels do not count: here, what is inside continues over them.
        own = tuple(slice(_RIM_PX, side - _RIM_PX) for side in self._frame)
        wider = [(first + _RIM_PX, last + _RIM_PX) for first, last in self._ends]
        return (continued(evidence.logit(whole), self._ends), continued(tile.weight > 0, self._ends),
                tuple(continued(x[own], wider) for x in (tile.pixels, view.clipped(whole))))
