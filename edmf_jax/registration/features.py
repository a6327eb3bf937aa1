"""SIFT on the slope plane, and matches that agree in position, scale and orientation.

After PSO-SIFT (Ma et al. 2017, DOI 10.1109/LGRS.2016.2600858): the descriptor is taken
from a gradient that exposure and blur disturb little, first matches vote for the dominant scale, rotation and
shift, and a second matching weighs the descriptors' distance by how far a pair is from those.
"""

import dataclasses

import cv2
import numpy as np

from edmf_jax.registration import transforms

_RATIO_TOP = 0.85  # nearest to second nearest; loose, for defocus changes descriptors, and consistency follows
_SCALE_BIN, _ANGLE_BIN = 0.25, np.pi / 18  # octaves, radians
_SCALE_NEAR, _ANGLE_NEAR, _SHIFT_NEAR = 0.75, np.pi / 6, 0.08  # octaves, radians, of the longer side
_FAR = 0.9  # descriptors this far apart (of √2 for unrelated ones) are no pair, wherever they lie


@dataclasses.dataclass(frozen=True)
class Features:
    """Keypoints of one plane.

    Attributes:
      points: (x, y) [N, 2] float64, px.
      octaves: log2 of the size, [N].
      angles: orientation, radians, [N].
      descriptors: RootSIFT [N, 128] float32, of length 1.
    """

    points: np.ndarray
    octaves: np.ndarray
    angles: np.ndarray
    descriptors: np.ndarray


def detect(plane: np.ndarray, most: int) -> Features:
    """The `most` strongest SIFT keypoints of a uint8 plane; none is a legal answer."""
    keypoints, descriptors = cv2.SIFT_create(nfeatures=most, contrastThreshold=0.01).detectAndCompute(plane, None)
    # Strongest first, and in an order that does not hang on how many threads looked for them.
    order = sorted(range(len(keypoints)), key=lambda i: (-keypoints[i].response, keypoints[i].pt, keypoints[i].angle))
    order = order[:most]
    if not order:
        return Features(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 128), np.float32))
    chosen = [keypoints[i] for i in order]
    roots = descriptors[order] / np.maximum(descriptors[order].sum(1, keepdims=True), 1e-9)
    return Features(np.array([k.pt for k in chosen], np.float64), np.log2([k.size for k in chosen]),
                    np.radians([k.angle for k in chosen]), np.sqrt(roots))


def match(first: Features, second: Features, ratio: float = _RATIO_TOP) -> np.ndarray:
    """Mutually nearest descriptors that pass Lowe's ratio test: indices `[M, 2]`, the most distinct first."""
    if min(len(first.points), len(second.points)) < 2:
        return np.zeros((0, 2), int)
    likeness = first.descriptors @ second.descriptors.T
    nearest = likeness.argmax(1)
    rows = np.arange(len(nearest))
    best = likeness[rows, nearest]
    mutual = likeness.argmax(0)[nearest] == rows
    likeness[rows, nearest] = -1
    quality = np.sqrt(np.maximum(1 - best, 0) / np.maximum(1 - likeness.max(1), 1e-9))
    found = np.flatnonzero(mutual & (quality < ratio))
    found = found[np.argsort(quality[found], kind="stable")]
    return np.stack([found, nearest[found]], -1)


def joined(some: Features, others: Features) -> Features:
    """Both sets in one, `some` first."""
    return Features(*(np.concatenate([getattr(some, field.name), getattr(others, field.name)])
                      for field in dataclasses.fields(Features)))


def wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles in −π … π."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


