"""The layers that the report of an evaluation shows of a pair.

Pictures are uint8, `[H, W]` gray or `[H, W, 3]` RGB.  Layers have keys: "a", "b", "truth", "mask" (white where source
A is the sharper one), "m0", "m1", … for the methods in the tables' order, and "d0", "d1", … for their differences from
the truth.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from edmf_jax.core.color import luma_levels, to_8_bits, to_gray
from edmf_jax.core.focus import focus_masks
from edmf_jax.data.pairs import Scene
from edmf_jax.reports.crops import Crop, choose_crops
from edmf_jax.reports.picture_layers import (
    DETAIL_LEVELS,
    DetailLevel,
    LayerViews,
    encode_layers,
    encode_webp,
    make_views,
    shrink,
)

DIFFERENCE_GAIN = 4
"""Differences are shown multiplied by this: the same in all pictures, so that they can be compared."""
_MIN_MASK_SIDE_PX = 10  # the mask's window reflects 9 px at every border
_DIFFERENCE_QUALITY_DROP = 20  # differences are mostly noise, which would take most of a page's bytes
_STRIP_PX, _STRIP_QUALITY = 96, 55  # the thumbnails to choose a pair by


class PairPictures(NamedTuple):
    """A pair's layers, small enough to be kept while the level of detail is chosen.

    Attributes:
      width, height: of the pictures before the reduction [px].
      crops: the cut-outs' places.
      layers: key → views.
      absent: key of a method → why it has no picture.
    """

    width: int
    height: int
    crops: tuple[Crop, ...]
    layers: dict[str, LayerViews]
    absent: dict[str, str]


def make_pictures(scene: Scene, methods: Sequence[str], load: Callable[[str], np.ndarray | None]) -> PairPictures:
    """The layers of a pair.

    Fused pictures are held one at a time.  Each is loaded twice, because the cut-outs depend on all of them.

    Args:
      scene: the sources and, if known, the truth.
      methods: names.
      load: name → its fused picture, or None if it has none.
    """
    height, width = scene.a.shape[:2]
    mask = focus_mask(scene.a, scene.b)
    disagreement, absent = _compare_methods(scene, methods, load)
    crops = choose_crops(to_gray(scene.a), to_gray(scene.b), mask, disagreement, DETAIL_LEVELS[0].crop_px)

    side = DETAIL_LEVELS[0].whole_px
    layers = {"a": make_views(scene.a, crops, side), "b": make_views(scene.b, crops, side)}
    if scene.truth is not None:
        layers["truth"] = make_views(scene.truth, crops, side)
    if mask is not None:
        layers["mask"] = make_views(mask, crops, side, "mask")
    for i, name in enumerate(methods):
        if f"m{i}" not in absent:
            fused = to_8_bits(load(name))
            layers[f"m{i}"] = make_views(fused, crops, side)
            layers[f"d{i}"] = make_views(difference(scene, fused), crops, side, quality_drop=_DIFFERENCE_QUALITY_DROP)
    return PairPictures(width, height, crops, layers, absent)


def _compare_methods(scene: Scene, methods: Sequence[str], load: Callable[[str], np.ndarray | None]
                     ) -> tuple[np.ndarray | None, dict[str, str]]:
    """How far the methods' gray levels lie apart at each pixel, `[H, W]`, and `PairPictures.absent`.

    For a single method it is the distance to the sources' mean; None if no method has a picture.
    """
    low = high = None
    absent: dict[str, str] = {}
    for i, name in enumerate(methods):
        fused = load(name)
        if fused is None or fused.shape[:2] != scene.a.shape[:2]:
            absent[f"m{i}"] = "no picture file" if fused is None else "picture of another size"
            continue
        gray = to_gray(fused)
        low, high = (gray, gray) if low is None else (np.minimum(low, gray), np.maximum(high, gray))
    if low is None:
        return None, absent
    if len(methods) - len(absent) == 1:
        return np.abs(low - _mean(to_gray(scene.a), to_gray(scene.b))), absent
    return high - low, absent


def focus_mask(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The paper's mask (`core.focus`) of the luma: uint8 `[H, W]`, 255 where `a` is the sharper source.

    None if a side is shorter than 10 px.
    """
    if min(a.shape[:2]) < _MIN_MASK_SIDE_PX:
        return None
    planes = (luma_levels(picture).astype(np.float32) / 255 for picture in (a, b))
    return np.asarray(_first_is_sharper(*planes)).astype(np.uint8) * 255


_first_is_sharper = jax.jit(lambda a, b: focus_masks(a, b)[0])


def difference(scene: Scene, fused: np.ndarray) -> np.ndarray:
    """|fused − truth| × DIFFERENCE_GAIN, mean of the channels, clipped: uint8 `[H, W]`.

    Without a truth, the reference is the mean of the sources.
    """
    reference = _mean(scene.a, scene.b) if scene.truth is None else scene.truth.astype(np.float32)
    if fused.ndim != reference.ndim:
        fused, reference = to_gray(fused), to_gray(np.rint(reference).astype(np.uint8)).astype(np.float32)
    error = np.abs(fused - reference)
    error = error if error.ndim == 2 else error.mean(axis=2)
    return np.rint(np.minimum(DIFFERENCE_GAIN * error, 255)).astype(np.uint8)


def _mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float32) + b) / 2


def encode_pair(pictures: PairPictures, level: DetailLevel, pool: ThreadPoolExecutor) -> dict[str, Any]:
    """The pair at a level of detail, as JSON values (`encode_layers`)."""
    size = pictures.width, pictures.height
    return encode_layers(pictures.layers, size, pictures.crops, level, pool) | {"absent": pictures.absent}


def encode_thumbnail(pictures: PairPictures) -> str:
    """A thumbnail of the first method's picture, or of source A if that is absent, as base64 of WebP."""
    views: Mapping[str, LayerViews] = pictures.layers
    return encode_webp(shrink(views.get("m0", views["a"]).whole, _STRIP_PX), _STRIP_QUALITY)
