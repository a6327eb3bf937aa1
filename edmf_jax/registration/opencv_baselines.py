"""OpenCV's own registration methods, for comparison: SIFT on luma with RANSAC or MAGSAC, and ECC."""

import cv2
import numpy as np

from edmf_jax.registration import features

_RANSAC_THRESHOLD_PX = 3.0  # OpenCV's default for homographies
_MAX_RATIO = 0.75
_MAX_ITERATIONS, _CONFIDENCE = 5000, 0.9999
_ECC_LEVELS = 4
_ECC_ITERATIONS, _ECC_TOLERANCE = 60, 1e-5
_ECC_KERNEL_PX = 5  # of the Gaussian blur before the correlation
_ECC_MIN_SIDE_PX = 24  # smaller pyramid levels are skipped

PointPairs = tuple[np.ndarray, np.ndarray]
"""Matching points that agree with a map, (x, y) `[N, 2]` px in the reference and in the moving picture."""
NO_POINTS: PointPairs = (np.zeros((0, 2)), np.zeros((0, 2)))


def sift(reference: np.ndarray, moving: np.ndarray, model: str, *, max_keypoints: int, magsac: bool,
         ) -> tuple[np.ndarray | None, PointPairs, int]:
    """SIFT, ratio test, mutual matches, and a consensus estimate.

    Args:
      reference, moving: luma planes in [0, 1].
      model: "similarity", "affine" or "homography".
      max_keypoints: per plane.
      magsac: MAGSAC instead of RANSAC; OpenCV has no similarity by MAGSAC, so that model always takes RANSAC.

    Returns:
      The 3×3 matrix from reference px to moving px or None, its inliers, and the number of matches.
    """
    first, second = (features.detect(np.uint8(np.rint(x * 255)), max_keypoints) for x in (reference, moving))
    pairs = features.match(first, second, _MAX_RATIO)
    if len(pairs) < 4:
        return None, NO_POINTS, len(pairs)
    points, targets = first.points[pairs[:, 0]], second.points[pairs[:, 1]]
    method = cv2.USAC_MAGSAC if magsac and model != "similarity" else cv2.RANSAC
    cv2.setRNGSeed(0)
    options = {"method": method, "ransacReprojThreshold": _RANSAC_THRESHOLD_PX, "maxIters": _MAX_ITERATIONS,
               "confidence": _CONFIDENCE}
    if model == "homography":
        matrix, inliers = cv2.findHomography(points, targets, **options)
    else:
        estimate = cv2.estimateAffine2D if model == "affine" else cv2.estimateAffinePartial2D
        matrix, inliers = estimate(points, targets, **options)
        matrix = None if matrix is None else np.vstack([matrix, [0, 0, 1]])
    usable = matrix is not None and matrix.shape == (3, 3) and abs(np.linalg.det(matrix)) > 1e-9
    if not usable:
        return None, NO_POINTS, len(pairs)
    agree = inliers.ravel() > 0
    return matrix, (points[agree], targets[agree]), len(pairs)


def ecc(reference: np.ndarray, moving: np.ndarray, model: str) -> np.ndarray | None:
    """Enhanced correlation coefficient, coarse to fine from the identity; None if it does not converge.

    Evangelidis and Psarakis 2008, DOI 10.1109/TPAMI.2008.113.  OpenCV's ECC has no similarity;
    an affine map is fitted instead.

    Args:
      reference, moving: luma planes in [0, 1].
      model: "similarity", "affine" or "homography".
    """
    motion = cv2.MOTION_HOMOGRAPHY if model == "homography" else cv2.MOTION_AFFINE
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _ECC_ITERATIONS, _ECC_TOLERANCE)
    matrix = np.eye(3, dtype=np.float32)
    for level in range(_ECC_LEVELS - 1, -1, -1):
        small = [cv2.resize(x, None, fx=0.5**level, fy=0.5**level, interpolation=cv2.INTER_AREA)
                 for x in (reference, moving)]
        if min(*small[0].shape, *small[1].shape) < _ECC_MIN_SIDE_PX:
            continue
        zoom = np.diag([0.5**level, 0.5**level, 1])
        start = np.float32(zoom @ matrix @ np.linalg.inv(zoom))
        start = start if motion == cv2.MOTION_HOMOGRAPHY else start[:2]
        try:
            _, found = cv2.findTransformECC(small[0], small[1], start, motion, stop, None, _ECC_KERNEL_PX)
        except cv2.error:
            return None
        found = found if found.shape[0] == 3 else np.vstack([found, [0, 0, 1]])
        matrix = np.linalg.inv(zoom) @ found @ zoom
    return np.float64(matrix) if np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9 else None
