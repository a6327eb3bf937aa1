"""Tiles of a picture on a regular grid, and weighted means over all of them as two matrix products."""

import dataclasses

import numpy as np

from edmf_jax.registration.correlation import hann_profile
from edmf_jax.registration.lazy import Lazy

_MAX_TILES = 400
_SIZES_PX = 32, 64


def block_numbers(points: np.ndarray, shape: tuple[int, ...], blocks: tuple[int, int]) -> np.ndarray:
    """The number, row by row, of the block of a picture of `shape` that each of `points` (x, y) lies in: `[N]`.

    Args:
      points: `[N, 2]`, px; those outside count to the nearest block.
      blocks: rows and columns that the picture is cut into.
    """
    counts = np.array(blocks[::-1])
    column, row = np.clip((points + 0.5) * counts // np.array(shape[1::-1]), 0, counts - 1).astype(int).T
    return row * blocks[1] + column


@dataclasses.dataclass(frozen=True)
class TileGrid:
    """Square tiles of `size` px, at every combination of `tops` and `lefts`, in a picture of `shape`.

    Attributes:
      shape: height and width of the picture, px.
      size: side of a tile, px.
      tops: first row of each row of tiles, `[R]`.
      lefts: first column of each column of tiles, `[C]`.
    """

    shape: tuple[int, int]
    size: int
    tops: np.ndarray
    lefts: np.ndarray

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "TileGrid":
        """Tiles of 32 or 64 px that overlap by half, 400 at most, from even rows and columns on."""
        shape = tuple(shape[:2])
        size = int(np.clip(2 ** round(np.log2(max(min(shape) / 8, 1))), *_SIZES_PX))
        size = min(size, *shape)
        rows, columns = (max(1, 2 * n // size - 1) for n in shape)
        reduction = min(1.0, np.sqrt(_MAX_TILES / (columns * rows)))
        tops, lefts = (np.linspace(0, n - size, max(1, int(count * reduction))).round().astype(int) // 2 * 2
                       for n, count in zip(shape, (rows, columns)))
        return cls(shape, size, tops, lefts)

    @Lazy
    def half(self) -> "TileGrid":
        """The same tiles in a plane of which only every second pixel in both directions is given."""
        height, width = self.shape
        return TileGrid(((height + 1) // 2, (width + 1) // 2), self.size // 2, self.tops // 2, self.lefts // 2)

    @property
    def origins(self) -> np.ndarray:
        """The tiles' top left corners (x, y), row by row: `[R·C, 2]`."""
        return np.stack(np.meshgrid(self.lefts, self.tops), -1).reshape(-1, 2)

    @Lazy
    def _hann(self) -> tuple[np.ndarray, np.ndarray]:
        return self._profiles(hann_profile(self.size))

    @Lazy
    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        return self._profiles(np.ones(self.size, np.float32))

    def _profiles(self, profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`profile` `[size]` at each row and at each column of tiles: `[R, H]` and `[W, C]`."""
        sides = []
        for starts, length in ((self.tops, self.shape[0]), (self.lefts, self.shape[1])):
            matrix = np.zeros((len(starts), length), np.float32)
            for row, start in enumerate(starts):
                matrix[row, start : start + self.size] = profile
            sides.append(matrix)
        return sides[0], np.ascontiguousarray(sides[1].T)

    def means(self, plane: np.ndarray) -> np.ndarray:
        """The mean of a plane `[H, W]` in each tile, weighted by the Hann window: `[R, C]`."""
        down, across = self._hann
        return down @ (plane @ across)

    def moments(self, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`means` of a plane and of its squares."""
        return self.means(plane), self.means(plane * plane)

    def is_all(self, mask: np.ndarray) -> np.ndarray:
        """Whether a mask, bool `[H, W]`, is True in all of each tile: bool `[R, C]`."""
        down, across = self._box
        return down @ ((~mask).astype(np.float32) @ across) < 0.5

    def cut(self, plane: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The tiles of a plane whose numbers, row by row, are `chosen` `[T]`: `[T, size, size]`."""
        windows = np.lib.stride_tricks.sliding_window_view(plane, (self.size, self.size))
        row, column = np.divmod(chosen, len(self.lefts))
        return windows[self.tops[row], self.lefts[column]]
