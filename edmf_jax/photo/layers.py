"""What is fused: the reference, and the one other picture that all other shots are gathered in.

Both answer tile by tile with their pixels at the target's exposure and the say that these have.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from edmf_jax.photo import borders, exposure, sharpness
from edmf_jax.photo.shots import full_scale, to_unit

POWER = 16  # of spatial frequency: twice as sharp counts 65,536 times; equally flat ones are averaged
_NOTHING = np.float32(-1e4)  # the logarithm of no say at all
FILL_REACH_PX = max(borders.REACH_PX, sharpness.COLOUR_REACH_PX)
"""How far away a pixel can change another one's `filled` value."""


class Tile(NamedTuple):
    """A part of a shot.

    Attributes:
      pixels: `[h, w, C]`, float32 at the target's exposure.
      say: `[h, w]` in [0, 1]: 0 exactly where there are none, falling towards it.
      own: `[h, w, C]`, `say` and how far each channel is to be believed.
    """

    pixels: np.ndarray
    say: np.ndarray
    own: np.ndarray


@dataclasses.dataclass(frozen=True)
class Layer:
    """One shot in the reference's frame.

    Attributes:
      image: `[H, W, C]` as it came, warped.
      real: bool `[H, W]`, where it was warped from; None: everywhere.
      region: where black edges were found, bool, a small copy's mask; None: none.
      tables: to the target's exposure, `exposure.table`.
      lost: what its clipping costs, `exposure.hidden`.
    """

    image: np.ndarray
    real: np.ndarray | None
    region: np.ndarray | None
    tables: np.ndarray
    lost: np.ndarray

    def tile(self, rows: slice, columns: slice) -> Tile:
        """Its part of the picture.  A channel's own say falls to nothing where it is clipped and another shot's is not.
        """
        pixels = self.image[rows, columns]
        there = np.ones(pixels.shape[:2], bool) if self.real is None else self.real[rows, columns]
        if self.region is not None:
            region = borders.resized(self.region, rows, columns, self.image.shape)
            there = borders.has_pixels(pixels, full_scale(pixels.dtype), there, region)
        say = borders.weights(there)
        own = np.broadcast_to(say[..., None], pixels.shape)
        if self.lost.any():
            own = np.maximum(own * exposure.trust(to_unit(pixels), self.lost),
                             there[..., None] * np.float32(borders.LEAST))
        return Tile(exposure.apply(pixels, self.tables), say, own)


class Composite:
    """Any number of shots in one picture that is everywhere as sharp as the sharpest of them.

    A running mean, pixel by pixel, weighted by say · sharpness^power.  The weights
    are kept relative to the largest so far, as in a running softmax, for their range is far beyond
    float32's.  A sum does not ask for the order of its terms but for rounding; `fusing` adds the shots in
    an order that their content gives, so that the result does not at all.
    """

    def __init__(self, shape: tuple[int, ...], count: int, power: float = POWER):
        self._power = power
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape[:2], np.float32)
        self._largest = np.full(shape[:2], 2 * _NOTHING, np.float32)
        self._say = np.zeros(shape[:2], np.uint8)
        self.sources = np.zeros(shape[:2], np.uint8 if count <= 256 else np.uint16)

    def add(self, place: tuple[slice, slice], pixels: np.ndarray, say: np.ndarray, sharp: np.ndarray, number: int):
        """Takes in a tile of shot `number`: its pixels, filled where it has none, their say and sharpness."""
        weight = log_weight(sharp, say, self._power)
        before = self._largest[place]
        largest = np.maximum(before, weight)
        kept, added = np.exp(before - largest), np.exp(weight - largest)
        self._sum[place] = self._sum[place] * kept[..., None] + pixels * added[..., None]
        self._total[place] = self._total[place] * kept + added
        self.sources[place][weight > before] = number
        self._largest[place] = largest
        # Rounded up: a pixel that is there at all keeps a say.
        self._say[place] = np.maximum(self._say[place], np.ceil(255 * say))

    def tile(self, rows: slice, columns: slice) -> Tile:
        """As `Layer.tile`."""
        place = rows, columns
        pixels, say = self._sum[place] / self._total[place][..., None], self._say[place].astype(np.float32) / 255
        return Tile(pixels, say, np.broadcast_to(say[..., None], pixels.shape))

    def weights(self, place: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """`log_weight` of all its shots together and of the one that counts most, `[h, w]` each."""
        return self._largest[place] + np.log(self._total[place]), self._largest[place]


def log_weight(sharp: np.ndarray, say: np.ndarray, power: float) -> np.ndarray:
    """The logarithm of say · sharp^power, float32 `[h, w]`; far below all others, but finite, where there is no say."""
    return power * np.log(sharp) + np.where(say > 0, np.log(np.maximum(say, np.float32(1e-9))), _NOTHING)


def filled(first: Tile, second: Tile) -> np.ndarray:
    """The pixels of the first, the second's where it has little say.

    A clipped pixel says that the scene is no darker than its white.  Where the first is the sharper one that
    holds for what it takes over too: else the second's blur would eat into bright things from their edges.  Where it is
    not, it may be the blur of a lamp, and does not hold.
    """
    if (first.own == 1).all():
        return first.pixels
    share = sharpness.chroma_share(sharp_of(first.pixels), sharp_of(second.pixels))[..., None]
    bounded = second.pixels + share * np.maximum(first.pixels - second.pixels, 0)
    return borders.take_over(first.pixels, first.own, bounded, second.own)


def sharp_of(pixels: np.ndarray) -> np.ndarray:
    """Local spatial frequency of a tile's luma."""
    return sharpness.local_spatial_frequency(sharpness.luma_of(pixels))
