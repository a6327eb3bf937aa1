"""Where the shots of a stack lie, by the tiles of all pairs at once: as a camera turns, and moves past near and far.

A camera that only turns and zooms, as on a tripod, needs six numbers a shot (`tilting`).  Where these explain the tiles
as well as the maps of the pairs do, which have eight each, they are nearer to the truth at the corners.

Seen from two places, near things move more than far ones, and no map is right for both.  What the pairs of a stack
measure is not independent, though.  If the camera turns and moves a little, a point p of the reference lies in shot i
at F_i·p + w(p)·t_i: a map F_i of a picture that turns, zooms and tilts, and a movement t_i that all points share, by a
depth w(p) that all shots share (plane and parallax: Irani, Anandan and Weinshall 2002, DOI
10.1109/TPAMI.2002.1046170; over several shots the movements have rank one, as in Tomasi and Kanade 1992, DOI
10.1007/BF00129684).  So each tile of each pair says something about the depth at its place, and each shot something
about all depths.

F, w and t are found by turns, each by robust least squares from the tiles of all pairs (`parallax_fit`).  A shot is
then placed by the map of the depth that is in focus in it, with a flow for the others.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from edmf_jax.registration import tilting, transforms
from edmf_jax.registration.flow import Flow, Step
from edmf_jax.registration.grid import block_numbers
from edmf_jax.registration.matches import TileMatches
from edmf_jax.registration.parallax_fit import DepthFit, Pair

_MOST_SHOTS = 100  # beyond, the normal matrices would take longer than the pairs
_MOST_TILES = 12_000  # of all pairs
_START_ROUNDS, _ROUNDS, _CONVERGED = 3, 20, 0.998
_PROMISING, _BETTER = 0.98, 0.95  # factors on the error that maps alone leave, after the first round and at the end
_CLEARLY_BETTER = 0.9  # one that explains less may well be wrong by as much as it moves things
_AS_GOOD = 1.01  # of the error that is left, with two numbers less for each shot
_LEAST_PERMILLE = 0.15  # of the diagonal: tiles that are off by less need no depth
_CALM_PERMILLE = 0.3  # tiles that are off by more are too few or too blurred to know better than the pairs
_LARGEST = 0.02  # flow, of the diagonal
_SHARPER = 0.4  # px² of blur by which a shot may be less sharp than its neighbors where it counts as in focus
_FIELD_ERRORS = 3.0  # tiles' errors in the error of what is in focus, as measured on rendered scenes
_MIN_PLACES, _FEW_PLACES = 4, 6


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a shot lies.

    Attributes:
      matrix: 3×3, px of the reference → its px, for the depth that is in focus in it.
      flow: on top of it, for other depths; None if the camera did not move.
      unknown_px: what the depths leave open, standard deviation: `_FIELD_ERRORS` of the tiles' error; and how far apart
        things lie by their depths, if almost none is in focus in this shot, so that any of them may be meant; and how
        far the depth moves what is in focus in it, if it explains the tiles only a little better than maps do.
    """

    matrix: np.ndarray
    flow: Flow | None
    unknown_px: float


