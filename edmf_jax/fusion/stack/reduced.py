"""Shots made smaller, leveled, for a network that need not see every pixel of a large picture (`chooser`)."""

import dataclasses
from collections.abc import Callable

import numpy as np

from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack import tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.evidence import Evidence, cell_means, measure
from edmf_jax.fusion.stack.leveling import level
from edmf_jax.fusion.stack.tiles import BlendTile, Part, cells_of, over_tiles

MOST_PX = 1.6e6
_WHITE = 65535
_WHOLE_CELL, _CLIPPED = 0.999, 0.995


@dataclasses.dataclass(frozen=True)
class View:
    """A shot as the network sees it.

    Attributes:
      shot: its pixels `[h, w, C]`.
      evidence: of `shot`.
      clipped: how much of each pixel of rows and columns is clipped, float32 `[h, w]` in [0, 1].
      is_reduced: whether it is smaller than the shot itself.
    """

    shot: AlignedShot
    evidence: Evidence
    clipped: Callable[[Part], np.ndarray]
    is_reduced: bool

    @property
    def nbytes(self) -> int:
        """What it takes, bytes."""
        return self.shot.nbytes + self.evidence.nbytes + self.shot.image[..., 0].size


def factor_of(shape: tuple[int, ...]) -> int:
    """By how much a frame (H, W, …) is reduced to at most `MOST_PX` pixels: 1, 2, 4, … (tiles begin at multiples)."""
    factor = 1
    while shape[0] * shape[1] > MOST_PX * factor**2:
        factor *= 2
    return factor


def reduced_shape(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    """Height and width of a reduced frame; the last cells may stand for fewer pixels."""
    return -(-shape[0] // factor), -(-shape[1] // factor)


def view(shot: AlignedShot, evidence: Evidence, factor: int) -> View:
    """A shot reduced by `factor`, with evidence of its own; 1: as it is."""
    if factor == 1:
        return View(shot, evidence, lambda part: _is_clipped(shot.image[part]).astype(np.float32),
                    is_reduced=False)
    size, channels = reduced_shape(shot.image.shape, factor), shot.image.shape[2]
    image, clipped = np.empty((*size, channels), np.uint16), np.empty(size, np.uint8)
    valid = None if shot.is_whole else np.empty(size, bool)

    def look(tile: BlendTile) -> None:
        there, seen = cells_of(tile.kept, factor), shot.part(tile.kept)
        mean = cell_means(np.clip(seen.pixels, 0, 1), factor).reshape(image[there].shape)
        image[there] = np.rint(_WHITE * mean)
        share = cell_means(_is_clipped(shot.image[tile.kept]).astype(np.float32), factor)
        clipped[there] = np.rint(255 * share)
        if valid is not None:
            valid[there] = cell_means((seen.weight > 0).astype(np.float32), factor) > _WHOLE_CELL

    over_tiles(look, shot.image.shape, 0)
    curve = np.tile(tone.GRID, (channels, 1))  # leveled already, so to and from one curve
    small = AlignedShot(image, valid, None, level(curve, None, [curve], curve, size))
    return View(small, measure(small, evidence.noise / factor**2),
                lambda part: clipped[part] * np.float32(1 / 255), is_reduced=True)


def _is_clipped(raw: np.ndarray) -> np.ndarray:
    return raw.max(-1) >= _CLIPPED * full_scale(raw.dtype)
