"""The layers that the report of a fusion shows: the shots in the result's frame, the result, and where it comes from.

Each shot is read again, one at a time, and only what the page shows is warped: a small copy and cut-outs of a few
hundred px a side.  Layers have keys: "result", "map" (the sharpest shot at each pixel, by color), "mask" (white where
the first of two shots is the sharper one), "s0", "s1", … for the shots.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.core.color import to_8_bits
from edmf_jax.fusion.pixels import to_unit
from edmf_jax.fusion.record import FusionRecord
from edmf_jax.fusion.stack import sharpness, shots
from edmf_jax.io.palette_png import shot_colors
from edmf_jax.registration import Flow, warp
from edmf_jax.registration.planes import scaling_matrix
from edmf_jax.reports.crops import Crop, flatness, focus_edge, gradient_magnitude, place_crops
from edmf_jax.reports.picture_layers import (
    DETAIL_LEVELS,
    DetailLevel,
    LayerViews,
    make_views,
    reduced_size,
    shrink,
)

FUSION_LEVELS = (DetailLevel(2048, 448, 92), DetailLevel(1400, 320, 92), *DETAIL_LEVELS)
"""A fusion's few pictures may be larger than those of an evaluation's many pairs."""
UNALIGNED_PX = 640
"""Longer side of the copies of unaligned shots, at most."""
_MAX_KEPT_PIXELS = 40e6  # of all copies together, at 3 bytes a pixel
_CROP_SEARCH_PIXELS = 2e6  # cut-outs are chosen on copies of about this size
_MIN_CROP_PX = 96
_MASK_STRIP_ROWS = 512


class FusionPictures(NamedTuple):
    """A fusion's pictures, small enough to be kept while the level of detail is chosen.

    Attributes:
      first_level: the number in `FUSION_LEVELS` of the largest level that they are made for.
      crops: the cut-outs' places.
      layers: key → views.
      unaligned: each shot in its own frame, uint8, with sides of at most `UNALIGNED_PX`.
      sizes: width and height of each shot [px].
    """

    first_level: int
    crops: tuple[Crop, ...]
    layers: dict[str, LayerViews]
    unaligned: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class PlacedShot:
    """A shot, and where the result's frame lies in it.

    Attributes:
      image: in the shot's own frame, uint8 `[h, w]` or `[h, w, 3]`.
      matrix: 3×3, (x, y, 1) in the reference → the shot [px].
      flow: displacements on top of the matrix, or None.
      frame: top, left, height and width of the result within the reference [px].
    """

    image: np.ndarray
    matrix: np.ndarray
    flow: Flow | None
    frame: tuple[int, int, int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.frame[2:]

    def warp_window(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """The shot in a window of the result's frame, full resolution; black outside the shot."""
        return warp(self.image, self.matrix, (height, width), flow=self.flow, top=self.frame[0] + y,
                    left=self.frame[1] + x)[0]

    def warp_reduced(self, side: int) -> np.ndarray:
        """The shot in the whole frame, with sides of at most `side` px: warped at twice that size, then averaged."""
        factor = min(1.0, 2 * side / max(self.shape))
        small = shrink(self.image, max(1, round(factor * max(self.image.shape[:2]))))
        shape = tuple(max(1, round(factor * length)) for length in self.shape)
        to_small, to_frame = scaling_matrix(self.image.shape, small.shape), scaling_matrix(self.shape, shape)
        matrix = to_small @ self.matrix @ np.linalg.inv(to_frame)
        scale_y, scale_x = to_frame[1, 1], to_frame[0, 0]
        flow = self.flow and self.flow.rescaled((scale_y * self.flow.shape[0], scale_x * self.flow.shape[1]),
                                                to_small[0, 0])
        warped = warp(small, matrix, shape, flow=flow, top=scale_y * self.frame[0], left=scale_x * self.frame[1])[0]
        return cv2.resize(warped, reduced_size(self.shape, side), interpolation=cv2.INTER_AREA)


