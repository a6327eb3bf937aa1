"""Scenes: a backdrop, often a ground, far and near objects, and two focus distances.

Near and far objects lie within half a pixel of blur of one focus distance. Only the ground between
them, and sometimes an object on it, is sharp in neither shot. Depths are in pixels of blur, as
`depths` explains.
"""

import dataclasses

import cv2
import numpy as np

from tfds_edmf.edmf_synthetic import ground, objects, plants, textures
from tfds_edmf.edmf_synthetic.depths import Depths, sample_depths
from tfds_edmf.edmf_synthetic.exposure import decode
from tfds_edmf.edmf_synthetic.lens import Layer, Lens

KINDS = ("table", "street", "hedge", "page", "fence")
# The canvas extends this far beyond the picture on each side, so that blur includes what lies outside.
MARGIN_PX = 14
SLICE_PX = 0.3  # step of blur radius from one slice of the ground to the next
IN_FOCUS_PX = 0.5  # largest blur radius at which an object counts as in focus
NIGHT = 0.15  # share of street and hedge scenes that are dark, with lamps

STANDING = (objects.ball, objects.vase, objects.toy, objects.book, objects.word, plants.plant)
NEAR = {
    "table": (objects.vase, objects.toy, objects.book, objects.word, objects.ball, plants.plant),
    "street": (plants.pole, plants.flap),
    "hedge": (plants.plant, plants.twigs, plants.plant),
    "page": (objects.vase, objects.toy, objects.ball, objects.word),
    "fence": (plants.net, plants.twigs),
}


@dataclasses.dataclass(frozen=True)
class RenderedScene:
    """Layers on a canvas with a margin, and the focus distances.

    Attributes:
        layers: from back to front, in linear light of arbitrary scale.
        depths: the focus distances.
        shape: height and width of the canvas: the picture plus MARGIN_PX on every side.
        night: whether the scene is dark except for lamps.
    """

    layers: list[Layer]
    depths: Depths
    shape: tuple[int, int]
    night: bool


def make_scene(rng: np.random.Generator, kind: str, size: tuple[int, int], lens: Lens) -> RenderedScene:
    """A random scene of a kind from KINDS, for a picture of `size` (height, width) in px."""
    depths = sample_depths(rng, kind, size, lens)
    shape = (size[0] + 2 * MARGIN_PX, size[1] + 2 * MARGIN_PX)
    night = bool(kind in ("street", "hedge") and rng.random() < NIGHT)
    if kind in ("hedge", "fence"):
        layers = _layers_without_ground(rng, kind, shape, depths)
    else:
        layers = _layers_with_ground(rng, kind, shape, depths, lens)
    if night:
        layers = [_dim(layer, 0.12) for layer in layers]
        layers[0] = _with_lamps(rng, layers[0])
    return RenderedScene(layers, depths, shape, night)


def _layers_without_ground(rng, kind, shape, depths) -> list[Layer]:
    """A wall or hedge behind, far objects at the lower edge, near objects across the view."""
    height, width = shape
    back = decode(_pick(rng, (textures.foliage, textures.foliage, *textures.WALLS))(rng, *shape))
    far = depths.span_px
    layers = [_layer(back, np.ones(shape, np.float32), 0, 0, depths, far + rng.uniform(0, IN_FOCUS_PX))]
    for _ in range(rng.integers(1, 4)):
        sprite = _pick(rng, STANDING)(rng, int(height * rng.uniform(0.3, 0.55)))
        left = rng.uniform(-0.05, 0.85) * width
        foot = height * rng.uniform(0.98, 1.15)
        layers.append(_stand(sprite, foot, left, depths, far - abs(_jitter(rng))))
    layers.sort(key=lambda layer: -layer.distance_mm)
    near_kind = _pick(rng, NEAR[kind])
    count = 1 if near_kind is plants.net else int(rng.integers(1, 4))
    near = []
    for _ in range(count):
        relative_height = 1.05 if near_kind is plants.net else rng.uniform(0.6, 1.05)
        sprite = near_kind(rng, int(height * relative_height))
        left = -0.05 * width if count == 1 else rng.uniform(-0.2, 0.7) * width
        near.append(_stand(sprite, height * 1.02, left, depths, _jitter(rng)))
    return layers + sorted(near, key=lambda layer: -layer.distance_mm)


@dataclasses.dataclass(frozen=True)
class _Floor:
    """A level ground, as a relation between canvas row and depth.

    Attributes:
        edge: row of its far edge.
        near_row: row at depth 0, the near focus; may lie below the canvas.
        rows_per_px: rows per pixel of depth.
    """

    edge: int
    near_row: float
    rows_per_px: float

    def row(self, depth_px: float) -> float:
        """The row at a depth."""
        return self.near_row - depth_px * self.rows_per_px

    def depth(self, row):
        """The depth at a row."""
        return (self.near_row - row) / self.rows_per_px


