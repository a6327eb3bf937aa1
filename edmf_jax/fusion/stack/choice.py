"""The choice among the shots: a weight for each shot and pixel, from their evidence (`evidence`).

1. A shot's share of a pixel is weight · strength¹⁰, divided by the sum of all shots': a softmax of `Evidence.logit`.
2. Where no shot shows detail, shares follow noise, or a defocused rim; averaged by them, areas that are smooth in every
   shot come out blotched.  So each share is replaced, as far as the sharpest shot's strength is lost in noise there, by
   the mean of the shares around it, weighted by how much detail they rest on: by pull and push (Gortler et al. 1996,
   DOI 10.1145/237170.237200), over as many pixels as it takes.  That is linear, so the weights still add up to 1.

Where one shot is clearly the sharpest, the result has its very pixels.  Blending in a Laplacian pyramid, with the same
or other weights, was tried: it is no calmer, and less sharp at the edges of depth (docs/fusion.md).

**Any number of shots in bounded memory.**  Shots come one after the other, twice: once to `add` their evidence to
running sums, as in a streaming softmax, and once for their `weights`.
"""

from collections.abc import Callable

import cv2
import numpy as np

from edmf_jax.fusion.stack.evidence import FLOOR, POWER, cell_means, enlarged
from edmf_jax.fusion.stack.tiles import BlendTile, Part, cells_of, grown, inside, kept_whole, over_tiles

_FULL_STRENGTH = 0.02  # half of a share rests on the pixel itself at this strength, five 8-bit levels
_CERTAINTY_POWER = 4
_LEAST_CERTAINTY = 1e-4  # of any pixel, so that a picture without detail has a mean, too
_CELL_PX = 4  # coarser means are kept for the picture as a whole, finer ones are made tile by tile
_REACH_PX = 8  # two cells: a pixel of the result depends on no finer mean further away
_NEVER = np.float16(-60000)
Logit = Callable[[Part], np.ndarray]


class Choice:
    """Running sums over the shots, and what follows from them for all."""

    def __init__(self, shape: tuple[int, ...], *, keeps_planes: bool = False):
        """Of no shots, for pictures of `shape` (H, W, …); `keeps_planes`: nothing is computed twice."""
        self._shape, self._keeps_planes = shape[:2], keeps_planes
        self._largest = np.full(self._shape, _NEVER, np.float16)  # rounded, which the sums below take as it is
        self._total = np.zeros(self._shape, np.float32)  # relative to exp(largest); after `settle` its logarithm
        self._cells: list[np.ndarray] = []
        self._certainty = self._certainty_from_largest

    def add(self, logit: Logit) -> None:
        """Adds a shot, given as a function of rows and columns; float sums depend on the order of the shots."""
        def look(tile: BlendTile) -> None:
            part = tile.kept
            new, before = logit(part), self._largest[part].astype(np.float32)
            self._largest[part] = np.maximum(before, new)
            largest = self._largest[part].astype(np.float32)
            self._total[part] = self._total[part] * np.exp(before - largest) + np.exp(new - largest)

        over_tiles(look, self._shape, 0)

    def settle(self) -> None:
        """Ends the first visit of the shots."""
        fine = np.empty(_cell_shape(self._shape), np.float32)
        if self._keeps_planes:
            self._certainty = kept_whole(self._certainty, self._shape)

        def look(tile: BlendTile) -> None:
            self._total[tile.kept] = np.log(self._total[tile.kept])
            self._total[tile.kept] += self._largest[tile.kept]
            fine[cells_of(tile.kept, _CELL_PX)] = _halved_twice(self.certainty(tile.kept))

        over_tiles(look, self._shape, 0)
        self._cells = [fine]
        while min(self._cells[-1].shape) > 2:
            self._cells.append(cell_means(self._cells[-1], 2))

    def weights(self, logit: Logit) -> Callable[[Part], np.ndarray]:
        """The weights of a shot that was added, as a function of rows and columns: `[h, w]` in [0, 1].

        Those of all shots add up to 1.
        """
        fine = np.empty(self._cells[0].shape, np.float32)

        def look(tile: BlendTile) -> None:
            known = self._share(logit, tile.kept) * self.certainty(tile.kept)
            fine[cells_of(tile.kept, _CELL_PX)] = _halved_twice(known)

        over_tiles(look, self._shape, 0)
        spread = self._spread(fine)

        def of(part: Part) -> np.ndarray:
            context = grown(part, _REACH_PX, self._shape)
            certainty = self.certainty(context)
            known = self._share(logit, context) * certainty
            half, half_known = cell_means(certainty, 2), cell_means(known, 2)
            half_known += (1 - half) * _enlarged_cells(spread, context, half.shape)
            doubled = cv2.resize(half_known, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
            return (known + (1 - certainty) * doubled[: known.shape[0], : known.shape[1]])[inside(part, context)]

        return of

    def certainty(self, part: Part) -> np.ndarray:
        """How much a pixel's shares rest on the pixel itself, `[h, w]` in (0, 1], from the largest strength."""
        return self._certainty(part)

    def _certainty_from_largest(self, part: Part) -> np.ndarray:
        strength2 = np.exp(self._largest[part].astype(np.float32) * np.float32(2 / POWER)) - np.float32(FLOOR**2)
        power = np.maximum(strength2, 0) ** (_CERTAINTY_POWER // 2)
        return np.maximum(power / (power + np.float32(_FULL_STRENGTH**_CERTAINTY_POWER)), np.float32(_LEAST_CERTAINTY))

    def _share(self, logit: Logit, part: Part) -> np.ndarray:
        return np.exp(logit(part) - self._total[part])

    def _spread(self, fine: np.ndarray) -> np.ndarray:
        """The mean shares of cells, from the sums of share · certainty: the uncertain ones filled from further off."""
        sums = [fine]
        for _ in self._cells[1:]:
            sums.append(cell_means(sums[-1], 2))
        spread = sums[-1] / self._cells[-1]
        for known, certainty in zip(sums[-2::-1], self._cells[-2::-1]):
            larger = cv2.resize(spread, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
            spread = known + (1 - certainty) * larger[: known.shape[0], : known.shape[1]]
        return spread


def _cell_shape(shape: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // _CELL_PX), -(-shape[1] // _CELL_PX)


def _halved_twice(plane: np.ndarray) -> np.ndarray:
    return cell_means(cell_means(plane, 2), 2)


def _enlarged_cells(spread: np.ndarray, context: Part, shape: tuple[int, int]) -> np.ndarray:
    """The cells of a context, enlarged to `shape`, that of the context at half the size."""
    half = tuple(slice(p.start // 2, p.start // 2 + side) for p, side in zip(context, shape))
    return enlarged(spread, half, 2)
