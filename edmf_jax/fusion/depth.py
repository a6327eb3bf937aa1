"""A depth map from which shot each pixel of a fused picture comes from: smooth, ordered from near to far.

Which shot is the sharpest is known where there is detail, and is chance on a smooth wall.  So the places of the shots
in the order of focus are averaged with confidences as weights, over a wide area but not across edges of the picture, by
the recursive filter of the domain transform (Gastal, Oliveira 2011, DOI 10.1145/2010324.1964964).  That is done on a
copy of a megapixel; its edges are brought to full size by the guided filter (He, Sun 2015, arXiv:1505.00996).
"""

from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.fusion.pixels import full_scale

_COPY_PX = 1e6
_SURE = 0.5  # a confidence from which on all count alike; smaller ones count by their square
_LEAST = 1e-7  # a weight that keeps the mean defined where nothing is known
_REACH_SHARE = 0.1  # of the diagonal: the standard deviation of the filter where the picture is flat
_EDGE, _NOISE = 0.1, 0.02  # of white: the contrast of an edge, and what of a step from px to px counts as none
_PASSES = 3
_SMOOTH_PX = 5  # of the confidence that is shown
_UPSAMPLE_PX, _UPSAMPLE_EDGE = 5, 0.03  # the guided filter's window on the copy, and the contrast of an edge
_AGREEMENT_PX = 9
_STRIP_PX = 256
_FULL = 65535


class DepthMap(NamedTuple):
    """A depth map and how far it can be trusted.

    Attributes:
      depth: uint16 `[H, W]`: 65535 is the nearest shot's plane of focus, 0 the farthest one's.
      confidence: uint16 `[H, W]`: 65535 where one shot is much sharper than all others, 0 where nothing is known.
    """

    depth: np.ndarray
    confidence: np.ndarray


def depth_map(sources: np.ndarray, ranks: np.ndarray, picture: np.ndarray, confidence: np.ndarray | None = None,
              covered: np.ndarray | None = None) -> DepthMap:
    """The depth of each pixel, in steps of the stack rather than in meters.

    Args:
      sources: the number of the sharpest shot, integers `[H, W]`.
      ranks: for each shot its place from near (0) to far (1), as of `focus_order.focus_ranks`.
      picture: the fused picture, `[H, W]` or `[H, W, C]`, uint8, uint16 or floats in [0, 1].
      confidence: float32 `[H, W]` in [0, 1]; None: as far as the sources around a pixel agree.
      covered: bool `[H, W]`, False where no shot has anything; None: nowhere.
    """
    height, width = sources.shape
    scale = max(1.0, float(np.sqrt(sources.size / _COPY_PX)))
    size = max(1, round(width / scale)), max(1, round(height / scale))
    small = lambda plane: cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    places = np.asarray(ranks, np.float32)[sources]
    sure = _agreement(places, len(ranks)) if confidence is None else np.array(confidence, np.float32)
    if covered is not None:
        sure *= covered
    shown = cv2.blur(small(sure), (_SMOOTH_PX, _SMOOTH_PX))
    weight = np.clip(sure, 0, np.float32(_SURE), out=sure)  # in place: these planes have the picture's size
    np.square(weight, out=weight)
    weight += np.float32(_LEAST)
    small_weight, copy = small(weight), small(_gray(picture))
    depth = _smooth(small(np.multiply(places, weight, out=places)), small_weight, copy)
    del places, sure, weight
    found = DepthMap(np.empty(sources.shape, np.uint16), np.empty(sources.shape, np.uint16))
    whole = lambda plane: cv2.resize(plane, (width, height))
    slope, offset = _guided(depth, copy) if depth.shape != sources.shape else (np.zeros_like(depth), depth)
    slope, offset, shown = whole(slope), whole(offset), whole(shown)
    for top in range(0, height, _STRIP_PX):
        rows = slice(top, top + _STRIP_PX)
        found.depth[rows] = _to_16_bit(1 - (slope[rows] * _gray(picture[rows]) + offset[rows]))
        found.confidence[rows] = _to_16_bit(shown[rows])
    return found


def _agreement(places: np.ndarray, count: int) -> np.ndarray:
    """1 where all shots around a pixel are one; ½ where they differ by one step in root mean square."""
    window = (_AGREEMENT_PX, _AGREEMENT_PX)
    steps = places * np.float32(count - 1)
    variance = cv2.blur(steps * steps, window) - cv2.blur(steps, window) ** 2
    return 1 / (1 + np.maximum(variance, 0))


def _smooth(weighted: np.ndarray, weight: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """The weighted mean around each pixel that stays on its side of the guide's edges; `[h, w]` each."""
    reach = _REACH_SHARE * float(np.hypot(*guide.shape))
    planes = np.stack([weighted, weight], 1)  # [h, 2, w]: one row of both at a time
    steps = [np.maximum(np.abs(np.diff(guide, axis=axis)) - np.float32(_NOISE), 0) for axis in (0, 1)]
    down, right = (1 + np.float32(reach / _EDGE) * step for step in steps)
    for i in range(_PASSES):
        sigma = reach * np.sqrt(3) * 2 ** (_PASSES - i - 1) / np.sqrt(4**_PASSES - 1)
        feedback = np.float32(np.exp(-np.sqrt(2) / sigma))
        planes = np.ascontiguousarray(planes.transpose(2, 1, 0))
        _filter_rows(planes, np.ascontiguousarray((feedback**right).T))
        planes = np.ascontiguousarray(planes.transpose(2, 1, 0))
        _filter_rows(planes, feedback**down)
    return planes[:, 0] / planes[:, 1]


def _filter_rows(planes: np.ndarray, weights: np.ndarray) -> None:
    """Filters `[h, 2, w]` downward and upward in place; row i of `weights` `[h − 1, w]` joins rows i and i + 1."""
    for i in range(1, len(planes)):
        planes[i] += weights[i - 1] * (planes[i - 1] - planes[i])
    for i in range(len(planes) - 2, -1, -1):
        planes[i] += weights[i] * (planes[i + 1] - planes[i])


def _guided(plane: np.ndarray, guide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients of the guided filter: the result is slope · guide + offset, `[h, w]` each."""
    mean = lambda values: cv2.blur(values, (_UPSAMPLE_PX, _UPSAMPLE_PX))
    mean_guide, mean_plane = mean(guide), mean(plane)
    covariance = mean(guide * plane) - mean_guide * mean_plane
    slope = covariance / (mean(guide * guide) - mean_guide**2 + np.float32(_UPSAMPLE_EDGE**2))
    return mean(slope), mean(mean_plane - slope * mean_guide)


def _gray(picture: np.ndarray) -> np.ndarray:
    """Luma of a picture, float32 `[H, W]` in [0, 1]."""
    plane = picture if picture.ndim == 2 else picture[..., 0] if picture.shape[2] == 1 else None
    if plane is None:
        integers = np.issubdtype(picture.dtype, np.integer)
        plane = cv2.cvtColor(np.ascontiguousarray(picture if integers else picture.astype(np.float32)),
                             cv2.COLOR_RGB2GRAY)
    return plane.astype(np.float32) / np.float32(full_scale(picture.dtype))


def _to_16_bit(plane: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(plane, 0, 1) * _FULL).astype(np.uint16)
