"""Pixels that a shot lacks: black edges left by an earlier registration, and the transition to the other shots there.

What our own warp leaves out is known.  Black edges that are already in a picture are found on small copies in the
reference's frame, shot by shot.  A black edge is nearly black in this shot, clearly not black in another one, and
connected to the border of the shot's valid area.  A dark object at the picture's border does not count, unless another
shot is bright over most of the object's area.  The small copy gives the region; at full size each pixel in and next to
it is classified by its own value.

A small copy's pixels are called cells here.
"""

import cv2
import numpy as np

DARK = 12 / 255  # "nearly black": JPEG ringing in a black edge reaches this value
BLACK = 5 / 255  # the mean luma of a black edge is no larger …
_BLACKEST = 2.2 / 255  # … and this where brighter dark cells around are left out (EDMF's frames: 2.0 at most)
_BRIGHT, _BRIGHTER = 28 / 255, 3.0  # "clearly not black": at least this value, and so many times the dark shot's
_CELL_SHARE = 0.2  # a cell of which this share is nearly black counts as dark
_MIN_AREA_SHARE = 0.6  # of a connected dark area that another shot must show bright
_MIN_SIDE_SHARE = 0.1  # of the copy's longer side, in cells: a smaller area may be a dark spot that others have blurred
_MIN_BORDER_SHARE = 0.08  # of the border's cells: black things of 100 pairs without frames cover 0.034 at most
_OUTERMOST_CELLS = 2  # that the border consists of
_STRIP_WIDTH = 0.95  # quantile of the depths of what another shot shows bright
_BORDER_CELLS = 3  # so close to the border of the valid area an area counts as connected to it
_FULLY_DARK_SHARE = 0.9  # in a cell less dark than this its luma is partly that of the scene, and is not compared
_RIM_PX = 3  # next to a black edge, JPEG and interpolation have darkened pixels too
_FEATHER_PX = 8  # half the width of the transition from one shot to the other
MIN_WEIGHT = 1e-3  # of any valid pixel, so that it counts more than a missing one
REACH_PX = 2 + 2 + _RIM_PX + 2 * _FEATHER_PX
"""A pixel can change the `feathered_weight` of pixels up to this far away."""


