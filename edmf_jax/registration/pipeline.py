"""Registration of two shots of one scene that differ in focus and exposure: the steps in their order."""

import dataclasses

import numpy as np

from edmf_jax.registration import features, fitting, opencv_baselines, planes, swarm, tiles, transforms
from edmf_jax.registration.blurs import BlurCache, rescale_blurs
from edmf_jax.registration.features import Keypoints
from edmf_jax.registration.opencv_baselines import NO_POINTS, PointPairs
from edmf_jax.registration.verdict import METHODS, Registration, RegistrationConfig, judge

# Distances are px of the copies that keypoints are matched on, unless said otherwise.
_MIN_CONTRAST = 0.004  # standard deviation of luma in [0, 1]; one level of 8 bits
_MIN_SIDE_PX = 32  # of the whole picture
_ENOUGH_MATCHES = 200  # consistent ones; with fewer, contrast planes are searched too
# Blurs of the contrast planes, tried in this order: content that is far out of focus in one shot looks the same in both
# once both are soft.
_CONTRAST_BLURS_PX = (3.0, 6.0, 0.0)
_CELL_PX = 3.0  # matches in one cell of this size, in both shots, count as one inlier
_GUIDED_RADIUS_PX = 6.0
_AGREEMENT_PX = 1.5  # a tile whose shift is shorter agrees with the map
_FINE_ROUNDS = 3  # of refinement on the larger copies


def register(reference: np.ndarray, moving: np.ndarray, *, model: str = "homography", method: str = "pso-sift",
             config: RegistrationConfig = RegistrationConfig()) -> Registration:  # noqa: B008 (frozen)
    """Estimates the map from positions in `reference` to positions in `moving`.

    SIFT on a gradient that exposure barely affects, matches consistent in position, scale and
    orientation (PSO-SIFT, Ma et al. 2017, DOI 10.1109/LGRS.2016.2600858), the map by particle
    swarm, then refined by correlating tiles.  The methods "sift+ransac", "sift+magsac" and
    "ecc" are OpenCV's, without refinement; all are judged by the same rules.

    Args:
      reference, moving: pictures RGB `[H, W, 3]` or gray `[H, W]`, uint8, uint16 or
        floating point in [0, 1]; sizes may differ.
      model: "similarity", "affine" or "homography".
      method: "pso-sift", "sift+ransac", "sift+magsac" or "ecc".

    Returns:
      The map with its evidence.  Use it only if it is `confident` (`require_confident` raises otherwise).  A hopeless
      pair (flat, black, unrelated) gives a result without confidence, not an error.

    Raises:
      ValueError: an unknown model or method, or an array that is no picture.
    """
    transforms.check_model(model)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    whole = planes.luma_plane(reference), planes.luma_plane(moving)
    result = Registration(np.eye(3), method, model)
    for plane, name in zip(whole, ("reference", "picture to register")):
        if min(plane.shape) < _MIN_SIDE_PX:
            return dataclasses.replace(result, doubts=f"the {name} is smaller than {_MIN_SIDE_PX} px")
        if plane.std() < _MIN_CONTRAST:
            return dataclasses.replace(result, doubts=f"the {name} shows nothing but one tone")
    small, scales = _reduce_both(whole, config.match_pixels)
    matrix, inliers, matches = _map_from_keypoints(small, model, method, config)
    result = dataclasses.replace(result, matches=matches, inliers=len(inliers[0]))
    if matrix is None:
        return dataclasses.replace(result, doubts="no map fits the matching points")
    if matches:
        points, targets = (transforms.project(np.linalg.inv(scale), ends) for scale, ends in zip(scales, inliers))
        result = dataclasses.replace(result, points=points, targets=targets)
    if not _is_plausible(matrix, small[0].shape, config):
        return dataclasses.replace(result, doubts="the matching points fit no map between two shots of a scene")
    matrix, evidence = _refine(whole, small, scales, matrix, model, method, config)
    result = dataclasses.replace(result, matrix=matrix, **evidence)
    shape = whole[0].shape
    return judge(result, config, float(np.hypot(*shape)), transforms.stretch(matrix, shape))


def _reduce_both(whole: tuple[np.ndarray, np.ndarray], max_pixels: float) -> tuple[tuple, tuple]:
    """Both planes reduced by one factor, and the 3×3 matrices from px of the whole planes to px of the copies."""
    factor = min(planes.reduction_factor(plane.shape, max_pixels) for plane in whole)
    return tuple(zip(*(planes.reduce_plane(plane, factor) for plane in whole)))


