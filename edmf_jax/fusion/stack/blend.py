"""The result's pixels from the shots themselves (`pixels="shots"`): their mean, weighted by the choice (`choice`).

Every shot is visited in the order of the digests, for its evidence.  If all fit into `KEPT_BYTES`, they stay in memory;
else most of them wait in temporary files (`spill`).  Then weights are refined at edges of depth (`reblur`), and the
result is made, tile by tile.

Where there is no room for such files, shots are read and warped again, one after the other; then weights are as the
evidence has them, and 24 bytes a pixel of running sums are kept besides the shot at hand, or 48 with clipped colors.

**Clipping** counts channel by channel: a channel that is clipped in one shot is taken from the shots that show it.  But
a clipped value is a lower bound of the scene: no channel becomes darker than in the mean that ignores clipping, or the
blur of a darker shot would eat into bright objects from their edges.
"""

import dataclasses
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from edmf_jax.fusion.pixels import from_unit
from edmf_jax.fusion.stack.aligned import AlignedShot, Tile
from edmf_jax.fusion.stack.choice import Choice
from edmf_jax.fusion.stack.evidence import Evidence, measure
from edmf_jax.fusion.stack.reblur import CAP, Reblur, Source
from edmf_jax.fusion.stack.shots import number_type
from edmf_jax.fusion.stack.spill import DiskArray, roomy_folder
from edmf_jax.fusion.stack.tiles import BlendTile, Part, over_tiles

KEPT_BYTES = 0.4e9  # with the running sums, if there are any
_SHARE_BESIDE_FILES = 0.25
SUM_BYTES = 48  # a pixel, with what is written
TIE_LOGIT = 3.0  # between the nearest and the farthest shot: of two equally sharp ones, one gets 20 times the weight
_TRACE = np.float32(1e-6)
_LEAST_TOTAL = np.float32(1e-30)  # far below the weight, times `_TRACE`, of a pixel that one shot alone has
_LAYER_UNIT = 65535  # of weights that wait for their shot's layer
_WHOLE: Part = (slice(None), slice(None))
_LEAST_CONFIDENCE = np.float32(1e-3)  # in a clipped channel, so that one that all shots clip has a mean, too
Layers = Callable[[int, np.ndarray, np.ndarray | None, np.ndarray], None]
"""Called once for every shot: its number, the leveled picture `[H, W, C]`, where it is valid, and its weights."""
WeightsOverride = Callable[[int, slice, slice], np.ndarray]
"""Called with a shot's number, rows and columns: weights to take instead, `[h, w]`; NaN keeps the automatic ones."""


@dataclasses.dataclass(frozen=True)
class Blended:
    """The blend of a group.

    Attributes:
      image: `[H, W, C]` in the group's dtype; 0 where no shot has a pixel.
      sources: the number of the shot of the largest weight, uint8 or uint16 `[H, W]`.
      confidence: how far that weight is from an even share, float16 `[H, W]` in [0, 1]; 0 where a shot has nothing.
      covered: bool `[H, W]`: some shot has this pixel.
      common: bool `[H, W]`: all shots have it.
      several: bool `[H, W]`: two shots or more have it.
    """

    image: np.ndarray
    sources: np.ndarray
    confidence: np.ndarray
    covered: np.ndarray
    common: np.ndarray
    several: np.ndarray


