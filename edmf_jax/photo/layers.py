"""What the network is given: the reference, and the one other picture that all other shots are gathered in.

Both answer tile by tile with their pixels at the target's exposure and the say that these have.
"""

import dataclasses

import numpy as np

from edmf_jax.photo import borders, exposure, sharpness
from edmf_jax.photo.shots import full_scale, to_unit

_POWER = 16  # of spatial frequency: twice as sharp counts 65,536 times; equally flat ones are averaged
_NOTHING = np.float32(-1e4)  # the logarithm of no say at all


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

    def tile(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Pixels `[h, w, C]`, float32 at the target's exposure, and their say `[h, w]`: 0 exactly where there are none.

        The say falls to nothing towards missing pixels, and where the shot is clipped and another one is not.
        """
        pixels = self.image[rows, columns]
        there = np.ones(pixels.shape[:2], bool) if self.real is None else self.real[rows, columns]
        if self.region is not None:
            region = borders.resized(self.region, rows, columns, self.image.shape)
            there = borders.has_pixels(pixels, full_scale(pixels.dtype), there, region)
        say = borders.weights(there)
        if self.lost.any():
            say = np.maximum(say * exposure.trust(to_unit(pixels), self.lost), there * np.float32(borders.LEAST))
        return exposure.apply(pixels, self.tables), say


class Composite:
    """Any number of shots in one picture that is everywhere as sharp as the sharpest of them.

    A running mean, pixel by pixel, weighted by say · (local spatial frequency)^16.  The weights
    are kept relative to the largest so far, as in a running softmax, for their range is far beyond
    float32's.  A sum does not ask for the order of its terms but for rounding; `fusing` adds the shots in
    an order that their content gives, so that the result does not at all.
    """

    def __init__(self, shape: tuple[int, ...], count: int):
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape[:2], np.float32)
        self._largest = np.full(shape[:2], 2 * _NOTHING, np.float32)
        self._say = np.zeros(shape[:2], np.uint8)
        self.sources = np.zeros(shape[:2], np.uint8 if count <= 256 else np.uint16)

    def add(self, place: tuple[slice, slice], pixels: np.ndarray, say: np.ndarray, sharp: np.ndarray, number: int):
        """Takes in a tile of shot `number`: its pixels, filled where it has none, their say and sharpness."""
        weight = _POWER * np.log(sharp) + np.where(say > 0, np.log(np.maximum(say, 1e-9)), _NOTHING)
        before = self._largest[place]
        largest = np.maximum(before, weight)
        kept, added = np.exp(before - largest), np.exp(weight - largest)
        self._sum[place] = self._sum[place] * kept[..., None] + pixels * added[..., None]
        self._total[place] = self._total[place] * kept + added
        self.sources[place][weight > before] = number
        self._largest[place] = largest
        # Rounded up: a pixel that is there at all keeps a say.
        self._say[place] = np.maximum(self._say[place], np.ceil(255 * say))

    def tile(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """As `Layer.tile`."""
        place = rows, columns
        return self._sum[place] / self._total[place][..., None], self._say[place].astype(np.float32) / 255


def filled(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The first of two tiles (pixels, say), the second's pixels where it has little say."""
    return borders.take_over(*first, *second)


def sharp_of(pixels: np.ndarray) -> np.ndarray:
    """Local spatial frequency of a tile's luma."""
    return sharpness.local_spatial_frequency(sharpness.luma_of(pixels))
