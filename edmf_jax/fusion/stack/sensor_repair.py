"""Replaces hot pixels, found by `sensor` or in a dark frame, by what lies around them."""

import functools

import cv2
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import full_scale, size_text, white_for
from edmf_jax.fusion.stack.sensor import around, ring_offsets
from edmf_jax.fusion.stack.shots import Masked

_HALO = 0.02  # of white: a ring of 2 px that differs by more from the one of 3 px is replaced too
_DARK_MAX = 0.25  # a dark frame's median, of white, at most
_DARK_SIGMAS, _DARK_MIN = 8.0, 0.03  # of its hot pixels above their surroundings: standard deviations, and of white
_DARK_MAX_SHARE = 0.01
_MAD_TO_SIGMA = 1.4826


def replace(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A copy without the hot pixels: 3×3 px, or 5×5 where the dot is wider, are spanned like a soap film.

    Demosaicing spreads a hot pixel over 3×3 px, and JPEG at half the chroma resolution spreads its color over 5×5.
    Each square gets the values whose Laplacian is 0, given the ring around it.

    Args:
      image: `[H, W, C]`, uint8, uint16 or floating point.
      places: flat indices `[N]`.
    """
    if not len(places):
        return image
    out = image.copy()
    y, x = np.divmod(places, image.shape[1])
    inner, outer = (around(image, y, x, radius) for radius in (2, 3))
    halo = np.abs(inner.mean(1) - np.median(outer, axis=1)).max(-1) > _HALO * full_scale(image.dtype)
    for radius, ring, chosen in ((1, inner, ~halo), (2, outer, halo)):
        values = np.einsum("pr,nrc->npc", _membrane(radius), ring[chosen])
        if np.issubdtype(image.dtype, np.integer):
            values = np.rint(values)
        span = range(-radius, radius + 1)
        for k, (down, right) in enumerate((i, j) for i in span for j in span):
            rows, columns = y[chosen] + down, x[chosen] + right
            within = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
            out[rows[within], columns[within]] = values[within, k]
    return out


@functools.lru_cache
def _membrane(radius: int) -> np.ndarray:
    """The values in a square of this radius with Laplacian 0, from those on the ring around it.

    Returns:
      `[(2·radius + 1)², 8·(radius + 1)]`; all entries are 0 or more, and each row adds up to 1.
    """
    span = range(-radius, radius + 1)
    square = {place: k for k, place in enumerate((i, j) for i in span for j in span)}
    ring = {place: k for k, place in enumerate(ring_offsets(radius + 1))}
    inside, outside = 4.0 * np.eye(len(square)), np.zeros((len(square), len(ring)))
    for (i, j), k in square.items():
        for place in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if place in square:
                inside[k, square[place]] -= 1
            else:
                outside[k, ring[place]] += 1
    return np.linalg.solve(inside, outside)


def dark_frame_pixels(frame: np.ndarray, name: str) -> np.ndarray:
    """The hot pixels in a dark frame, a shot with the cap on: flat indices, sorted int64 `[N]`.

    Their largest channel is 3 % of white and eight standard deviations above the median of 5×5 px.

    Args:
      frame: `[H, W]` or `[H, W, C]`, uint8 or uint16.
      name: for messages.

    Raises:
      UserError: the frame is not dark, or a hundredth of it or more are outliers.
    """
    plane = frame if frame.ndim == 2 else frame.max(-1)
    scale, middle = full_scale(plane.dtype), float(np.median(plane))
    if middle > _DARK_MAX * scale:
        raise UserError(f"{name}: half of it is brighter than {100 * middle / scale:.0f} % of white, so it is no dark "
                        "frame; take one with the cap on, at the exposure time and ISO of the shots")
    if plane.dtype == np.uint16:
        scale = white_for(int(plane.max()))  # 10 bits in a file of 16 are seen too
    above = plane.astype(np.float32) - cv2.medianBlur(plane, 5)
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(above)))
    found = np.flatnonzero(above > max(_DARK_SIGMAS * sigma, _DARK_MIN * scale))
    if len(found) > _DARK_MAX_SHARE * plane.size:
        raise UserError(f"{name}: {len(found)} of {plane.size} pixels are outliers, too many for hot pixels; take the "
                        "dark frame with the cap on")
    return found


def without_dark_frame_pixels(shot: Masked, places: np.ndarray, shape: tuple[int, int], name: str, frame_name: str
                              ) -> Masked:
    """A shot `[H, W(, C)]` as it was read, with the dark frame's hot pixels replaced.

    Args:
      shot: as read from its file.
      places: `dark_frame_pixels`.
      shape: height and width of the dark frame.
      name, frame_name: of the shot and the dark frame, for messages.

    Raises:
      UserError: the shot has another size.
    """
    image, mask = shot
    if image.shape[:2] != shape:
        raise UserError(f"{frame_name} is {shape[1]}×{shape[0]} px and the shot {name} {size_text(image)}; give a dark "
                        "frame of the shots' own size, or leave out --dark")
    clean = replace(image if image.ndim == 3 else image[..., None], places)
    return Masked(clean if image.ndim == 3 else clean[..., 0], mask)
