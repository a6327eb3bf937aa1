"""What a registration is asked for, what it answers, and when the answer may be trusted."""

import dataclasses

import numpy as np

from edmf_jax.errors import UserError

METHODS = ("pso-sift", "sift+ransac", "sift+magsac", "ecc")


@dataclasses.dataclass(frozen=True)
class RegistrationConfig:
    """Every knob, with the value that the benchmark was run with.

    Attributes:
      most_pixels: matching is done on a copy no larger than this.
      refine_pixels: and the refinement on one no larger than this.
      features: SIFT keypoints per picture at most.
      blur_px: the Gaussian before the gradient that SIFT sees, standard deviation, px of the copy.
      limit_px: where a match counts as wrong in the swarm, px of the copy.
      particles, steps: the swarm's size, and its moves in each of three stages.
      seed: of the swarm.
      refine: sub-pixel refinement on the content; False leaves what the matches say.
      least_inliers: matches, found without knowing the map, that agree with it.
      least_tiles: tiles of the pictures whose content agrees with the map.
      least_agreement: their share of the tiles that have something to say, [0, 1].
      least_overlap: the share of the reference that the moving picture covers, [0, 1].
      most_deviation_px: estimated standard deviation of the map at the worst corner, px: what we call wrong.
      least_limit, most_limit: but no less than the one and no more than the other, in thousandths of the diagonal: a px
        is little in a large picture, and much in a small one.
      most_stretch: the largest factor on lengths, or one over it, anywhere in the picture.
    """

    most_pixels: float = 1.0e6
    refine_pixels: float = 6.0e6
    features: int = 4000
    blur_px: float = 2.0
    limit_px: float = 3.0
    particles: int = 128
    steps: int = 50
    seed: int = 0
    refine: bool = True
    least_inliers: int = 12
    least_tiles: int = 8
    least_agreement: float = 0.4
    least_overlap: float = 0.4
    most_deviation_px: float = 3.0
    least_limit: float = 1.7
    most_limit: float = 3.0
    most_stretch: float = 2.0


@dataclasses.dataclass(frozen=True)
class Registration:
    """A map from the reference to the moving picture, and what speaks for it.

    Attributes:
      matrix: 3×3 float64, lower right element 1: (x, y, 1) in the reference → the moving
        picture, px, integers at pixel centres.  The identity where none was found.
      method, model: what was asked for.
      matches: how many pairs of keypoints the descriptors gave; 0 for ECC.
      inliers: how many of them agree with the map.
      tiles: how many tiles of the pictures correlate clearly, wherever.
      agreeing: how many of these do so where the map says.
      residual_px: root mean square of the agreeing tiles' remaining shift, px of the reference.
      deviation_px: estimated standard deviation of the map at the worst corner, px of the moving picture; of
        an unrefined map with its distance from the refined one.
      overlap: the share of the reference that the moving picture covers, [0, 1].
      confident: whether all of this is within the configuration's limits.
      doubts: why not, in words; empty where confident.
      points, targets: the pairs of keypoints that agree, (x, y) `[inliers, 2]` float64, px: in the reference, and in
        the moving picture; to be looked at.  None for ECC, and where no map was found.
    """

    matrix: np.ndarray
    method: str
    model: str
    matches: int = 0
    inliers: int = 0
    tiles: int = 0
    agreeing: int = 0
    residual_px: float = float("inf")
    deviation_px: float = float("inf")
    overlap: float = 0.0
    confident: bool = False
    doubts: str = ""
    points: np.ndarray | None = None
    targets: np.ndarray | None = None


def judge(found: Registration, config: RegistrationConfig, diagonal_px: float,
          stretch: tuple[float, float]) -> Registration:
    """The same with `confident` and `doubts` filled in."""
    share = found.agreeing / max(found.tiles, 1)
    least, most = (limit * diagonal_px / 1000 for limit in (config.least_limit, config.most_limit))
    limit_px = min(max(config.most_deviation_px, least), most)
    doubts = []
    if found.method != "ecc" and found.inliers < config.least_inliers:
        doubts.append(f"{found.inliers} matching points agree, {config.least_inliers} are needed")
    if not (1 / config.most_stretch <= stretch[0] and stretch[1] <= config.most_stretch):
        doubts.append(f"lengths would change by a factor of {stretch[0]:.2f} to {stretch[1]:.2f}")
    if found.overlap < config.least_overlap:
        doubts.append(f"the pictures share {100 * found.overlap:.0f} % of the view, "
                      f"{100 * config.least_overlap:.0f} % are needed")
    if found.agreeing < config.least_tiles or share < config.least_agreement:
        doubts.append(f"the content agrees in {found.agreeing} of {found.tiles} places")
    if not found.deviation_px <= limit_px:
        doubts.append(f"the corners are uncertain by {found.deviation_px:.1f} px, more than {limit_px:.1f}")
    return dataclasses.replace(found, confident=not doubts, doubts="; ".join(doubts))


def require_confident(found: Registration, reference: str, moving: str) -> Registration:
    """`found` itself where it is confident; `reference` and `moving` are the pictures' names for the error.

    Raises:
      UserError: it is not; one line with the reasons and the way out.
    """
    if found.confident:
        return found
    raise UserError(f"{moving}: cannot be registered to {reference} with confidence ({found.doubts}); check that both "
                    "show the same scene, or use --align none if they are registered already")
