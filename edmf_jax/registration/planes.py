"""The planes that a picture is registered on: luma, its reduced copies, and two that exposure hardly changes.

A picture is RGB `[H, W, 3]` or grey `[H, W]`: uint8, uint16, or floating point in
[0, 1].  A plane is float32 `[H, W]`.  Positions are (x, y) in px with integers at
pixel centres, as in OpenCV, so the picture covers −0.5 … W − 0.5.
"""

import cv2
import numpy as np

_LUMA = (0.299, 0.587, 0.114)  # BT.601
# Keeps the logarithm of the darkest levels, where noise and quantisation rule, from dominating the rest.
_DARK = 0.03
_LOCAL_PX = 24.0  # the neighbourhood in which gradients are compared with each other
_SLOPE_FLOOR = 0.004  # log units per px; below it a slope is noise, and stays small
_CONTRAST_FLOOR = 1e-3  # variance in log units that counts as flat
_SLOPE_RANGE = 3.0  # times the local root mean square, at level 255


def luma_plane(image: np.ndarray) -> np.ndarray:
    """BT.601 luma of a picture as a float32 plane in [0, 1].

    Raises:
      ValueError: not a picture as this module describes it, or a number in it is not finite.
    """
    image = np.asarray(image)
    if not (image.ndim == 2 or image.shape[2:] == (3,)) or min(image.shape[:2]) < 1:
        raise ValueError(f"a picture to register is [H, W] or [H, W, 3], got {image.shape}")
    if image.dtype in (np.uint8, np.uint16):
        top = np.iinfo(image.dtype).max
    elif np.issubdtype(image.dtype, np.floating):
        top = 1
        if not np.isfinite(image).all():
            raise ValueError(f"a picture to register must be finite, got {image.dtype} {image.shape} with inf or NaN")
    else:
        raise ValueError(f"a picture to register is uint8, uint16 or floating point, got {image.dtype}")
    plane = image.astype(np.float32) @ np.float32(_LUMA) if image.ndim == 3 else image.astype(np.float32)
    return np.clip(plane / np.float32(top), 0, 1)


def reduction(shape: tuple[int, ...], most_px: float) -> float:
    """The factor ≤ 1 on both sides that brings a picture of `shape` to `most_px` pixels or fewer."""
    return min(1.0, float(np.sqrt(most_px / (shape[0] * shape[1]))))


def reduce_plane(plane: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """A copy smaller by about `factor`, and the 3×3 matrix from positions in `plane` to positions in the copy."""
    height, width = plane.shape
    size = max(1, round(width * factor)), max(1, round(height * factor))
    x, y = size[0] / width, size[1] / height
    matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    if factor >= 1:
        return plane, np.eye(3)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA), matrix


def log_plane(luma: np.ndarray) -> np.ndarray:
    """log(luma + 0.03): gain becomes an offset and gamma nearly a factor, which correlation ignores."""
    return np.log(luma + np.float32(_DARK))


def slope_plane(luma: np.ndarray, blur_px: float) -> np.ndarray:
    """What SIFT looks at, uint8: gradient magnitude of the logarithm, relative to that of the neighbourhood.

    `blur_px` is the standard deviation of the Gaussian before the gradient: about
    what defocus does to the sharper shot, so that both show much the same.  Dividing by the local root mean square
    takes out what gamma and contrast change.
    """
    smooth = cv2.GaussianBlur(log_plane(luma), (0, 0), blur_px)
    x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    energy = x * x + y * y
    around = np.sqrt(np.maximum(cv2.GaussianBlur(energy, (0, 0), _LOCAL_PX), 0))
    relative = np.sqrt(energy) / (around + np.float32(_SLOPE_FLOOR))
    return np.uint8(np.clip(relative * np.float32(255 / _SLOPE_RANGE), 0, 255))


def contrast_plane(luma: np.ndarray, blur_px: float = 0.0) -> np.ndarray:
    """A second look for pictures with few features, uint8: the logarithm relative to its neighbourhood's scatter.

    `blur_px` is the standard deviation of a Gaussian before all, in about linear light, as defocus is.
    """
    if blur_px:
        luma = np.sqrt(soft(luma * luma, blur_px))
    log = log_plane(luma)
    mean = cv2.GaussianBlur(log, (0, 0), _LOCAL_PX / 2)
    scatter = np.sqrt(np.maximum(cv2.GaussianBlur(log * log, (0, 0), _LOCAL_PX / 2) - mean * mean, 0) + _CONTRAST_FLOOR)
    return np.uint8(np.clip(((log - mean) / scatter + _SLOPE_RANGE) * np.float32(255 / (2 * _SLOPE_RANGE)), 0, 255))


def soft(plane: np.ndarray, sigma_px: float) -> np.ndarray:
    """A Gaussian blur; wide ones by way of half the size, at a fraction of the time and a thousandth off."""
    if sigma_px < 3 or min(plane.shape) < 16:
        return cv2.GaussianBlur(plane, (0, 0), sigma_px)
    height, width = plane.shape
    half = cv2.resize(plane, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
    # Area-averaging by two and interpolation back blur by about 0.6 px themselves.
    half = soft(half, float(np.sqrt(sigma_px**2 - 0.36)) / 2)
    return cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)


def band_plane(log_luma: np.ndarray, fine_px: float = 1.2, coarse_px: float = 8.0) -> np.ndarray:
    """Difference of two Gaussians of the logarithm: what is correlated tile by tile; noise and light fall-off removed.

    Defocus is symmetric, so it lowers a correlation peak without moving it.
    """
    return cv2.GaussianBlur(log_luma, (0, 0), fine_px) - soft(log_luma, coarse_px)
