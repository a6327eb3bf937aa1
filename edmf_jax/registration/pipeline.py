"""Registration of two shots of one scene that differ in focus and exposure: the steps in their order."""

import dataclasses

import cv2
import numpy as np

from edmf_jax.registration import planes, shifts, tiles, transforms
from edmf_jax.registration.blurs import BLURS, COARSE_BLURS, BlurCache, rescale_blurs
from edmf_jax.registration.first_map import QUICK, THOROUGH, Kinds, map_from_keypoints, map_from_shift
from edmf_jax.registration.flow import Flow
from edmf_jax.registration.in_place import lie_in_place
from edmf_jax.registration.matches import TileMatches
from edmf_jax.registration.threads import one_blas_thread
from edmf_jax.registration.verdict import METHODS, MODELS, Registration, RegistrationConfig, deviation_limit, judge
from edmf_jax.registration.views import Level, View

AGREEMENT_PX = 1.5
"""A tile whose shift is shorter agrees with the map, px of the copy."""
_COARSE_ROUNDS, _FINE_ROUNDS = 6, 3  # of refinement, on the coarsest and on larger copies
_LONG_FLOW = 0.01  # of the diagonal: a longer one may make up for a map that started badly
_MOVED = 2.0  # own errors of matching points, from which on they lie elsewhere
_SIMILAR_SCALE = 1.2  # copies whose scales differ by more are brought to one before tiles are compared


def register(reference: np.ndarray, moving: np.ndarray, *, model: str = "auto", method: str = "pso-sift",
             config: RegistrationConfig = RegistrationConfig()) -> Registration:  # noqa: B008 (frozen)
    """Estimates the map from positions in `reference` to positions in `moving`.

    SIFT on a gradient that exposure barely affects, matches consistent in position, scale and
    orientation (PSO-SIFT, Ma et al. 2017, DOI 10.1109/LGRS.2016.2600858), the map by particle
    swarm, then refined by correlating tiles.  The methods "sift+ransac", "sift+magsac" and
    "ecc" are OpenCV's, without refinement; all are judged by the same rules.

    Args:
      reference, moving: pictures RGB `[H, W, 3]` or gray `[H, W]`, uint8, uint16 or
        floating point in [0, 1]; sizes may differ.
      model: "similarity", "affine" or "homography"; "auto": the simplest that predicts left-out parts of the picture
        as well as the best of the three (see `tiles.refine`).
      method: "pso-sift", "sift+ransac", "sift+magsac" or "ecc".

    Returns:
      The map with its evidence.  Use it only if it is `confident` (`require_confident` raises otherwise).  A hopeless
      pair (flat, black, unrelated) gives a result without confidence, not an error.

    Raises:
      ValueError: an unknown model or method, or an array that is no picture.
    """
    with one_blas_thread():
        return register_views(View(reference, config), View(moving, config), model=model, method=method, config=config)


def register_views(reference: View, moving: View, *, model: str = "auto", method: str = "pso-sift",
                   config: RegistrationConfig = RegistrationConfig()) -> Registration:  # noqa: B008 (frozen)
    """`register` for shots whose copies are made already; a shot that is registered to several is prepared once."""
    check_options(model, method)
    result = Registration(np.eye(3), method, model)
    for view, name in ((reference, "reference"), (moving, "picture to register")):
        if view.doubts:
            return _in_place_if_so(dataclasses.replace(result, doubts=f"the {name} {view.doubts}"), reference, moving,
                                   config)
    best, was_quick = _register_from(QUICK, result, reference, moving, config)
    is_bent = best.flow is not None and best.flow.largest_px > _LONG_FLOW * float(np.hypot(*reference.shape[:2]))
    if was_quick and (is_bent or not best.confident):  # a better start may lead to a map that can be trusted
        again, _ = _register_from(THOROUGH, result, reference, moving, config)
        best = max((again, best), key=lambda one: (one.confident, one.agreeing_tiles))
    return _in_place_if_so(best, reference, moving, config)


