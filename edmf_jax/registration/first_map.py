"""The first map between two shots, to start the refinement from: from matches of keypoints, or from a shift alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.registration import features, fitting, opencv_baselines, planes, swarm, transforms
from edmf_jax.registration.features import Keypoints
from edmf_jax.registration.opencv_baselines import NO_POINTS, PointPairs
from edmf_jax.registration.verdict import RegistrationConfig
from edmf_jax.registration.views import View

# Distances are px of the copies that keypoints are matched on, unless said otherwise.
_ENOUGH_MATCHES = 80  # consistent ones; with fewer, smaller keypoints are searched too, and then contrast planes
# Blurs of the contrast planes, tried in this order: content that is far out of focus in one shot looks the same in both
# once both are soft.
_CONTRAST_BLURS_PX = (3.0, 6.0, 0.0)
Kinds = tuple[str, ...]
"""Attributes of `View` with keypoints, tried in this order."""
THOROUGH: Kinds = ("all_keypoints",)
QUICK: Kinds = ("keypoints", *THOROUGH)
_CELL_PX = 3.0  # matches in one cell of this size, in both shots, count as one inlier
_GUIDED_RADIUS_PX = 6.0
_SHIFT_BLUR_PX = 2.4  # of the planes that a shift is searched on if keypoints give no map


class FirstMap(NamedTuple):
    """A map between the copies that keypoints are matched on.

    Attributes:
      matrix: 3×3; None if no map fits.
      inliers: the matches that agree with it.
      matches: how many there were.
      was_quick: whether the larger keypoints were enough for it.
    """

    matrix: np.ndarray | None
    inliers: PointPairs
    matches: int
    was_quick: bool


def map_from_shift(reference: View, moving: View) -> np.ndarray:
    """A shift, px of the whole pictures, from the phase correlation of both whole; the rest of the map is a zoom."""
    first, second = (view.levels[0].cache.band(_SHIFT_BLUR_PX) for view in (reference, moving))
    to_second = planes.scaling_matrix(reference.shape, moving.shape)
    fitted = cv2.resize(second, first.shape[::-1], interpolation=cv2.INTER_AREA)
    # OpenCV multiplies its inputs by the window in place, and `first` is kept for other registrations.
    (x, y), _ = cv2.phaseCorrelate(first.copy(), fitted, cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F))
    zoom = reference.levels[0].zoom
    return to_second @ np.array([[1, 0, x * zoom], [0, 1, y * zoom], [0, 0, 1.0]])


def map_from_keypoints(kinds: Kinds, reference: View, moving: View, model: str, method: str, config: RegistrationConfig
                       ) -> FirstMap:
    """The map before refinement; by OpenCV alone if `method` says so."""
    small = reference.match_plane, moving.match_plane
    model = "homography" if model == "auto" else model
    if method == "ecc":
        return FirstMap(opencv_baselines.ecc(*small, model), NO_POINTS, 0, False)
    if method != "pso-sift":
        return FirstMap(*opencv_baselines.sift(*small, model, max_keypoints=config.max_keypoints,
                                               magsac=method == "sift+magsac"), False)
    side = max(small[0].shape)
    for name in kinds:
        first, second = _of_both(lambda view: getattr(view, name), reference, moving)  # noqa: B023
        pairs = features.match(first, second)
        consistent = features.filter_consistent(first, second, pairs, side)
        if len(consistent) >= _ENOUGH_MATCHES:
            break
    for blur_px in _CONTRAST_BLURS_PX:
        if len(consistent) >= _ENOUGH_MATCHES:
            break
        more = _of_both(lambda view: view.contrast_keypoints(blur_px), reference, moving)  # noqa: B023
        pairs = np.concatenate([pairs, features.match(*more) + np.array([len(first.points), len(second.points)])])
        first, second = features.concatenate(first, more[0]), features.concatenate(second, more[1])
        consistent = features.filter_consistent(first, second, pairs, side)
    if len(consistent) < len(transforms.CONTROL_POINTS[model]):
        return FirstMap(None, NO_POINTS, len(pairs), name == "keypoints")
    matrix, inliers = _map_from_matches(first, second, consistent, small[0].shape, model, config)
    return FirstMap(matrix, inliers, len(pairs), name == "keypoints")


def _of_both(find: Callable[[View], Keypoints], reference: View, moving: View) -> tuple[Keypoints, Keypoints]:
    """Finds keypoints of both shots at once: they take most of the time of a pair that has few."""
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(find, moving)
        return find(reference), second.result()


def _map_from_matches(first: Keypoints, second: Keypoints, pairs: np.ndarray, shape: tuple[int, int],
                      model: str, config: RegistrationConfig) -> tuple[np.ndarray, PointPairs]:
    """Swarm, guided matching, least squares: the map between the copies, and those of `pairs` that agree with it."""
    unit = transforms.unit_matrix(shape)
    to_px, scale = np.linalg.inv(unit), unit[0, 0]
    to_unit = lambda chosen: (transforms.project(unit, first.points[chosen[:, 0]]),
                              transforms.project(unit, second.points[chosen[:, 1]]))
    limit = config.inlier_px * scale
    found, _ = swarm.search(*to_unit(pairs), model, limit=limit, seed=config.seed, particles=config.particles,
                            steps=config.steps)
    guided = features.guided_match(first, second, to_px @ found @ unit, _GUIDED_RADIUS_PX)
    for chosen in (pairs, guided):
        if len(chosen) > 2 * len(transforms.CONTROL_POINTS[model]):
            found, *_ = fitting.fit(found, *to_unit(chosen), model, limit=limit)
    points, targets = to_unit(pairs)
    agree = pairs[np.linalg.norm(transforms.project(found, points) - targets, axis=1) < limit]
    ends = first.points[agree[:, 0]], second.points[agree[:, 1]]
    # One corner may be a keypoint of several planes, sizes and orientations.
    cells = np.floor(np.concatenate(ends, 1) / _CELL_PX)
    distinct = np.sort(np.unique(cells, axis=0, return_index=True)[1])
    return transforms.normalize(to_px @ found @ unit), (ends[0][distinct], ends[1][distinct])
