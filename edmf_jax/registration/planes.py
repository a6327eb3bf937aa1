"""The planes that pictures are registered on: luma, smaller copies of it, and planes that exposure barely affects.

A picture is RGB `[H, W, 3]` or gray `[H, W]`: uint8, uint16, or floating point in
[0, 1].  A plane is float32 `[H, W]` unless said otherwise.  Positions are (x, y) in px with integers at
pixel centers, as in OpenCV, so a picture covers −0.5 … W − 0.5.
"""

import cv2
import numpy as np

from edmf_jax.core.color import luma

# Added to luma before the logarithm: otherwise noise and quantization of the darkest levels would dominate.
_LOG_OFFSET = 0.03
_NEIGHBORHOOD_PX = 24.0  # standard deviation of the Gaussian window that gradients are normalized over
_GRADIENT_FLOOR = 0.004  # log units per px; a gradient below it is noise, and stays small
_VARIANCE_FLOOR = 1e-3  # of the logarithm; a neighborhood below it is flat
HALF_SIZE_PX = 3.0
"""From this blur on, half the size shows as much."""
BAND_PX = 1.2, 8.0
"""Standard deviations of the two Gaussians whose difference tiles are correlated on."""
_MAX_RATIO = 3.0  # ratio to the neighborhood's root mean square that becomes level 255


def check_picture(image: np.ndarray) -> tuple[int, int]:
    """Height and width of a picture.

    Raises:
      ValueError: not a picture as this module describes it, or it holds inf or NaN.
    """
    image = np.asarray(image)
    if not (image.ndim == 2 or image.shape[2:] == (3,)) or min(image.shape[:2]) < 1:
        raise ValueError(f"a picture to register is [H, W] or [H, W, 3], got {image.shape}")
    if np.issubdtype(image.dtype, np.floating):
        if not np.isfinite(image).all():
            raise ValueError(f"a picture to register must be finite, got {image.dtype} {image.shape} with inf or NaN")
    elif image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a picture to register is uint8, uint16 or floating point, got {image.dtype}")
    return image.shape[:2]


def luma_plane(image: np.ndarray) -> np.ndarray:
    """BT.601 luma of a picture as a float32 plane in [0, 1].

    Raises:
      ValueError: see `check_picture`.
    """
    check_picture(image)
    image = np.asarray(image)
    white = 1 if np.issubdtype(image.dtype, np.floating) else np.iinfo(image.dtype).max
    plane = image.astype(np.float32)
    plane = luma(plane) if image.ndim == 3 else plane
    return np.clip(plane / np.float32(white), 0, 1)


def reduction_factor(shape: tuple[int, ...], max_pixels: float) -> float:
    """The factor ≤ 1 on both sides that brings a picture of `shape` to `max_pixels` pixels or fewer."""
    return min(1.0, float(np.sqrt(max_pixels / (shape[0] * shape[1]))))


def reduce_picture(image: np.ndarray, most_px: float) -> np.ndarray:
    """A copy of `[H, W]` or `[H, W, C]` with at most about `most_px` pixels, by area averaging; or the picture itself.

    It keeps the dtype, so a large picture need not become floats first.
    """
    factor = reduction_factor(image.shape, most_px)
    if factor >= 1:
        return image
    height, width = reduced_shape(image.shape, factor)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return small.reshape(height, width, *image.shape[2:])