def _layers_with_ground(rng, kind, shape, depths, lens) -> list[Layer]:
    """A ground from near to far, a wall behind it, and objects standing on it."""
    height, width = shape
    edge = int(height * (rng.uniform(0.16, 0.38) if kind != "page" else 0.0))
    # In a street the near object hangs or stands close to the camera, in front of all the ground.
    near_row = height * (rng.uniform(2, 3.5) if kind == "street" else rng.uniform(0.82, 0.92))
    # The far objects stand close in front of the wall, so that the wall is sharp as well.
    behind = rng.uniform(0.2, IN_FOCUS_PX)
    floor = _Floor(edge, near_row, (near_row - edge) / (depths.span_px + behind))
    placed = _place(rng, kind, shape, depths)
    plane = _floor_picture(rng, kind, shape, depths, lens, floor)
    for sprite, left, depth, grounded in placed:
        if grounded:
            _cast_shadow(plane, floor.row(depth), left, sprite)

    distance = np.array([1 / depths.vergence(floor.depth(row)) for row in range(height)])
    slice_rows = max(2, int(SLICE_PX * floor.rows_per_px))
    slices = ground.slices(plane, edge, distance, slice_rows, 2 * MARGIN_PX)
    # An object is drawn after the slice it stands on and before the next one, so slices are
    # sorted by the depth of their far edge.
    ordered = [(floor.depth(layer.top), layer) for layer in slices]
    for sprite, left, depth, grounded in placed:
        foot = floor.row(depth) if grounded else height + 1
        ordered.append((depth, _stand(sprite, foot, left, depths, depth)))
    ordered.sort(key=lambda item: -item[0])
    layers = [layer for _, layer in ordered]
    if not edge:
        return layers
    wall = decode(_pick(rng, textures.WALLS)(rng, edge + 2 * MARGIN_PX, width))
    return [_layer(wall, np.ones(wall.shape[:2], np.float32), 0, 0, depths, floor.depth(edge)), *layers]


def _floor_picture(rng, kind, shape, depths, lens, floor) -> np.ndarray:
    """The ground in perspective on the whole canvas, in linear light; black above its far edge."""
    height, width = shape
    kinds = (textures.print_page, textures.cloth) if kind == "page" else textures.GROUNDS
    # Upside down, because the texture's first row becomes the nearest one; so print is readable.
    texture = decode(_pick(rng, kinds)(rng, 512, 640)[::-1])
    at_edge, at_end = (depths.vergence(floor.depth(row)) for row in (floor.edge, height))
    per_row = (at_end - at_edge) / (height - floor.edge)
    focal_px = lens.focal_mm / lens.pixel_mm
    picture = np.zeros((*shape, 3), np.float32)
    picture[floor.edge :] = ground.in_perspective(texture, (height - floor.edge, width), at_edge, per_row, focal_px)
    return picture


def _place(rng, kind, shape, depths):
    """The objects of a scene with their places: (sprite, left, depth, whether it stands on the ground)."""
    height, width = shape
    placed = []
    far_depths = [depths.span_px - abs(_jitter(rng)) for _ in range(rng.integers(2, 5))]
    if rng.random() < 0.3:
        far_depths.append(depths.span_px * rng.uniform(0.35, 0.65))
    for depth in far_depths:
        scale = depths.vergence(depth) / depths.vergence(0)  # perspective
        object_height = int(height * max(rng.uniform(0.45, 0.75) * scale, 0.15))
        placed.append((_pick(rng, STANDING)(rng, object_height), depth, True))
    near_kinds = NEAR[kind]
    full_height = kind == "street"
    for _ in range(1 if full_height else rng.integers(1, 3)):
        object_height = height + 2 if full_height else int(height * rng.uniform(0.35, 0.6))
        placed.append((_pick(rng, near_kinds)(rng, object_height), _jitter(rng), not full_height))
    columns = rng.permutation(np.linspace(0.02, 0.98, len(placed)))
    positioned = []
    for column, (sprite, depth, grounded) in zip(columns, placed, strict=True):
        room = width - sprite[1].shape[1]
        left = column * room + rng.uniform(-0.08, 0.08) * width
        if not grounded:  # it is the only near object: keep it inside the picture
            left = min(max(left, MARGIN_PX), room - MARGIN_PX)
        positioned.append((sprite, left, depth, grounded))
    return positioned


def _cast_shadow(plane: np.ndarray, foot: float, left: float, sprite):
    """Darkens the ground, in place, around the foot of an object, so that it does not seem to float."""
    width = sprite[1].shape[1]
    shade = np.zeros(plane.shape[:2], np.float32)
    center = (int(left + 0.6 * width), int(foot))
    cv2.ellipse(shade, center, (int(0.55 * width), max(2, int(0.1 * width))), 0, 0, 360, 0.65, -1)
    shade = cv2.GaussianBlur(shade, (0, 0), max(1.0, 0.04 * width))
    plane *= 1 - shade[..., None]


def _with_lamps(rng, layer: Layer) -> Layer:
    """Adds small lamps and lit windows, far brighter than the rest, which become discs when out of focus."""
    color = layer.color.copy()
    height, width = layer.alpha.shape
    for _ in range(rng.integers(8, 24)):
        center = rng.random(2) * (width, height)
        mask = objects.disc_mask(center, rng.uniform(0.8, 2.2), height, width)
        warm = textures.color(rng, rng.choice([0.1, 0.13, 0.55, 0.0]), (0.1, 0.6), (0.9, 1.0))
        color += mask[..., None] * decode(warm) * np.float32(rng.uniform(2, 14))
    return dataclasses.replace(layer, color=color)


def _stand(sprite, foot, left, depths, depth) -> Layer:
    """A sprite whose lower edge is at row `foot`."""
    color, alpha = sprite
    return _layer(color, alpha, round(foot) - alpha.shape[0], round(left), depths, depth)


def _layer(color, alpha, top, left, depths, depth) -> Layer:
    return Layer(np.float32(color), alpha, top, left, 1 / depths.vergence(depth))


def _dim(layer: Layer, factor: float) -> Layer:
    return dataclasses.replace(layer, color=layer.color * np.float32(factor))


def _jitter(rng) -> float:
    """A random depth offset within focus, px of blur."""
    return rng.uniform(-IN_FOCUS_PX, IN_FOCUS_PX)


def _pick(rng, choices):
    """One of `choices`, at random."""
    return choices[rng.integers(len(choices))]
