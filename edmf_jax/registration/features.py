"""SIFT keypoints, and matches that agree in position, scale and orientation.

After PSO-SIFT (Ma et al. 2017, DOI 10.1109/LGRS.2016.2600858): descriptors are taken
from a gradient that exposure and blur barely affect, the first matches vote for the dominant scale, rotation and
shift, and a second matching weights the distance of descriptors by how far a pair is from those.
"""

import dataclasses

import cv2
import numpy as np

from edmf_jax.registration import planes, transforms

# Lowe's ratio, nearest to second nearest.  Loose, because defocus changes descriptors and `filter_consistent` follows.
_MAX_RATIO = 0.85
_SCALE_BIN, _ANGLE_BIN = 0.25, np.pi / 18  # octaves, radians
_SCALE_TOLERANCE, _ANGLE_TOLERANCE = 0.75, np.pi / 6  # octaves, radians
_SHIFT_TOLERANCE = 0.08  # of the longer side
_MAX_DESCRIPTOR_DISTANCE = 0.9  # of √2 for unrelated ones; descriptors farther apart never match, wherever they are
_MODE_SAMPLES = 256  # the best matches come first; a few hundred votes are enough


@dataclasses.dataclass(frozen=True)
class Keypoints:
    """Keypoints of one plane.

    Attributes:
      points: (x, y) [N, 2] float64, px.
      octaves: log2 of the size in px, [N].
      angles: orientation, radians, [N].
      descriptors: RootSIFT [N, 128] float32, of length 1.
    """

    points: np.ndarray
    octaves: np.ndarray
    angles: np.ndarray
    descriptors: np.ndarray


def detect(plane: np.ndarray, max_keypoints: int) -> Keypoints:
    """The `max_keypoints` strongest SIFT keypoints of a uint8 plane, strongest first; possibly none."""
    sift = cv2.SIFT_create(nfeatures=max_keypoints, contrastThreshold=0.01)
    keypoints, descriptors = sift.detectAndCompute(plane, None)
    # Ties are broken by position and angle: OpenCV's own order depends on its number of threads.
    order = sorted(range(len(keypoints)), key=lambda i: (-keypoints[i].response, keypoints[i].pt, keypoints[i].angle))
    order = order[:max_keypoints]
    if not order:
        return Keypoints(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 128), np.float32))
    chosen = [keypoints[i] for i in order]
    # RootSIFT, the root of the L1-normalized descriptor (Arandjelović and Zisserman 2012, DOI
    # 10.1109/CVPR.2012.6248018).
    normalized = descriptors[order] / np.maximum(descriptors[order].sum(1, keepdims=True), 1e-9)
    return Keypoints(np.array([k.pt for k in chosen], np.float64), np.log2([k.size for k in chosen]),
                     np.radians([k.angle for k in chosen]), np.sqrt(normalized))


def detect_at_half_size(plane: np.ndarray, max_keypoints: int) -> Keypoints:
    """`detect` on a copy of half the size, in px of `plane`: a third of the time for half as many keypoints or more."""
    small, scale = planes.reduce_plane(plane, 0.5)
    found = detect(small, max_keypoints)
    return dataclasses.replace(found, points=transforms.project(np.linalg.inv(scale), found.points),
                               octaves=found.octaves + 1)


def match(first: Keypoints, second: Keypoints, max_ratio: float = _MAX_RATIO) -> np.ndarray:
    """Mutually nearest descriptors that pass Lowe's ratio test: indices `[M, 2]`, the most distinctive first."""
    if min(len(first.points), len(second.points)) < 2:
        return np.zeros((0, 2), int)
    similarity = first.descriptors @ second.descriptors.T
    nearest = similarity.argmax(1)
    rows = np.arange(len(nearest))
    best = similarity[rows, nearest]
    mutual = similarity.argmax(0)[nearest] == rows
    similarity[rows, nearest] = -1
    ratio = np.sqrt(np.maximum(1 - best, 0) / np.maximum(1 - similarity.max(1), 1e-9))
    found = np.flatnonzero(mutual & (ratio < max_ratio))
    found = found[np.argsort(ratio[found], kind="stable")]
    return np.stack([found, nearest[found]], -1)


def concatenate(first: Keypoints, second: Keypoints) -> Keypoints:
    """Both sets in one, `first` first."""
    return Keypoints(*(np.concatenate([getattr(first, field.name), getattr(second, field.name)])
                       for field in dataclasses.fields(Keypoints)))


def strongest(keypoints: Keypoints, count: int) -> Keypoints:
    """The first `count` keypoints, which are the strongest."""
    return Keypoints(*(getattr(keypoints, field.name)[:count] for field in dataclasses.fields(Keypoints)))


