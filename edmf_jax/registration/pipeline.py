"""Registration of two shots of one scene, of differing focus and exposure: the steps in their order."""

import dataclasses

import numpy as np

from edmf_jax.registration import features, fitting, plain, planes, swarm, tiles, transforms
from edmf_jax.registration.blurs import Bank, scaled
from edmf_jax.registration.result import METHODS, Registration, RegistrationConfig, judge

_FLAT = 0.004  # standard deviation of luma; one level of 8 bits
_SMALLEST_PX = 32
_FEW = 200  # consistent matches; with fewer other planes are searched too
_SOFTER_PX = (3.0, 6.0, 0.0)  # blurs of those, px of the copy: what one shot shows far out of focus is alike when soft
_APART_PX = 3.0  # matches nearer to each other in both shots are one piece of evidence
_REMATCH_PX = 6.0  # radius of the second matching, px of the copy
_AGREE_PX = 1.5  # a tile that is off by less agrees, px of the copy


def register(reference: np.ndarray, moving: np.ndarray, *, model: str = "homography", method: str = "pso-sift",
             config: RegistrationConfig = RegistrationConfig()) -> Registration:  # noqa: B008 (frozen)
    """Finds where each position of `reference` lies in `moving`.

    SIFT on an exposure-robust gradient, matches consistent in position, scale and
    orientation (PSO-SIFT, Ma et al. 2017, DOI 10.1109/LGRS.2016.2600858), the map by particle
    swarm, then refined on the content of tiles.  The plain methods ("sift+ransac", "sift+magsac",
    "ecc") are OpenCV's, unrefined; all are judged by the same rules.

    Args:
      reference, moving: pictures RGB `[H, W, 3]` or grey `[H, W]`, uint8, uint16 or
        floating point in [0, 1]; sizes may differ.
      model: "similarity", "affine" or "homography".
      method: "pso-sift", "sift+ransac", "sift+magsac" or "ecc".

    Returns:
      The map with its evidence.  Whether it may be used is its `confident`, or `require_confident`; a hopeless
      pair (flat, black, unrelated) is an answer without confidence, no error.

    Raises:
      ValueError: an unknown model or method, or no pictures.
    """
    transforms.check_model(model)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    whole = planes.luma_plane(reference), planes.luma_plane(moving)
    nothing = Registration(np.eye(3), method, model)
    for plane, name in zip(whole, ("reference", "picture to register")):
        if min(plane.shape) < _SMALLEST_PX:
            return dataclasses.replace(nothing, doubts=f"the {name} is smaller than {_SMALLEST_PX} px")
        if plane.std() < _FLAT:
            return dataclasses.replace(nothing, doubts=f"the {name} shows nothing but one tone")
    small, scales = _reduced(whole, config.most_pixels)
    matrix, agreeing, matches = _match(small, model, method, config)
    nothing = dataclasses.replace(nothing, matches=matches, inliers=len(agreeing[0]))
    if matrix is None:
        return dataclasses.replace(nothing, doubts="no map fits the matching points")
    if matches:
        points, targets = (transforms.project(np.linalg.inv(scale), ends) for scale, ends in zip(scales, agreeing))
        nothing = dataclasses.replace(nothing, points=points, targets=targets)
    if not _usable(matrix, small[0].shape, config):
        return dataclasses.replace(nothing, doubts="the matching points fit no map between two shots of a scene")
    matrix, evidence = _refined(whole, small, scales, matrix, model, method, config)
    found = dataclasses.replace(nothing, matrix=matrix, **evidence)
    shape = whole[0].shape
    return judge(found, config, float(np.hypot(*shape)), transforms.stretch(matrix, shape))


def _reduced(whole: tuple[np.ndarray, np.ndarray], most_px: float) -> tuple[tuple, tuple]:
    """Both planes reduced by one factor, and the matrices from the wholes to the copies."""
    factor = min(planes.reduction(plane.shape, most_px) for plane in whole)
    return tuple(zip(*(planes.reduce_plane(plane, factor) for plane in whole)))


def _usable(matrix: np.ndarray, shape: tuple[int, ...], config: RegistrationConfig) -> bool:
    """A map worth a look at the content; within twice the stretch that the verdict allows."""
    least, most = transforms.stretch(matrix, shape)
    return bool(np.isfinite(matrix).all()) and least > 0.5 / config.most_stretch and most < 2 * config.most_stretch


