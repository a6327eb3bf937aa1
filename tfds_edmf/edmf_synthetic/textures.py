"""Surfaces: wood, stone, cloth, tiles, pebbles, foliage, print, stripes, paint, plaster.

Every texture is a function `(rng, height, width) -> float32 [height, width, 3]`: an encoded (sRGB)
picture of the surface's reflectance in [0, 1], uniformly lit. Some are easy for focus measures
(print, weave), some hard (paint with hardly any texture, fine regular patterns). Textures with hard
edges are drawn at twice the size and averaged, to avoid aliasing.
"""

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

from tfds_edmf.edmf_synthetic import strokes

Texture = Callable[[np.random.Generator, int, int], np.ndarray]


def color(rng, hue=None, saturation=(0.1, 0.65), value=(0.3, 0.85)) -> np.ndarray:
    """A random surface color, encoded RGB float32 [3]; the hue is random or, in turns, `hue`."""
    hue = rng.random() if hue is None else hue % 1
    return np.float32(colorsys.hsv_to_rgb(hue, rng.uniform(*saturation), rng.uniform(*value)))


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`first` where `share` [H, W] is 0, `second` where it is 1; colors broadcast."""
    return first + (second - first) * np.clip(share, 0, 1)[..., None].astype(np.float32)


def fractal(rng, height, width, slope=1.2, stretch=(1.0, 1.0)) -> np.ndarray:
    """1/f^slope noise, float32 [height, width], mean 0, standard deviation 1.

    `stretch` (rows, columns) elongates the grain along each axis.
    """
    rows, columns = cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width)
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32))
    frequency = np.hypot(stretch[0] * np.fft.fftfreq(rows)[:, None], stretch[1] * np.fft.rfftfreq(columns)[None])
    frequency[0, 0] = np.inf  # removes the mean
    spectrum *= np.float32(frequency) ** np.float32(-slope)
    noise = np.fft.irfft2(spectrum, s=(rows, columns))[:height, :width]
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def halve(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Averages an image drawn at twice the size down to [height, width, ...]."""
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def plaster(rng, height, width):
    """A wall: nearly flat, with faint stains and grain."""
    base = color(rng, saturation=(0.03, 0.3), value=(0.55, 0.9))
    stains = fractal(rng, height, width, 1.6)
    grain = fractal(rng, height, width, 0.3)
    return np.clip(base + (0.03 * stains + 0.02 * grain)[..., None], 0, 1)