class Visits:
    """Goes through the shots of a group, and keeps them for the next time: in memory, or on disk if there is room."""

    def __init__(self, read: Callable[[int], AlignedShot], noises: list[float], order: list[int]):
        """Shots by their numbers.

        Args:
          read: gives a shot, warped.
          noises: the noise energy of each, `evidence.noise_energy`.
          order: the numbers, in the order in which shots are visited.
        """
        self._read, self._noises, self._order = read, noises, order
        self._kept: dict[int, tuple[AlignedShot, Evidence]] = {}
        self._free: float | None = None  # bytes; known with the first shot, as the next
        self._folder: str | None = None

    @property
    def count(self) -> int:
        """The number of shots."""
        return len(self._order)

    @property
    def edge_cap(self) -> float:
        """By how much `reblur` may lower the logarithm of a weight."""
        return CAP

    @property
    def all_kept(self) -> bool:
        """Whether the next visit needs no reading."""
        return len(self._kept) == len(self._order)

    def __iter__(self) -> Iterator[tuple[int, AlignedShot, Evidence]]:
        """Number, shot and evidence of every shot."""
        for number in self._order:
            if number in self._kept:
                yield number, *self._kept[number]
                continue
            shot = self._read(number)
            evidence = self._measured(number, shot)
            size = shot.nbytes + evidence.nbytes
            if self._free is None:
                self._plan(size, shot.image[..., 0].size)
            if size <= self._free:
                self._free -= size
                self._kept[number] = shot, evidence
            elif self._folder is not None:
                self._keep_on_disk(number, shot, evidence)
            yield number, shot, evidence
            del shot, evidence

    def _measured(self, number: int, shot: AlignedShot) -> Evidence:
        return measure(shot, self._noises[number])

    def _plan(self, size: int, pixels: int) -> None:
        """What to keep where, from the bytes and the pixels of a shot."""
        self._free = KEPT_BYTES
        if size * self.count > KEPT_BYTES:
            self._folder = roomy_folder(size * self.count)
            if self._folder is None:  # sums of the whole picture take memory, too
                self._free -= SUM_BYTES * pixels
            else:  # reading a file again costs little
                self._free *= _SHARE_BESIDE_FILES

    def _keep_on_disk(self, number: int, shot: AlignedShot, evidence: Evidence) -> None:
        try:
            stored = lambda array: None if array is None else DiskArray.of(array, self._folder)
            self._kept[number] = (
                dataclasses.replace(shot, image=stored(shot.image), valid=stored(shot.valid)),
                dataclasses.replace(evidence, fine=stored(evidence.fine), weight=stored(evidence.weight)))
        except OSError:  # no room after all: the shots that are not kept are read again
            self._folder = None


class ChangedVisits:
    """Visits of shots with other evidence."""

    def __init__(self, visits: "Visits | ChangedVisits",
                 change: Callable[[int, AlignedShot, Evidence], Evidence]):
        """`change` gives the evidence to take, from number, shot and evidence."""
        self._visits, self._change = visits, change

    @property
    def count(self) -> int:
        """The number of shots."""
        return self._visits.count

    @property
    def edge_cap(self) -> float:
        """See `Visits`."""
        return self._visits.edge_cap

    @property
    def all_kept(self) -> bool:
        """Whether the next visit needs no reading."""
        return self._visits.all_kept

    def __iter__(self) -> Iterator[tuple[int, AlignedShot, Evidence]]:
        """Number, shot and evidence of every shot."""
        for number, shot, evidence in self._visits:
            yield number, shot, self._change(number, shot, evidence)


def blend(visits: Visits | ChangedVisits, shape: tuple[int, int, int], dtype: np.dtype, *,
          report: Callable[[str], None], ranks: np.ndarray | None = None, layers: Layers | None = None,
          weights_override: WeightsOverride | None = None) -> Blended:
    """Blends all shots of a group.

    Args:
      visits: its shots; with `chooser.ChosenVisits` a network chooses among them, see also `excluding`.
      shape: of the result, `(H, W, C)`.
      dtype: of the result.
      report: called with a few words before each visit of a shot.
      ranks: for each shot what it is worth if equally sharp, in [0, 1]; None: the same.
      layers, weights_override: see there.
    """
    def logit_of(number: int, evidence: Evidence) -> Callable[[Part], np.ndarray]:
        if ranks is None:
            return evidence.logit
        return lambda part: evidence.logit(part) + np.float32(TIE_LOGIT * ranks[number])

    choice, clips = Choice(shape), False
    for number, shot, evidence in visits:
        report("measuring")
        choice.add(logit_of(number, evidence))
        clips |= bool(shot.leveling.clipping_loss.any())
    choice.settle()
    masks = lambda number: weights_override and weights_override(number, slice(0, shape[0]), slice(0, shape[1]))
    weights_of = lambda number, evidence: _weights(choice, evidence, logit_of(number, evidence))
    blended = empty(shape, dtype, visits.count)
    if visits.all_kept:
        _finish_tiles(visits, weights_of, masks, blended, clips, report, layers)
    else:
        _finish_shots(visits, weights_of, masks, blended, clips, report, layers)
    return blended


def empty(shape: tuple[int, int, int], dtype: np.dtype, count: int) -> Blended:
    """Room for the blend of `count` shots."""
    return Blended(np.empty(shape, dtype), np.empty(shape[:2], number_type(count)),
                   np.empty(shape[:2], np.float16), *(np.empty(shape[:2], bool) for _ in range(3)))


