"""The pictures of a report: small copies and full-resolution cut-outs of a pair, as WebP within a budget of bytes.

Pictures are uint8, `[H, W]` grey or `[H, W, 3]` RGB.  A pair's layers have keys: "a",
"b", "truth", "mask" (white where source A is the sharper one), "m0", "m1", … for the
methods in the tables' order, and "d0", "d1", … for their differences.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np

from edmf_jax.data import luma_levels
from edmf_jax.focus import focus_masks
from edmf_jax.pairs import Scene, to_8_bits, to_gray
from edmf_jax.report_crops import Crop, choose_crops
from edmf_jax.sheet import to_rgb

AMPLIFIED = 4
"""Differences are shown so many times enlarged, the same in every picture so that they can be compared."""
_MASK_FROM_PX = 10  # the mask's window mirrors 9 px at every side
_LOSSLESS = 101  # OpenCV's word for it
_COARSER = 20  # quality of the enlarged differences, which are mostly noise, below the pictures'
_STRIP_PX, _STRIP_QUALITY = 96, 55  # the little pictures to choose from


class Level(NamedTuple):
    """How large and how good the copies are: sides [px] at most, and WebP's quality of 1 to 100."""

    whole_px: int
    crop_px: int
    quality: int


LEVELS = (Level(1024, 256, 92), Level(880, 256, 85), Level(720, 224, 82), Level(640, 192, 80), Level(560, 192, 78),
          Level(480, 176, 75), Level(400, 160, 70), Level(320, 128, 60), Level(240, 96, 45), Level(160, 64, 30))


class _Views(NamedTuple):
    """A picture as large as the first level wants it, and its cut-outs."""

    whole: np.ndarray
    crops: tuple[np.ndarray, ...]


class PairPictures(NamedTuple):
    """A pair's layers, small enough to be kept while a level is looked for.

    Attributes:
      width, height: of the pictures themselves [px].
      crops: where the cut-outs are.
      layers: key → views.
      absent: key of a method → why it has no picture.
    """

    width: int
    height: int
    crops: tuple[Crop, ...]
    layers: dict[str, _Views]
    absent: dict[str, str]


def make_pictures(scene: Scene, methods: Sequence[str], load: Callable[[str], np.ndarray | None]) -> PairPictures:
    """The layers of a pair.

    The fused pictures are loaded one at a time, and twice: where they differ most is only known after the
    first round.

    Args:
      scene: the sources and, where there is one, the truth.
      methods: names.
      load: name → its fused picture, or None where there is none.
    """
    height, width = scene.a.shape[:2]
    mask = focus_mask(scene.a, scene.b)
    low = high = None
    absent: dict[str, str] = {}
    for i, name in enumerate(methods):
        fused = load(name)
        if fused is None or fused.shape[:2] != (height, width):
            absent[f"m{i}"] = "no picture file" if fused is None else "picture of another size"
            continue
        gray = to_gray(fused)
        low, high = (gray, gray) if low is None else (np.minimum(low, gray), np.maximum(high, gray))
    spread = None if low is None else high - low
    if len(methods) - len(absent) == 1:  # one method differs from none: then from the sources
        spread = np.abs(low - _mean(to_gray(scene.a), to_gray(scene.b)))
    crops = choose_crops(to_gray(scene.a), to_gray(scene.b), mask, spread, LEVELS[0].crop_px)

    layers = {"a": _views(scene.a, crops), "b": _views(scene.b, crops)}
    if scene.truth is not None:
        layers["truth"] = _views(scene.truth, crops)
    if mask is not None:
        layers["mask"] = _views(mask, crops, binary=True)
    for i, name in enumerate(methods):
        if f"m{i}" not in absent:
            fused = to_8_bits(load(name))
            layers[f"m{i}"] = _views(fused, crops)
            layers[f"d{i}"] = _views(difference(scene, fused), crops)
    return PairPictures(width, height, crops, layers, absent)


def focus_mask(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The paper's mask (`focus`) of the luma: uint8 `[H, W]`, 255 where `a` is the sharper; None below 10 px a side."""
    if min(a.shape[:2]) < _MASK_FROM_PX:
        return None
    planes = (luma_levels(picture).astype(np.float32) / 255 for picture in (a, b))
    return np.asarray(_sharper(*planes)).astype(np.uint8) * 255


_sharper = jax.jit(lambda a, b: focus_masks(a, b)[0])


def difference(scene: Scene, fused: np.ndarray) -> np.ndarray:
    """|fused − truth|, or to the sources' mean where there is no truth, × AMPLIFIED, channels averaged: uint8."""
    reference = _mean(scene.a, scene.b) if scene.truth is None else scene.truth.astype(np.float32)
    if fused.ndim != reference.ndim:
        fused, reference = to_gray(fused), to_gray(np.rint(reference).astype(np.uint8)).astype(np.float32)
    error = np.abs(fused - reference)
    error = error if error.ndim == 2 else error.mean(axis=2)
    return np.rint(np.minimum(AMPLIFIED * error, 255)).astype(np.uint8)


def _mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float32) + b) / 2


def _views(picture: np.ndarray, crops: Sequence[Crop], binary: bool = False) -> _Views:
    cut = tuple(picture[c.y : c.y + c.height, c.x : c.x + c.width].copy() for c in crops)
    return _Views(_shrink(picture, LEVELS[0].whole_px, binary), cut)


def _shrink(picture: np.ndarray, side: int, binary: bool = False) -> np.ndarray:
    """The picture with its longer side at most `side` px; never enlarged."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.where(small >= 128, 255, 0).astype(np.uint8) if binary else small


def encode_pair(pictures: PairPictures, level: Level, pool: ThreadPoolExecutor) -> dict[str, Any]:
    """The pair at a level, as JSON values; pictures are base64 of WebP.

    Where the whole picture is in full resolution, cut-outs are cut from it by the page.
    """
    side = max(pictures.width, pictures.height)
    crops = [crop.shrunk(level.crop_px) for crop in pictures.crops]

    def encode(item: tuple[str, _Views]) -> tuple[str, list[str]]:
        key, views = item
        quality = _LOSSLESS if key == "mask" else level.quality  # two grey levels stay two
        if key.startswith("d"):
            quality -= _COARSER
        parts = [_shrink(views.whole, level.whole_px, key == "mask")]
        if side > level.whole_px:
            parts += [picture[c.y - big.y : c.y - big.y + c.height, c.x - big.x : c.x - big.x + c.width]
                      for c, big, picture in zip(crops, pictures.crops, views.crops)]
        return key, [_webp(part, quality) for part in parts]

    layers = dict(pool.map(encode, pictures.layers.items()))
    whole = _shrink(pictures.layers["a"].whole, level.whole_px)
    return {"width": pictures.width, "height": pictures.height, "whole": [whole.shape[1], whole.shape[0]],
            "quality": level.quality, "crops": [crop._asdict() for crop in crops], "layers": layers,
            "absent": pictures.absent}


def strip_picture(pictures: PairPictures) -> str:
    """A little picture of the pair to choose it by, base64 of WebP: the first method's, or source A."""
    views: Mapping[str, _Views] = pictures.layers
    return _webp(_shrink(views.get("m0", views["a"]).whole, _STRIP_PX), _STRIP_QUALITY)


def _webp(picture: np.ndarray, quality: int) -> str:
    bgr = cv2.cvtColor(to_rgb(np.ascontiguousarray(picture)), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".webp", bgr, (cv2.IMWRITE_WEBP_QUALITY, quality))
    return base64.b64encode(data).decode()
