"""Where to look closely: cut-outs where methods differ, where the focus changes, and where nothing should happen."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

_SMOOTH_PX = 21  # the mask's specks in flat regions are no edge of focus
_CLIPPED = (4, 251)  # black borders and blown-out skies are the flattest regions, and tell nothing
_NEVER = -1e30


class Crop(NamedTuple):
    """A cut-out in full resolution: what it shows, and its place [px]."""

    label: str
    x: int
    y: int
    width: int
    height: int

    def shrunk(self, side: int) -> "Crop":
        """Its middle, with sides of at most `side` px."""
        width, height = min(self.width, side), min(self.height, side)
        return Crop(self.label, self.x + (self.width - width) // 2, self.y + (self.height - height) // 2, width, height)


def choose_crops(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None, spread: np.ndarray | None,
                 side: int) -> tuple[Crop, ...]:
    """Cut-outs of `side` px, hardly overlapping; none of a picture that is itself not larger.

    Args:
      a, b: the sources' grey levels, uint8 `[H, W]`.
      mask: the focus mask, 0 and 255, if there is one.
      spread: how far the methods' grey levels lie apart at every pixel, if there are any.
    """
    if max(a.shape) <= side:
        return ()
    return place_crops([("where methods differ most", spread), ("edge of focus", focus_edge(a, b, mask)),
                        ("even area", even_area(a, b))], a.shape, side)


def place_crops(wanted: Sequence[tuple[str, np.ndarray | None]], shape: tuple[int, int], side: int
                ) -> tuple[Crop, ...]:
    """A cut-out of `side` px for each label, where its interest `[H, W]` is largest; they hardly overlap."""
    height, width = shape
    window = min(side, width), min(side, height)
    crops: list[Crop] = []
    for label, interest in wanted:
        if interest is None or not (interest != interest.flat[0]).any():
            continue
        score = _window_mean(interest, window)
        free = score.copy()
        for crop in crops:  # a window may overlap another one by half at most
            free[max(0, crop.y - window[1] // 2 + 1) : crop.y + window[1] // 2,
                 max(0, crop.x - window[0] // 2 + 1) : crop.x + window[0] // 2] = _NEVER
        if free.max() == _NEVER:
            continue
        y, x = np.unravel_index(int(free.argmax()), free.shape)
        crops.append(Crop(label, int(x), int(y), *window))
    return tuple(crops)


def _window_mean(interest: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Mean of every window (width, height) that lies within: `[H − height + 1, W − width + 1]`, by its upper left."""
    (height, width), (wide, high) = interest.shape, window
    means = cv2.boxFilter(interest.astype(np.float32), -1, window, borderType=cv2.BORDER_REFLECT)
    return means[high // 2 : high // 2 + height - high + 1, wide // 2 : wide // 2 + width - wide + 1]


def detail_of(picture: np.ndarray) -> np.ndarray:
    """Length of the gradient, float32."""
    x, y = cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return cv2.magnitude(x, y)


def focus_edge(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
    """The smoothed outline of a mask, or of numbers of shots, uint8, weighted by the detail there is about it."""
    if mask is None:
        return None
    outline = cv2.morphologyEx(cv2.medianBlur(mask, _SMOOTH_PX), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    detail = np.maximum(detail_of(a), detail_of(b))
    return (outline > 0) * cv2.boxFilter(detail, -1, (_SMOOTH_PX, _SMOOTH_PX))


def even_area(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Little detail in either source, and grey levels that are not clipped."""
    low, high = _CLIPPED
    clipped = (np.minimum(a, b) <= low) | (np.maximum(a, b) >= high)
    return -np.maximum(detail_of(a), detail_of(b)) - 1000 * clipped.astype(np.float32)