def _finish_tiles(visits: Visits, weights_of, masks, blended: Blended, clips: bool, report: Callable[[str], None],
                  layers: Layers | None) -> None:
    """Tile after tile, where all shots are at hand: no sums of the whole picture, and refined weights."""
    report("fusing")
    given = [(number, shot, evidence, weights_of(number, evidence), masks(number))
             for number, shot, evidence in visits]
    refine(given, blended, visits.edge_cap, clips, report, layers, is_made=False)


def refine(given: list[tuple], blended: Blended, edge_cap: float, clips: bool, report: Callable[[str], None],
           layers: Layers | None = None, *, is_made: bool = True) -> None:
    """Refines the weights of shots that are all at hand at edges of depth, and makes the picture there anew.

    Args:
      given: for each shot number, picture, evidence, weights of rows and columns, and mask or None.
      blended: the picture by these weights, to be changed; its sources are indices of `given`, and become numbers.
      edge_cap: see `Visits`.
      clips: some channels of some shots count less than others.
      report, layers: see `blend`.
      is_made: False: nothing is in `blended` yet.
    """
    kept = None if layers is None else planes(len(given), blended.image.shape[:2])

    def fuse(part: Part, weights: list[np.ndarray]) -> None:
        sums = _Sums(blended.image[part].shape, len(given), clips)
        weights = [_overridden(weight, evidence, mask, part)
                   for weight, (_, _, evidence, _, mask) in zip(weights, given)]
        for index, (weight, (_, shot, *_)) in enumerate(zip(weights, given)):
            sums.add(_WHOLE, index, shot.part(part), weight)
        sums.finish(_WHOLE, blended, part)
        if kept is not None:
            total = np.maximum(sums.total, _LEAST_TOTAL)
            for index, weight in enumerate(weights):
                kept[(index, *part)] = np.rint(weight / total * np.float32(_LAYER_UNIT))

    def fuse_anew(tile: BlendTile) -> None:
        for part in reblur.parts(tile.kept):
            fuse(part, reblur.weights(part))

    if not is_made:
        over_tiles(lambda tile: fuse(tile.kept, [weights(tile.kept) for _, _, _, weights, _ in given]),
                   blended.image.shape, 0)
    reblur = Reblur([Source(shot, weights) for _, shot, _, weights, _ in given], blended.image.shape, edge_cap)
    while reblur.learn(blended.image, blended.sources):
        over_tiles(fuse_anew, blended.image.shape, 0)
    numbers = np.array([number for number, *_ in given], blended.sources.dtype)
    blended.sources[:] = numbers[blended.sources]
    for index, (number, shot, *_) in enumerate(given if layers else ()):
        report("writing layers")
        _write_layer(number, shot, kept[index] / np.float32(_LAYER_UNIT), layers)


def planes(count: int, shape: tuple[int, int]) -> np.ndarray | DiskArray:
    """Room for `count` planes of 16 bits, on disk if they are many and it has the room."""
    whole, size = (count, *shape), 2 * count * shape[0] * shape[1]
    folder = roomy_folder(size) if size > KEPT_BYTES else None
    return np.empty(whole, np.uint16) if folder is None else DiskArray(whole, np.uint16, folder)


def _finish_shots(visits: Visits, weights_of, masks, blended: Blended, clips: bool, report: Callable[[str], None],
                  layers: Layers | None) -> None:
    """Shot after shot: one at a time is in memory."""
    sums = _Sums(blended.image.shape, visits.count, clips)

    def all_of(number: int, evidence: Evidence) -> Callable[[Part], np.ndarray]:
        weights, mask = weights_of(number, evidence), masks(number)
        return lambda part: _overridden(weights(part), evidence, mask, part)

    for number, shot, evidence in visits:
        report("fusing")
        weights = all_of(number, evidence)
        over_tiles(lambda tile: sums.add(tile.kept, number, shot.part(tile.kept), weights(tile.kept)),  # noqa: B023
                   blended.image.shape, 0)
    over_tiles(lambda tile: sums.finish(tile.kept, blended, tile.kept), blended.image.shape, 0)
    for number, shot, evidence in visits if layers else ():
        report("writing layers")
        weight, weights = np.empty(blended.image.shape[:2], np.float32), all_of(number, evidence)

        def look(tile: BlendTile) -> None:
            total = np.maximum(sums.total[tile.kept], _LEAST_TOTAL)
            weight[tile.kept] = weights(tile.kept) / total  # noqa: B023

        over_tiles(look, weight.shape, 0)
        _write_layer(number, shot, weight, layers)


