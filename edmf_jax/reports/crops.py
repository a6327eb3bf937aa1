"""Where to look closely: cut-outs where results differ, where the focus changes, and where the picture is flat."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

_SMOOTH_PX = 21  # median filter of a mask: its specks in flat regions are no edges of focus
_UNCLIPPED_LEVELS = (4, 251)  # black borders and blown-out skies are the flattest regions, but show nothing
_EXCLUDED = -1e30  # a score that no window has


class Crop(NamedTuple):
    """A cut-out in full resolution: what it shows, and its upper left corner and size [px]."""

    label: str
    x: int
    y: int
    width: int
    height: int

    def center(self, side: int) -> "Crop":
        """Its middle part, with sides of at most `side` px."""
        width, height = min(self.width, side), min(self.height, side)
        return Crop(self.label, self.x + (self.width - width) // 2, self.y + (self.height - height) // 2, width, height)


def choose_crops(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None, disagreement: np.ndarray | None,
                 side: int) -> tuple[Crop, ...]:
    """At most three cut-outs of a pair, `side` px wide and high; none if the picture is no larger than that.

    Args:
      a, b: the sources' gray levels, uint8 `[H, W]`.
      mask: the focus mask, 0 and 255; None leaves out the cut-out at an edge of focus.
      disagreement: `[H, W]`, how far the methods' gray levels lie apart; None leaves out that cut-out.
    """
    if max(a.shape) <= side:
        return ()
    return place_crops([("where methods differ most", disagreement), ("edge of focus", focus_edge(a, b, mask)),
                        ("even area", flatness(a, b))], a.shape, side)


def place_crops(wanted: Sequence[tuple[str, np.ndarray | None]], shape: tuple[int, int], side: int
                ) -> tuple[Crop, ...]:
    """Cut-outs of `side` px, one for each (label, score `[H, W]`), where the score's mean is largest.

    Scores that are None or constant give none.  Two cut-outs overlap by about half of their area at most.
    """
    height, width = shape
    window = min(side, width), min(side, height)
    crops: list[Crop] = []
    for label, score in wanted:
        if score is None or not (score != score.flat[0]).any():
            continue
        free = _window_means(score, window)
        for crop in crops:
            free[max(0, crop.y - window[1] // 2 + 1) : crop.y + window[1] // 2,
                 max(0, crop.x - window[0] // 2 + 1) : crop.x + window[0] // 2] = _EXCLUDED
        if free.max() == _EXCLUDED:
            continue
        y, x = np.unravel_index(int(free.argmax()), free.shape)
        crops.append(Crop(label, int(x), int(y), *window))
    return tuple(crops)


def _window_means(score: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Mean over every window (width, height) inside `score`, by its upper left corner: `[H − h + 1, W − w + 1]`."""
    (height, width), (w, h) = score.shape, window
    means = cv2.boxFilter(score.astype(np.float32), -1, window, borderType=cv2.BORDER_REFLECT)
    return means[h // 2 : h // 2 + height - h + 1, w // 2 : w // 2 + width - w + 1]


def gradient_magnitude(picture: np.ndarray) -> np.ndarray:
    """Length of the Sobel gradient of a gray picture `[H, W]`, float32."""
    x, y = cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)
    return cv2.magnitude(x, y)


def focus_edge(a: np.ndarray, b: np.ndarray, labels: np.ndarray | None) -> np.ndarray | None:
    """Score of edges of focus: the detail around each pixel on the outline of smoothed `labels`, 0 elsewhere.

    Args:
      a, b: gray pictures `[H, W]`, uint8.
      labels: a focus mask, or the number of the sharpest shot, uint8 `[H, W]`; None gives None.
    """
    if labels is None:
        return None
    outline = cv2.morphologyEx(cv2.medianBlur(labels, _SMOOTH_PX), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    detail = np.maximum(gradient_magnitude(a), gradient_magnitude(b))
    return (outline > 0) * cv2.boxFilter(detail, -1, (_SMOOTH_PX, _SMOOTH_PX))


def flatness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Score of flat areas: minus the larger gradient of `a` and `b`, and far lower where one of them is clipped."""
    low, high = _UNCLIPPED_LEVELS
    clipped = (np.minimum(a, b) <= low) | (np.maximum(a, b) >= high)
    return -np.maximum(gradient_magnitude(a), gradient_magnitude(b)) - 1000 * clipped.astype(np.float32)