def _register_from(kinds: Kinds, result: Registration, reference: View, moving: View,
                   config: RegistrationConfig) -> tuple[Registration, bool]:
    """The map that starts from the first of `kinds` of keypoints with enough matches; whether that was a quick one."""
    model, method = result.model, result.method
    matrix, inliers, matches, was_quick = map_from_keypoints(kinds, reference, moving, model, method, config)
    result = dataclasses.replace(result, matches=matches, inliers=len(inliers[0]))
    if len(inliers[0]):
        points, targets = (transforms.project(np.linalg.inv(view.match_scale), ends)
                           for view, ends in zip((reference, moving), inliers))
        result = dataclasses.replace(result, points=points, targets=targets)
    if matrix is not None:
        matrix = transforms.normalize(np.linalg.inv(moving.match_scale) @ matrix @ reference.match_scale)
        if not _is_plausible(matrix, reference, moving, config):
            matrix = None
    refining = method == "pso-sift" and config.refine
    found = [] if matrix is None else [refine_views(reference, moving, matrix, result, config, refining=refining)]
    if method == "pso-sift" and result.inliers < config.min_inliers:
        found.append(refine_views(reference, moving, map_from_shift(reference, moving), result, config,
                                  refining=refining))
    best = max(found, key=lambda one: (one.confident, one.agreeing_tiles), default=None)
    if best is None:
        doubt = "no map fits the matching points" if not matches else (
            "the matching points fit no map between two shots of a scene")
        best = dataclasses.replace(result, doubts=doubt)
    return best, was_quick


def _in_place_if_so(found: Registration, reference: View, moving: View, config: RegistrationConfig) -> Registration:
    """`found`; or the identity, if `found` has little evidence and the shots lie on each other already."""
    if found.method != "pso-sift" or not config.refine or (
            found.inliers >= config.min_inliers and (found.confident or _points_moved(found, reference, config))):
        return found
    to_copies = [planes.scaling_matrix(view.shape, view.color_copy.shape) for view in (reference, moving)]
    rival = to_copies[1] @ found.matrix @ np.linalg.inv(to_copies[0])
    if not lie_in_place(reference.color_copy, moving.color_copy, rival, found.confident):
        return found
    guess_px = deviation_limit(config, reference.shape) / 2
    return dataclasses.replace(found, matrix=np.eye(3), model="similarity", in_place=True, confident=True, doubts="",
                               flow=None, overlap=1.0, deviation_px=guess_px, inliers=0, points=None, targets=None,
                               tile_matches=None)


def _points_moved(found: Registration, reference: View, config: RegistrationConfig) -> bool:
    """Whether most matching points lie elsewhere: by more than a map may be off, and than they are off themselves."""
    if found.points is None:
        return False
    moved, off = (float(np.median(np.linalg.norm(ends - found.targets, axis=1)))
                  for ends in (found.points, transforms.project(found.matrix, found.points)))
    return moved > max(deviation_limit(config, reference.shape), _MOVED * off)


def check_options(model: str, method: str) -> None:
    """Raises ValueError if one of them is unknown."""
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(transforms.CONTROL_POINTS)}, got {model!r} (or auto)")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")


def refine_views(reference: View, moving: View, matrix: np.ndarray, known: Registration, config: RegistrationConfig, *,
                 refining: bool = True, is_near: bool = False) -> Registration:
    """`known` with a map that is refined from `matrix`, its evidence, and the verdict.

    Args:
      reference, moving: the shots.
      matrix: where to start, px of the whole pictures.
      known: model, method and what is known of the matches.
      config: its limits.
      refining: False keeps `matrix` and only gathers evidence for it.
      is_near: `matrix` is right to about a pixel of the coarsest copies, and is refined once, on these alone.
    """
    pairs = list(zip(reference.levels, moving.levels))[: 1 if is_near else None]
    if len(reference.levels) != len(moving.levels):
        pairs = [(reference.levels[0], moving.levels[0])]
    model, blurs, best = known.model, BLURS if is_near else COARSE_BLURS, None
    for number, pair in enumerate(pairs):
        first, second = _at_one_scale(*pair, matrix)
        start = second.scale @ matrix @ np.linalg.inv(first.scale)
        refined = tiles.refine(first.cache, second.cache, transforms.normalize(start), model,
                               rounds=1 if is_near else _FINE_ROUNDS if number else _COARSE_ROUNDS, blurs=blurs,
                               verify=not is_near)
        found = _Refined(refined, first, second)
        if not refining:
            return _judged(found.unrefined(start), known, reference, moving, config, may_bend=False)
        # Out of focus content has no fine detail; then the map from the smaller copies is the better one.
        if best is None or found.deviation_px < best.deviation_px:
            best, matrix = found, found.matrix
        model = refined.model if np.isfinite(refined.deviation_px) else known.model
        blurs = rescale_blurs(refined.blurs, first.zoom / reference.levels[-1].zoom)
    return _judged(best, known, reference, moving, config, config.may_bend)


