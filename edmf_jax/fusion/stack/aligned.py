"""A shot in the reference's frame and at the target exposure, part by part."""

import dataclasses
from typing import NamedTuple

import numpy as np

from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack import borders
from edmf_jax.fusion.stack.leveling import Leveling
from edmf_jax.fusion.stack.sharpness import luma_of
from edmf_jax.registration.lazy import Lazy


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
      leveling: what brings its values to the target exposure.
      whole: all of it as one tile, where there is room to keep that; None: tiles are made when they are asked for.
    """

    image: np.ndarray
    valid: np.ndarray | None
    edge_region: np.ndarray | None
    leveling: Leveling
    whole: Tile | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the blend weight of every pixel is 1."""
        return self.valid is None and self.edge_region is None

    def is_whole_in(self, part: tuple[slice, slice]) -> bool:
        """Whether the shot has all pixels of rows and columns `part`; black edges are not looked at closely."""
        return self.edge_region is None and (self.valid is None or bool(self.valid[part].all()))

    @property
    def nbytes(self) -> int:
        """What it takes, bytes."""
        kept = (self.image, self.valid, *(self.whole or ()))
        return sum(0 if x is None else x.nbytes for x in kept)

    def with_whole(self) -> "AlignedShot":
        """The same shot, which keeps all of it as one tile; not with black edges, which are found near each tile."""
        if self.edge_region is not None:
            return self
        whole = self.tile(*(slice(0, side) for side in self.image.shape[:2]))
        for plane in whole:
            plane.flags.writeable = False  # every tile is a part of it
        return dataclasses.replace(self, whole=whole)

    def part(self, part: tuple[slice, slice]) -> Tile:
        """Rows and columns `part` of the shot, right up to its own edge."""
        if self.whole is not None:
            return self.tile(*part)
        rows, columns = (slice(max(p.start - borders.REACH_PX, 0), min(p.stop + borders.REACH_PX, side))
                         for p, side in zip(part, self.image.shape))
        if self.is_whole_in((rows, columns)):
            return self.tile(*part)
        kept = slice(part[0].start - rows.start, part[0].stop - rows.start), slice(
            part[1].start - columns.start, part[1].stop - columns.start)
        return Tile(*(x[kept] for x in self.tile(rows, columns)))

    def luma(self, part: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """The luma of rows and columns `part`, float32 `[h, w]`, and where the shot has pixels, bool `[h, w]`."""
        seen = self.part(part)
        return luma_of(seen.pixels) if self.whole is None else self._whole_luma[part], seen.weight > 0

    @Lazy
    def _whole_luma(self) -> np.ndarray:
        return luma_of(self.whole.pixels)

    def tile(self, rows: slice, columns: slice) -> Tile:
        """The part `rows`, `columns` of the shot; within `borders.REACH_PX` of an edge weights may be too high."""
        if self.whole is not None:
            return Tile(*(plane[rows, columns] for plane in self.whole))
        pixels = self.image[rows, columns]
        valid = np.ones(pixels.shape[:2], bool) if self.valid is None else self.valid[rows, columns]
        if self.edge_region is not None:
            region = borders.enlarged_part(self.edge_region, rows, columns, self.image.shape)
            valid = borders.without_black_edges(pixels, full_scale(pixels.dtype), valid, region)
        weight = borders.feathered_weight(valid)
        channel_weight = np.broadcast_to(weight[..., None], pixels.shape)
        confidence = self.leveling.confidence(pixels)
        if confidence is not None:
            channel_weight = np.maximum(channel_weight * confidence, valid[..., None] * np.float32(borders.MIN_WEIGHT))
        return Tile(self.leveling.apply(pixels, rows, columns), weight, channel_weight)