def paint(rng, height, width):
    """Paint or plastic: a smooth gradient that gives focus measures almost nothing to measure."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    share = 0.5 + 0.7 * (np.cos(angle) * x + np.sin(angle) * y)
    first = color(rng, saturation=(0.3, 0.85), value=(0.35, 0.95))
    dust = 0.006 * fractal(rng, height, width, 0.8)
    return np.clip(mix(first, 0.8 * first, share) + dust[..., None], 0, 1)


def stone(rng, height, width):
    """Stone or concrete: mottled at every scale, with dark and bright specks."""
    hue = rng.uniform(0.02, 0.16)
    base = color(rng, hue, (0.02, 0.3), (0.4, 0.7))
    vein = color(rng, hue + 0.04, (0.02, 0.3), (0.25, 0.8))
    image = mix(base, vein, 0.5 + 0.3 * fractal(rng, height, width, 1.3))
    specks = fractal(rng, height, width, 0.15)
    return np.clip(image + 0.06 * specks[..., None] * (1 + 0.5 * specks[..., None]), 0, 1)


def wood(rng, height, width):
    """Wooden boards with the grain along the columns or the rows."""
    if rng.random() < 0.5:
        return np.ascontiguousarray(wood_upright(rng, width, height).transpose(1, 0, 2))
    return wood_upright(rng, height, width)


def wood_upright(rng, height, width):
    """Wooden boards side by side, with the grain along the columns."""
    hue = rng.uniform(0.04, 0.1)
    light = color(rng, hue, (0.35, 0.55), (0.6, 0.85))
    dark = light * rng.uniform(0.45, 0.65)
    board = rng.integers(40, 110)
    number = np.arange(width) // board
    across = np.arange(width) + 997.0 * number  # every board is cut from another part of the trunk
    figure = fractal(rng, height, width, 1.5, (6, 1))
    rings = 0.5 + 0.5 * np.sin(across * rng.uniform(0.25, 0.5) + 3 * figure)
    fibers = fractal(rng, height, width, 0.5, (14, 1))
    image = mix(light, dark, 0.55 * rings**2 + 0.16 * fibers)
    image *= rng.uniform(0.82, 1.08, number.max() + 1)[number][None, :, None]
    seam = np.arange(width) % board
    image[:, seam < 1] *= 0.45
    return np.clip(image, 0, 1).astype(np.float32)


def cloth(rng, height, width):
    """Woven cloth with a tartan of dyed threads, 4 to 7 px apart."""
    pitch = rng.uniform(4, 7)
    dyes = np.stack([color(rng, value=(0.25, 0.9)) for _ in range(3)])

    def threads(count):
        order = rng.choice(3, size=12, p=[0.6, 0.25, 0.15])
        return dyes[order[(np.arange(count) // (4 * pitch)).astype(int) % 12]]

    y, x = np.mgrid[:height, :width].astype(np.float32) / pitch
    y = y + 0.15 * fractal(rng, height, width, 1.4)
    x = x + 0.15 * fractal(rng, height, width, 1.4)
    over = 0.5 + 0.5 * np.tanh(3 * np.sin(np.pi * x) * np.sin(np.pi * y))
    warp, weft = np.cos(2 * np.pi * x), np.cos(2 * np.pi * y)
    image = mix(threads(height)[:, None], threads(width)[None], over)
    shade = 0.86 + 0.14 * (over * -warp + (1 - over) * -weft)
    fluff = 1 + 0.06 * fractal(rng, height, width, 0.4)
    return np.clip(image * (shade * fluff)[..., None], 0, 1).astype(np.float32)


def tiles(rng, height, width):
    """Bricks or floor tiles in mortar; each row is shifted by half a tile."""
    tile_height = int(rng.integers(18, 40))
    tile_width = int(tile_height * rng.uniform(1.0, 2.4))
    mortar_px = rng.uniform(1.5, 3)
    y, x = np.float32(np.ogrid[: 2 * height]) / 2, np.float32(np.ogrid[: 2 * width]) / 2
    row = (y // tile_height).astype(int)[:, None]
    x = x[None] + np.float32(row % 2 * tile_width / 2)
    column, x = np.divmod(x, np.float32(tile_width))
    number = (row * 31 + column.astype(int) * 17) % 64
    hue = rng.choice([0.03, 0.08, 0.55, rng.random()])
    faces = np.stack([color(rng, hue + 0.01 * k % 3, (0.2, 0.5), (0.4, 0.7)) for k in range(3)])
    faces = faces[rng.integers(3, size=64)] * rng.uniform(0.8, 1.15, (64, 1))
    to_seam = np.minimum(y % tile_height, tile_height - y % tile_height)[:, None]
    to_edge = np.minimum(np.minimum(x, tile_width - x), to_seam)
    mortar = color(rng, hue, (0.02, 0.15), (0.5, 0.8))
    share = np.clip((to_edge - mortar_px / 2) * 2, 0, 1)
    image = halve(mix(mortar, faces[number], share).astype(np.float32), height, width)
    rough = 0.05 * fractal(rng, height, width, 0.7)
    return np.clip(image + rough[..., None], 0, 1)


def pebbles(rng, height, width):
    """Gravel: rounded, shaded stones with dark gaps."""
    size = rng.uniform(7, 20)
    rows, columns = 2 * height, 2 * width
    count = int(rows * columns / (2 * size) ** 2)
    seeds = np.ones((rows, columns), np.uint8)
    seeds[rng.integers(rows, size=count), rng.integers(columns, size=count)] = 0
    _, cell = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    borders = (cv2.dilate(cell.astype(np.float32), np.ones((3, 3))) == cell).astype(np.uint8)
    depth = cv2.distanceTransform(borders, cv2.DIST_L2, 5) / size
    hue = rng.choice([0.06, 0.1, 0.14, 0.6])
    colors = [color(rng, hue + rng.normal(0, 0.03), (0.02, 0.3), (0.35, 0.9)) for _ in range(16)]
    faces = np.stack(colors)[rng.integers(16, size=cell.max() + 1)]
    round_shade = 0.25 + 0.75 * (1 - np.exp(-5 * depth))
    light = cv2.GaussianBlur(round_shade, (0, 0), 1.5)
    slope = light - np.roll(light, (3, 3), (0, 1))
    image = halve(faces[cell] * (round_shade + slope)[..., None], height, width)
    return np.clip(image + 0.03 * fractal(rng, height, width, 0.6)[..., None], 0, 1)


def foliage(rng, height, width):
    """A hedge: overlapping leaves of all sizes, lit from above, with dark gaps."""
    hue = rng.choice([0.22, 0.27, 0.3, 0.1, 0.97])
    image = np.zeros((2 * height, 2 * width, 3), np.float32)
    image[:] = color(rng, hue, (0.3, 0.6), (0.06, 0.16))
    leaf_px = rng.uniform(24, 44)
    count = int(4 * 4 * height * width / leaf_px**2)
    along = np.linspace(0, 1, 9)
    outline = np.concatenate([along, along[::-1]]) - 0.5, 0.0
    half_width = 0.5 * np.sin(np.pi * along) * (1 - 0.4 * along)
    outline = np.stack([outline[0], np.concatenate([half_width, -half_width[::-1]])], 1)
    for order in range(count):
        # Leaves drawn later are nearer to the light; the sizes follow a power law.
        size = leaf_px * min(0.5 * rng.random() ** -0.4, 1.6)
        angle, slim = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.9)
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        center = rng.random(2) * (2 * width, 2 * height)
        points = outline * (size, size * slim) @ axes + center
        lit = (0.35 + 0.65 * order / count) * rng.uniform(0.6, 1.1)
        tint = lit * color(rng, hue + rng.normal(0, 0.025), (0.3, 0.65), (0.45, 0.8))
        half = np.concatenate([points[:9], points[8:9], points[:1]])
        cv2.fillPoly(image, [np.int32(np.rint(points))], (0.85 * tint).tolist())
        cv2.fillPoly(image, [np.int32(np.rint(half))], tint.tolist())
    image = halve(image, height, width)
    return np.clip(image * (1 + 0.06 * fractal(rng, height, width, 0.6)[..., None]), 0, 1)


def stripes(rng, height, width):
    """Printed stripes of several widths, straight or wavy, at any angle."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[: 2 * height, : 2 * width].astype(np.float32) / 2
    wave = rng.uniform(0, 4) * np.sin((x * np.sin(angle) - y * np.cos(angle)) / 15)
    phase = (x * np.cos(angle) + y * np.sin(angle) + wave) / rng.uniform(16, 44) % 1
    edges = np.sort(rng.random(4))
    inks = np.stack([color(rng, value=(0.2, 0.95)) for _ in range(5)])
    image = halve(inks[np.searchsorted(edges, phase)], height, width)
    return np.clip(image * (1 + 0.02 * fractal(rng, height, width, 0.8)[..., None]), 0, 1)


