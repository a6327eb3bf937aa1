"""Copies of pictures for a page: small wholes and full-resolution cut-outs, as WebP within a budget of bytes.

Pictures are uint8, `[H, W]` grey or `[H, W, 3]` RGB.
"""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np

from edmf_jax.report_crops import Crop
from edmf_jax.sheet import to_rgb

LIMIT_BYTES = 19_500_000
"""A page is smaller than 20 MB, what a mail or a repository's page takes."""
_LOSSLESS = 101  # OpenCV's word for it


class Level(NamedTuple):
    """How large and how good the copies are: sides [px] at most, and WebP's quality of 1 to 100."""

    whole_px: int
    crop_px: int
    quality: int


LEVELS = (Level(1024, 256, 92), Level(880, 256, 85), Level(720, 224, 82), Level(640, 192, 80), Level(560, 192, 78),
          Level(480, 176, 75), Level(400, 160, 70), Level(320, 128, 60), Level(240, 96, 45), Level(160, 64, 30))


class Views(NamedTuple):
    """A picture as large as the first level wants it, and its cut-outs.

    Attributes:
      kind: how it is reduced: "picture" by area, "mask" to black and white again, "labels" by the nearest pixel;
        the latter two keep their colours exactly.
      less: quality to take off a level's.
    """

    whole: np.ndarray
    crops: tuple[np.ndarray, ...]
    kind: str = "picture"
    less: int = 0


def to_8_bits(picture: np.ndarray) -> np.ndarray:
    """uint16 rounded to uint8 over the full range; uint8 as it is."""
    return picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def make_views(picture: np.ndarray, crops: Sequence[Crop], side: int, kind: str = "picture", less: int = 0) -> Views:
    """The whole with sides of at most `side` px, and the cut-outs as they are."""
    cut = tuple(picture[c.y : c.y + c.height, c.x : c.x + c.width].copy() for c in crops)
    return Views(shrink(picture, side, kind), cut, kind, less)


def shrink(picture: np.ndarray, side: int, kind: str = "picture") -> np.ndarray:
    """The picture with its longer side at most `side` px; never enlarged.  `kind` as in `Views`."""
    size = reduced_size(picture.shape, side)
    if size == picture.shape[1::-1]:
        return picture
    small = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if kind == "labels" else cv2.INTER_AREA)
    return np.where(small >= 128, 255, 0).astype(np.uint8) if kind == "mask" else small


def reduced_size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Width and height of a copy whose longer side has `side` px at most."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def encode_layers(layers: Mapping[str, Views], size: tuple[int, int], crops: Sequence[Crop], level: Level,
                  pool: ThreadPoolExecutor) -> dict[str, Any]:
    """Layers at a level as the viewer takes them, JSON values; pictures are base64 of WebP.

    Where the whole picture is in full resolution, cut-outs are cut from it by the page.

    Args:
      layers: key → views, all of one picture's size.
      size: width and height of the pictures themselves [px].
      crops: where the cut-outs are.
    """
    cuts = [crop.shrunk(level.crop_px) for crop in crops]

    def encode(item: tuple[str, Views]) -> tuple[str, list[str]]:
        key, views = item
        quality = level.quality - views.less if views.kind == "picture" else _LOSSLESS
        parts = [shrink(views.whole, level.whole_px, views.kind)]
        if max(size) > level.whole_px:
            parts += [picture[c.y - big.y : c.y - big.y + c.height, c.x - big.x : c.x - big.x + c.width]
                      for c, big, picture in zip(cuts, crops, views.crops)]
        return key, [webp(part, quality) for part in parts]

    encoded = dict(pool.map(encode, layers.items()))
    whole = shrink(next(iter(layers.values())).whole, level.whole_px)
    return {"width": size[0], "height": size[1], "whole": [whole.shape[1], whole.shape[0]], "quality": level.quality,
            "crops": [crop._asdict() for crop in cuts], "layers": encoded}


def webp(picture: np.ndarray, quality: int) -> str:
    """base64 of a picture as WebP; a quality above 100 is lossless."""
    bgr = cv2.cvtColor(to_rgb(np.ascontiguousarray(picture)), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, (cv2.IMWRITE_WEBP_QUALITY, quality))
    return base64.b64encode(data).decode()
