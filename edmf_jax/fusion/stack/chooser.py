"""The network that chooses (`core.chooser`) at work on whole stacks: logits in the place of the hand-made ones.

    visits = ChosenVisits(visits, engine(path), shape)

visits the shots once more, and then gives `blend` evidence whose logits are the network's.

The first visit pools every shot's features, the second compares its own with the pooled ones.  In memory are the
pooled features, about 30 bytes a pixel for any number of shots, and those of one tile.  Besides, features of shots and
logits, 2 bytes a pixel, are kept for the next visit as far as `KEPT_BYTES` allow; others are computed again.
Logits are as large as the hand-made ones, so what `choice` reads from their size stays true.

Tiles overlap by the network's exact reach, so the result is that of the picture in one piece; the frame is continued
mirrored.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from edmf_jax.core import chooser as core
from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.blend import ChangedVisits, Visits
from edmf_jax.fusion.stack.chooser_engine import Engine, features
from edmf_jax.fusion.stack.evidence import Evidence
from edmf_jax.fusion.stack.tiles import Part

MARGIN_PX = 32  # of the mirrored continuation of the frame; the network was not taught at the ends of its patches
_ONE_PIECE_PX, _TILE_PX = 2.2e6, 1024  # a picture of so many pixels is one tile; else tiles keep squares of this side
KEPT_BYTES = 0.3e9
_RIM_PX, _CLIPPED = 6, 0.995


@dataclasses.dataclass(frozen=True)
class ChosenEvidence(Evidence):
    """A shot's evidence with the network's logits.

    Attributes:
      chosen: `Network.logit` of the shot.
    """

    chosen: Callable[[Part], np.ndarray]

    def logit(self, part: Part) -> np.ndarray:
        """The network's logits of rows and columns `part`, float32 `[h, w]`."""
        return self.chosen(part)


class ChosenVisits(ChangedVisits):
    """Visits of shots whose logits are the network's."""

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
        self._network = Network(computes, shape)
        for number, shot, evidence in visits:
            report("comparing")
            self._network.add(number, shot, evidence)

    def _chosen(self, number: int, shot: AlignedShot, evidence: Evidence) -> ChosenEvidence:
        fields = {field.name: getattr(evidence, field.name) for field in dataclasses.fields(Evidence)}
        return ChosenEvidence(**fields, chosen=self._network.logit(number, shot, evidence))


class _Tile(NamedTuple):
    """Rows and columns of the continued frame: what is read, and within it what is kept."""

    context: Part
    kept: Part


@dataclasses.dataclass
class _Pooled:
    largest: np.ndarray  # [c, h, w], float16
    total: np.ndarray
    count: np.ndarray  # [1, h, w], uint16


