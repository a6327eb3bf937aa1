"""The two pictures that are fused: the reference, and a composite of all other shots (or the only other shot).

Both return a part of themselves as a `Tile`: pixels at the target exposure, and their blend weights.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from edmf_jax.fusion.pixels import full_scale, to_unit
from edmf_jax.fusion.stack import borders, exposure, sharpness

POWER = 16  # of spatial frequency: twice as sharp counts 65,536 times; equally flat shots are averaged
_NO_WEIGHT = np.float32(-1e4)  # the logarithm that stands for a weight of 0
FILL_REACH_PX = max(borders.REACH_PX, sharpness.COLOR_REACH_PX)
"""A pixel can change what `fill_missing` returns up to this far away."""


class Tile(NamedTuple):
    """A part of a shot or of a composite.

    Attributes:
      pixels: `[h, w, C]` float32 at the target exposure.
      weight: blend weight `[h, w]` in [0, 1]: 0 where there is no valid pixel, feathered toward that edge.
      channel_weight: `[h, w, C]`: `weight`, lowered where a channel is clipped and another shot's is not.
    """

    pixels: np.ndarray
    weight: np.ndarray
    channel_weight: np.ndarray


@dataclasses.dataclass(frozen=True)
class AlignedShot:
    """One shot in the reference's frame, with what brings it to the target exposure.

    Attributes:
      image: `[H, W, C]` in the shot's dtype, warped.
      valid: bool `[H, W]`, True where the shot covers the frame; None: everywhere.
      edge_region: a small copy's mask, bool `[h, w]`, True where black edges were found; None: nowhere.
      tables: from the shot's values to the target exposure, `exposure.table`.
      clipping_loss: how much the shot's clipping hides, per channel, `exposure.clipping_loss`.
    """

    image: np.ndarray
    valid: np.ndarray | None
    edge_region: np.ndarray | None
    tables: np.ndarray
    clipping_loss: np.ndarray

    def tile(self, rows: slice, columns: slice) -> Tile:
        """The part `rows`, `columns` of the shot."""
        pixels = self.image[rows, columns]
        valid = np.ones(pixels.shape[:2], bool) if self.valid is None else self.valid[rows, columns]
        if self.edge_region is not None:
            region = borders.enlarged_part(self.edge_region, rows, columns, self.image.shape)
            valid = borders.without_black_edges(pixels, full_scale(pixels.dtype), valid, region)
        weight = borders.feathered_weight(valid)
        channel_weight = np.broadcast_to(weight[..., None], pixels.shape)
        if self.clipping_loss.any():
            confidence = exposure.clipping_confidence(to_unit(pixels), self.clipping_loss)
            channel_weight = np.maximum(channel_weight * confidence, valid[..., None] * np.float32(borders.MIN_WEIGHT))
        return Tile(exposure.apply(pixels, self.tables), weight, channel_weight)


class Composite:
    """Any number of shots combined in one picture that is everywhere as sharp as the sharpest of them.

    A running mean for each pixel, weighted by weight · sharpness^power.  The range of these weights is far beyond
    float32's, so they are kept as logarithms, and sums relative to the largest weight so far, as in a running softmax.
    Float sums depend on order, so `pipeline` adds shots in content-hash order: argument order has no effect.

    Attributes:
      sources: for each pixel the number of the shot with the largest weight, `[H, W]` uint8, or uint16 for more than
        256 shots.
    """

    def __init__(self, shape: tuple[int, ...], count: int, power: float = POWER):
        """An empty composite of `shape` (height, width, channels) for `count` shots."""
        self._power = power
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape[:2], np.float32)
        self._largest = np.full(shape[:2], 2 * _NO_WEIGHT, np.float32)
        self._weight = np.zeros(shape[:2], np.uint8)
        self.sources = np.zeros(shape[:2], np.uint8 if count <= 256 else np.uint16)

    def add(self, part: tuple[slice, slice], pixels: np.ndarray, weight: np.ndarray, sharp: np.ndarray, number: int):
        """Adds a tile of shot `number` at rows and columns `part`.

        Args:
          part: rows and columns.
          pixels: `[h, w, C]`, missing ones filled.
          weight: blend weight `[h, w]` in [0, 1].
          sharp: sharpness `[h, w]`, positive.
          number: the shot's.
        """
        weight_log = log_weight(sharp, weight, self._power)
        before = self._largest[part]
        largest = np.maximum(before, weight_log)
        kept, added = np.exp(before - largest), np.exp(weight_log - largest)
        self._sum[part] = self._sum[part] * kept[..., None] + pixels * added[..., None]
        self._total[part] = self._total[part] * kept + added
        self.sources[part][weight_log > before] = number
        self._largest[part] = largest
        # Rounded up: the weight of a valid pixel does not become 0.
        self._weight[part] = np.maximum(self._weight[part], np.ceil(255 * weight))

    def tile(self, rows: slice, columns: slice) -> Tile:
        """The part `rows`, `columns` of the composite."""
        part = rows, columns
        pixels, weight = self._sum[part] / self._total[part][..., None], self._weight[part].astype(np.float32) / 255
        return Tile(pixels, weight, np.broadcast_to(weight[..., None], pixels.shape))

    def log_weights(self, part: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """The logarithms of the sum of all shots' weights and of the largest one, `[h, w]` each."""
        return self._largest[part] + np.log(self._total[part]), self._largest[part]


def log_weight(sharp: np.ndarray, weight: np.ndarray, power: float) -> np.ndarray:
    """log(weight · sharp^power), float32 `[h, w]`; where `weight` is 0, finite but far below all others."""
    return power * np.log(sharp) + np.where(weight > 0, np.log(np.maximum(weight, np.float32(1e-9))), _NO_WEIGHT)


def fill_missing(first: Tile, second: Tile) -> np.ndarray:
    """The pixels of `first`, crossfaded to those of `second` where the weight of `first` falls: `[h, w, C]`.

    A clipped pixel is a lower bound of the scene: where `first` is the sharper shot, its replacement is not taken
    darker, or the blur of `second` would eat into bright objects from their edges.  Elsewhere the bright value
    may be blur spread from a lamp, and the bound is not used.
    """
    if (first.channel_weight == 1).all():
        return first.pixels
    share = sharpness.chroma_share(tile_sharpness(first.pixels), tile_sharpness(second.pixels))[..., None]
    bounded = second.pixels + share * np.maximum(first.pixels - second.pixels, 0)
    return borders.crossfade(first.pixels, first.channel_weight, bounded, second.channel_weight)


def tile_sharpness(pixels: np.ndarray) -> np.ndarray:
    """Local spatial frequency of the luma of pixels `[h, w, C]`."""
    return sharpness.local_spatial_frequency(sharpness.luma_of(pixels))
