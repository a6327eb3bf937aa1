"""Sharp pictures on one sheet, and random windows of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.simulate.draws import chance, even, log_even
from edmf_jax.simulate.ranges import Ranges

_LEAST_ZOOM = 0.85  # below it the sharp pictures' own blur would be shrunk away, and windows would be larger


class Atlas(NamedTuple):
    """Pictures on a sheet.

    Attributes:
      sheet: uint8 `[H, W, 3]`.
      boxes: int32 `[P, 4]`: top, left, height and width of each picture.
      ends: `[P]`: cumulated share of each picture, between each picture alike and each pixel alike.
    """

    sheet: jax.Array
    boxes: jax.Array
    ends: jax.Array


def window_px(size: int) -> int:
    """The least height and width of a picture from which windows of `size` px are cut."""
    return int(np.ceil(size / _LEAST_ZOOM)) + 5


def make_atlas(pictures: list[np.ndarray], size: int, width: int = 4096) -> Atlas:
    """An atlas of uint8 pictures `[h, w, 3]`, for windows of `size` px; too small ones are left out (NumPy arrays).

    Raises:
      ValueError: no picture is large enough.
    """
    least = window_px(size)
    fitting = [p for p in pictures if min(p.shape[:2]) >= least and p.shape[1] <= width]
    if not fitting:
        raise ValueError(f"none of {len(pictures)} pictures has sides of {least} to {width} px")
    fitting.sort(key=lambda p: -p.shape[0])
    boxes, x, y, shelf = [], 0, 0, 0
    for picture in fitting:  # on shelves, the highest first
        if x + picture.shape[1] > width:
            x, y, shelf = 0, y + shelf, 0
        boxes.append((y, x, *picture.shape[:2]))
        shelf = max(shelf, picture.shape[0])
        x += picture.shape[1]
    sheet = np.zeros((y + shelf, width, 3), np.uint8)
    for picture, (top, left, h, w) in zip(fitting, boxes):
        sheet[top : top + h, left : left + w] = picture
    boxes = np.array(boxes, np.int32)
    share = np.sqrt(boxes[:, 2] * boxes[:, 3])
    return Atlas(sheet, boxes, np.cumsum(share / share.sum()).astype(np.float32))


def cubic(distance: jax.Array) -> jax.Array:
    """The cubic convolution kernel (a = −½, Keys 1981, DOI 10.1109/TASSP.1981.1163711) at `distance` samples."""
    d = jnp.abs(distance)
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return jnp.where(d < 1, near, jnp.where(d < 2, far, 0.0))


def _sampling_matrix(places: jax.Array, size: int) -> jax.Array:
    """Rows that sample a line of `size` samples at `places` `[..., n]`: `[..., n, size]`."""
    at = jnp.arange(size, dtype=jnp.float32).reshape(*[1] * places.ndim, size)
    weights = cubic(places[..., None] - at)
    return weights / weights.sum(-1, keepdims=True)


def windows(key: jax.Array, atlas: Atlas, count: int, size: int, ranges: Ranges) -> jax.Array:
    """Windows `[count, size, size, 3]` in [0, 1] of random pictures, at a random zoom, half of them left to right."""
    keys = iter(jax.random.split(key, 8))
    least = window_px(size)
    which = jnp.searchsorted(atlas.ends, jax.random.uniform(next(keys), (count,)) * 0.99999)
    box = atlas.boxes[jnp.clip(which, 0, len(atlas.boxes) - 1)]
    free = (box[:, 2:] - least + 1).astype(jnp.float32)
    corner = box[:, :2] + (jax.random.uniform(next(keys), (count, 2)) * free).astype(jnp.int32)
    cut = jax.vmap(lambda at: jax.lax.dynamic_slice(atlas.sheet, (at[0], at[1], 0), (least, least, 3)))(corner)
    zoomed = chance(next(keys), ranges.zoom_share, (count, 1))
    zoom = jnp.where(zoomed, log_even(next(keys), ranges.zoom, (count, 1)), 1.0)
    shift = jnp.where(zoomed, even(next(keys), (-0.5, 0.5), (2, count, 1)), 0.0)
    flip = jnp.where(chance(next(keys), 0.5, (count, 1)), -1.0, 1.0)  # never upside down: light comes from above
    offsets = (jnp.arange(size, dtype=jnp.float32) - size // 2)[None]
    middle = float(least // 2)
    rows = _sampling_matrix(middle + shift[0][:, :1] + offsets / zoom, least)
    columns = _sampling_matrix(middle + shift[1][:, :1] + flip * offsets / zoom, least)
    out = jnp.einsum("nij,njkc,nlk->nilc", rows, cut.astype(jnp.float32) / 255, columns,
                     precision=jax.lax.Precision.HIGHEST)
    gray = chance(next(keys), ranges.gray_share, (count, 1, 1, 1))
    return jnp.clip(jnp.where(gray, luma(out)[..., None], out), 0, 1)
