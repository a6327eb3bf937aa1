"""Objects with thin or long edges, the hard cases at depth steps: plants, twigs, poles, nets, flaps.

Functions as in `objects`: `(rng, height) -> (color, alpha)`, linear light and coverage.
"""

import cv2
import numpy as np

from tfds_edmf.edmf_synthetic import textures
from tfds_edmf.edmf_synthetic.exposure import decode
from tfds_edmf.edmf_synthetic.objects import (
    SUPERSAMPLE,
    Sprite,
    lambert,
    paint_over,
    polygon_mask,
    surface,
)


def leaf(rng, sprite: Sprite, base, tip, hue) -> Sprite:
    """Paints a leaf from `base` to `tip` (x, y in px): two halves with different shading, and a midrib."""
    height, width = sprite[1].shape
    axis = np.subtract(tip, base)
    across = np.array([-axis[1], axis[0]]) * rng.uniform(0.18, 0.34)
    along = np.linspace(0, 1, 14)[:, None]
    rib = np.asarray(base) + along * axis + 0.25 * rng.normal() * along * (1 - along) * across
    bulge = np.sin(np.pi * along**0.8) * (1 - 0.3 * along)
    green = decode(textures.color(rng, hue + rng.normal(0, 0.02), (0.45, 0.8), (0.35, 0.75)))
    veins = 0.9 + 0.1 * np.sin(np.arange(width)[None] * 0.9 + np.arange(height)[:, None] * 0.7)
    for side, light in ((1, rng.uniform(0.9, 1.3)), (-1, rng.uniform(0.55, 0.9))):
        outline = np.concatenate([rib, (rib + side * bulge * across)[::-1]])
        shade = np.float32(light * veins)[..., None]
        sprite = paint_over(sprite, green * shade, polygon_mask(outline, height, width))
    rib_mask = line_mask([rib], [max(0.8, height / 160)], height, width)
    return paint_over(sprite, green * 1.5 + 0.03, rib_mask * sprite[1])


def line_mask(lines, widths_px, height, width) -> np.ndarray:
    """Coverage of polylines, float32 [height, width]; each is [N, 2] of x, y in px, with a width in px."""
    canvas = np.zeros((SUPERSAMPLE * height, SUPERSAMPLE * width), np.uint8)
    for points, line_px in zip(lines, widths_px, strict=True):
        subpixels = np.int32(np.rint(np.asarray(points) * SUPERSAMPLE))
        cv2.polylines(canvas, [subpixels], False, 255, max(1, round(line_px * SUPERSAMPLE)))
    return np.float32(textures.halve(canvas, height, width)) / 255


def plant(rng, height) -> Sprite:
    """A stem with leaves on both sides."""
    width = max(8, round(height * rng.uniform(0.6, 0.9)))
    along = np.linspace(0, 1, 20)
    bend = rng.normal(0, 0.12)
    stem = np.stack([width * (0.5 + bend * np.sin(2 * along)), height * (1 - 0.9 * along)], axis=1)
    hue = rng.choice([0.24, 0.28, 0.33, 0.12])
    bark = decode(textures.color(rng, hue - 0.08, (0.3, 0.6), (0.25, 0.5)))
    mask = line_mask([stem], [max(1.2, height / 45)], height, width)
    sprite = np.ones((height, width, 3), np.float32) * bark, mask
    for position in np.linspace(0.15, 0.98, int(rng.integers(5, 10))):
        base = stem[int(position * 19)]
        side = rng.choice([-1, 1])
        reach = width * rng.uniform(0.28, 0.45)
        angle = rng.uniform(-0.2, 1.0)
        tip = base + reach * np.array([side * np.cos(angle), -np.sin(angle)])
        sprite = leaf(rng, sprite, base, np.clip(tip, 1, [width - 1, height - 1]), hue)
    return sprite


