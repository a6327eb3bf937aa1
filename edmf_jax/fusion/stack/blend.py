"""The result's pixels from the shots themselves (`pixels="shots"`): their mean, weighted by the choice (`choice`).

Every shot is visited (`visits`) in the order of the digests, for its evidence.  If all can be kept, weights are refined
at edges of depth (`reblur`), and the result is made, tile by tile.  Else weights are as the evidence has them, and 24
bytes a pixel of running sums (`weighted_mean`) are kept besides the shot at hand, or 48 with clipped colors.
"""

from collections.abc import Callable

import numpy as np

from edmf_jax.fusion.stack import spill
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.choice import Choice
from edmf_jax.fusion.stack.evidence import Evidence
from edmf_jax.fusion.stack.reblur import Reblur, Source
from edmf_jax.fusion.stack.tiles import BlendTile, Part, kept_whole, over_tiles
from edmf_jax.fusion.stack.visits import ChangedVisits, Visits
from edmf_jax.fusion.stack.weighted_mean import LEAST_TOTAL, Blended, Sums, empty

TIE_LOGIT = 3.0  # between the nearest and the farthest shot: of two equally sharp ones, one gets 20 times the weight
_TRACE = np.float32(1e-6)
_PLANES_BYTES = 1e8  # of the logits and weights of all shots, if they are kept
_LAYER_UNIT = 65535  # of weights that wait for their shot's layer
_WHOLE: Part = (slice(None), slice(None))
Layers = Callable[[int, np.ndarray, np.ndarray | None, np.ndarray], None]
"""Called once for every shot: its number, the leveled picture `[H, W, C]`, where it is valid, and its weights."""
WeightsOverride = Callable[[int, slice, slice], np.ndarray]
"""Called with a shot's number, rows and columns: weights to take instead, `[h, w]`; NaN keeps the automatic ones."""


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
    keeps_planes = 4 * (2 * visits.count + 1) * shape[0] * shape[1] <= _PLANES_BYTES
    logits: dict[int, Callable[[Part], np.ndarray]] = {}

    def logit_of(number: int, evidence: Evidence) -> Callable[[Part], np.ndarray]:
        if number in logits:
            return logits[number]
        found = evidence.logit if ranks is None else (
            lambda part: evidence.logit(part) + np.float32(TIE_LOGIT * ranks[number]))
        if keeps_planes:
            found = logits[number] = kept_whole(found, shape)
        return found

    def weights_of(number: int, evidence: Evidence) -> Callable[[Part], np.ndarray]:
        found = _weights(choice, evidence, logit_of(number, evidence))
        return kept_whole(found, shape) if keeps_planes else found

    choice, clips = Choice(shape, keeps_planes=keeps_planes), False
    for number, shot, evidence in visits:
        report("measuring")
        choice.add(logit_of(number, evidence))
        clips |= bool(shot.leveling.clipping_loss.any())
    choice.settle()
    masks = lambda number: weights_override and weights_override(number, slice(0, shape[0]), slice(0, shape[1]))
    blended = empty(shape, dtype, visits.count)
    if visits.all_kept:
        _finish_tiles(visits, weights_of, masks, blended, clips, report, layers)
    else:
        _finish_shots(visits, weights_of, masks, blended, clips, report, layers)
    return blended


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
    kept = None if layers is None else spill.planes(len(given), blended.image.shape[:2])

    def fuse(part: Part, weights: list[np.ndarray]) -> None:
        sums = Sums(blended.image[part].shape, len(given), clips)
        weights = [_overridden(weight, evidence, mask, part)
                   for weight, (_, _, evidence, _, mask) in zip(weights, given)]
        for index, (weight, (_, shot, *_)) in enumerate(zip(weights, given)):
            sums.add(_WHOLE, index, shot.part(part), weight)
        sums.finish(_WHOLE, blended, part)
        if kept is not None:
            total = np.maximum(sums.total, LEAST_TOTAL)
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


def _finish_shots(visits: Visits, weights_of, masks, blended: Blended, clips: bool, report: Callable[[str], None],
                  layers: Layers | None) -> None:
    """Shot after shot: one at a time is in memory."""
    sums = Sums(blended.image.shape, visits.count, clips)

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
            total = np.maximum(sums.total[tile.kept], LEAST_TOTAL)
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
