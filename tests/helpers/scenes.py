"""Synthetic scenes, and shots of them: defocused, at another exposure, with black edges, from a moved camera."""

import cv2
import numpy as np

from edmf_jax.core.exposures import tone_curve


def scene(height, width, channels=3, seed=0):
    """A sharp picture with detail everywhere, from dark to bright, floats in [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = cv2.GaussianBlur(rng.random((height, width, 3)), (0, 0), 12)
    coarse = (coarse - coarse.min()) / np.ptp(coarse)
    fine = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 1)[..., None]
    return np.clip(0.08 + 0.72 * coarse + 0.25 * fine, 0.03, 0.97)[..., :channels].astype(np.float32)


def defocused(image, columns, sigma=2.5):
    """`image` with some of its columns (a slice) out of focus: blurred in linear light by `sigma` px."""
    light = cv2.GaussianBlur(np.maximum(image, 0) ** 2.2, (0, 0), sigma).reshape(image.shape) ** (1 / 2.2)
    out = image.copy()
    out[:, columns] = light[:, columns]
    return out


def shots(height, width, channels=3, seed=0):
    """A scene and two shots of it, one sharp in the left half and one in the right."""
    truth = scene(height, width, channels, seed)
    return truth, defocused(truth, slice(width // 2, None)), defocused(truth, slice(0, width // 2))


def exposed(image, stops=0.0, gamma=1.0, balance=(1, 1, 1)):
    """`image` in 8 bits as a camera with `stops` more exposure and gains `balance` of R, G and B would write it."""
    levels = np.rint(255 * image).astype(int)
    return np.stack([np.rint(255 * tone_curve(stops + np.log2(gain), gamma))[levels[..., c]]
                     for c, gain in zip(range(image.shape[2]), balance)], -1).astype(np.uint8)


def framed_with_black(image, left, bottom):
    """`image` with black edges of so many pixels."""
    image = image.copy()
    image[:, :left] = 0
    image[image.shape[0] - bottom:] = 0
    return image


def noisy_jpeg(image):
    """`image`, uint8, after JPEG of quality 85."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)


def hand_held(image, matrix):
    """`image` warped by a homography, as a camera sees it that has moved; mirrored beyond the edges."""
    size = image.shape[1::-1]
    return cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