def explain(pairs: Mapping[Pair, TileMatches], start: Mapping[int, Step], reference: int, shape: tuple[int, int]
            ) -> dict[int, Place]:
    """Places of all shots but the reference; those of `start` if neither turning nor moving explains the tiles as well.

    Args:
      pairs: what was found of each first shot in the second.
      start: for each shot its map from the reference, with a flow if it has one.
      reference: its number, which is not in `start`.
      shape: height and width of the reference, px.
    """
    given = {shot: Place(step.matrix, step.flow, 0.0) for shot, step in start.items()}
    count = sum(len(found.points) for found in pairs.values())
    if not 2 <= len(start) < _MOST_SHOTS or not count:
        return given
    step = -(-count // _MOST_TILES)
    fit = DepthFit({pair: found.every(step) for pair, found in pairs.items()}, start, reference, shape)
    for _ in range(_START_ROUNDS):
        fit.adjust_maps(with_movement=False)
    fit.remember_scatter()
    plain, known, turned = fit.error(), fit.error_of(start), _turned(fit)
    diagonal = float(np.hypot(*shape))
    flat = turned if plain < min(_AS_GOOD * known, _CALM_PERMILLE / 1000 * diagonal) else given
    if not (plain > _LEAST_PERMILLE / 1000 * diagonal and _converges(fit, plain)):
        return flat
    places = _places(fit)
    largest = max(place.flow.largest_px for place in places.values())
    if fit.error() >= known or largest >= _LARGEST * diagonal:
        return flat
    fair = fit.fair_error() / plain
    if fair >= _BETTER:
        return flat
    return places if fair < _CLEARLY_BETTER else _doubted(fit, places, flat)


def _turned(fit: DepthFit) -> dict[int, Place]:
    """The places of all shots but the reference if the camera only turns."""
    return {shot: Place(transforms.normalize(tilting.to_matrix(fit.maps[number]) @ fit.unit), None, 0.0)
            for shot, number in fit.numbers.items() if number}


def _converges(fit: DepthFit, plain: float) -> bool:
    """Finds depth and movements by turns; False if they soon turn out to explain next to nothing."""
    fit.guess_depth()
    before = np.inf
    for number in range(_ROUNDS):
        fit.adjust_depth()
        fit.adjust_maps()
        left = fit.error()
        if number == 0 and fit.fair_error() > _PROMISING * plain:
            return False
        if left > _CONVERGED * before:
            break
        before = left
    return True


def _places(fit: DepthFit) -> dict[int, Place]:
    """Where each shot but the reference lies."""
    depths, places, error = _depths_in_focus(fit), {}, _FIELD_ERRORS * fit.typical_error()
    for shot, number in fit.numbers.items():
        if number:
            move, (middle, unknown) = fit.moves[number], depths[shot]
            shifted = np.array([[1, 0, middle * move[0]], [0, 1, middle * move[1]], [0, 0, 1]])
            coefficients = (fit.depth.reshape(fit.field.coefficients.shape[:2]) - middle)[..., None] * move
            places[shot] = Place(transforms.normalize(shifted @ tilting.to_matrix(fit.maps[number]) @ fit.unit),
                                 dataclasses.replace(fit.field, coefficients=coefficients),
                                 float(np.hypot(unknown * np.hypot(*move), error)))
    return places


def _doubted(fit: DepthFit, places: Mapping[int, Place], others: Mapping[int, Place]) -> dict[int, Place]:
    """`places`, more uncertain by how far away `others` put what is in focus in each shot.

    A small near object that is alone sharp in a shot hardly counts among all tiles, but is all that is used of it.
    """
    at, leads = _leads(fit)
    doubted = {}
    for shot, place in places.items():
        apart = np.square(np.subtract(*(Step(one.matrix, one.flow).follow(at, True) for one in (place, others[shot]))))
        in_focus = np.isfinite(leads[shot]) & (leads[shot] >= -_SHARPER)
        apart = apart.sum(1)[in_focus if in_focus.any() else slice(None)]
        doubt_px = float(np.sqrt(apart.mean()))
        doubted[shot] = dataclasses.replace(place, unknown_px=float(np.hypot(place.unknown_px, doubt_px)))
    return doubted


def _depths_in_focus(fit: DepthFit) -> dict[int, tuple[float, float]]:
    """For each shot the median depth of the places where it is as sharp as its neighbors; 1 if they are too few."""
    at, leads = _leads(fit)
    depth = fit.field.sparse_design(at).at(fit.depth)
    return {shot: _middle(depth, lead) for shot, lead in leads.items()}


def _leads(fit: DepthFit) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Places (x, y) `[N, 2]`, px of the reference; and by how much each shot is sharper there than the sharpest other.

    In px² of blur, `[N]`; infinite where no tile of its pairs lies.
    """
    height, width = fit.field.shape
    rows, columns = (side - 3 for side in fit.field.coefficients.shape[:2])
    labels = block_numbers(fit.positions(), (height, width), (rows, columns))
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns * width - 0.5,
                       (np.arange(rows) + 0.5) / rows * height - 0.5)
    leads = {shot: np.full(rows * columns, np.inf) for shot in fit.numbers}
    for ((first, second), found), part in zip(fit.pairs.items(), fit.rows):
        counts = np.bincount(labels[part], minlength=rows * columns)
        sums = np.bincount(labels[part], np.sign(found.blurs) * found.blurs**2, rows * columns)
        for shot, sign in ((first, 1), (second, -1)):
            lead = np.minimum(leads[shot], sign * sums / np.maximum(counts, 1))
            leads[shot] = np.where(counts, lead, leads[shot])
    return np.stack([x.ravel(), y.ravel()], -1), leads


def _middle(depth: np.ndarray, lead: np.ndarray) -> tuple[float, float]:
    """The median depth where a shot leads in sharpness, and 0; where it nearly does, and 1, if that is hardly anywhere.

    The depth's scatter over the picture is 1.

    Args:
      depth: of each place.
      lead: by how much the shot is sharper there than the sharpest of the others, px² of blur; infinite if unknown.
    """
    seen = np.flatnonzero(np.isfinite(lead))
    if not len(seen):
        return 0.0, 1.0
    places = seen[lead[seen] >= -_SHARPER]
    if len(places) < _MIN_PLACES:
        return float(np.median(depth[seen[np.argsort(-lead[seen])[:_FEW_PLACES]]])), 1.0
    return float(np.median(depth[places])), 0.0