def consistent(first: Features, second: Features, pairs: np.ndarray, side_px: float) -> np.ndarray:
    """Those of `pairs` that lie near the dominant difference of scale, of orientation, and of position.

    `side_px` is the longer side, of which the shift may differ by 8 %: focus breathing, perspective.
    """
    if len(pairs) < 2:
        return pairs
    octaves = second.octaves[pairs[:, 1]] - first.octaves[pairs[:, 0]]
    angles = wrapped(second.angles[pairs[:, 1]] - first.angles[pairs[:, 0]])
    scale = mode(octaves[:, None], np.array([_SCALE_BIN]))[0]
    angle = mode(np.stack([np.cos(angles), np.sin(angles)], -1), np.array([_ANGLE_BIN] * 2))
    angle = np.arctan2(angle[1], angle[0])
    near = (np.abs(octaves - scale) < _SCALE_NEAR) & (np.abs(wrapped(angles - angle)) < _ANGLE_NEAR)
    if near.sum() < 2:
        return pairs[near]
    pairs = pairs[near]
    turn = 2.0**scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shifts = second.points[pairs[:, 1]] - first.points[pairs[:, 0]] @ turn.T
    middle = mode(shifts, np.full(2, _SHIFT_NEAR / 2 * side_px))
    return pairs[np.linalg.norm(shifts - middle, axis=1) < 2 * _SHIFT_NEAR * side_px]


def mode(values: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Where `values` `[N, D]` are densest: the mean of those within one of `bins` `[D]` of the fullest place."""
    some = values[:512]  # the best matches come first; a few hundred votes settle it
    inside = (np.abs(some[:, None] - some[None]) < bins).all(-1)
    chosen = inside[inside.sum(1).argmax()]
    return np.median(some[chosen], axis=0)


def rematch(first: Features, second: Features, matrix: np.ndarray, radius_px: float) -> np.ndarray:
    """Pairs `[M, 2]` of the smallest joint distance (1 + eₚ)(1 + eₛ)(1 + eₒ)·d, mutual, within reach of `matrix`.

    d is the distance of the descriptors, eₚ, eₛ, eₒ how far the pair is from the map in
    position (of `radius_px`), scale (octaves) and orientation (radians), PSO-SIFT's Eq. for its second matching.
    These pairs agree with the map by choice: they make it more exact, and are no evidence for it.
    """
    if not len(first.points) or not len(second.points):
        return np.zeros((0, 2), int)
    ends = transforms.project(matrix, first.points)
    steps = transforms.project(matrix, first.points + np.array([1.0, 0])) - ends
    octaves, angles = np.log2(np.linalg.norm(steps, axis=1) + 1e-12), np.arctan2(steps[:, 1], steps[:, 0])
    i, j, squares = _near(ends, second.points, radius_px)
    apart = np.sqrt(squares) / radius_px
    scale = np.abs(first.octaves[i] + octaves[i] - second.octaves[j])
    turn = np.abs(wrapped(first.angles[i] + angles[i] - second.angles[j]))
    distance = np.sqrt(np.maximum(2 - 2 * np.einsum("nd,nd->n", first.descriptors[i], second.descriptors[j]), 0))
    joint = (1 + apart) * (1 + scale) * (1 + turn) * distance
    joint[(scale > _SCALE_NEAR) | (turn > _ANGLE_NEAR) | (distance > _FAR)] = np.inf
    order = np.argsort(joint, kind="stable")
    order = order[np.isfinite(joint[order])]
    nearest = lambda k: order[np.unique(k[order], return_index=True)[1]]  # each keypoint's best pair
    mutual = np.intersect1d(nearest(i), nearest(j))
    mutual = mutual[np.argsort(joint[mutual], kind="stable")]
    return np.stack([i[mutual], j[mutual]], -1)


def _near(points: np.ndarray, others: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which of `points` `[N, 2]` and `others` `[M, 2]` are nearer than `radius`: indices and squared distances, `[K]`.

    By strips along x: all distances would be 0.5 GB for 8,000 keypoints each.
    """
    order = np.argsort(others[:, 0], kind="stable")
    first = np.searchsorted(others[order, 0], points[:, 0] - radius)
    counts = np.searchsorted(others[order, 0], points[:, 0] + radius) - first
    i = np.repeat(np.arange(len(points)), counts)
    j = order[np.arange(len(i)) + np.repeat(first - (np.cumsum(counts) - counts), counts)]
    squares = np.square(points[i] - others[j]).sum(-1)
    near = squares < radius**2
    return i[near], j[near], squares[near]