class Network:
    """The features of the shots of one frame, pooled, and the logits that follow."""

    def __init__(self, computes: tuple[Engine, core.Params], shape: tuple[int, ...]):
        """Of no shots.

        Args:
          computes: see `chooser_engine.engine`.
          shape: of the frame, (H, W, …).
        """
        self._engine, params = computes
        self._factor = core.factor(params)
        self._reach, self._encoder_reach = core.reach_px(params), core.encoder_reach_px(params)
        self._frame = shape[:2]
        self._sides = tuple(-(-(side + 2 * MARGIN_PX) // self._factor) * self._factor for side in self._frame)
        self._whole = tuple(slice(0, side) for side in self._sides)
        widths = [params[f"own{scale}"]["kernel"].shape[-1] + core.ENERGIES for scale in range(core.scales(params))]
        self._pooled = []
        for scale, width in enumerate(widths):
            size = tuple(side >> (scale + 1) for side in self._sides)
            self._pooled.append(_Pooled(np.full((width, *size), -np.inf, np.float16),
                                        np.zeros((width, *size), np.float16), np.zeros((1, *size), np.uint16)))
        self._hand = np.full(self._sides, -np.inf, np.float32)
        self._encoded: dict[int, list[np.ndarray]] = {}  # of shots in one piece
        self._beyond: dict[int, np.ndarray] = {}
        self._free = KEPT_BYTES

    def add(self, number: int, shot: AlignedShot, evidence: Evidence) -> None:
        """Pools the features of shot `number`."""
        for tile in self._tiles(self._encoder_reach):
            seen, hand, valid = self._seen(shot, evidence, tile.context)
            encoded = self._engine.encode(seen)
            if tile.kept == tile.context == self._whole and self._take(sum(x.nbytes for x in encoded)):
                self._encoded[number] = encoded
            kept = _within(tile.kept, tile.context, 1)
            self._hand[tile.kept] = np.maximum(self._hand[tile.kept], np.where(valid, hand, -np.inf)[kept])
            present = None if valid.all() else valid
            for scale, found in enumerate(encoded):
                part, inner = _scaled(tile.kept, scale), _within(tile.kept, tile.context, 2 ** (scale + 1))
                found, pooled = found[(slice(None), *inner)], self._pooled[scale]
                if present is not None:
                    present = present[::2, ::2] | present[1::2, ::2] | present[::2, 1::2] | present[1::2, 1::2]
                there = True if present is None else present[inner]
                at = (slice(None), *part)
                pooled.largest[at] = np.maximum(pooled.largest[at], np.where(there, found, -np.inf))
                pooled.total[at] += np.where(there, found, 0)
                pooled.count[at] += there

    def logit(self, number: int, shot: AlignedShot, evidence: Evidence) -> Callable[[Part], np.ndarray]:
        """The logits of a shot that was added, as a function of rows and columns: in the place of `Evidence.logit`."""
        beyond = self._beyond.get(number)
        if beyond is None:
            beyond = self._compare(number, shot, evidence)
            if self._take(beyond.nbytes):
                self._beyond[number] = beyond

        def of(part: Part) -> np.ndarray:
            best = self._hand[tuple(slice(p.start + MARGIN_PX, p.stop + MARGIN_PX) for p in part)]
            # The shot's own weight (edges, clipping) is no matter of sharpness, so it stays as it is.
            weight = evidence.logit(part) - _unweighted(evidence).logit(part) if evidence.weight is not None else 0
            return np.where(np.isfinite(best), best, 0) + beyond[part].astype(np.float32) + weight

        return of

    def _take(self, size: int) -> bool:
        """Whether so many bytes may be kept."""
        taken = size <= self._free
        self._free -= size * taken
        return taken

    def _compare(self, number: int, shot: AlignedShot, evidence: Evidence) -> np.ndarray:
        """The shot's logits beyond the best hand-made one, float16 `[H, W]`."""
        beyond = np.empty(self._frame, np.float16)
        inside = tuple(slice(MARGIN_PX, MARGIN_PX + side) for side in self._frame)
        for tile in self._tiles(self._reach):
            encoded = self._encoded.pop(number, None)
            if encoded is None:
                seen, hand, valid = self._seen(shot, evidence, tile.context)
                encoded = self._engine.encode(seen)
            else:
                self._free += sum(x.nbytes for x in encoded)
                hand, valid, _ = self._measured(shot, evidence, tile.context)
            behind = np.where(valid, hand - self._hand[tile.context], 0).astype(np.float32)
            found = self._engine.decode(encoded, *self._pooled_part(tile.context), behind)
            found = behind + core.certainty(self._hand[tile.context], np) * (found - behind)
            kept = tuple(slice(max(k.start, i.start), min(k.stop, i.stop)) for k, i in zip(tile.kept, inside))
            place = tuple(slice(k.start - MARGIN_PX, k.stop - MARGIN_PX) for k in kept)
            beyond[place] = found[_within(kept, tile.context, 1)]
        return beyond

    def _pooled_part(self, part: Part) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Largest and mean features of all shots, at every scale."""
        largest, mean = [], []
        for scale, pooled in enumerate(self._pooled):
            at = (slice(None), *_scaled(part, scale))
            count = pooled.count[at]
            largest.append(np.where(count > 0, pooled.largest[at], 0).astype(np.float32))
            mean.append(pooled.total[at].astype(np.float32) / np.maximum(count, 1))
        return largest, mean

    def _tiles(self, reach_px: int) -> Iterator[_Tile]:
        """Tiles that together keep the continued frame; corners at multiples of the network's factor."""
        height, width = self._sides
        step = self._sides if height * width <= _ONE_PIECE_PX else (_TILE_PX, _TILE_PX)
        reach = -(-reach_px // self._factor) * self._factor
        for top in range(0, height, step[0]):
            for left in range(0, width, step[1]):
                kept = slice(top, min(top + step[0], height)), slice(left, min(left + step[1], width))
                context = tuple(slice(max(k.start - reach, 0), min(k.stop + reach, side))
                                for k, side in zip(kept, self._sides))
                yield _Tile(context, kept)

    def _seen(self, shot: AlignedShot, evidence: Evidence, part: Part) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features `[FEATURES, h, w]`, hand-made logits and validity `[h, w]` of a part of the continued frame."""
        hand, valid, (pixels, clipped) = self._measured(shot, evidence, part)
        return features(pixels, hand, valid, clipped), hand, valid

    def _measured(self, shot: AlignedShot, evidence: Evidence, part: Part) -> tuple:
        """Hand-made logits, validity, and pixels with clipping, of a part of the continued frame."""
        inner, ends = [], []
        for p, side in zip(part, self._frame):
            first, last = max(p.start - MARGIN_PX, 0), min(p.stop - MARGIN_PX, side)
            inner.append(slice(first, last))
            ends.append((first + MARGIN_PX - p.start, p.stop - MARGIN_PX - last))
        rows, columns = inner
        tile, raw = shot.tile(rows, columns), shot.image[rows, columns]
        clipped = (raw.max(-1) >= _CLIPPED * full_scale(raw.dtype)).astype(np.float32)
        continued = lambda x, ends: np.pad(x, ends + [(0, 0)] * (x.ndim - 2), mode="reflect")
        hand = continued(_unweighted(evidence).logit((rows, columns)), ends)
        # As in `evidence`, the frame's outermost pixels do not count: here, what is inside continues over them.
        rims = [(_RIM_PX * (p.start == 0), _RIM_PX * (p.stop == side)) for p, side in zip(inner, self._frame)]
        own = tuple(slice(rim[0], p.stop - p.start - rim[1]) for rim, p in zip(rims, inner))
        wider = [(end[0] + rim[0], end[1] + rim[1]) for end, rim in zip(ends, rims)]
        return hand, continued(tile.weight > 0, ends), tuple(continued(x[own], wider) for x in (tile.pixels, clipped))


def _unweighted(evidence: Evidence) -> Evidence:
    return evidence if evidence.weight is None else dataclasses.replace(evidence, weight=None)


def _within(part: Part, whole: Part, factor: int) -> Part:
    rows, columns = (slice((p.start - w.start) // factor, (p.stop - w.start) // factor) for p, w in zip(part, whole))
    return rows, columns


def _scaled(part: Part, scale: int) -> Part:
    rows, columns = (slice(p.start >> (scale + 1), p.stop >> (scale + 1)) for p in part)
    return rows, columns
