"""The choice at edges of depth, to the pixel: which shot there is *not* the sharp picture, blurred.

The evidence of focus is a mean over a window of some 11 px, so next to an edge of depth it can't tell on which side of
the edge a pixel lies, and that is where nearly all of a fused picture's errors are.  But there a defocused shot is
known: it is the sharp picture, blurred as that shot is around.  So with the picture T that the choice so far gives,

    r_k = (y_k − blur_k(T))²       y_k: shot k's luma; blur_k: the Gaussian under which T looks most like y_k around

is small where shot k is defocused, and large where k shows detail of its own.  The logarithms of the weights get

    gate · max(r_k − max_j r_j, −c · 2τ²) / 2τ²          c: `CAP`, less where a network chose

which is a likelihood ratio for errors of deviation τ.  Then T is made anew, and all is done once more.

- **gate** in [0, 1] is 1 where blurring explains the shots that were not chosen, 0 where it explains less than half of
  how they differ from T: at defocused lamps that T shows clipped, where things moved, where all is noise.  And it is 0
  further than two cells (16 px) from any border between shots, so plain and sharp areas are left as they are.
- **Speckles** are not edges: where the new choice makes islands of less than `ISLAND_PX`, the old one stays.
- Where the gate is low, r is averaged over more pixels.

Luma alone is compared: with all three channels MFI-WHU and rendered scenes come out no better, at thrice the cost.  All
shots of a tile are needed at a time.  What it brings: docs/fusion.md.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.fusion.pixels import to_unit
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.evidence import cell_means, enlarged
from edmf_jax.fusion.stack.sharpness import luma_of
from edmf_jax.fusion.stack.tiles import BlendTile, Part, cells_of, grown, inside, over_tiles

ROUNDS = 2
CELL_PX = 8
BLURS_PX = (0.7, 1.4, 2.8, 5.6)  # σ of the Gaussians
CAP = 8.0  # of the change of a weight's logarithm
CAP_BESIDE_NETWORK = 4.0  # the network sees edges better than windows do
ISLAND_PX = 24  # of area; no such island is wider
_DEVIATION = 3 / 255 / np.sqrt(3)  # τ
_NOISE = (1 / 255) ** 2 / 3  # squared differences of luma that need no explanation
_BAND_CELLS = 2
_AROUND_CELLS = 8  # with the shots of 2 cells alone, the next ones in focus, the gate of a stack of ten hardly opens
_BLUR_CELLS, _GATE_CELLS = 1.0, 3.0  # σ of the means by which a shot's blur is told, and how well blurs explain
_FINE_PX, _WIDE_PX = 0.5, 1.5  # σ of the means of r where the gate is high, and low
_HIGH_GATE = 0.8
_ANTIALIAS_PX = 0.5  # σ, of the weights
_LEAST_WEIGHT = np.float32(1e-4)  # from which a shot can rise
_BOX_PX = 256  # the most columns that are looked at together
_RADIUS = 3  # of Gaussians, in σ
_MODEL_REACH_PX = int(np.ceil(_RADIUS * BLURS_PX[-1]))
REACH_PX = 48  # cells; blur of T, mean of r, islands and the weights' blur: 17 + 5 + 24 + 2


class Source(NamedTuple):
    """A shot that is all in reach, and its weights `[h, w]` so far, of rows and columns; of any sum over the shots."""

    shot: AlignedShot
    weights: Callable[[Part], np.ndarray]


class Reblur:
    """Refines the weights of all shots, from the picture that they gave so far.

        while reblur.learn(picture, best): make the picture anew in all `parts`, by their `weights`
    """

    def __init__(self, sources: Sequence[Source], shape: tuple[int, ...], cap: float = CAP):
        """Of shots that cover pictures of `shape` (H, W, …); a weight's logarithm falls by `cap` at most."""
        self._sources, self._shape, self._cap = sources, shape[:2], np.float32(cap)
        cells = tuple(-(-side // CELL_PX) for side in self._shape)
        self._picture = np.empty(self._shape, np.float16)  # T's luma
        self._band = np.zeros(cells, bool)
        self._needed = self._band  # for the gate there
        self._present = np.zeros((len(sources), *cells), bool)  # which shots may rise
        self._around = np.zeros_like(self._present)  # by which shots the gate is told
        self._blurs = np.zeros((len(sources), *cells), np.uint8)  # indices of `BLURS_PX`
        self._gate = np.zeros(cells, np.float32)
        self._changed = np.zeros(cells, bool)  # in any round
        self._round = 0

    def learn(self, picture: np.ndarray, best: np.ndarray) -> bool:
        """Begins a round; whether there is something to refine.

        Args:
          picture: T, `[H, W, C]` in its own dtype over its full range; not used after the call.
          best: for each pixel the index of the source of the largest weight, `[H, W]`.
        """
        if self._round == ROUNDS or len(self._sources) < 2:
            return False
        if self._round == 0:
            self._find_band(best)
        self._round += 1
        if not self._band.any():
            return False

        def take(tile: BlendTile) -> None:
            if self._needed[cells_of(tile.context, CELL_PX)].any():
                self._picture[tile.kept] = luma_of(to_unit(picture[tile.kept]))

        over_tiles(take, self._shape, REACH_PX)
        self._model(best)
        # Enlarged, the gate reaches half a cell further.
        self._changed |= cv2.dilate(self._gate, np.ones((3, 3))) > 0
        return bool(self._changed.any())

    def parts(self, part: Part) -> Iterator[Part]:
        """The parts of rows and columns `part` in which weights are others than at first, in any round."""
        return _boxes(self._changed, part, self._shape)

    def weights(self, part: Part) -> list[np.ndarray]:
        """The weights of every shot in one of the `parts`, `[h, w]`; their sum over the shots is any."""
        context = grown(part, REACH_PX, self._shape)
        if not self._gate[cells_of(context, CELL_PX)].any():
            return [source.weights(part) for source in self._sources]
        return [x[inside(part, context)] for x in self._refine(context)]

    def _find_band(self, best: np.ndarray) -> None:
        """Cells near a border between shots, and the shots that may rise there."""
        near = np.ones((2 * _BAND_CELLS + 1,) * 2, np.uint8)
        highest, lowest = np.zeros(self._band.shape, np.float32), np.zeros(self._band.shape, np.float32)

        def look(tile: BlendTile) -> None:
            there, some = cells_of(tile.kept, CELL_PX), best[tile.kept]
            highest[there], lowest[there] = _over_cells(np.maximum, some), _over_cells(np.minimum, some)
            for number in np.unique(some):
                self._present[(number, *there)] = _over_cells(np.maximum, some == number)

        over_tiles(look, self._shape, 0)
        self._band = cv2.dilate(highest, near) != cv2.erode(lowest, near)
        reach = np.ones((2 * int(_RADIUS * _GATE_CELLS) + 1,) * 2, np.uint8)
        self._needed = cv2.dilate(self._band.astype(np.uint8), reach) > 0
        for present, around in zip(self._present, self._around):
            around[:] = cv2.dilate(present.astype(np.uint8), np.ones((2 * _AROUND_CELLS + 1,) * 2, np.uint8))
            present[:] = cv2.dilate(present.astype(np.uint8), near)

    def _model(self, best: np.ndarray) -> None:
        """How much each shot is blurred, and how well that explains it."""
        found: list[list[tuple[Part, np.ndarray]]] = [[] for _ in self._sources]  # most shots are in few places
        differences = np.zeros(self._band.shape, np.float32)

        def look(part: Part) -> None:
            there, context = cells_of(part, CELL_PX), grown(part, _MODEL_REACH_PX, self._shape)
            asked = self._needed[there]
            picture = self._picture[context].astype(np.float32)
            kept = inside(part, context)
            blurred = [_gaussian(picture, sigma)[kept] for sigma in BLURS_PX]
            for number, source in enumerate(self._sources):
                some = self._around[(number, *there)] & asked
                if not some.any():
                    continue
                seen, own = source.shot.luma(part)
                others = (own & (best[part] != number)).astype(np.float32)
                differences[there] += some * _cell_squares(seen - picture[kept], others)
                found[number].append((there, np.stack([some * _cell_squares(seen - one, others) for one in blurred])))

        def look_closely(tile: BlendTile) -> None:
            for part in _boxes(self._needed, tile.kept, self._shape):
                look(part)

        over_tiles(look_closely, self._shape, 0)
        unexplained, known = np.zeros(self._band.shape, np.float32), np.zeros(self._blurs.shape, bool)
        for number, places in enumerate(found):
            if not places:
                continue
            costs = np.zeros((len(BLURS_PX), *self._band.shape), np.float32)
            for there, some in places:
                costs[(slice(None), *there)] = some
            around = np.stack([cv2.GaussianBlur(cost, (0, 0), _BLUR_CELLS) for cost in costs])
            self._blurs[number], known[number] = np.argmin(around, 0), around.any(0)
            unexplained += np.take_along_axis(costs, self._blurs[number][None].astype(np.intp), 0)[0]
        self._blurs[:] = _not_below_others(self._blurs, known)
        ratio = ((cv2.GaussianBlur(unexplained, (0, 0), _GATE_CELLS) + _NOISE)
                 / (cv2.GaussianBlur(differences, (0, 0), _GATE_CELLS) + _NOISE))
        self._gate = np.clip(1 - 2 * ratio, 0, 1).astype(np.float32) * self._band

    def _refine(self, context: Part) -> list[np.ndarray]:
        """The weights of all shots; valid `REACH_PX` inside the context."""
        there = cells_of(context, CELL_PX)
        weights = _normalized([source.weights(context) for source in self._sources])
        gate = enlarged(self._gate, context, CELL_PX)[: weights.shape[1], : weights.shape[2]]
        risen = self._likelihoods(context, gate, [k for k in range(len(weights)) if self._present[(k, *there)].any()])
        logits = np.log(np.maximum(weights, _LEAST_WEIGHT))
        choose = lambda changes: _softmax(logits + changes, weights > 0)
        found = choose(gate * risen)
        speckles = _islands(found, np.argmax(weights, 0))
        if speckles.any():
            found = choose(np.where(speckles, np.float32(0), gate * risen))
        smooth = np.stack([_gaussian(one, _ANTIALIAS_PX) for one in found])
        return list(np.where(gate > 0, smooth * (weights > 0), weights))

    def _likelihoods(self, context: Part, gate: np.ndarray, shots: Sequence[int]) -> np.ndarray:
        """What the weights' logarithms get where the gate is 1, in [−cap, 0]; of others than `shots` the least."""
        there = cells_of(context, CELL_PX)
        picture = self._picture[context].astype(np.float32)
        blurred = np.stack([_gaussian(picture, sigma) for sigma in BLURS_PX])
        fine_share = np.square(np.minimum(gate / np.float32(_HIGH_GATE), 1))
        found = np.full((len(self._sources), *picture.shape), -np.inf, np.float32)
        for number in shots:
            blurs = _repeated(self._blurs[(number, *there)], picture.shape)
            expected = np.take_along_axis(blurred, blurs[None].astype(np.intp), 0)[0]
            unlike = np.square(self._sources[number].shot.luma(context)[0] - expected) * np.float32(0.5 / _DEVIATION**2)
            mean = _gaussian(unlike, _WIDE_PX)
            mean += fine_share * (_gaussian(unlike, _FINE_PX) - mean)
            found[number] = np.where(_repeated(self._present[(number, *there)], picture.shape), mean, -np.inf)
        return np.maximum(found - found.max(0), -self._cap)


def _not_below_others(blurs: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`blurs` `[N, h, w]`, each one no less than the least of the others that are `known`.

    A shot that is chosen nearly everywhere around tells its blur by a few pixels, wrongly chosen ones among them; and a
    picture that is hardly blurred is like any other.  But beyond an edge no shot is sharper than the next one.
    """
    least = np.sort(np.where(known, blurs, len(BLURS_PX)), 0)[:2]
    of_others = np.where(known & (blurs == least[0]), least[1], least[0])
    return np.where(of_others < len(BLURS_PX), np.maximum(blurs, of_others), blurs)


def _normalized(weights: Sequence[np.ndarray]) -> np.ndarray:
    """Weights `[N, h, w]` of sum 1; 0 where no shot has any."""
    weights = np.stack([np.asarray(weight, np.float32) for weight in weights])
    return weights / np.maximum(weights.sum(0), np.float32(1e-30))


def _softmax(logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(0)) * allowed
    return weights / np.maximum(weights.sum(0), np.float32(1e-30))


def _islands(weights: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Where the shot of the largest of `weights` `[N, h, w]` is another one than before, in a small island of its own.

    bool `[h, w]`.
    """
    best = np.argmax(weights, 0)
    found = best != before
    if not found.any():
        return found
    small = np.zeros(best.shape, bool)
    for number in np.unique(best[found]):
        _, islands, statistics, _ = cv2.connectedComponentsWithStats((best == number).astype(np.uint8), connectivity=4)
        small |= (statistics[:, cv2.CC_STAT_AREA] < ISLAND_PX)[islands] & (best == number)
    return found & small


def _gaussian(plane: np.ndarray, sigma_px: float) -> np.ndarray:
    window = 2 * int(np.ceil(_RADIUS * sigma_px)) + 1
    return cv2.GaussianBlur(plane, (window, window), sigma_px, borderType=cv2.BORDER_REFLECT_101)


def _cell_squares(difference: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return cell_means(difference * difference * weight, CELL_PX)


def _over_cells(which: np.ufunc, plane: np.ndarray) -> np.ndarray:
    """The minimum or maximum in every cell of `[h, w]`."""
    for axis in (0, 1):
        plane = which.reduceat(plane, np.arange(0, plane.shape[axis], CELL_PX), axis)
    return plane


def _repeated(cells: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cells.repeat(CELL_PX, 0).repeat(CELL_PX, 1)[: shape[0], : shape[1]]


def _boxes(cells: np.ndarray, part: Part, shape: tuple[int, int]) -> Iterator[Part]:
    """Rectangles that hold all pixels of `part` whose cell, of `[h, w]`, is True; none wider than `_BOX_PX`."""
    rows, columns = part
    for left in range(columns.start, columns.stop, _BOX_PX):
        some = rows, slice(left, min(left + _BOX_PX, columns.stop))
        places = [np.flatnonzero(cells[cells_of(some, CELL_PX)].any(axis)) for axis in (1, 0)]
        if places[0].size:
            down, right = (slice(p.start + CELL_PX * int(found[0]), min(p.start + CELL_PX * int(found[-1] + 1), side))
                           for p, found, side in zip(some, places, shape))
            yield down, right
