"""Resampling: the moving picture as the reference would have seen it."""

import cv2
import numpy as np


def warp(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The picture under a map, and where it is real.

    Args:
      image: `[H, W]` or `[H, W, 3]`, uint8, uint16 or floating point of any range.
      matrix: 3×3, from (x, y) of the result to (x, y) of `image`, px, integers at pixel centres.
      shape: height and width of the result; what follows them is ignored, so a picture's shape will do.

    Returns:
      The result `[*shape[:2], …]` in the type of `image` (float64 through float32), by
      Lanczos over 8×8 px, cut to the range of `image` so that edges do not ring beyond it;
      0 where there is no source.  And the mask `[*shape[:2]]`, bool: true where the position
      lies between centres of real pixels.

    Raises:
      ValueError: another type or layout, or a matrix that cannot be inverted.
    """
    image = np.asarray(image)
    if not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise ValueError(f"a picture to warp is [H, W] or [H, W, 3], got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"a picture to warp is uint8, uint16 or floating point, got {image.dtype}")
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise ValueError(f"a map is an invertible 3×3 matrix of finite numbers, got {matrix.tolist()}")
    height, width = shape[:2]
    source = image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32)
    result = cv2.warpPerspective(source, matrix, (width, height), flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
                                 borderMode=cv2.BORDER_REPLICATE)
    valid = covered(matrix, (height, width), image.shape)
    np.clip(result, source.min(), source.max(), out=result)
    result[~valid] = 0
    return result.astype(image.dtype), valid


def covered(matrix: np.ndarray, shape: tuple[int, int], moving: tuple[int, ...]) -> np.ndarray:
    """Where positions of a picture of `shape` fall between pixel centres of one of shape `moving`: bool `shape`."""
    x, y = np.arange(shape[1])[None], np.arange(shape[0])[:, None]
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    ahead = w * np.sign(matrix[2, 2]) > 1e-9
    inside = ahead
    for row, size in zip(matrix[:2], (moving[1], moving[0])):
        position = (row[0] * x + row[1] * y + row[2]) / np.where(ahead, w, 1)
        inside = inside & (position >= -1e-6) & (position <= size - 1 + 1e-6)
    return inside
