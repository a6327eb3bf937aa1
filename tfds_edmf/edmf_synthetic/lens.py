"""A thin lens looking at flat layers: blur by distance, and occlusion done in light.

A scene is a list of layers from back to front. Each layer is blurred, colour times alpha
and alpha alike, by the disc that its distance and the lens give, and laid over what is
behind it. So a defocused foreground spreads over a sharp background and lets it shine
through its soft edge, and a defocused background, which goes on behind the foreground,
never gathers the foreground's colour.

Images are float32 linear light [H, W, 3]; alpha is float32 [H, W] in [0, 1]; distances are
millimetres in front of the lens; blur radii are pixels.
"""

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

# Radii are rounded to this step: fine enough to be invisible, coarse enough that the
# kernels are few and a radius fits a byte of the `blur` feature.
RADIUS_STEP_PX = 1 / 16
# Samples per pixel and axis when a disc's coverage of the pixels is integrated.
SUBSAMPLES = 16


@dataclasses.dataclass(frozen=True)
class Lens:
    """A phone's main camera, seen through a twofold crop of its picture.

    Attributes:
        focal_mm: focal length.
        f_number: focal length over aperture diameter; infinity is a pinhole.
        pixel_mm: width of one pixel of the (reduced) picture on the sensor.
    """

    focal_mm: float = 8.7
    f_number: float = 1.8
    pixel_mm: float = 0.02

    def blur_radius_px(self, distance_mm, focus_mm: float):
        """Radius of the circle of confusion, px, of a point seen out of focus.

        With aperture diameter D = f/N and the sensor at v = f·s/(s − f) behind the lens,
        a point at d when focused at s is a disc of diameter D · v · |1/d − 1/s|.

        Args:
            distance_mm: the point's distance, > 0; number or array.
            focus_mm: the distance in focus, > focal_mm.
        """
        sensor_mm = self.focal_mm * focus_mm / (focus_mm - self.focal_mm)
        aperture_mm = self.focal_mm / self.f_number
        vergence = np.abs(1 / np.asarray(distance_mm, np.float64) - 1 / focus_mm)
        return 0.5 * aperture_mm * sensor_mm * vergence / self.pixel_mm


@dataclasses.dataclass(frozen=True)
class Layer:
    """One flat thing facing the camera.

    Attributes:
        colour: float32 [h, w, C], linear light (C = 3), defined also where alpha is 0, so that the
            edge of the shape takes the shape's own colour.
        alpha: float32 [h, w] in [0, 1], coverage of the pixel.
        top, left: where [0, 0] lies on the canvas, px; may be negative.
        distance_mm: distance from the lens.
    """

    colour: np.ndarray
    alpha: np.ndarray
    top: int
    left: int
    distance_mm: float


def disc_kernel(radius_px: float) -> np.ndarray:
    """A disc's share of each pixel it touches: float32 [k, k], k odd, sum 1.

    Integrated over the pixels (so it has no stairs), and a single 1 up to radius 0.5,
    where the disc lies within one pixel.
    """
    return _disc_kernel(round(float(radius_px) / RADIUS_STEP_PX))


@functools.lru_cache(maxsize=512)
def _disc_kernel(steps: int) -> np.ndarray:
    radius = steps * RADIUS_STEP_PX
    if radius <= 0.5:
        return np.ones((1, 1), np.float32)
    half = int(np.ceil(radius - 0.5))
    size = 2 * half + 1
    centre = (np.arange(size * SUBSAMPLES) + 0.5) / SUBSAMPLES - size / 2
    inside = centre[:, None] ** 2 + centre[None, :] ** 2 <= radius**2
    coverage = inside.reshape(size, SUBSAMPLES, size, SUBSAMPLES).mean(axis=(1, 3))
    return (coverage / coverage.sum()).astype(np.float32)


def blur(image: np.ndarray, radius_px: float) -> np.ndarray:
    """`image` [H, W] or [H, W, C] convolved with a disc; black outside the frame."""
    kernel = disc_kernel(radius_px)
    if kernel.size == 1:
        return image
    blurred = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    # Large kernels go through a Fourier transform, which leaves values like -1e-8.
    return np.maximum(blurred, 0)


def render(
    layers: Sequence[Layer],
    shape: tuple[int, int],
    lens: Lens | None = None,
    focus_mm: float | None = None,
) -> np.ndarray:
    """Linear light [H, W, C] of layers given from back to front.

    Args:
        layers: the scene; the first should cover the canvas.
        shape: height and width of the canvas, px. Within one blur radius of its border
            the blur misses what lies outside: render with a margin and cut it off.
        lens: the camera; None is a pinhole, which has everything in focus.
        focus_mm: distance in focus; ignored by the pinhole.
    """
    canvas = np.zeros((*shape, layers[0].colour.shape[2]), np.float32)
    for layer in layers:
        radius = 0.0 if lens is None else lens.blur_radius_px(layer.distance_mm, focus_mm)
        pad = disc_kernel(radius).shape[0] // 2
        premultiplied = np.dstack([layer.colour * layer.alpha[..., None], layer.alpha])
        if pad:
            padded = cv2.copyMakeBorder(premultiplied, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
            premultiplied = blur(padded, radius)
        window, patch = _overlap(layer.top - pad, layer.left - pad, premultiplied.shape[:2], shape)
        front = premultiplied[patch]
        canvas[window] = front[..., :-1] + (1 - front[..., -1:]) * canvas[window]
    return canvas


def sharp_share(
    layers: Sequence[Layer],
    shape: tuple[int, int],
    lens: Lens,
    focus_mm: float,
    limit_px: float,
) -> np.ndarray:
    """How much of each pixel comes from layers blurred by `limit_px` or less, [H, W] in [0, 1].

    1 where a surface in focus is seen unveiled; less behind the haze around a defocused
    foreground, and 0 on what is out of focus.
    """
    flags = []
    for layer in layers:
        sharp = lens.blur_radius_px(layer.distance_mm, focus_mm) <= limit_px
        flag = np.full((*layer.alpha.shape, 1), sharp, np.float32)
        flags.append(dataclasses.replace(layer, colour=flag))
    return render(flags, shape, lens, focus_mm)[..., 0]


def visible_distance(layers: Sequence[Layer], shape: tuple[int, int]) -> np.ndarray:
    """Distance, mm, float32 [H, W], of the frontmost layer that covers half the pixel or more."""
    distance = np.full(shape, np.inf, np.float32)
    for layer in layers:
        window, patch = _overlap(layer.top, layer.left, layer.alpha.shape, shape)
        distance[window][layer.alpha[patch] >= 0.5] = layer.distance_mm
    return distance


def _overlap(top: int, left: int, size: tuple[int, int], shape: tuple[int, int]):
    """The slices of the canvas, and of a patch laid at (top, left), where they meet."""
    rows = slice(max(top, 0), max(min(top + size[0], shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + size[1], shape[1]), 0))
    patch = (
        slice(rows.start - top, max(rows.stop - top, 0)),
        slice(columns.start - left, max(columns.stop - left, 0)),
    )
    return (rows, columns), patch
