"""Copies of pictures for a page: the whole reduced, and cut-outs in full resolution, as WebP.

A page shows several pictures of one size and place, its layers: sources, results, masks, differences.  The level of
detail says how large and how good their copies are, so that a page stays within its limit of bytes.
Pictures are uint8, `[H, W]` gray or `[H, W, 3]` RGB.
"""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from edmf_jax.reports.contact_sheet import to_rgb
from edmf_jax.reports.crops import Crop

PAGE_LIMIT_BYTES = 19_500_000
"""A page stays below 20 MB, the usual limit of mail servers and of pages in a repository."""
_LOSSLESS_QUALITY = 101  # OpenCV takes any quality above 100 as lossless WebP


class DetailLevel(NamedTuple):
    """How large and how good copies are: their longer sides at most [px], and WebP's quality, 1 to 100."""

    whole_px: int
    crop_px: int
    quality: int


DETAIL_LEVELS = tuple(DetailLevel(*level) for level in (
    (1024, 256, 92), (880, 256, 85), (720, 224, 82), (640, 192, 80), (560, 192, 78), (480, 176, 75), (400, 160, 70),
    (320, 128, 60), (240, 96, 45), (160, 64, 30)))
"""From the largest to the smallest."""


class LayerViews(NamedTuple):
    """A layer's whole, reduced to the first level of detail that may be used, and its cut-outs.

    Attributes:
      kind: how it is reduced: "picture" by averaging, "mask" by averaging and then back to black and white, "labels"
        by taking the nearest pixel.  Only "picture" is stored with losses.
      quality_drop: subtracted from the level's quality.
    """

    whole: np.ndarray
    crops: tuple[np.ndarray, ...]
    kind: str = "picture"
    quality_drop: int = 0


def make_views(picture: np.ndarray, crops: Sequence[Crop], side: int, kind: str = "picture",
               quality_drop: int = 0) -> LayerViews:
    """The views of a picture: its whole with sides of at most `side` px, and copies of its cut-outs."""
    cut = tuple(picture[c.y : c.y + c.height, c.x : c.x + c.width].copy() for c in crops)
    return LayerViews(shrink(picture, side, kind), cut, kind, quality_drop)


def shrink(picture: np.ndarray, side: int, kind: str = "picture") -> np.ndarray:
    """The picture with its longer side at most `side` px; never enlarged.  `kind` as in `LayerViews`."""
    size = reduced_size(picture.shape, side)
    if size == picture.shape[1::-1]:
        return picture
    small = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if kind == "labels" else cv2.INTER_AREA)
    return np.where(small >= 128, 255, 0).astype(np.uint8) if kind == "mask" else small


def reduced_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Width and height of a copy whose longer side is at most `side` px, of a picture of `shape` (height, width, …)."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def encode_layers(layers: Mapping[str, LayerViews], size: tuple[int, int], crops: Sequence[Crop], level: DetailLevel,
                  pool: ThreadPoolExecutor) -> dict[str, Any]:
    """Layers at a level of detail as JSON values for viewer.js; pictures are base64 of WebP.

    If the whole picture is stored in full resolution, the page cuts the cut-outs from it, and none are stored.

    Args:
      layers: key → views, all of one size.
      size: width and height of the pictures before the reduction [px].
      crops: the cut-outs' places.
      pool: encodes several layers at once.
    """
    cuts = [crop.center(level.crop_px) for crop in crops]

    def encode(item: tuple[str, LayerViews]) -> tuple[str, list[str]]:
        key, views = item
        quality = level.quality - views.quality_drop if views.kind == "picture" else _LOSSLESS_QUALITY
        parts = [shrink(views.whole, level.whole_px, views.kind)]
        if max(size) > level.whole_px:
            parts += [picture[c.y - big.y : c.y - big.y + c.height, c.x - big.x : c.x - big.x + c.width]
                      for c, big, picture in zip(cuts, crops, views.crops)]
        return key, [encode_webp(part, quality) for part in parts]

    encoded = dict(pool.map(encode, layers.items()))
    whole = shrink(next(iter(layers.values())).whole, level.whole_px)
    return {"width": size[0], "height": size[1], "whole": [whole.shape[1], whole.shape[0]], "quality": level.quality,
            "crops": [crop._asdict() for crop in cuts], "layers": encoded}


def encode_webp(picture: np.ndarray, quality: int) -> str:
    """base64 of a picture as WebP; a quality above 100 is lossless."""
    bgr = cv2.cvtColor(to_rgb(np.ascontiguousarray(picture)), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, (cv2.IMWRITE_WEBP_QUALITY, quality))
    return base64.b64encode(data).decode()