def make_fusion_pictures(fusion: FusionRecord, given: Sequence[shots.Shot],
                         progress: Callable[[str, float], None] = lambda *_: None) -> FusionPictures:
    """The pictures of a fusion.

    Args:
      fusion: what was done.
      given: the shots again, or functions that read them; at most three are in memory at a time.
      progress: called with a few words and the share that is done, [0, 1].

    Raises:
      UserError: a shot has changed since the fusion.
    """
    remaining = _place_shots(fusion, given, progress)
    first_two = [next(remaining), next(remaining)]
    mask = focus_mask_of_shots(*first_two) if len(given) == 2 else None
    result = to_8_bits(fusion.image)
    first_level = _first_level(len(given) + 3, result.shape)
    whole_px, crop_px = FUSION_LEVELS[first_level][:2]
    labels = mask if fusion.sources is None else fusion.sources
    crop_px = min(crop_px, max(_MIN_CROP_PX, min(result.shape[:2]) // 3))
    crops = _choose_crops(first_two[0], result, labels, crop_px)
    layers = {"result": make_views(result, crops, whole_px)}
    if fusion.sources is not None:
        numbers = make_views(fusion.sources, crops, whole_px, "labels")
        colors = shot_colors(len(given))
        layers["map"] = LayerViews(colors[numbers.whole], tuple(colors[cut] for cut in numbers.crops), "labels")
    if mask is not None:
        layers["mask"] = make_views(mask, crops, whole_px, "mask")
    unaligned, sizes = [], []
    for number, shot in enumerate(itertools.chain(first_two, remaining)):
        windows = tuple(shot.warp_window(*crop[1:]) for crop in crops)
        layers[f"s{number}"] = LayerViews(shot.warp_reduced(whole_px), windows)
        unaligned.append(shrink(shot.image, UNALIGNED_PX))
        sizes.append(shot.image.shape[1::-1])
    return FusionPictures(first_level, crops, layers, tuple(unaligned), tuple(sizes))


def _place_shots(fusion: FusionRecord, given: Sequence[shots.Shot], progress: Callable[[str, float], None]
                 ) -> Iterator[PlacedShot]:
    """The shots at their own exposures, read one after the other, with their places in the result."""
    reference = None
    for number, (shot, name, registration) in enumerate(zip(given, fusion.names, fusion.registrations)):
        progress(f"showing {name}", number / len(given))
        image = shots.read(shot, name)
        reference = reference or image.shape
        if error := shots.incompatible(image.shape, name, reference, fusion.names[0], registration is None):
            raise error
        matrix, flow = (np.eye(3), None) if registration is None else (registration.matrix, registration.flow)
        yield PlacedShot(to_8_bits(shots.squeeze_gray(image)), matrix, flow, fusion.frame)


def focus_mask_of_shots(a: PlacedShot, b: PlacedShot) -> np.ndarray:
    """The paper's mask (`core.focus.focus_masks`) of two shots: uint8 `[H, W]`, 255 where `a` is the sharper one.

    Computed in strips of rows that overlap by the reach of the measure, so the result is that of the whole picture.
    """
    reach, (height, width) = sharpness.REACH_PX, a.shape
    mask = np.empty((height, width), np.uint8)
    for top in range(0, height, _MASK_STRIP_ROWS):
        bottom, above = min(top + _MASK_STRIP_ROWS, height), max(top - reach, 0)
        strips = (shot.warp_window(0, above, width, min(bottom + reach, height) - above) for shot in (a, b))
        planes = (sharpness.luma_of(to_unit(x if x.ndim == 3 else x[..., None])) for x in strips)
        sharp_a, sharp_b = (sharpness.local_spatial_frequency(plane) for plane in planes)
        mask[top:bottom] = 255 * (sharp_a >= sharp_b)[top - above : bottom - above]
    return mask


def _first_level(layers: int, shape: tuple[int, ...]) -> int:
    """The number of the largest level whose copies of that many layers may be kept."""
    for number, level in enumerate(FUSION_LEVELS):
        factor = min(1.0, level.whole_px / max(shape[:2]))
        if layers * (factor**2 * shape[0] * shape[1] + 3 * level.crop_px**2) <= _MAX_KEPT_PIXELS:
            return number
    return len(FUSION_LEVELS) - 1


def _choose_crops(reference: PlacedShot, result: np.ndarray, labels: np.ndarray, side: int) -> tuple[Crop, ...]:
    """Cut-outs of `side` px: where the result is sharper than the reference, where shots meet, and an even area.

    `labels` is the number of the sharpest shot or the focus mask, `[H, W]`.
    """
    height, width = result.shape[:2]
    longer = max(height, width)
    if longer <= side:
        return ()
    factor = min(1.0, float(np.sqrt(_CROP_SEARCH_PIXELS / (height * width))))
    copy_px = max(1, round(factor * longer))
    factor = copy_px / longer
    before, after = (x if x.ndim == 2 else cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)
                     for x in (reference.warp_reduced(copy_px), shrink(result, copy_px)))
    gain = np.maximum(gradient_magnitude(after) - gradient_magnitude(before), 0)
    labels = shrink(labels.astype(np.uint8), copy_px, "labels")
    wanted = [("sharper than the reference", gain), ("where shots meet", focus_edge(before, after, labels)),
              ("even area", flatness(before, after))]
    small = place_crops(wanted, before.shape, max(1, round(side * factor)))
    window = min(side, width), min(side, height)
    return tuple(Crop(crop.label, min(round(crop.x / factor), width - window[0]),
                      min(round(crop.y / factor), height - window[1]), *window) for crop in small)