def dark_share(image: np.ndarray, full: float, size: tuple[int, int]) -> np.ndarray:
    """The share of each cell that is nearly black in all channels: float32 `[h, w]` in [0, 1].

    Args:
      image: `[H, W, C]`.
      full: the value of white.
      size: height and width of the copy.
    """
    brightest = image[..., 0]
    for c in range(1, image.shape[2]):
        brightest = np.maximum(brightest, image[..., c])
    dark = (brightest <= DARK * full).astype(np.uint8) * np.uint8(255)
    return cv2.resize(dark, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def black_edges(dark: np.ndarray, luma: np.ndarray, others: np.ndarray, valid: np.ndarray, seen: np.ndarray
                ) -> np.ndarray:
    """Where a shot's copy has black edges, bool `[h, w]`, one or two cells too wide.

    Args:
      dark: `dark_share` of the shot, `[h, w]`.
      luma: of the shot, `[h, w]` in [0, 1].
      others: in each cell the luma of the brightest other shot, at this shot's exposure, `[h, w]` in [0, 1].
      valid: bool `[h, w]`, True where the shot covers the copy.
      seen: bool `[h, w]`, True where another shot does.
    """
    whole, dark_cells = dark >= _FULLY_DARK_SHARE, (dark >= _CELL_SHARE) & valid
    bright = (others >= _BRIGHT) & (others >= _BRIGHTER * np.where(whole, luma, 0))
    depth = cv2.distanceTransform(np.pad(valid, 1).astype(np.uint8), cv2.DIST_C, 3)[1:-1, 1:-1]  # 1 at the border
    # A thing that is dark by itself is not quite as black as an edge; where it touches one, it must not count with it.
    black_cells = dark_cells & ~(whole & (luma > BLACK))
    missing, black_missing = (_missing_at_border(cells & bright, depth) for cells in (dark_cells, black_cells))
    found = (_dark_areas(dark_cells, missing, BLACK, luma, whole, seen)
             | _dark_areas(black_cells, black_missing, _BLACKEST, luma, whole, seen)
             | _strips(black_cells, black_missing, depth, luma, whole))
    return cv2.dilate(found.astype(np.uint8), np.ones((5, 5))) > 0


def _missing_at_border(missing: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """The parts of `missing`, dark cells that another shot shows bright, that come near the border: bool `[h, w]`."""
    # Several cells wide: at the very border both shots may be black, which is no evidence that this one lacks pixels.
    at_border = missing & (depth <= _BORDER_CELLS)
    if not at_border.any():
        return at_border
    _, part = cv2.connectedComponents(missing.astype(np.uint8))
    # Something dark in the other shots may split a frame of black into parts, which are judged together.
    return np.isin(part, np.unique(part[at_border]))


def _dark_areas(cells: np.ndarray, missing: np.ndarray, blackest: float, luma: np.ndarray, whole: np.ndarray,
                seen: np.ndarray) -> np.ndarray:
    """The dark areas that another shot shows bright for the most part, bool `[h, w]`.

    Args:
      cells: that belong to an area if they touch.
      missing: those of them that `_missing_at_border` gives.
      blackest: the mean luma of an edge is no larger.
      luma: of the shot.
      whole: where a cell is dark all over.
      seen: where another shot has pixels.
    """
    if not missing.any():
        return missing
    _, area = cv2.connectedComponents(cells.astype(np.uint8))
    # Where no other shot is, none can show that this one lacks something.
    sizes, missing_sizes = (np.bincount(area[mask], minlength=area.max() + 1) for mask in (cells & seen, missing))
    enough = np.maximum(_MIN_AREA_SHARE * sizes, _MIN_SIDE_SHARE * max(cells.shape))
    black = cells & whole
    counts = np.bincount(area[black], minlength=len(sizes))
    brightness = np.bincount(area[black], luma[black], len(sizes)) / np.maximum(counts, 1)
    return missing & ((missing_sizes >= enough) & (brightness <= blackest))[area]


def _strips(cells: np.ndarray, missing: np.ndarray, depth: np.ndarray, luma: np.ndarray, whole: np.ndarray
            ) -> np.ndarray:
    """Black strips along the border, though the other shot is dark, too, beside most of them, bool `[h, w]`.

    A thing that is black itself, and blurred in the other shot, is bright there along its own outline only, which meets
    the border in few places.  Arguments as of `_dark_areas`; `depth` is each cell's distance from the border of the
    shot's valid area, cells: 1 at the border, 0 outside.
    """
    outermost, black = (depth >= 1) & (depth <= _OUTERMOST_CELLS), missing & whole
    touches = (missing & outermost).sum() >= _MIN_BORDER_SHARE * outermost.sum()
    if not (touches and black.any() and luma[black].mean() <= _BLACKEST):
        return np.zeros_like(missing)
    _, area = cv2.connectedComponents(cells.astype(np.uint8))
    width = np.quantile(depth[missing], _STRIP_WIDTH) + 2
    return np.isin(area, np.unique(area[missing])) & (depth <= width)


def without_black_edges(image: np.ndarray, full: float, valid: np.ndarray, region: np.ndarray | None) -> np.ndarray:
    """`valid` without the black edges within `region`, bool `[h, w]`.

    Args:
      image: `[h, w, C]`, a part of a shot.
      full: the value of white.
      valid: bool `[h, w]`, True where the shot covers the part.
      region: bool `[h, w]`, from `black_edges`, at full size; None: no black edges.
    """
    if region is None or not region.any():
        return valid
    black = ((image.max(-1) <= DARK * full) & region).astype(np.uint8)
    black = cv2.morphologyEx(black, cv2.MORPH_CLOSE, np.ones((5, 5)))
    return valid & ~(cv2.dilate(black, np.ones((2 * _RIM_PX + 1,) * 2)) > 0)


def feathered_weight(valid: np.ndarray) -> np.ndarray:
    """Blend weight of each pixel, float32 `[h, w]`: 0 where invalid, rising over 16 px inside the valid area to 1."""
    if valid.all():
        return np.ones(valid.shape, np.float32)
    window = (2 * _FEATHER_PX + 1,) * 2
    inside = cv2.erode(valid.astype(np.float32), np.ones(window))
    return valid * np.maximum(cv2.blur(inside, window), np.float32(MIN_WEIGHT))


def crossfade(first: np.ndarray, weight: np.ndarray, second: np.ndarray, second_weight: np.ndarray) -> np.ndarray:
    """`first` where its weight is 1, fading to `second` where that weight falls; `first` where both weights are 0.

    All arrays are `[h, w, C]`, weights in [0, 1].
    """
    if (weight == 1).all():
        return first
    rest = (1 - weight) * second_weight
    share = np.where(rest > 0, weight / np.maximum(weight + rest, np.float32(1e-12)), 1)
    return first * share + second * (1 - share)


def enlarged_part(region: np.ndarray, rows: slice, columns: slice, shape: tuple[int, ...]) -> np.ndarray:
    """The part `rows`, `columns` of a small copy's mask `[h, w]` enlarged to `shape`, by the nearest cell."""
    y, x = (((np.arange(part.start, part.stop) + 0.5) * cells / side).astype(int)
            for part, cells, side in zip((rows, columns), region.shape, shape))
    return region[y][:, x]


def largest_rectangle(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height, width of the largest rectangle of True in bool `[H, W]`; all 0 if nothing is True.

    Exact up to 400 px a side.  Larger masks are searched by blocks; then each side of the rectangle found is moved
    outward line by line.
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
    """The largest rectangle exactly: for each row as its bottom, a stack of columns of rising height."""
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