def print_page(rng, height, width):
    """Paper with a headline, lines of text and one or more printed pictures."""
    paper = color(rng, 0.12, (0.02, 0.15), (0.8, 0.97))
    ink = color(rng, saturation=(0, 0.6), value=(0.05, 0.3))
    text_px = rng.uniform(6, 11)
    ink_share = strokes.text_block(rng, height, width, text_px)
    image = mix(paper, ink, ink_share)
    for _ in range(max(1, height * width // 60_000)):
        rows, columns = (int(side * rng.uniform(0.15, 0.35)) + 2 for side in (height, width))
        top, left = rng.integers(height - rows), rng.integers(width - columns)
        texture = PICTURES[rng.integers(len(PICTURES))]
        image[top : top + rows, left : left + columns] = texture(rng, rows, columns)
    return np.clip(image + 0.012 * fractal(rng, height, width, 0.7)[..., None], 0, 1)


PICTURES: tuple[Texture, ...] = (stripes, paint, foliage)
GROUNDS: tuple[Texture, ...] = (wood, stone, tiles, pebbles, cloth, wood)
WALLS: tuple[Texture, ...] = (plaster, tiles, foliage, wood, stone)
COVERS: tuple[Texture, ...] = (stripes, print_page, cloth, print_page)
BODIES: tuple[Texture, ...] = (paint, paint, stone, stripes, wood, cloth)
