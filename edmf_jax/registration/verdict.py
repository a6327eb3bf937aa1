"""The options of a registration, its result, and the limits within which the result is reliable."""

import dataclasses

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.registration import transforms
from edmf_jax.registration.flow import Flow
from edmf_jax.registration.matches import TileMatches

METHODS = ("pso-sift", "sift+ransac", "sift+magsac", "ecc")
MODELS = ("auto", *transforms.CONTROL_POINTS)


@dataclasses.dataclass(frozen=True)
class RegistrationConfig:
    """Every setting; the defaults are what docs/registration.md was measured with.

    Attributes:
      match_pixels: keypoints are matched on copies of at most this many pixels.
      coarse_pixels: the map is refined on copies of at most this many pixels first, if the next are much larger.
      refine_pixels: the map is refined on copies of at most this many pixels.
      max_keypoints: SIFT keypoints per picture at most.
      blur_px: standard deviation of the Gaussian before the gradient that SIFT works on, px of the copy.
      inlier_px: the distance from which on a match counts as wrong, px of the copy.
      particles, steps: the swarm's size, and its moves in each of three stages.
      seed: of the swarm.
      refine: sub-pixel refinement by correlating tiles; False keeps the map from the matches.
      may_bend: a residual flow on top of the map, where the tiles agree on one.
      min_inliers: matches that agree with the map and were found without knowing it.
      min_tiles: tiles whose content agrees with the map.
      min_agreement: their share of the tiles with a clear correlation peak, [0, 1].
      many_tiles, high_agreement: so many agreeing tiles, if they are this share or more of those with a clear peak,
        replace `min_inliers`.
      min_overlap: the share of the reference that the moving picture covers, [0, 1].
      max_deviation_px: estimated standard deviation of the map at the worst corner, px: more counts as wrong.
      min_limit_permille, max_limit_permille: bounds on that limit, in thousandths of the reference's diagonal, because
        a pixel is little in a large picture and much in a small one.
      max_stretch: the largest factor on lengths, or its reciprocal, anywhere in the picture.
    """

    match_pixels: float = 0.3e6
    coarse_pixels: float = 0.5e6
    refine_pixels: float = 2.0e6
    max_keypoints: int = 2000
    blur_px: float = 2.0
    inlier_px: float = 3.0
    particles: int = 96
    steps: int = 25
    seed: int = 0
    refine: bool = True
    may_bend: bool = True
    min_inliers: int = 12
    min_tiles: int = 8
    min_agreement: float = 0.4
    many_tiles: int = 50
    high_agreement: float = 0.7
    min_overlap: float = 0.4
    max_deviation_px: float = 3.0
    min_limit_permille: float = 1.7
    max_limit_permille: float = 3.0
    max_stretch: float = 2.0


@dataclasses.dataclass(frozen=True)
class Registration:
    """A map from the reference to the moving picture, and the evidence for it.

    Attributes:
      matrix: 3×3 float64, lower right element 1: (x, y, 1) in the reference → the moving
        picture, px, integers at pixel centers.  The identity if none was found.
      method, model: as requested.
      matches: pairs of keypoints with matching descriptors; 0 for ECC.
      inliers: those of them that agree with the map, of distinct places.
      tiles: tiles of the pictures with a clear correlation peak, anywhere.
      agreeing_tiles: those of them whose peak is where the map says.
      residual_px: root mean square of the agreeing tiles' remaining shift, px of the reference.
      deviation_px: estimated standard deviation of the map at the worst corner, px of the moving picture; for
        an unrefined map it includes the distance from the refined one.  With a flow: the error with which it predicts
        parts of the picture that were left out, root mean square.
      overlap: the share of the reference that the moving picture covers, [0, 1].
      confident: whether all of this is within the configuration's limits.
      doubts: the reasons if not, for the user; empty if confident.
      flow: displacements on top of the matrix, where no single map is right; None: the map is all.
      in_place: nothing was found to register by, and the identity is taken, because nothing speaks against it
        (`in_place`); `deviation_px` is a guess then.
      neighbor: in a stack, the number of the shot that this one was registered to; None for a pair.
      tile_matches: the tiles that correlate, px of the whole pictures; None if there are few, and for a stack's shots.
      points, targets: the inliers, (x, y) `[inliers, 2]` float64, px: in the reference, and in
        the moving picture; for display.  None for ECC, or if no map was found.
    """

    matrix: np.ndarray
    method: str
    model: str
    matches: int = 0
    inliers: int = 0
    tiles: int = 0
    agreeing_tiles: int = 0
    residual_px: float = float("inf")
    deviation_px: float = float("inf")
    overlap: float = 0.0
    confident: bool = False
    doubts: str = ""
    flow: Flow | None = None
    in_place: bool = False
    neighbor: int | None = None
    tile_matches: TileMatches | None = None
    points: np.ndarray | None = None
    targets: np.ndarray | None = None


