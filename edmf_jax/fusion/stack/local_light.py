"""What one tone curve and one smooth field leave: phones brighten shadows and tame skies, differently in each shot.

Where both shots are plain, focus plays no part, and what they still differ by is light.  From such places a correction
is spread over the picture, as a line in the shot's own value around every pixel (a guided filter: He et al. 2013,
DOI 10.1109/TPAMI.2012.213), so that it ends at edges: dark things get the correction of the dark plain places around,
bright ones that of the bright places.  Differences of up to `TOLERANCE` stay, and so does what is small: it may be
a thing that moved.
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from edmf_jax.core.chooser_layout import WHOLE_CELL
from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.fusion.stack.holes import fill_plane
from edmf_jax.fusion.stack.sharpness import luma_of

TOLERANCE = 6 / 255  # encoded
LARGEST_STOPS = 3.0
_MAP_PX = 0.1e6
_SIGMA = 0.01  # of the blur under which places are plain and compared; all lengths are shares of the diagonal
_PLAIN = 0.2  # relative deviation of light within that blur
_DARK_LIGHT = 0.003  # added to light, so that noise in the dark is no deviation and no ratio of light
_BRIGHTEST = 0.95  # encoded; brighter means may hide clipping
_WIDE_SIGMA, _REMAINS = 0.08, 0.4  # light makes so much of the difference under a wide blur, too
_SMALLEST, _LEAST_SHARE = 0.03, 0.005  # an area that differs is so wide, and all of them so much of the picture
_WINDOW, _EDGE = 0.04, 0.05  # of the guided filter: radius, and what counts as an edge in the root of light


@dataclasses.dataclass(frozen=True)
class LocalLight:
    """A correction of light that depends on the place and on the shot's own value there.

    Attributes:
      slope, offset: float32 maps over the frame, `[h, w]`; stops = slope · root of light + offset.
      lowest, highest: bounds of the stops: what was found in plain places.
    """

    slope: np.ndarray
    offset: np.ndarray
    lowest: float
    highest: float

    def stops(self, root: np.ndarray, rows: slice, columns: slice, frame: tuple[int, ...]) -> np.ndarray:
        """How much more light the shot has than the reference, in stops, in a part of the frame: `[h, w]`.

        Args:
          root: of light, of the shot after all other leveling, `[h, w]`.
          rows, columns: of the part, in a frame of shape `frame` (H, W, …).
        """
        y, x = ((np.arange(part.start, part.stop, dtype=np.float32) + 0.5) * (cells / side) - 0.5
                for part, cells, side in zip((rows, columns), self.slope.shape, frame))
        x, y = np.meshgrid(np.float32(x), np.float32(y))
        slope, offset = (cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                         for plane in (self.slope, self.offset))
        return np.clip(slope * root + offset, self.lowest, self.highest)


def find(reference: np.ndarray, leveled: np.ndarray, usable: np.ndarray, each: Callable = map) -> LocalLight | None:
    """The correction of a shot; None if it needs none.

    Args:
      reference, leveled: small copies in one frame at one exposure, encoded, `[h, w, C]` float32.
      usable: bool `[h, w]`: True where both have pixels.
      each: `map`, or that of a pool with free threads.
    """
    factor = min(1.0, np.sqrt(_MAP_PX / usable.size))
    size = tuple(max(8, round(side * factor)) for side in usable.shape[::-1])
    own = (cv2.resize(usable.astype(np.float32), size, interpolation=cv2.INTER_AREA) > WHOLE_CELL).astype(np.float32)
    lights = list(each(
        lambda x: srgb_to_linear(cv2.resize(luma_of(x), size, interpolation=cv2.INTER_AREA)).astype(np.float32),
        (reference, leveled)))
    diagonal = float(np.hypot(*size))
    means, plain = _plain_places(lights, own, _SIGMA * diagonal, each)
    first, second = (linear_to_srgb(mean) for mean in means)
    difference = first - second
    differs = _opened(plain & (np.abs(difference) > TOLERANCE), _SMALLEST * diagonal)
    if differs.mean() < _LEAST_SHARE:  # as most shots do: they need no wide blur
        return None
    wide = _wide_difference(lights, own, _WIDE_SIGMA * diagonal, each)
    differs &= wide * np.sign(difference) > _REMAINS * np.abs(difference)
    if differs.mean() < _LEAST_SHARE:
        return None
    wanted = second + np.where(differs, np.sign(difference) * np.maximum(np.abs(difference) - TOLERANCE, 0), 0)
    stops = np.log2((means[1] + _DARK_LIGHT) / (srgb_to_linear(np.clip(wanted, 0, 1)) + _DARK_LIGHT))
    stops = np.clip(stops, -LARGEST_STOPS, LARGEST_STOPS).astype(np.float32)
    known = (plain & (differs | (np.abs(difference) <= TOLERANCE))).astype(np.float32)
    slope, offset = _guided(np.sqrt(lights[1]), stops, known, _WINDOW * diagonal)
    return LocalLight(slope, offset, float(stops[known > 0].min()), float(stops[known > 0].max()))


def _plain_places(lights: list[np.ndarray], own: np.ndarray, sigma_px: float, each: Callable
                  ) -> tuple[list[np.ndarray], np.ndarray]:
    """Blurred light of both, and bool `[h, w]`: where neither has edges or detail, nor ends, nor clips."""
    blurred = lambda plane: cv2.GaussianBlur(plane, (0, 0), sigma_px)
    share = blurred(own)

    def look(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = blurred(light * own) / np.maximum(share, np.float32(1e-3))
        spread = blurred(light**2 * own) / np.maximum(share, np.float32(1e-3)) - mean**2
        plain = np.sqrt(np.maximum(spread, 0)) < _PLAIN * (mean + _DARK_LIGHT)
        return mean, plain & (mean < srgb_to_linear(_BRIGHTEST))

    means, plain = zip(*each(look, lights))
    return list(means), np.logical_and.reduce([(own > 0) & (share > 0.9), *plain])


def _wide_difference(lights: list[np.ndarray], own: np.ndarray, sigma_px: float, each: Callable) -> np.ndarray:
    """The difference of encoded wide means, `[h, w]`: blur by defocus leaves these nearly as they are."""
    *wide, share = each(lambda plane: cv2.GaussianBlur(plane, (0, 0), sigma_px), [*(x * own for x in lights), own])
    first, second = (linear_to_srgb(light / np.maximum(share, np.float32(1e-3))) for light in wide)
    return first - second


def _opened(mask: np.ndarray, width_px: float) -> np.ndarray:
    """The parts of a mask that are `width_px` wide or more."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * max(1, round(width_px / 2)) + 1,) * 2)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0


def _guided(guide: np.ndarray, values: np.ndarray, known: np.ndarray, radius_px: float
            ) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of the line through the known values around each pixel, over `guide`: `[h, w]` each."""
    window = (2 * max(1, round(radius_px)) + 1,) * 2
    box = lambda plane: cv2.blur(plane, window)
    share = box(known)
    mean = lambda plane: box(plane * known) / np.maximum(share, np.float32(1e-6))
    center, level = mean(guide), mean(values)
    variance = np.maximum(mean(guide**2) - center**2, 0) + np.float32(_EDGE**2)
    slope = (mean(guide * values) - center * level) / variance
    offset = level - slope * center
    certain = np.minimum(share * 10, 1)  # where a tenth of the window is known, its line is taken
    return tuple(box(fill_plane(plane * certain, certain)) for plane in (slope, offset))