@dataclasses.dataclass(frozen=True)
class _Refined:
    """A refinement on two copies, in px of the whole pictures."""

    on_copies: tiles.Refinement
    first: Level
    second: Level

    @property
    def matrix(self) -> np.ndarray:
        return transforms.normalize(np.linalg.inv(self.second.scale) @ self.on_copies.matrix @ self.first.scale)

    @property
    def deviation_px(self) -> float:
        return self.on_copies.deviation_px * self.second.zoom

    def tile_matches(self, remaining: shifts.TileShifts, flow: Flow | None = None) -> TileMatches | None:
        """Those of the tiles, given what remains under the map and a flow, px of the whole pictures."""
        found = tiles.matches_of(remaining, self.on_copies.matrix, flow)
        return found and found.moved(np.linalg.inv(self.first.scale), np.linalg.inv(self.second.scale))

    def unrefined(self, start: np.ndarray) -> "_Refined":
        """With the map `start` instead; the deviation is that of the refined map, so the distance from it is added."""
        caches, refined = (self.first.cache, self.second.cache), self.on_copies
        deviation = refined.deviation_px
        if np.isfinite(deviation):
            error = transforms.corner_errors(start, refined.matrix, caches[0].luma.shape).max()
            deviation = float(np.hypot(deviation, error))
        start = transforms.normalize(start)
        kept = dataclasses.replace(refined, matrix=start, deviation_px=deviation,
                                   remaining=shifts.measure_shifts(*caches, start))
        return dataclasses.replace(self, on_copies=kept)


def _judged(found: _Refined, known: Registration, reference: View, moving: View, config: RegistrationConfig,
            may_bend: bool) -> Registration:
    """`known` with the map and evidence of a refinement, and with a residual flow if the tiles agree on one."""
    agreement = shifts.measure_agreement(found.on_copies.remaining, AGREEMENT_PX)
    model = known.model if known.model != "auto" else found.on_copies.model
    result = dataclasses.replace(
        known, matrix=found.matrix, model=model, tiles=agreement.tiles, agreeing_tiles=agreement.agreeing,
        residual_px=agreement.residual_px * found.first.zoom, deviation_px=found.deviation_px,
        overlap=transforms.overlap(found.matrix, reference.shape, moving.shape),
        tile_matches=found.tile_matches(found.on_copies.remaining))
    result = judge(result, config, reference.shape, moving.shape)
    bent = may_bend and tiles.bend(found.first.cache, found.second.cache, found.on_copies)
    if not bent:
        return result
    agreement = shifts.measure_agreement(bent.remaining, AGREEMENT_PX)
    with_flow = dataclasses.replace(
        result, tiles=agreement.tiles, agreeing_tiles=agreement.agreeing,
        residual_px=agreement.residual_px * found.first.zoom, deviation_px=bent.deviation_px * found.second.zoom,
        flow=bent.flow.rescaled(reference.shape, found.second.zoom),
        tile_matches=found.tile_matches(bent.remaining, bent.flow))
    with_flow = judge(with_flow, config, reference.shape, moving.shape)
    return with_flow if with_flow.confident or not result.confident else result


def _at_one_scale(first: Level, second: Level, matrix: np.ndarray) -> tuple[Level, Level]:
    """Both copies; the finer one reduced to the scale of the other if they differ much."""
    copies = second.scale @ matrix @ np.linalg.inv(first.scale)
    scale = float(np.sqrt(abs(np.linalg.det(copies[:2, :2]))))
    if scale > _SIMILAR_SCALE:
        return first, _reduced(second, 1 / scale)
    if scale < 1 / _SIMILAR_SCALE:
        return _reduced(first, scale), second
    return first, second


def _reduced(level: Level, factor: float) -> Level:
    """A smaller copy of a copy."""
    plane, step = planes.reduce_plane(level.cache.luma, factor)
    mask = level.cache.mask
    if mask is not None:
        mask = cv2.resize(np.uint8(mask), plane.shape[::-1], interpolation=cv2.INTER_AREA) > 0
    return Level(BlurCache(plane, mask), step @ level.scale)


def _is_plausible(matrix: np.ndarray, reference: View, moving: View, config: RegistrationConfig) -> bool:
    """Whether a map is worth refining: finite, and within twice the stretch that the verdict allows."""
    if not transforms.is_invertible(matrix):
        return False
    smallest, largest = transforms.relative_stretch(matrix, reference.shape, moving.shape)
    return smallest > 0.5 / config.max_stretch and largest < 2 * config.max_stretch
