"""Objects that stand in a scene: balls, vases, toys, books and letters (`plants` has those with thin edges).

Every object is a function `(rng, height) -> (color, alpha)`: linear light float32 [h, w, 3] under
uniform light of 1.0, and coverage float32 [h, w] in [0, 1]. h is about `height` px; w depends on
the object. Color is defined wherever coverage is above 0. Round objects are shaded and have a
highlight brighter than 1.
"""

from collections.abc import Callable

import cv2
import numpy as np

from tfds_edmf.edmf_synthetic import strokes, textures
from tfds_edmf.edmf_synthetic.exposure import decode

Sprite = tuple[np.ndarray, np.ndarray]
Object = Callable[[np.random.Generator, int], Sprite]

LIGHT = np.array([-0.5, -0.65, 0.57])  # direction to the light: left, above, in front
VIEWER = np.array([0.0, 0.0, 1.0])  # direction to the camera
SUPERSAMPLE = 4  # masks are drawn this many times larger, then averaged


def surface(rng, kinds: tuple[textures.Texture, ...], height: int, width: int) -> np.ndarray:
    """A texture of a kind chosen at random from `kinds`, in linear light."""
    return decode(kinds[rng.integers(len(kinds))](rng, height, width))


def polygon_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Coverage of a polygon, float32 [height, width]; points [N, 2] are x, y in px."""
    canvas = np.zeros((SUPERSAMPLE * height, SUPERSAMPLE * width), np.uint8)
    # The center of subpixel i lies at (i + 0.5) / SUPERSAMPLE.
    cv2.fillPoly(canvas, [np.int32(np.rint(points * SUPERSAMPLE - 0.5))], 255)
    return np.float32(textures.halve(canvas, height, width)) / 255


def paint_over(sprite: Sprite, color: np.ndarray, mask: np.ndarray) -> Sprite:
    """Paints `color` over a sprite with coverage `mask`; the sprite's coverage becomes the union of both."""
    below, alpha = sprite
    # Where the sprite covered nothing, only the new color counts, also at the mask's edge.
    share = np.where(alpha > 0, mask, (mask > 0).astype(np.float32))
    return textures.mix(below, color, share), np.maximum(alpha, mask)


def lambert(normal_x: np.ndarray, normal_y: np.ndarray, gloss: float) -> tuple[np.ndarray, ...]:
    """Diffuse shading and highlight, float32, of a surface from the x and y components of its unit normal."""
    normal_z = np.sqrt(np.clip(1 - normal_x**2 - normal_y**2, 0, 1))
    cosine = normal_x * LIGHT[0] + normal_y * LIGHT[1] + normal_z * LIGHT[2]
    half = (LIGHT + VIEWER) / np.linalg.norm(LIGHT + VIEWER)  # Blinn's half vector
    highlight = np.clip(normal_x * half[0] + normal_y * half[1] + normal_z * half[2], 0, 1)
    shade = 0.28 + 0.85 * np.clip(cosine, 0, 1)
    return np.float32(shade), np.float32(gloss * highlight**60)


def ball(rng, height, kinds=textures.BODIES) -> Sprite:
    """A ball or an egg."""
    width = max(4, round(height * rng.uniform(0.85, 1.15)))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = np.linspace(0, 2 * np.pi, 90)
    outline = np.stack([width / 2 * (1 + np.cos(angle)), height / 2 * (1 + np.sin(angle))], 1)
    shade, glint = lambert(x, y, rng.choice([0.0, 0.6, 1.5]))
    color = surface(rng, kinds, height, width) * shade[..., None] + glint[..., None]
    return color, polygon_mask(outline, height, width)


def vase(rng, height) -> Sprite:
    """A bottle, vase, cup or tin: a random outline rotated around an upright axis."""
    knots = rng.uniform(0.45, 1.0, 5) * rng.choice([1.0, 0.75])
    knots[0] *= rng.uniform(0.4, 1.0)
    if rng.random() < 0.3:
        knots[:] = 1.0  # a tin
    width = max(6, round(height * rng.uniform(0.4, 0.7)))
    rows = np.linspace(0, 1, height)
    half = np.interp(rows, np.linspace(0, 1, 5), knots).astype(np.float32)
    half = cv2.GaussianBlur(half[:, None], (0, 0), max(height / 14, 0.5))[:, 0] * width / 2
    y = np.arange(height) + 0.5
    sides = [np.stack([width / 2 + half, y], 1), np.stack([width / 2 - half, y], 1)[::-1]]
    alpha = polygon_mask(np.concatenate(sides), height, width)
    x = (np.arange(width)[None] + 0.5 - width / 2) / half[:, None]
    shade, glint = lambert(np.clip(x, -1, 1), np.zeros_like(x) - 0.15, rng.choice([0.0, 0.5, 1.2]))
    color = surface(rng, textures.BODIES, height, width)
    if rng.random() < 0.5:  # a label around it
        top, high = int(height * rng.uniform(0.3, 0.5)), int(height * rng.uniform(0.2, 0.4)) + 2
        color[top : top + high] = surface(rng, textures.COVERS, high, width)[: height - top]
    return color * shade[..., None] + glint[..., None], alpha


