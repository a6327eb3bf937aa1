"""Pixels that a shot does not have: black edges that an earlier registration left, and how the others take over.

What our own warp leaves out is known.  Black edges that are in the picture already are
found on small copies, shot by shot in the reference's frame: nearly black here, clearly not
black in another shot, and joined to the edge of what the shot has.  A dark thing at the
picture's edge is not taken for one, unless it is bright in another shot over most of
its area.  Which pixels it is, is decided at full size next to what was found.
"""

import cv2
import numpy as np

DARK = 12 / 255  # JPEG's ringing reaches this far into a black edge
_BRIGHT, _BRIGHTER = 28 / 255, 3.0  # clearly not black: this much, and so many times brighter
_CELL_SHARE = 0.2  # of a copy's cell, for it to count as dark
_MOST_OF_IT = 0.6
_EDGE_CELLS = 3
_LEAST_OF_SIDE = 0.1  # of the copy's longer side, in cells: fewer may be a dark spot that the others have blurred
_FULL_SHARE = 0.9
_RIM_PX = 3  # beside a black edge JPEG and interpolation have darkened pixels too
_FEATHER_PX = 8  # half the width of the passage from one shot to the other
LEAST = 1e-3  # a pixel that is there at all counts more than one that is not
REACH_PX = 2 + 2 + _RIM_PX + 2 * _FEATHER_PX
"""How far away a pixel can change another one's `weights`."""


def dark_share(image: np.ndarray, full: float, size: tuple[int, int]) -> np.ndarray:
    """How much of each cell of a copy of `size` (height, width) is nearly black in `[H, W, C]`: float32 in [0, 1]."""
    brightest = image[..., 0]
    for c in range(1, image.shape[2]):
        brightest = np.maximum(brightest, image[..., c])
    dark = (brightest <= DARK * full).astype(np.uint8) * np.uint8(255)
    return cv2.resize(dark, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def black_edges(dark: np.ndarray, luma: np.ndarray, others: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Where a shot's copy has black edges, bool `[h, w]`, a cell or two too wide.

    Args:
      dark: share of each cell that is nearly black, `[h, w]`.
      luma: of this shot, in [0, 1].
      others: the brightest that any other shot is there, in [0, 1], harmonised.
      real: bool, where the shot was warped from.
    """
    cells = (dark >= _CELL_SHARE) & real
    missing = cells & (others >= _BRIGHT) & (others >= _BRIGHTER * np.where(dark >= _FULL_SHARE, luma, 0))
    # At the very edge both shots may be black, and then nothing says that this one lacks something.
    outside = cv2.dilate(np.pad(~real, 1, constant_values=True).astype(np.uint8),
                         np.ones((2 * _EDGE_CELLS + 1,) * 2))[1:-1, 1:-1] > 0
    if not (missing & outside).any():
        return np.zeros_like(missing)
    # A frame may come in several parts, where something dark in the other shot interrupts it: they count together.
    _, whole = cv2.connectedComponents(cells.astype(np.uint8))
    _, parts = cv2.connectedComponents(missing.astype(np.uint8))
    joined = np.isin(parts, np.unique(parts[missing & outside]))
    sizes, found_of = (np.bincount(whole[mask], minlength=whole.max() + 1) for mask in (cells, joined))
    enough = np.maximum(_MOST_OF_IT * sizes, _LEAST_OF_SIDE * max(dark.shape))
    found = joined & (found_of >= enough)[whole]
    return cv2.dilate(found.astype(np.uint8), np.ones((5, 5))) > 0


def has_pixels(image: np.ndarray, full: float, real: np.ndarray, region: np.ndarray | None) -> np.ndarray:
    """Where a shot has pixels of its own, bool `[h, w]`: `real`, but for the black edges within `region`."""
    if region is None or not region.any():
        return real
    black = ((image.max(-1) <= DARK * full) & region).astype(np.uint8)
    black = cv2.morphologyEx(black, cv2.MORPH_CLOSE, np.ones((5, 5)))
    return real & ~(cv2.dilate(black, np.ones((2 * _RIM_PX + 1,) * 2)) > 0)


def weights(there: np.ndarray) -> np.ndarray:
    """The say of each pixel of a shot, float32 `[h, w]`: 0 where it has none, rising to 1 over 16 px inside."""
    if there.all():
        return np.ones(there.shape, np.float32)
    window = (2 * _FEATHER_PX + 1,) * 2
    inside = cv2.erode(there.astype(np.float32), np.ones(window))
    return there * np.maximum(cv2.blur(inside, window), np.float32(LEAST))


def take_over(first: np.ndarray, say: np.ndarray, second: np.ndarray, second_say: np.ndarray) -> np.ndarray:
    """`first`, and `second` where `first` has little say; `first` where neither has any.  All `[h, w, C]`."""
    if (say == 1).all():
        return first
    instead = (1 - say) * second_say
    share = np.where(instead > 0, say / np.maximum(say + instead, np.float32(1e-12)), 1)
    return first * share + second * (1 - share)


def resized(region: np.ndarray, rows: slice, columns: slice, shape: tuple[int, ...]) -> np.ndarray:
    """A part of a copy's mask `[h, w]` at full `shape`, by the nearest cell."""
    y, x = (((np.arange(part.start, part.stop) + 0.5) * cells / side).astype(int)
            for part, cells, side in zip((rows, columns), region.shape, shape))
    return region[y][:, x]


def largest_rectangle(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height, width of the largest rectangle of True in bool `[H, W]`; of no area where there is none.

    Exact up to about 400 cells a side; larger masks are searched by blocks, then the sides are moved out by lines.
    """
    block = max(1, -(-max(mask.shape) // 400))
    height, width = (side // block * block for side in mask.shape)
    blocks = mask[:height, :width].reshape(height // block, block, width // block, block).all((1, 3))
    top, left, rows, columns = (block * part for part in _rectangle(blocks))
    bottom, right = top + rows, left + columns
    if not rows:
        return 0, 0, 0, 0
    for _ in range(2 * block):
        top -= bool(top > 0 and mask[top - 1, left:right].all())
        bottom += bool(bottom < mask.shape[0] and mask[bottom, left:right].all())
        left -= bool(left > 0 and mask[top:bottom, left - 1].all())
        right += bool(right < mask.shape[1] and mask[top:bottom, right].all())
    return top, left, bottom - top, right - left


def _rectangle(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The largest rectangle by a stack of rising columns, row by row."""
    best, found = 0, (0, 0, 0, 0)
    heights = np.zeros(mask.shape[1] + 1, int)
    for row, line in enumerate(mask):
        heights[:-1] = np.where(line, heights[:-1] + 1, 0)
        stack: list[tuple[int, int]] = []
        for column, height in enumerate(heights.tolist()):
            start = column
            while stack and stack[-1][1] >= height:
                start, tall = stack.pop()
                if tall * (column - start) > best:
                    best, found = tall * (column - start), (row - tall + 1, start, tall, column - start)
            stack.append((start, height))
    return found