def reduce_plane(plane: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """A copy smaller by about `factor`, and the 3×3 matrix from positions in `plane` to positions in the copy."""
    if factor >= 1:
        return plane, np.eye(3)
    height, width = reduced_shape(plane.shape, factor)
    small = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return small, scaling_matrix(plane.shape, (height, width))


def reduced_shape(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    """Height and width of a picture of `shape` after a reduction by about `factor`."""
    height, width = (max(1, round(side * factor)) for side in shape[:2])
    return height, width


def scaling_matrix(source: tuple[int, ...], target: tuple[int, ...]) -> np.ndarray:
    """The 3×3 matrix from positions in a picture of shape `source` to positions in its copy resized to `target`."""
    y, x = (target[i] / source[i] for i in (0, 1))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def log_plane(plane: np.ndarray) -> np.ndarray:
    """log(luma + 0.03).  A gain becomes an offset and a gamma nearly a factor; correlation is invariant to both."""
    return np.log(plane + np.float32(_LOG_OFFSET))


def gradient_plane(plane: np.ndarray, blur_px: float) -> np.ndarray:
    """The input of SIFT, uint8: gradient magnitude of the log luma, relative to its local root mean square.

    The division removes changes of gamma and contrast.

    Args:
      plane: luma in [0, 1].
      blur_px: standard deviation of the Gaussian before the gradient.  About as much as defocus blurs, so that the
        sharp and the blurred shot look alike.
    """
    smooth = cv2.GaussianBlur(log_plane(plane), (0, 0), blur_px)
    x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    energy = x * x + y * y
    local_rms = np.sqrt(np.maximum(gaussian_blur(energy, _NEIGHBORHOOD_PX), 0))
    relative = np.sqrt(energy) / (local_rms + np.float32(_GRADIENT_FLOOR))
    return np.uint8(np.clip(relative * np.float32(255 / _MAX_RATIO), 0, 255))


def contrast_plane(plane: np.ndarray, blur_px: float = 0.0) -> np.ndarray:
    """A second input of SIFT, for pictures with few features, uint8: the log luma's local z-score.

    Args:
      plane: luma in [0, 1].
      blur_px: standard deviation of a Gaussian before all else, in approximately linear light, as defocus is; 0: none.
    """
    if blur_px:
        plane = np.sqrt(gaussian_blur(plane * plane, blur_px))
    log = log_plane(plane)
    mean = gaussian_blur(log, _NEIGHBORHOOD_PX / 2)
    variance = np.maximum(gaussian_blur(log * log, _NEIGHBORHOOD_PX / 2) - mean * mean, 0)
    score = (log - mean) / np.sqrt(variance + _VARIANCE_FLOOR)
    return np.uint8(np.clip((score + _MAX_RATIO) * np.float32(255 / (2 * _MAX_RATIO)), 0, 255))


def gaussian_blur(plane: np.ndarray, sigma_px: float) -> np.ndarray:
    """A Gaussian blur.  From 3 px on it works at half the size: a fraction of the time.

    For black and white bars of 30 px it is within 0.001 of the exact result at 6 px, 0.005 at 12, and at 24 px within
    0.014, or 0.04 at the frame's edges.
    """
    if sigma_px < HALF_SIZE_PX or min(plane.shape) < 16:
        return cv2.GaussianBlur(plane, (0, 0), sigma_px)
    half = gaussian_blur(half_size(plane), half_size_sigma(sigma_px))
    return cv2.resize(half, plane.shape[::-1], interpolation=cv2.INTER_LINEAR)


def half_size(plane: np.ndarray) -> np.ndarray:
    """A copy `[⌈H/2⌉, ⌈W/2⌉]` by area averaging."""
    height, width = plane.shape
    return cv2.resize(plane, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)


def half_size_sigma(sigma_px: float) -> float:
    """The blur of `half_size` that makes one of `sigma_px`: averaging and interpolating back add about 0.6 px."""
    return float(np.sqrt(sigma_px**2 - 0.36)) / 2


def bandpass_plane(log_luma: np.ndarray, fine_px: float = BAND_PX[0], coarse_px: float = BAND_PX[1]) -> np.ndarray:
    """Difference of two Gaussians of the log luma, which tiles are correlated on: no noise, no light fall-off.

    Defocus is symmetric, so it lowers a correlation peak without moving it.
    """
    return cv2.GaussianBlur(log_luma, (0, 0), fine_px) - gaussian_blur(log_luma, coarse_px)
