"""Renders flat layers through a thin lens: blur by distance, occlusion in linear light.

A scene is a list of layers from back to front. Each layer's color times alpha, and its alpha, are
blurred by the disc that follows from its distance and the lens; then the layer is drawn over what
is behind it. So a defocused foreground spreads over a sharp background, which shows through its
soft edge. A defocused background continues behind the foreground, so it never picks up the
foreground's color.

Images are float32 linear light [H, W, 3]; alpha is float32 [H, W] in [0, 1]; distances are in
millimeters from the lens; blur radii are in pixels.
"""

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

# Radii are rounded to this step: too fine to see, and coarse enough for few kernels and for
# storing a radius in one byte (features `blur_a` and `blur_b`).
RADIUS_STEP_PX = 1 / 16
# Samples per pixel and axis when integrating a disc's coverage of a pixel.
SUBSAMPLES = 16


@dataclasses.dataclass(frozen=True)
class Lens:
    """The main camera of a phone, with a twofold crop of its picture.

    Attributes:
        focal_mm: focal length.
        f_number: focal length divided by aperture diameter; infinity is a pinhole.
        pixel_mm: width on the sensor of one pixel of the (reduced) picture.
    """

    focal_mm: float = 8.7
    f_number: float = 1.8
    pixel_mm: float = 0.02

    def blur_radius_px(self, distance_mm, focus_mm: float):
        """Radius of the circle of confusion, px, of a point that is out of focus.

        With aperture diameter D = f/N and the sensor at v = f·s/(s − f) behind the lens, a point
        at distance d is imaged as a disc of diameter D · v · |1/d − 1/s| when focused at s.

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
    """A flat object that faces the camera.

    Attributes:
        color: float32 [h, w, C], linear light (C = 3); also defined where alpha is 0, so that
            pixels at the edge of the shape have the shape's color.
        alpha: float32 [h, w] in [0, 1], coverage of the pixel.
        top, left: position of pixel [0, 0] on the canvas, px; may be negative.
        distance_mm: distance from the lens.
    """

    color: np.ndarray
    alpha: np.ndarray
    top: int
    left: int
    distance_mm: float


def disc_kernel(radius_px: float) -> np.ndarray:
    """A uniform disc as a convolution kernel: float32 [k, k], k odd, sum 1.

    The disc is integrated over each pixel, so its edge has no steps. Up to radius 0.5 the disc
    lies within one pixel, and the kernel is a single 1.
    """
    return _disc_kernel(round(float(radius_px) / RADIUS_STEP_PX))


@functools.lru_cache(maxsize=512)
def _disc_kernel(steps: int) -> np.ndarray:
    radius = steps * RADIUS_STEP_PX
    if radius <= 0.5:
        return np.ones((1, 1), np.float32)
    half = int(np.ceil(radius - 0.5))
    size = 2 * half + 1
    center = (np.arange(size * SUBSAMPLES) + 0.5) / SUBSAMPLES - size / 2
    inside = center[:, None] ** 2 + center[None, :] ** 2 <= radius**2
    coverage = inside.reshape(size, SUBSAMPLES, size, SUBSAMPLES).mean(axis=(1, 3))
    return (coverage / coverage.sum()).astype(np.float32)


def blur(image: np.ndarray, radius_px: float) -> np.ndarray:
    """Convolves `image` [H, W] or [H, W, C] with a disc; outside the frame it counts as black."""
    kernel = disc_kernel(radius_px)
    if kernel.size == 1:
        return image
    blurred = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    # OpenCV applies large kernels with a Fourier transform, which leaves values like -1e-8.
    return np.maximum(blurred, 0)


def render(
    layers: Sequence[Layer],
    shape: tuple[int, int],
    lens: Lens | None = None,
    focus_mm: float | None = None,
) -> np.ndarray:
    """Linear light [H, W, C] of a scene.

    Args:
        layers: the scene from back to front; the first layer should cover the canvas.
        shape: height and width of the canvas, px. Within one blur radius of its border, light
            from outside is missing: render with a margin and crop it.
        lens: the camera; None is a pinhole, which has everything in focus.
        focus_mm: the distance in focus; unused without a lens.
    """
    canvas = np.zeros((*shape, layers[0].color.shape[2]), np.float32)
    for layer in layers:
        radius = 0.0 if lens is None else lens.blur_radius_px(layer.distance_mm, focus_mm)
        pad = disc_kernel(radius).shape[0] // 2
        premultiplied = np.dstack([layer.color * layer.alpha[..., None], layer.alpha])
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
    """The share of each pixel that comes from layers blurred by `limit_px` or less, [H, W] in [0, 1].

    1 where only a surface in focus is seen; less where the blur of a defocused foreground spreads
    over it; 0 where everything is out of focus.
    """
    sharpness = []
    for layer in layers:
        is_sharp = lens.blur_radius_px(layer.distance_mm, focus_mm) <= limit_px
        plane = np.full((*layer.alpha.shape, 1), is_sharp, np.float32)
        sharpness.append(dataclasses.replace(layer, color=plane))
    return render(sharpness, shape, lens, focus_mm)[..., 0]


def visible_distance(layers: Sequence[Layer], shape: tuple[int, int]) -> np.ndarray:
    """Distance [mm], float32 [H, W], of the frontmost layer that covers at least half of the pixel."""
    distance = np.full(shape, np.inf, np.float32)
    for layer in layers:
        window, patch = _overlap(layer.top, layer.left, layer.alpha.shape, shape)
        distance[window][layer.alpha[patch] >= 0.5] = layer.distance_mm
    return distance


def _overlap(top: int, left: int, size: tuple[int, int], shape: tuple[int, int]):
    """The overlap of the canvas and a patch placed at (top, left): slices of the canvas, and of the patch."""
    rows = slice(max(top, 0), max(min(top + size[0], shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + size[1], shape[1]), 0))
    patch = (
        slice(rows.start - top, max(rows.stop - top, 0)),
        slice(columns.start - left, max(columns.stop - left, 0)),
    )
    return (rows, columns), patch
