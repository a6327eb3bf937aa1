"""Where a thing that moved stands in another shot (`motion_regions`): what one has in a region is looked for."""

import cv2
import numpy as np

_STEP = 2  # of the ladder: the thing may be a little out of focus in one of the two
_RIM_PX = 4
_MAX_LEFT = 0.2  # of the contrast, squared, between the shots in the region
_MIN_CONTRAST = 0.1  # likewise, between the shots where it is found: or it stands there in both


def elsewhere(first: np.ndarray, second: np.ndarray, valid: np.ndarray, core: np.ndarray) -> np.ndarray | None:
    """Where the second shot shows what the first one shows in a region, and the first one does not.

    Args:
      first, second: the two as `Blurs.planes`.
      valid: bool `[h, w]`, pixels that both have.
      core: bool `[h, w]`, the region, where the two differ.

    Returns:
      The region moved there, bool `[h, w]`; None: nowhere.
    """
    a, b = first[_STEP], second[_STEP]
    top, left, height, width = _box(core)
    shape = np.float32(core[top : top + height, left : left + width])
    difference = np.square(a - b).mean(-1)
    contrast = float(difference[core].mean())
    places = slice(0, a.shape[0] - height + 1), slice(0, a.shape[1] - width + 1)
    mean = lambda plane: cv2.filter2D(plane, cv2.CV_32F, shape / shape.sum(), anchor=(0, 0),
                                      borderType=cv2.BORDER_REPLICATE)[places]
    template = np.ascontiguousarray(a[top : top + height, left : left + width])
    weight = np.ascontiguousarray(np.broadcast_to(shape[..., None], template.shape))
    found = cv2.matchTemplate(np.ascontiguousarray(b), template, cv2.TM_SQDIFF, mask=weight) / weight.sum()
    usable = np.zeros(valid.shape, np.float32)
    usable[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX] = valid[_RIM_PX:-_RIM_PX, _RIM_PX:-_RIM_PX]
    elsewhere = mean(difference)
    found = np.where((elsewhere > _MIN_CONTRAST * contrast) & (mean(usable) > 0.95), found, np.inf)
    y, x = np.unravel_index(np.argmin(found), found.shape)
    if not found[y, x] < _MAX_LEFT * min(contrast, elsewhere[y, x]):
        return None
    moved = np.zeros_like(core)
    moved[y : y + height, x : x + width] = shape > 0
    return moved


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, height, width of what is True."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return top, left, height, width