def toy(rng, height) -> Sprite:
    """A figure of smooth plastic: body, head, eyes and a hat, with hardly any texture."""
    plastic = (textures.paint, textures.paint, textures.stripes)
    head, head_mask = ball(rng, max(6, round(height * 0.55)), (textures.paint,))
    body, body_mask = ball(rng, max(6, round(height * 0.6)), plastic)
    width = max(head.shape[1], body.shape[1])
    sprite = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    for part, mask, top in ((body, body_mask, height - body.shape[0]), (head, head_mask, 0)):
        left = (width - part.shape[1]) // 2
        window = (slice(top, top + part.shape[0]), slice(left, left + part.shape[1]))
        painted = paint_over((sprite[0][window], sprite[1][window]), part, mask)
        sprite[0][window], sprite[1][window] = painted
    eye_px = max(1.0, head.shape[0] * 0.08)
    for side in (-1, 1):
        center = (width / 2 + side * head.shape[1] * 0.2, head.shape[0] * 0.58)
        for scale, ink in ((1.0, 0.015), (0.35, 0.9)):
            mask = disc_mask(center, eye_px * scale, height, width)
            sprite = paint_over(sprite, np.float32([ink] * 3), mask)
            center = (center[0] - eye_px * 0.3, center[1] - eye_px * 0.35)
    brim = head.shape[0] * rng.uniform(0.22, 0.36)
    hat = textures.color(rng, saturation=(0.3, 0.9), value=(0.3, 0.9))
    rows = np.clip(brim + 0.5 - np.arange(height), 0, 1)[:, None] * np.ones((1, width))
    shade = np.linspace(1.1, 0.5, width)[None, :, None]
    hat_color = np.float32(decode(hat) * shade * np.ones((height, 1, 1)))
    return paint_over(sprite, hat_color, np.float32(rows * sprite[1]))


def disc_mask(center, radius, height, width) -> np.ndarray:
    """Coverage of a small disc, float32 [height, width]; center (x, y) and radius in px."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius + center
    return polygon_mask(points, height, width)


def book(rng, height) -> Sprite:
    """A book or a box, slightly tilted, with a printed cover and a dark side."""
    width = max(6, round(height * rng.uniform(0.55, 1.1)))
    spine = max(2, round(width * rng.uniform(0.08, 0.2)))
    lean = rng.uniform(0, 0.08) * height
    quad = np.array([[spine, lean], [width - 0.5, 0.5], [width - 0.5, height - lean], [spine, height]])
    side = np.array([[spine, lean], [spine, height], [0.5, height - lean], [0.5, 1.6 * lean]])
    cover = surface(rng, textures.COVERS, height, width)
    cover *= np.float32(np.linspace(1.0, rng.uniform(0.6, 0.9), width))[None, :, None]
    sprite = cover, polygon_mask(quad, height, width)
    edge = surface(rng, (textures.wood_upright, textures.paint), height, width) * 0.35
    return paint_over(sprite, edge, polygon_mask(side, height, width))


def word(rng, height) -> Sprite:
    """Cut-out letters standing in a row."""
    text = strokes.random_word(rng, int(rng.integers(1, 4)))
    alpha = strokes.word_mask(text, height, rng.uniform(1.1, 1.9))
    kinds = (textures.wood, textures.paint, textures.stone, textures.stripes)
    color = surface(rng, kinds, *alpha.shape)
    # A bevel: bright upper left edges, dark lower right ones.
    soft = cv2.GaussianBlur(alpha, (0, 0), max(height / 30, 0.6))
    relief = soft - np.roll(soft, (2, 2), (0, 1))
    return color * np.clip(0.85 + 0.9 * relief, 0.3, 1.6)[..., None], alpha
