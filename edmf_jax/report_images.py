"""The pictures of a report: small copies and full-resolution cut-outs of a pair, as WebP within a budget of bytes.

Pictures are uint8, `[H, W]` grey or `[H, W, 3]` RGB.  A pair's layers have keys: "a",
"b", "truth", "mask" (white where source A is the sharper one), "m0", "m1", … for the
methods in the tables' order, and "d0", "d1", … for their differences.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from edmf_jax.copies import LEVELS, Level, Views, encode_layers, make_views, shrink, to_8_bits, webp
from edmf_jax.data import luma_levels
from edmf_jax.focus import focus_masks
from edmf_jax.pairs import Scene, to_gray
from edmf_jax.report_crops import Crop, choose_crops

AMPLIFIED = 4
"""Differences are shown so many times enlarged, the same in every picture so that they can be compared."""
_MASK_FROM_PX = 10  # the mask's window mirrors 9 px at every side
_COARSER = 20  # quality of the enlarged differences, which are mostly noise, below the pictures'
_STRIP_PX, _STRIP_QUALITY = 96, 55  # the little pictures to choose from


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
    layers: dict[str, Views]
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

    side = LEVELS[0].whole_px
    layers = {"a": make_views(scene.a, crops, side), "b": make_views(scene.b, crops, side)}
    if scene.truth is not None:
        layers["truth"] = make_views(scene.truth, crops, side)
    if mask is not None:
        layers["mask"] = make_views(mask, crops, side, "mask")
    for i, name in enumerate(methods):
        if f"m{i}" not in absent:
            fused = to_8_bits(load(name))
            layers[f"m{i}"] = make_views(fused, crops, side)
            layers[f"d{i}"] = make_views(difference(scene, fused), crops, side, less=_COARSER)
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


def encode_pair(pictures: PairPictures, level: Level, pool: ThreadPoolExecutor) -> dict[str, Any]:
    """The pair at a level, as JSON values (`encode_layers`)."""
    size = pictures.width, pictures.height
    return encode_layers(pictures.layers, size, pictures.crops, level, pool) | {"absent": pictures.absent}


def strip_picture(pictures: PairPictures) -> str:
    """A little picture of the pair to choose it by, base64 of WebP: the first method's, or source A."""
    views: Mapping[str, Views] = pictures.layers
    return webp(shrink(views.get("m0", views["a"]).whole, _STRIP_PX), _STRIP_QUALITY)
