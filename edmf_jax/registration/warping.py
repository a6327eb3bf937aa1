"""Resampling: the moving picture in the frame of the reference."""

import cv2
import numpy as np

from edmf_jax.registration import transforms
from edmf_jax.registration.flow import Flow


def warp(image: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], *, flow: Flow | None = None, top: float = 0,
         left: float = 0, limits: tuple[float, float] | None = None, interpolation: int = cv2.INTER_LANCZOS4
         ) -> tuple[np.ndarray, np.ndarray]:
    """The picture resampled through a map, and the mask of its valid pixels.

    The result is clipped to the range of `image`, so that edges do not overshoot.

    Args:
      image: `[H, W]` or `[H, W, 3]`, uint8, uint16 or floating point of any range.
      matrix: 3×3, from (x, y) of the result to (x, y) of `image`, px, integers at pixel centers.
      shape: height and width of the result; further axes are ignored, so the `shape` of a picture will do.
      flow: displacements on top of the matrix.
      top, left: the result is a part of a larger one, which `matrix` and `flow` map from: its row `top` and column
        `left` are the first.
      limits: the least and the largest value of `image`, if they are known.
      interpolation: OpenCV's; Lanczos over 8×8 px if not given.  Bicubic takes a sixth of the time.

    Returns:
      The result `[*shape[:2], …]` in the dtype of `image` (float64 is computed in float32), 0 outside `image`; and the
      mask `[*shape[:2]]`, bool: true if the position is between pixel centers of `image`.

    Raises:
      ValueError: another dtype or layout, or a matrix that cannot be inverted.
    """
    image = np.asarray(image)
    if not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise ValueError(f"a picture to warp is [H, W] or [H, W, 3], got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"a picture to warp is uint8, uint16 or floating point, got {image.dtype}")
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (3, 3) or not transforms.is_invertible(matrix):
        raise ValueError(f"a map is an invertible 3×3 matrix of finite numbers, got {matrix.tolist()}")
    height, width = shape[:2]
    source = image if image.dtype in (np.uint8, np.uint16) else image.astype(np.float32, copy=False)
    result, positions = _resample(source, matrix, (height, width), flow, (top, left), interpolation)
    if positions is None:
        valid = valid_mask(_from_part(matrix, (top, left)), (height, width), image.shape)
    else:
        valid = np.logical_and.reduce([(p >= -1e-6) & (p <= size - 1 + 1e-6)
                                       for p, size in zip(positions, (image.shape[1], image.shape[0]))])
    least, largest = (source.min(), source.max()) if limits is None else limits
    if not np.issubdtype(source.dtype, np.integer) or (least, largest) != (0, np.iinfo(source.dtype).max):
        np.clip(result, least, largest, out=result)
    if not valid.all():
        result[~valid] = 0
    return result.astype(image.dtype, copy=False), valid


def warp_mask(mask: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], *, flow: Flow | None = None, top: int = 0
              ) -> np.ndarray:
    """A mask, bool `[H, W]`, in the frame of the result, by the nearest pixel; False outside.  Args: as `warp`."""
    return _resample(mask.view(np.uint8), matrix, shape, flow, (top, 0), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)[0] > 0


def warp_plane(plane: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], *, flow: Flow | None = None
               ) -> np.ndarray:
    """A float32 plane `[H, W]` in the frame of the result, bilinear; 0 outside of it.  Args: as `warp`."""
    return _resample(plane, matrix, shape, flow, (0, 0), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)[0]


def _resample(source: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], flow: Flow | None,
              corner: tuple[float, float], interpolation: int, border: int = cv2.BORDER_REPLICATE):
    """The resampled picture; and its positions, x and y, if they do not follow from the matrix alone."""
    if flow is None:
        return cv2.warpPerspective(source, _from_part(matrix, corner), shape[::-1], borderMode=border,
                                   flags=interpolation | cv2.WARP_INVERSE_MAP), None
    positions = flow.positions(matrix, shape, *corner)
    return cv2.remap(source, *positions, interpolation, borderMode=border), positions


def _from_part(matrix: np.ndarray, corner: tuple[float, float]) -> np.ndarray:
    """The map from a part that begins at row and column `corner` of what `matrix` maps from."""
    return matrix @ np.array([[1.0, 0, corner[1]], [0, 1, corner[0]], [0, 0, 1]])


def valid_mask(matrix: np.ndarray, shape: tuple[int, int], source: tuple[int, ...]) -> np.ndarray:
    """bool `shape`: where `matrix` maps a pixel between the pixel centers of a picture of shape `source`."""
    # In each row these are the x from a first to a last one: every condition is linear, slope · x + offset ≥ 0.
    matrix = matrix * np.sign(matrix[2, 2])
    tolerance = 1e-6
    conditions = [matrix[2] - [0, 0, 1e-9]]  # behind the horizon nothing is mapped
    for row, size in zip(matrix[:2], (source[1], source[0])):
        conditions += [row + tolerance * matrix[2], (size - 1 + tolerance) * matrix[2] - row]
    y = np.arange(shape[0])
    first, last = np.zeros(shape[0]), np.full(shape[0], shape[1] - 1.0)
    for slope, per_row, constant in conditions:
        offset = per_row * y + constant
        if slope == 0:
            first[offset < 0] = np.inf
            continue
        bound = -offset / slope
        first, last = (np.maximum(first, bound), last) if slope > 0 else (first, np.minimum(last, bound))
    x = np.arange(shape[1])
    return (x >= first[:, None]) & (x <= last[:, None])