def _weights(choice: Choice, evidence: Evidence, logit: Callable[[Part], np.ndarray]) -> Callable[[Part], np.ndarray]:
    """The weights of a shot, 0 where it has nothing; not divided by their sum over shots."""
    chosen = choice.weights(logit)

    def of(part: Part) -> np.ndarray:
        own = evidence.blend_weight(part)
        return np.maximum(chosen(part), 0) * own * evidence.ramp_weight(part, choice.certainty(part))

    return of


def _overridden(weights: np.ndarray, evidence: Evidence, mask: np.ndarray | None, part: Part) -> np.ndarray:
    """`weights` of rows and columns `part` where `mask` of the whole picture is NaN or None, elsewhere the mask's."""
    if mask is None:
        return weights
    # A trace of the automatic weights, for pixels that the masks give to shots that have nothing there.
    return np.where(np.isnan(mask[part]), weights,
                    mask[part] * (evidence.blend_weight(part) > 0) + _TRACE * weights)


def _write_layer(number: int, shot: AlignedShot, weight: np.ndarray, layers: Layers) -> None:
    picture, valid = np.empty(shot.image.shape, np.float32), np.empty(weight.shape, bool)

    def look(tile: BlendTile) -> None:
        seen = shot.part(tile.kept)
        picture[tile.kept], valid[tile.kept] = np.clip(seen.pixels, 0, 1), seen.weight > 0

    over_tiles(look, picture.shape, 0)
    layers(number, picture, valid, weight)


class _Sums:
    """The running weighted sums of a picture, or of one tile of it."""

    def __init__(self, shape: tuple[int, ...], count: int, clips: bool):
        """Of no shots, of `shape` (h, w, C), to become `count`; `clips`: some channels count less than others."""
        self._count = count
        self._sum, self.total = np.zeros(shape, np.float32), np.zeros(shape[:2], np.float32)
        self._shown_sum = np.zeros(shape, np.float32) if clips else None  # with clipped channels weighted down
        self._shown_total = np.zeros(shape, np.float32) if clips else None
        self._best, self._sources = np.full(shape[:2], -1, np.float16), np.zeros(shape[:2], number_type(count))
        self._common = np.ones(shape[:2], bool)
        self._some, self._several = np.zeros(shape[:2], bool), np.zeros(shape[:2], bool)

    def add(self, part: Part, number: int, seen: Tile, weight: np.ndarray) -> None:
        """Adds the pixels and weights of shot `number` at rows and columns `part`."""
        weights = _for_channels(weight, seen.pixels.shape[2])
        cv2.accumulateProduct(seen.pixels, weights, self._sum[part])
        self.total[part] += weight
        own = seen.weight > 0
        self._common[part] &= own
        self._several[part] |= own & self._some[part]
        self._some[part] |= own
        better = weight > self._best[part].astype(np.float32)
        self._sources[part][better] = number
        self._best[part] = np.where(better, weight, self._best[part])
        if self._shown_sum is not None:
            shown = seen.channel_weight / np.maximum(seen.weight, np.float32(1e-9))[..., None]
            shown = np.maximum(shown, _LEAST_CONFIDENCE) * weights
            self._shown_sum[part] += seen.pixels * shown
            self._shown_total[part] += shown

    def finish(self, part: Part, blended: Blended, place: Part) -> None:
        """Writes the mean of rows and columns `part` to `place` of a result."""
        total = np.maximum(self.total[part], _LEAST_TOTAL)
        pixels = self._sum[part] * _for_channels(1 / total, self._sum.shape[2])
        if self._shown_sum is not None:
            shown = self._shown_sum[part] / np.maximum(self._shown_total[part], _LEAST_TOTAL)
            pixels = np.maximum(pixels, shown)
        covered = self._some[part]
        blended.image[place] = from_unit(pixels, blended.image.dtype) * covered[..., None]
        blended.sources[place], blended.covered[place] = self._sources[part], covered
        blended.common[place] = self._common[part]
        excess = self._best[part].astype(np.float32) / total * self._count - 1
        # Where shots are missing, the others were not chosen.
        blended.confidence[place] = np.clip(excess / max(self._count - 1, 1), 0, 1) * self._common[part]
        blended.several[place] = self._several[part]


def _for_channels(plane: np.ndarray, channels: int) -> np.ndarray:
    return plane[..., None] if channels == 1 else cv2.merge([plane] * channels)
