"""The second of the two pictures that the network fuses: a composite of all shots but the reference.

Like a shot it returns a part of itself as a `Tile`: pixels at the target exposure, and their blend weights.
"""

import numpy as np

from edmf_jax.fusion.stack import borders, sharpness
from edmf_jax.fusion.stack.aligned import Tile
from edmf_jax.fusion.stack.shots import number_type

POWER = 16  # of spatial frequency: twice as sharp counts 65,536 times; equally flat shots are averaged
_NO_WEIGHT = np.float32(-1e4)  # the logarithm that stands for a weight of 0


class Composite:
    """Any number of shots combined in one picture that is everywhere as sharp as the sharpest of them.

    A running mean for each pixel, weighted by weight · sharpness^power.  The range of these weights is far beyond
    float32's, so they are kept as logarithms, and sums relative to the largest weight so far, as in a running softmax.
    Float sums depend on order, so `pipeline` adds shots in content-hash order: argument order has no effect.

    Attributes:
      sources: for each pixel the number of the shot with the largest weight, `[H, W]` uint8, or uint16 for more than
        256 shots.
    """

    def __init__(self, shape: tuple[int, ...], count: int):
        """An empty composite of `shape` (height, width, channels) for `count` shots."""
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape[:2], np.float32)
        self._largest = np.full(shape[:2], 2 * _NO_WEIGHT, np.float32)
        self._weight = np.zeros(shape[:2], np.uint8)
        self.sources = np.zeros(shape[:2], number_type(count))

    def add(self, part: tuple[slice, slice], pixels: np.ndarray, weight: np.ndarray, sharp: np.ndarray, number: int):
        """Adds a tile of shot `number` at rows and columns `part`.

        Args:
          part: rows and columns.
          pixels: `[h, w, C]`, missing ones filled.
          weight: blend weight `[h, w]` in [0, 1].
          sharp: sharpness `[h, w]`, positive.
          number: the shot's.
        """
        weight_log = _log_weight(sharp, weight)
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


def _log_weight(sharp: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """log(weight · sharp^`POWER`), float32 `[h, w]`; where `weight` is 0, finite but far below all others."""
    return POWER * np.log(sharp) + np.where(weight > 0, np.log(np.maximum(weight, np.float32(1e-9))), _NO_WEIGHT)


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