def judge(found: Registration, config: RegistrationConfig, reference: tuple[int, ...], moving: tuple[int, ...]
          ) -> Registration:
    """`found` with `confident` and `doubts` filled in.

    Args:
      reference, moving: the shapes of the two pictures.
    """
    share = found.agreeing_tiles / max(found.tiles, 1)
    stretch = transforms.relative_stretch(found.matrix, reference, moving)
    doubts = []
    # So many tiles in agreement are evidence without matches: chance would let one in forty agree.
    enough_tiles = found.agreeing_tiles >= config.many_tiles and share >= config.high_agreement
    if found.method != "ecc" and found.inliers < config.min_inliers and not enough_tiles:
        doubts.append(f"{found.inliers} matching points agree, {config.min_inliers} are needed")
    if not (1 / config.max_stretch <= stretch[0] and stretch[1] <= config.max_stretch):
        doubts.append(f"lengths would change by a factor of {stretch[0]:.2f} to {stretch[1]:.2f}")
    if found.overlap < config.min_overlap:
        doubts.append(f"the pictures share {100 * found.overlap:.0f} % of the view, "
                      f"{100 * config.min_overlap:.0f} % are needed")
    if found.agreeing_tiles < config.min_tiles or share < config.min_agreement:
        doubts.append(f"the content agrees in {found.agreeing_tiles} of {found.tiles} places")
    doubts += doubt_of_deviation(found, config, reference)
    return dataclasses.replace(found, confident=not doubts, doubts="; ".join(doubts))


def deviation_limit(config: RegistrationConfig, reference: tuple[int, ...]) -> float:
    """The largest deviation of a map's worst corner, px, for a reference of this shape."""
    diagonal_px = float(np.hypot(*reference[:2]))
    lower, upper = (limit * diagonal_px / 1000 for limit in (config.min_limit_permille, config.max_limit_permille))
    return min(max(config.max_deviation_px, lower), upper)


def doubt_of_deviation(found: Registration, config: RegistrationConfig, reference: tuple[int, ...]) -> list[str]:
    """A line if the deviation is over its limit for a reference of this shape; else nothing."""
    # What a flow predicts is an error everywhere, not that of the worst corner.
    limit_px, where = deviation_limit(config, reference) / (2 if found.flow else 1), "content is" if found.flow else (
        "corners are")
    if found.deviation_px <= limit_px:
        return []
    if not np.isfinite(found.deviation_px):
        return ["too little content agrees to tell how exact its place is"]
    if found.deviation_px > np.hypot(*reference[:2]):
        return [f"the {where} uncertain by more than the whole picture"]
    return [f"the {where} uncertain by {_unlike(found.deviation_px, limit_px)}"]


def _unlike(px: float, limit_px: float) -> str:
    """"1.3 px, more than 1.2", with as many digits as show a difference."""
    digits = next((n for n in (1, 2, 3) if f"{px:.{n}f}" != f"{limit_px:.{n}f}"), 4)
    return f"{px:.{digits}f} px, more than {limit_px:.{digits}f}"


def require_confident(found: Registration, reference: str, moving: str) -> Registration:
    """`found` itself if it is confident.

    Args:
      reference, moving: the names of the two pictures, for the message.

    Raises:
      UserError: it is not; one line with the reasons and what to do.
    """
    if found.confident:
        return found
    raise UserError(f"{moving}: cannot be registered to {reference} with confidence ({found.doubts}); check that both "
                    "show the same scene, or use --align none if they are registered already")