def twigs(rng, height) -> Sprite:
    """Bare branches that fork upwards, one to a few px thick."""
    width = max(8, round(height * rng.uniform(0.6, 1.0)))
    lines, widths_px = [], []
    start = np.array([width * rng.uniform(0.3, 0.7), height + 2.0])
    tips = [(start, rng.normal(0, 0.2), height * 0.28, max(height / 32, 1.5))]
    for _ in range(4):
        new_tips = []
        for point, angle, length, width_px in tips:
            end = point + length * np.array([np.sin(angle), -np.cos(angle)])
            middle = (point + end) / 2 + rng.normal(0, length * 0.05, 2)
            lines.append([point, middle, end])
            widths_px.append(width_px)
            for turn in (rng.uniform(0.2, 0.8), -rng.uniform(0.2, 0.8)):
                new_tips.append((end, angle + turn, length * rng.uniform(0.6, 0.9), width_px * 0.66))
        tips = new_tips
    alpha = line_mask(lines, widths_px, height, width)
    bark = surface(rng, (textures.wood_upright, textures.stone), height, width) * 0.7
    return bark, alpha


def pole(rng, height) -> Sprite:
    """A pole or pipe from top to bottom, shaded as a cylinder."""
    width = max(6, round(height * rng.uniform(0.06, 0.2)))
    x = np.linspace(-1, 1, width)[None] * np.ones((height, 1))
    shade, glint = lambert(x, np.zeros_like(x) - 0.1, rng.choice([0.0, 0.4]))
    kinds = (textures.paint, textures.stone, textures.plaster, textures.wood_upright)
    color = surface(rng, kinds, height, width) * shade[..., None] + glint[..., None]
    lean = rng.normal(0, 0.3) * width
    sheared_width = width + int(np.ceil(abs(lean)))
    shear = np.float32([[1, lean / height, max(-lean, 0)], [0, 1, 0]])
    color = cv2.warpAffine(color, shear, (sheared_width, height), borderMode=cv2.BORDER_REPLICATE)
    corners = np.array([[0.5, 0], [width - 0.5, 0], [width - 0.5, height], [0.5, height]])
    corners[:, 0] += shear[0, 1] * corners[:, 1] + shear[0, 2]
    return color, polygon_mask(corners, height, sheared_width)


def net(rng, height) -> Sprite:
    """A wire fence or a grating across the whole view."""
    width = round(height * 1.2)
    pitch = rng.uniform(0.14, 0.26) * height
    wire_px = max(1.5, pitch * rng.uniform(0.06, 0.14))
    slope = rng.choice([0.0, 1.0]) * rng.uniform(0.7, 1.0)
    lines = []
    for offset in np.arange(-2 * width, 3 * width, pitch):
        lines.append([[offset, 0], [offset + slope * height, height]])
        if slope:
            lines.append([[offset, 0], [offset - slope * height, height]])
        elif rng.random() < 0.5:
            lines.append([[0, offset * 1.0], [width, offset * 1.0]])
    alpha = line_mask(lines, [wire_px] * len(lines), height, width)
    soft = cv2.GaussianBlur(alpha, (0, 0), wire_px / 2)
    relief = 0.8 + 1.2 * (soft - np.roll(soft, (1, 1), (0, 1)))
    color = surface(rng, (textures.paint, textures.stone), height, width)
    return color * np.clip(relief, 0.3, 2)[..., None], alpha


def flap(rng, height) -> Sprite:
    """A large near object that covers one side of the view: a bag, a curtain, the edge of a wall."""
    width = round(height * rng.uniform(0.3, 0.5))
    along = np.linspace(0, 1, 40)
    wavy = rng.uniform(0, 0.05) * np.sin(rng.uniform(3, 12) * along + rng.uniform(0, 6))
    edge = width * np.clip(0.75 + rng.uniform(-0.3, 0.2) * (along - 0.5) + wavy, 0.2, 0.99)
    outline = np.stack([edge, along * height], axis=1)
    outline = np.concatenate([outline, [[-1, height], [-1, 0]]])
    alpha = polygon_mask(outline, height, width)
    folds = 1 + 0.18 * textures.fractal(rng, height, width, 1.8, (4, 1))
    to_edge = (edge[-1] - np.arange(width))[None, :] / width
    shade = np.clip(folds, 0.5, 1.4) * np.clip(0.6 + 2 * to_edge, 0.55, 1)
    if rng.random() < 0.5:  # on the right side; only the outline is mirrored, so print stays readable
        alpha, shade = np.ascontiguousarray(alpha[:, ::-1]), shade[:, ::-1]
    kinds = (textures.cloth, textures.print_page, textures.stone, textures.paint, textures.wood)
    return surface(rng, kinds, height, width) * np.float32(shade)[..., None], alpha