def _match(small: tuple, model: str, method: str, config: RegistrationConfig
           ) -> tuple[np.ndarray | None, plain.Agreeing, int]:
    """The map between the copies as the matches have it, or None; the matches that agree; how many there were."""
    if method == "ecc":
        return plain.ecc(*small, model), plain.NONE, 0
    if method != "pso-sift":
        return plain.sift(*small, model, most=config.features, magsac=method == "sift+magsac")
    side = max(small[0].shape)
    first, second, pairs = _candidates([planes.slope_plane(plane, config.blur_px) for plane in small], config.features)
    chosen = features.consistent(first, second, pairs, side)
    for blur_px in _SOFTER_PX:
        if len(chosen) >= _FEW:
            break
        more = _candidates([planes.contrast_plane(plane, blur_px) for plane in small], config.features)
        pairs = np.concatenate([pairs, more[2] + [len(first.points), len(second.points)]])
        first, second = features.joined(first, more[0]), features.joined(second, more[1])
        chosen = features.consistent(first, second, pairs, side)
    if len(chosen) < len(transforms.CONTROLS[model]):
        return None, plain.NONE, len(pairs)
    matrix, agreeing = _from_matches(first, second, chosen, small[0].shape, model, config)
    return matrix, agreeing, len(pairs)


def _candidates(pair: list[np.ndarray], most: int) -> tuple[features.Features, features.Features, np.ndarray]:
    """The keypoints of both planes, and the pairs whose descriptors match."""
    first, second = (features.detect(plane, most) for plane in pair)
    return first, second, features.match(first, second)


def _from_matches(first: features.Features, second: features.Features, pairs: np.ndarray, shape: tuple[int, int],
                  model: str, config: RegistrationConfig) -> tuple[np.ndarray, plain.Agreeing]:
    """Swarm, second matching, least squares: the map, and those of `pairs` that agree with it."""
    unit = transforms.unit_matrix(shape)
    back, scale = np.linalg.inv(unit), unit[0, 0]
    to_unit = lambda chosen: (transforms.project(unit, first.points[chosen[:, 0]]),
                              transforms.project(unit, second.points[chosen[:, 1]]))
    limit = config.limit_px * scale
    found, _ = swarm.search(*to_unit(pairs), model, limit=limit, seed=config.seed, particles=config.particles,
                            steps=config.steps)
    more = features.rematch(first, second, back @ found @ unit, _REMATCH_PX)
    for chosen in (pairs, more):
        if len(chosen) > 2 * len(transforms.CONTROLS[model]):
            found, *_ = fitting.fit(found, *to_unit(chosen), model, limit=limit)
    points, targets = to_unit(pairs)
    agree = pairs[np.linalg.norm(transforms.project(found, points) - targets, axis=1) < limit]
    ends = first.points[agree[:, 0]], second.points[agree[:, 1]]
    # One corner may be a keypoint of several planes, sizes and orientations.
    cells = np.floor(np.concatenate(ends, 1) / _APART_PX)
    distinct = np.sort(np.unique(cells, axis=0, return_index=True)[1])
    return transforms.normalised(back @ found @ unit), (ends[0][distinct], ends[1][distinct])


def _refined(whole: tuple, small: tuple, scales: tuple, matrix: np.ndarray, model: str, method: str,
             config: RegistrationConfig) -> tuple[np.ndarray, dict]:
    """The map between the whole pictures, refined if asked for, and what the content says about it."""
    banks = [Bank(plane) for plane in small]
    refined, deviation, blurs = tiles.refine(*banks, matrix, model)
    refining = method == "pso-sift" and config.refine
    if refining:
        matrix = refined
    elif np.isfinite(deviation):  # what the content says of another map is no evidence for this one
        deviation = float(np.hypot(deviation, transforms.corner_errors(matrix, refined, small[0].shape).max()))
    support = tiles.support(tiles.measure(*banks, matrix), _AGREE_PX)
    matrix = np.linalg.inv(scales[1]) @ matrix @ scales[0]
    zoom = 1 / scales[0][0, 0]
    if refining and config.refine_pixels > config.most_pixels and zoom > 1:
        larger, larger_scales = _reduced(whole, config.refine_pixels)
        local = larger_scales[1] @ matrix @ np.linalg.inv(larger_scales[0])
        local, finer, _ = tiles.refine(*(Bank(plane) for plane in larger), local, model, rounds=3,
                                       blurs=scaled(blurs, zoom * larger_scales[0][0, 0]))
        # What is out of focus has nothing fine to say: then the copy knows better.
        if finer / larger_scales[0][0, 0] < deviation * zoom:
            matrix = np.linalg.inv(larger_scales[1]) @ local @ larger_scales[0]
    matrix = transforms.normalised(matrix)
    return matrix, {"tiles": support.tiles, "agreeing": support.agreeing,
                    "residual_px": float(support.residual_px * zoom), "deviation_px": float(deviation * zoom),
                    "overlap": transforms.overlap(matrix, whole[0].shape, whole[1].shape)}
