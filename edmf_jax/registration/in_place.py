"""Whether two shots that show nothing to register by lie on each other already: on a tripod, or registered before.

Shots that are far out of focus, whose detail is in color alone, or that show a plain pattern (bars) leave a map open.
Then the question is not which map is right but whether anything speaks against none.  Small copies are compared, one of
them blurred until both are most alike.  They lie in place if their correlation is high, and if no small shift, zoom or
turn, and not the map that was found, makes it higher.  Unrelated pictures correlate by less than 0.5, neighbors in
focus by more than 0.9.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from edmf_jax.registration import planes

SIDE_PX = 320
_MIN_CORRELATION = 0.85
_MOST_GAIN = 0.004  # of correlation, by a shift or a turn
_MOST_ZOOM_GAIN = 0.5  # of what is missing to 1, by a zoom: blur that is not quite the same makes things larger
_RIVAL_GAIN = 0.2  # of what is missing to 1, by the map that was found: the right one gains 0.3 or more
_BLURS_PX = (1.4, 2.8, 5.6, 11.0, 20.0)
_WIDE_PX = 40.0  # structure that is larger does not count: light that falls off is alike in many pictures
_BORDER_PX = 16
_CHROMA_WEIGHT = 2.0
_SHIFTS_PX, _ZOOMS, _TURNS = (1, 3, 8, 16), (0.03, 0.015), (0.012, 0.03)  # turns in radians


def color_copy(image: np.ndarray) -> np.ndarray:
    """A copy of at most `SIDE_PX` a side: luma and the color differences, float32 `[h, w, 3]`; gray `[h, w, 1]`.

    `image` is `[H, W, 3]` or `[H, W]`, uint8, uint16 or floating point in [0, 1].
    """
    factor = min(1.0, SIDE_PX / max(image.shape[:2]))
    size = planes.reduced_shape(image.shape, factor)
    full = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(full)
    luma = planes.luma_plane(small)
    if small.ndim == 2:
        return luma[..., None]
    return np.dstack([luma, np.float32(_CHROMA_WEIGHT) * (small[..., ::2] - luma[..., None])])


def lie_in_place(first: np.ndarray, second: np.ndarray, rival: np.ndarray | None = None, is_trusted: bool = False
                 ) -> bool:
    """Whether nothing speaks against the identity between two shots.

    Args:
      first, second: their `color_copy`.
      rival: 3×3, the map that was found, from px of `first` to px of `second`; None: none was.
      is_trusted: only a rival that fits clearly worse gives way.
    """
    if first.shape != second.shape or min(first.shape[:2]) <= 4 * _BORDER_PX:
        return False
    best, fixed, moving = _most_alike(first, second)
    if best < _MIN_CORRELATION:
        return False
    if rival is not None and np.isfinite(rival).all():
        limit = best - _MOST_GAIN if is_trusted else best + _RIVAL_GAIN * (1 - best)
        if _correlation(fixed, _warped(moving, rival)) > limit:
            return False
    limits = best + _MOST_GAIN, best + max(_MOST_GAIN, _MOST_ZOOM_GAIN * (1 - best))
    return all(_correlation(fixed, _warped(moving, matrix)) <= limit
               for limit, maps in zip(limits, (_shifts_and_turns, _zooms)) for matrix in maps(first.shape))


def _most_alike(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The highest correlation that a blur of one of both brings, and the two bands then."""
    best, bands = -1.0, (first, second)
    wide = cv2.GaussianBlur(first, (0, 0), _WIDE_PX), cv2.GaussianBlur(second, (0, 0), _WIDE_PX)
    for blur_first, blur_second in [(_BLURS_PX[0], blur) for blur in _BLURS_PX] + [
            (blur, _BLURS_PX[0]) for blur in _BLURS_PX[1:]]:
        both = _band(first, blur_first, wide[0]), _band(second, blur_second, wide[1])
        found = _correlation(*both)
        if found > best:
            best, bands = found, both
    return best, *bands


def _band(copy: np.ndarray, blur_px: float, wide: np.ndarray) -> np.ndarray:
    return (cv2.GaussianBlur(copy, (0, 0), blur_px) - wide).reshape(copy.shape)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The mean of the channels' correlations, weighted by their contrast."""
    inside = slice(_BORDER_PX, -_BORDER_PX)
    a, b = (x[inside, inside].reshape(-1, x.shape[2]) for x in (first, second))
    a, b = a - a.mean(0), b - b.mean(0)
    contrast = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return float((a * b).sum() / max(contrast.sum(), 1e-9))


def _warped(copy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The copy through a map, 3×3, or its first two rows."""
    matrix = np.vstack([matrix, [0, 0, 1]])[:3]
    return cv2.warpPerspective(copy, matrix, copy.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                               borderMode=cv2.BORDER_REPLICATE).reshape(copy.shape)


def _shifts_and_turns(shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """2×3 maps near the identity; turns are about the middle."""
    for shift in _SHIFTS_PX:
        for x, y in ((shift, 0), (-shift, 0), (0, shift), (0, -shift)):
            yield np.float32([[1, 0, x], [0, 1, y]])
    for turn in _TURNS:
        for degrees in np.rad2deg((-turn, turn)):
            yield cv2.getRotationMatrix2D(_middle(shape), float(degrees), 1)


def _zooms(shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """2×3 maps near the identity."""
    for zoom in _ZOOMS:
        for factor in (1 - zoom, 1 + zoom):
            yield cv2.getRotationMatrix2D(_middle(shape), 0, factor)


def _middle(shape: tuple[int, ...]) -> tuple[float, float]:
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2
