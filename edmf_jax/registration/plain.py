"""What OpenCV has, used the usual way, to compare with: SIFT on luma with RANSAC or MAGSAC, and ECC."""

import cv2
import numpy as np

from edmf_jax.registration import features

# px; OpenCV's own default for homographies
_THRESHOLD_PX = 3.0
_RATIO = 0.75
_ITERATIONS, _CONFIDENCE = 5000, 0.9999
_ECC_LEVELS = 4

Agreeing = tuple[np.ndarray, np.ndarray]
"""Matching points that agree with a map, (x, y) `[N, 2]` in the reference and in the moving picture."""
NONE: Agreeing = (np.zeros((0, 2)), np.zeros((0, 2)))


def sift(reference: np.ndarray, moving: np.ndarray, model: str, *, most: int, magsac: bool,
         ) -> tuple[np.ndarray | None, Agreeing, int]:
    """SIFT, ratio test, mutual matches, and a consensus estimate; the matrix or None, inliers, how many matches.

    Args:
      reference, moving: luma planes in [0, 1].
    """
    first, second = (features.detect(np.uint8(np.rint(x * 255)), most) for x in (reference, moving))
    pairs = features.match(first, second, _RATIO)
    if len(pairs) < 4:
        return None, NONE, len(pairs)
    points, targets = first.points[pairs[:, 0]], second.points[pairs[:, 1]]
    method = cv2.USAC_MAGSAC if magsac else cv2.RANSAC
    cv2.setRNGSeed(0)
    options = {"method": method, "ransacReprojThreshold": _THRESHOLD_PX, "maxIters": _ITERATIONS,
               "confidence": _CONFIDENCE}
    if model == "homography":
        matrix, inliers = cv2.findHomography(points, targets, **options)
    else:
        # MAGSAC has no similarity in OpenCV.
        estimate = cv2.estimateAffine2D if model == "affine" else cv2.estimateAffinePartial2D
        if model == "similarity":
            options["method"] = cv2.RANSAC
        matrix, inliers = estimate(points, targets, **options)
        matrix = None if matrix is None else np.vstack([matrix, [0, 0, 1]])
    usable = matrix is not None and matrix.shape == (3, 3) and abs(np.linalg.det(matrix)) > 1e-9
    if not usable:
        return None, NONE, len(pairs)
    agree = inliers.ravel() > 0
    return matrix, (points[agree], targets[agree]), len(pairs)


def ecc(reference: np.ndarray, moving: np.ndarray, model: str) -> np.ndarray | None:
    """Enhanced correlation coefficient, coarse to fine from the identity; None where it does not converge.

    Evangelidis and Psarakis 2008, DOI 10.1109/TPAMI.2008.113.  OpenCV has no similarity:
    an affine map stands in for it.
    """
    motion = cv2.MOTION_HOMOGRAPHY if model == "homography" else cv2.MOTION_AFFINE
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-5)
    matrix = np.eye(3, dtype=np.float32)
    for level in range(_ECC_LEVELS - 1, -1, -1):
        small = [cv2.resize(x, None, fx=0.5**level, fy=0.5**level, interpolation=cv2.INTER_AREA)
                 for x in (reference, moving)]
        if min(*small[0].shape, *small[1].shape) < 24:
            continue
        zoom = np.diag([0.5**level, 0.5**level, 1])
        local = np.float32(zoom @ matrix @ np.linalg.inv(zoom))
        try:
            _, found = cv2.findTransformECC(small[0], small[1], local if motion == cv2.MOTION_HOMOGRAPHY else local[:2],
                                            motion, stop, None, 5)
        except cv2.error:
            return None
        found = found if found.shape[0] == 3 else np.vstack([found, [0, 0, 1]])
        matrix = np.linalg.inv(zoom) @ found @ zoom
    return np.float64(matrix) if np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9 else None