def wrap_angle(angles: np.ndarray) -> np.ndarray:
    """The same angles in −π … π."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def filter_consistent(first: Keypoints, second: Keypoints, pairs: np.ndarray, side_px: float) -> np.ndarray:
    """Those of `pairs` that are near the dominant change of scale, of orientation, and of position.

    Shifts may differ from the dominant one by 16 % of the longer side: focus breathing and perspective.

    Args:
      pairs: indices into `first` and `second`, `[M, 2]`, the best first.
      side_px: the longer side of the picture.
    """
    if len(pairs) < 2:
        return pairs
    octaves = second.octaves[pairs[:, 1]] - first.octaves[pairs[:, 0]]
    angles = wrap_angle(second.angles[pairs[:, 1]] - first.angles[pairs[:, 0]])
    scale = find_mode(octaves[:, None], np.array([_SCALE_BIN]))[0]
    angle = find_mode(np.stack([np.cos(angles), np.sin(angles)], -1), np.array([_ANGLE_BIN] * 2))
    angle = np.arctan2(angle[1], angle[0])
    near = (np.abs(octaves - scale) < _SCALE_TOLERANCE) & (np.abs(wrap_angle(angles - angle)) < _ANGLE_TOLERANCE)
    if near.sum() < 2:
        return pairs[near]
    pairs = pairs[near]
    rotation = 2.0**scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shifts = second.points[pairs[:, 1]] - first.points[pairs[:, 0]] @ rotation.T
    shift = find_mode(shifts, np.full(2, _SHIFT_TOLERANCE / 2 * side_px))
    return pairs[np.linalg.norm(shifts - shift, axis=1) < 2 * _SHIFT_TOLERANCE * side_px]


def find_mode(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Where `values` `[N, D]` are densest: the median of those within `bins` `[D]` of the value with most neighbors."""
    some = values[:_MODE_SAMPLES]
    inside = np.logical_and.reduce([np.abs(column[:, None] - column) < size for column, size in zip(some.T, bins)])
    chosen = inside[inside.sum(1).argmax()]
    return np.median(some[chosen], axis=0)


def guided_match(first: Keypoints, second: Keypoints, matrix: np.ndarray, radius_px: float) -> np.ndarray:
    """Matches near a known map: mutually best pairs `[M, 2]` of the joint distance (1 + eₚ)(1 + eₛ)(1 + eₒ)·d.

    d is the distance of the descriptors; eₚ, eₛ, eₒ are how far the pair is from the map in
    position (in units of `radius_px`), scale (octaves) and orientation (radians): PSO-SIFT's second matching.
    The pairs are selected for agreeing with `matrix`, so they can refine it but are no evidence for it.

    Args:
      matrix: 3×3, from positions of `first` to positions of `second`, px.
      radius_px: the largest distance from the mapped position.
    """
    if not len(first.points) or not len(second.points):
        return np.zeros((0, 2), int)
    mapped = transforms.project(matrix, first.points)
    steps = transforms.project(matrix, first.points + np.array([1.0, 0])) - mapped
    octaves, angles = np.log2(np.linalg.norm(steps, axis=1) + 1e-12), np.arctan2(steps[:, 1], steps[:, 0])
    i, j, squares = _pairs_within(mapped, second.points, radius_px)
    position_error = np.sqrt(squares) / radius_px
    scale_error = np.abs(first.octaves[i] + octaves[i] - second.octaves[j])
    angle_error = np.abs(wrap_angle(first.angles[i] + angles[i] - second.angles[j]))
    distance = np.sqrt(np.maximum(2 - 2 * np.einsum("nd,nd->n", first.descriptors[i], second.descriptors[j]), 0))
    joint = (1 + position_error) * (1 + scale_error) * (1 + angle_error) * distance
    joint[(scale_error > _SCALE_TOLERANCE) | (angle_error > _ANGLE_TOLERANCE)
          | (distance > _MAX_DESCRIPTOR_DISTANCE)] = np.inf
    order = np.argsort(joint, kind="stable")
    order = order[np.isfinite(joint[order])]
    best_pairs = lambda keypoint: order[np.unique(keypoint[order], return_index=True)[1]]  # one for each keypoint
    mutual = np.intersect1d(best_pairs(i), best_pairs(j))
    mutual = mutual[np.argsort(joint[mutual], kind="stable")]
    return np.stack([i[mutual], j[mutual]], -1)


def _pairs_within(points: np.ndarray, others: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of `points` `[N, 2]` and `others` `[M, 2]` nearer than `radius`: both indices and squared distances, `[K]`.

    Searched in strips along x: all distances would take 0.5 GB for 8,000 keypoints each.
    """
    order = np.argsort(others[:, 0], kind="stable")
    first = np.searchsorted(others[order, 0], points[:, 0] - radius)
    counts = np.searchsorted(others[order, 0], points[:, 0] + radius) - first
    i = np.repeat(np.arange(len(points)), counts)
    j = order[np.arange(len(i)) + np.repeat(first - (np.cumsum(counts) - counts), counts)]
    squares = np.square(points[i] - others[j]).sum(-1)
    near = squares < radius**2
    return i[near], j[near], squares[near]
