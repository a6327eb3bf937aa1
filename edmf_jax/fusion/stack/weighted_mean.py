"""The mean of shots by their weights, as running sums over one shot after the other, and what a blend gives.

**Clipping** counts channel by channel: a channel that is clipped in one shot is taken from the shots that show it.  But
a clipped value is a lower bound of the scene: no channel becomes darker than in the mean that ignores clipping, or the
blur of a darker shot would eat into bright objects from their edges.
"""

import dataclasses

import cv2
import numpy as np

from edmf_jax.fusion.pixels import from_unit
from edmf_jax.fusion.stack.aligned import Tile
from edmf_jax.fusion.stack.shots import number_type
from edmf_jax.fusion.stack.tiles import Part

LEAST_TOTAL = np.float32(1e-30)
"""Sums of weights count as this at least: far below the trace that `blend` leaves of a shot that is alone somewhere."""
_LEAST_CONFIDENCE = np.float32(1e-3)  # in a clipped channel, so that one that all shots clip has a mean, too


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


def empty(shape: tuple[int, int, int], dtype: np.dtype, count: int) -> Blended:
    """Room for the blend of `count` shots."""
    return Blended(np.empty(shape, dtype), np.empty(shape[:2], number_type(count)),
                   np.empty(shape[:2], np.float16), *(np.empty(shape[:2], bool) for _ in range(3)))


class Sums:
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
        if own.all():
            np.copyto(self._several[part], self._some[part])
            self._some[part] = True
        else:
            self._common[part] &= own
            self._several[part] |= own & self._some[part]
            self._some[part] |= own
        best = self._best[part]
        better = weight > best.astype(np.float32)
        np.copyto(self._sources[part], np.array(number, self._sources.dtype), where=better)
        np.copyto(best, weight, where=better, casting="same_kind")
        if self._shown_sum is not None:
            shown = seen.channel_weight / np.maximum(seen.weight, np.float32(1e-9))[..., None]
            shown = np.maximum(shown, _LEAST_CONFIDENCE) * weights
            self._shown_sum[part] += seen.pixels * shown
            self._shown_total[part] += shown

    def finish(self, part: Part, blended: Blended, place: Part) -> None:
        """Writes the mean of rows and columns `part` to `place` of a result."""
        total = np.maximum(self.total[part], LEAST_TOTAL)
        pixels = self._sum[part] * _for_channels(1 / total, self._sum.shape[2])
        if self._shown_sum is not None:
            shown = self._shown_sum[part] / np.maximum(self._shown_total[part], LEAST_TOTAL)
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
