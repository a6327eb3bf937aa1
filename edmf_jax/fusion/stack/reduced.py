"""Shots made smaller, leveled, for a network that need not see every pixel of a large picture (`chooser`)."""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from edmf_jax.core.chooser_layout import CLIPPED, WHOLE_CELL
from edmf_jax.fusion.pixels import full_scale, over_channels
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.evidence import Evidence, cell_means, measure
from edmf_jax.fusion.stack.tiles import BlendTile, Part, cells_of, over_tiles

MOST_PX = 1.6e6  # of a shot
MOST_WHOLE_PX, MOST_ALL_PX, LEAST_PX = 3.2e6, 12e6, 0.5e6  # of all shots together; of a shot, for the latter's sake


@dataclasses.dataclass(frozen=True)
class View:
    """A shot as the network sees it.

    Attributes:
      shot: its pixels `[h, w, C]`.
      evidence: of `shot`.
      clipped: how much of each pixel of rows and columns is clipped, float32 `[h, w]` in [0, 1].
    """

    shot: AlignedShot
    evidence: Evidence
    clipped: Callable[[Part], np.ndarray]


def factor_of(shape: tuple[int, ...], count: int) -> int:
    """By how much a frame (H, W, …) is reduced: 1, 2, 4, … (tiles begin at multiples).

    To at most `MOST_PX` a shot; at least by 2 if the `count` shots have more than `MOST_WHOLE_PX` together; and so that
    they have at most `MOST_ALL_PX`, but for that no further than to `LEAST_PX`.
    """
    pixels, factor = shape[0] * shape[1], 1
    while (pixels > MOST_PX * factor**2 or (factor == 1 and count * pixels > MOST_WHOLE_PX)
           or (count * pixels > MOST_ALL_PX * factor**2 and pixels > LEAST_PX * factor**2)):
        factor *= 2
    return factor


def reduced_shape(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    """Height and width of a reduced frame; the last cells may stand for fewer pixels."""
    return -(-shape[0] // factor), -(-shape[1] // factor)


def view(shot: AlignedShot, evidence: Evidence, factor: int) -> View:
    """A shot reduced by `factor`, with evidence of its own; 1: as it is."""
    if factor == 1:
        return View(shot, evidence, lambda part: _is_clipped(shot.image[part]) * np.float32(1 / 255))
    size, channels = reduced_shape(shot.image.shape, factor), shot.image.shape[2]
    image, clipped = np.empty((*size, channels), shot.image.dtype), np.empty(size, np.uint8)
    valid = None if shot.valid is None else np.empty(size, bool)

    def look(tile: BlendTile) -> None:
        there, own = cells_of(tile.kept, factor), shot.image[tile.kept]
        # Means of the shot's own values: those of light differ by less than what is looked for here.
        image[there] = cell_means(own, factor).reshape(image[there].shape)
        clipped[there] = cell_means(_is_clipped(own), factor)
        if valid is not None:
            valid[there] = cell_means(shot.valid[tile.kept].astype(np.float32), factor) > WHOLE_CELL

    over_tiles(look, shot.image.shape, 0)
    leveling = dataclasses.replace(shot.leveling, frame=(*size, channels))
    small = AlignedShot(image, valid, shot.edge_region, leveling)
    slope = leveling.slope  # which `measure` multiplies noise by, and which is in the evidence's already
    own_noise = evidence.noise / slope**2 if slope > 0 else 0.0
    return View(small, measure(small, own_noise / factor**2),
                lambda part: clipped[part] * np.float32(1 / 255))


def _is_clipped(own: np.ndarray) -> np.ndarray:
    """uint8 `[h, w]`: 255 where any channel of the shot's own values `[h, w, C]` is clipped, else 0."""
    return cv2.compare(over_channels(np.maximum, own), CLIPPED * full_scale(own.dtype), cv2.CMP_GE)
