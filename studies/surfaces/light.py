"""Draws the layers of a scene as a lens shows them, a ground that recedes as one surface.

`edmf_synthetic` cuts such a ground into slices and draws each one, blurred, over those behind it.  The edge of every
slice then hides what is behind it, as the edge of an object does.  A surface has no such edges: the light of all its
points adds up.  Drawn as slices, ground that is out of focus by 5 px comes to lie 0.6 px nearer, and by 8 px 2 px,
where a lens moves it by 0.1 to 0.2.  That is nothing to a picture, but it is to a study of registration.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from tfds_edmf.edmf_synthetic.lens import Layer, Lens, blur, disc_kernel

_FALLBACK = 1e-5  # weight of the continued slices where the slices themselves show nothing
_CONTINUED_PX = 128  # by which slices go on under the next one, more than any blur reaches


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of a surface: `whole` continues under the next nearer slice, `own` has no coverage there."""

    whole: Layer
    own: Layer


def find_slices(layers: Sequence[Layer]) -> list[Layer | Slice]:
    """The layers of an `edmf_synthetic` scene; those that cover its whole width, ground and wall, as slices of one."""
    left, width = layers[0].left, layers[0].alpha.shape[1]
    is_slice = [layer.left == left and layer.alpha.shape[1] == width and bool(layer.alpha.min() == 1)
                for layer in layers]
    below = dict(itertools.pairwise(sorted(layer.top for layer, found in zip(layers, is_slice) if found)))

    def cut(layer: Layer) -> Slice:
        whole = _continued(layer)
        own = whole.alpha.copy()
        own[below[layer.top] - layer.top if layer.top in below else len(layer.alpha) :] = 0
        return Slice(whole, dataclasses.replace(whole, alpha=own))

    return [cut(layer) if found else layer for layer, found in zip(layers, is_slice)]


def _continued(layer: Layer) -> Layer:
    """A slice that goes on below as far as any blur reaches.

    `edmf_synthetic` lets slices overlap by what its own lens blurs.  Where more is blurred, the ends of the slices
    would show as thin dark lines across the ground, which are sharp however far it is out of focus.
    """
    color, alpha = (cv2.copyMakeBorder(plane, 0, _CONTINUED_PX, 0, 0, cv2.BORDER_REPLICATE)
                    for plane in (layer.color, layer.alpha))
    return dataclasses.replace(layer, color=color, alpha=alpha)


def render_surfaces(parts: Sequence[Layer | Slice], shape: tuple[int, int], lens: Lens, focus_mm: float) -> np.ndarray:
    """Linear light [H, W, 3] of a scene from back to front, as `lens.render`, but that slices in a row are one surface.

    Where a surface goes on behind an object, or ends at one, it is drawn in two pieces.  Their coverages at the border
    add up to 1, because both are blurred alike.
    """
    canvas = np.zeros((*shape, 3), np.float32)
    for is_surface, some in itertools.groupby(parts, lambda part: isinstance(part, Slice)):
        if is_surface:
            color, cover = _surface(list(some), shape, lens, focus_mm)
            canvas = cover * color + (1 - cover) * canvas
            continue
        for layer in some:
            window, light = _blurred(layer, shape, lens, focus_mm)
            canvas[window] = light[..., :3] + (1 - light[..., 3:]) * canvas[window]
    return canvas


def _surface(slices: Sequence[Slice], shape: tuple[int, int], lens: Lens, focus_mm: float
             ) -> tuple[np.ndarray, np.ndarray]:
    """Color `[H, W, 3]` and coverage `[H, W, 1]` of a surface.

    At its near end it counts as covering everything, because the next piece hides that.
    """
    total, cover = np.zeros((*shape, 4), np.float32), np.zeros((*shape, 1), np.float32)
    for part in slices:
        window, light = _blurred(part.own, shape, lens, focus_mm)
        total[window] += light
        window, light = _blurred(part.whole, shape, lens, focus_mm)
        total[window] += _FALLBACK * light
        np.maximum(cover[window], light[..., 3:], out=cover[window])
    return total[..., :3] / np.maximum(total[..., 3:], 1e-6), np.minimum(cover, 1)


def _blurred(layer: Layer, shape: tuple[int, int], lens: Lens, focus_mm: float
             ) -> tuple[tuple[slice, slice], np.ndarray]:
    """Where a layer lies on the canvas, and its color times coverage, and coverage, there: `[h, w, 4]`."""
    radius = lens.blur_radius_px(layer.distance_mm, focus_mm)
    pad = disc_kernel(radius).shape[0] // 2
    light = np.dstack([layer.color * layer.alpha[..., None], layer.alpha])
    if pad:
        light = blur(cv2.copyMakeBorder(light, pad, pad, pad, pad, cv2.BORDER_CONSTANT), radius)
    starts = layer.top - pad, layer.left - pad
    first = [max(start, 0) for start in starts]
    last = [max(min(start + side, size), begin) for start, side, size, begin in zip(starts, light.shape, shape, first)]
    window = tuple(slice(*ends) for ends in zip(first, last))
    return window, light[tuple(slice(a - start, b - start) for a, b, start in zip(first, last, starts))]