def _is_plausible(matrix: np.ndarray, shape: tuple[int, ...], config: RegistrationConfig) -> bool:
    """Whether a map is worth refining: finite, and within twice the stretch that the verdict allows."""
    smallest, largest = transforms.stretch(matrix, shape)
    return bool(np.isfinite(matrix).all()) and smallest > 0.5 / config.max_stretch and largest < 2 * config.max_stretch


def _map_from_keypoints(small: tuple, model: str, method: str, config: RegistrationConfig
                        ) -> tuple[np.ndarray | None, PointPairs, int]:
    """The map between the copies before refinement, or None; the matches that agree with it; the number of matches."""
    if method == "ecc":
        return opencv_baselines.ecc(*small, model), NO_POINTS, 0
    if method != "pso-sift":
        return opencv_baselines.sift(*small, model, max_keypoints=config.max_keypoints, magsac=method == "sift+magsac")
    side = max(small[0].shape)
    gradients = [planes.gradient_plane(plane, config.blur_px) for plane in small]
    first, second, pairs = _detect_and_match(gradients, config.max_keypoints)
    consistent = features.filter_consistent(first, second, pairs, side)
    for blur_px in _CONTRAST_BLURS_PX:
        if len(consistent) >= _ENOUGH_MATCHES:
            break
        contrasts = [planes.contrast_plane(plane, blur_px) for plane in small]
        more_first, more_second, more_pairs = _detect_and_match(contrasts, config.max_keypoints)
        pairs = np.concatenate([pairs, more_pairs + np.array([len(first.points), len(second.points)])])
        first, second = features.concatenate(first, more_first), features.concatenate(second, more_second)
        consistent = features.filter_consistent(first, second, pairs, side)
    if len(consistent) < len(transforms.CONTROL_POINTS[model]):
        return None, NO_POINTS, len(pairs)
    matrix, inliers = _map_from_matches(first, second, consistent, small[0].shape, model, config)
    return matrix, inliers, len(pairs)


def _detect_and_match(pair: list[np.ndarray], max_keypoints: int) -> tuple[Keypoints, Keypoints, np.ndarray]:
    """The keypoints of both planes, and the indices `[M, 2]` of those whose descriptors match."""
    first, second = (features.detect(plane, max_keypoints) for plane in pair)
    return first, second, features.match(first, second)


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


def _refine(whole: tuple, small: tuple, scales: tuple, matrix: np.ndarray, model: str, method: str,
            config: RegistrationConfig) -> tuple[np.ndarray, dict]:
    """The map between the whole pictures, refined if requested, and its evidence as fields of `Registration`.

    Args:
      whole, small: the planes of both pictures, and their copies.
      scales: the matrices from px of the whole planes to px of the copies.
      matrix: the map between the copies.
    """
    caches = [BlurCache(plane) for plane in small]
    refined, deviation, blurs = tiles.refine(*caches, matrix, model)
    refining = method == "pso-sift" and config.refine
    if refining:
        matrix = refined
    elif np.isfinite(deviation):  # the deviation is that of `refined`, so the distance from it is added
        deviation = float(np.hypot(deviation, transforms.corner_errors(matrix, refined, small[0].shape).max()))
    agreement = tiles.measure_agreement(tiles.measure_shifts(*caches, matrix), _AGREEMENT_PX)
    matrix = np.linalg.inv(scales[1]) @ matrix @ scales[0]
    zoom = 1 / scales[0][0, 0]
    if refining and config.refine_pixels > config.match_pixels and zoom > 1:
        larger, larger_scales = _reduce_both(whole, config.refine_pixels)
        fine = larger_scales[1] @ matrix @ np.linalg.inv(larger_scales[0])
        fine, fine_deviation, _ = tiles.refine(*(BlurCache(plane) for plane in larger), fine, model,
                                               rounds=_FINE_ROUNDS,
                                               blurs=rescale_blurs(blurs, zoom * larger_scales[0][0, 0]))
        # Out of focus content has no fine detail; then the map from the smaller copies is the better one.
        if fine_deviation / larger_scales[0][0, 0] < deviation * zoom:
            matrix = np.linalg.inv(larger_scales[1]) @ fine @ larger_scales[0]
    matrix = transforms.normalize(matrix)
    return matrix, {"tiles": agreement.tiles, "agreeing_tiles": agreement.agreeing,
                    "residual_px": float(agreement.residual_px * zoom), "deviation_px": float(deviation * zoom),
                    "overlap": transforms.overlap(matrix, whole[0].shape, whole[1].shape)}
