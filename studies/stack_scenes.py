"""Rendered stacks of 3 to 30 shots with a known map between any two: what a camera and a hand do to a focus stack.

    python -m studies.stack_scenes FOLDER [--setting NAME] [--number N] [--shots N]

writes the shots of one stack and their truth (`stack_truth`).  Scenes, lens and noise are those of `edmf_synthetic`.
Every flat layer of a scene is warped straight into each shot (one interpolation), then blurred and drawn over what is
behind it.  So a camera that moves sees near things shift more than far ones, and edges hide other things in every shot.

A point of vergence w (1/distance, 1/mm) at scene px p is at shot px (fixed + w·slope)·p: exact for a camera that moves
and turns, because a flat layer that faces the camera is seen through a homography, and that is affine in w.
"""

import argparse
import dataclasses
import zlib
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.registration.transforms import corners, project
from studies.stack_settings import SETTINGS, SHOTS, WRONG, Plan, Setting, plan_shots
from studies.surfaces.light import Slice, find_slices, render_surfaces
from tfds_edmf.edmf_synthetic import exposure, scene
from tfds_edmf.edmf_synthetic.lens import Layer, Lens, render, visible_distance
from tfds_edmf.edmf_synthetic.pair import LENS, take_shot

SIZE = (512, 768)
APERTURES = (1.0, 3.0)  # of the stack's lens, in those of `edmf_synthetic`'s, whose blur is small for a long stack
PAD_SHARE = 0.16  # the scene continues this far beyond the frame, in longer sides, so that no shot shows its edge
TILT_DEGREES, TURN_DEGREES = 0.3, 0.6  # of a hand-held camera, at most, besides its drift


@dataclasses.dataclass(frozen=True)
class View:
    """A camera: where it maps the scene to, and what it focuses on.

    Attributes:
      fixed, slope: 3×3; a point of vergence w is at px (fixed + w·slope)·p, p in px of the scene's canvas.
      focus_mm: the distance in focus.
    """

    fixed: np.ndarray
    slope: np.ndarray
    focus_mm: float

    def at(self, vergence: float) -> np.ndarray:
        """The map of the plane at a vergence, 3×3."""
        return self.fixed + vergence * self.slope

    def then(self, matrix: np.ndarray) -> "View":
        """The view of a shot whose px are moved by a 3×3 matrix afterwards."""
        return dataclasses.replace(self, fixed=matrix @ self.fixed, slope=matrix @ self.slope)


@dataclasses.dataclass(frozen=True)
class Shot:
    """One shot: uint8 `[H, W, 3]`, its camera (a wrong shot's is in the other scene), and its plan."""

    image: np.ndarray
    view: View
    plan: Plan


@dataclasses.dataclass(frozen=True)
class Stack:
    """Shots in the order in which they are given; the first one is as it should be.

    Attributes:
      shots: the shots.
      vergence: 1/distance [1/mm] of what the first shot shows, float32 `[H, W]`.
      blur_px: radius of the blur per 1/mm of vergence from the plane in focus, px, about.
    """

    shots: list[Shot]
    vergence: np.ndarray
    blur_px: float


def make_stack(setting: Setting, seed: int, number: int, size: tuple[int, int] = SIZE, count: int | None = None
               ) -> Stack:
    """Stack `number` of a setting, a pure function of the arguments.

    Args:
      size: height and width of the shots, px.
      count: shots before any is added; None: drawn from `SHOTS`, as many short stacks as long ones.
    """
    entropy = np.random.SeedSequence((seed, zlib.crc32(setting.name.encode()), number))
    rng, scene_rng, other_rng, noise_rng = map(np.random.default_rng, entropy.spawn(4))
    count = count or round(np.exp(rng.uniform(*np.log(SHOTS))))
    lens = dataclasses.replace(LENS, f_number=LENS.f_number / rng.uniform(*APERTURES))
    worlds, views = {}, {}
    for wrong in (False, True) if "wrong" in setting.changes else (False,):
        worlds[wrong] = make_world(other_rng if wrong else scene_rng, scene.KINDS[(number + wrong) % 5], size)
        drawn = draw_views(rng, setting, worlds[wrong], 2 if wrong else count, size)
        views |= {WRONG: drawn[1]} if wrong else dict(enumerate(drawn))
    sigma, dark = rng.uniform(*setting.noise), rng.uniform(0.3, 1) * setting.vignetting
    shots, taken = [], {}
    for plan in plan_shots(rng, setting, count):
        view = changed_view(views[plan.view], plan.change, size)
        light = _light(worlds[plan.view == WRONG], view, shape_of(plan.change, size), lens, dark)
        if not (plan.same_noise and plan.view in taken):
            taken[plan.view] = take_shot(noise_rng, light, exposure.Exposure(2.0**plan.stops), sigma)
        shots.append(Shot(taken[plan.view], view, plan))
    moved = [move_layer(layer, shots[0].view, size) for layer in worlds[False].layers]
    distance = visible_distance([layer for layer in moved if layer], size)
    return Stack(shots, 1 / distance, float(lens.blur_radius_px(1.0, 1e9)))


def make_world(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> scene.RenderedScene:
    """A scene larger than the shots, in linear light that is exposed well at gain 1.

    In scenes without a ground the objects, all near one of two planes, are spread over the depth between.
    """
    pad = round(PAD_SHARE * max(size))
    world = scene.make_scene(rng, kind, (size[0] + 2 * pad, size[1] + 2 * pad), LENS)
    layers = world.layers
    if kind in ("hedge", "fence"):
        near, far = 1 / world.depths.near_mm, 1 / layers[0].distance_mm
        spread = np.sort(rng.uniform(far, near, len(layers) - 1))
        layers = [layers[0], *(dataclasses.replace(layer, distance_mm=float(1 / w))
                               for layer, w in zip(layers[1:], spread))]
    sharp = render(layers, world.shape)
    gain = np.float32(min(exposure.decode(0.45) / np.median(sharp), 0.98 / np.quantile(sharp.max(-1), 0.99)))
    layers = [dataclasses.replace(layer, color=layer.color * gain) for layer in layers]
    return dataclasses.replace(world, layers=layers)


def draw_views(rng: np.random.Generator, setting: Setting, world: scene.RenderedScene, count: int,
               size: tuple[int, int]) -> list[View]:
    """The cameras of a stack: focus from one end to the other, while the camera breathes and moves."""
    near, far = 1 / world.depths.near_mm, 1 / world.depths.far_mm
    focus = 1 / np.linspace(*((near, far) if rng.random() < 0.5 else (far, near)), count)
    sensor = LENS.focal_mm * focus / (focus - LENS.focal_mm)
    zoom = (sensor / sensor.min()) ** setting.breathing  # at least 1, so that no shot shows more than the scene
    focal_px = LENS.focal_mm / LENS.pixel_mm
    turn, yaw, pitch = (setting.held * np.radians(d) * _walk(rng, count) for d in
                        (TURN_DEGREES, TILT_DEGREES, TILT_DEGREES))
    shift = [setting.drift * max(size) * _walk(rng, count) for _ in "xy"]
    move = [setting.parallax * max(size) / (near - far) * _walk(rng, count) for _ in "xy"]
    views = []
    for i in range(count):
        rotation = cv2.Rodrigues(np.array([pitch[i], yaw[i], turn[i]]))[0]
        camera = np.diag([focal_px, focal_px, 1.0])
        matrix = _shift(shift[0][i], shift[1][i]) @ np.diag([zoom[i], zoom[i], 1.0]) @ camera @ rotation
        matrix = _shift(*_center(size)) @ matrix @ np.linalg.inv(camera)
        slope = np.zeros((3, 3))
        slope[:2, 2] = -move[0][i], -move[1][i]
        views.append(View(matrix @ _shift(*-_center(world.shape)), matrix @ slope, float(focus[i])))
    return views


def changed_view(view: View, change: str, size: tuple[int, int]) -> View:
    """The view of a shot that was changed as `CHANGES` says."""
    middle, after = _shift(*-_center(size)), _shift(*_center(shape_of(change, size)))
    if change == "turned 10":
        return view.then(after @ np.vstack([np.c_[cv2.getRotationMatrix2D((0, 0), 10, 1)], [0, 0, 1]]) @ middle)
    if change == "turned 90":
        return view.then(after @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ middle)
    if change == "size":
        scale = shape_of(change, size)[1] / size[1]
        return view.then(after @ np.diag([scale, scale, 1]) @ middle)
    return view


def shape_of(change: str, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a shot that was changed as `CHANGES` says."""
    if change == "turned 90":
        return size[1], size[0]
    return (3 * size[0] // 4, 3 * size[1] // 4) if change == "size" else size


def _light(world: scene.RenderedScene, view: View, size: tuple[int, int], lens: Lens, dark: float) -> np.ndarray:
    """Linear light of one shot, float32 `[H, W, 3]`; `dark`: the share that is missing in the corners."""
    reach = max(float(lens.blur_radius_px(layer.distance_mm, view.focus_mm)) for layer in world.layers)
    margin = int(np.ceil(reach)) + 1  # blur includes what lies outside the frame
    canvas = (size[0] + 2 * margin, size[1] + 2 * margin)
    moved = [_move_part(part, view.then(_shift(margin, margin)), canvas) for part in find_slices(world.layers)]
    light = render_surfaces([part for part in moved if part], canvas, lens, view.focus_mm)
    light = light[margin:-margin, margin:-margin]
    y, x = np.ogrid[: size[0], : size[1]]
    middle = _center(size)
    radius = np.hypot(x - middle[0], y - middle[1]) / np.hypot(*middle)
    return light * np.float32(1 - dark * radius**2)[..., None]


def _move_part(part: Layer | Slice, view: View, canvas: tuple[int, int]) -> Layer | Slice | None:
    """`move_layer` of a layer, or of both layers of a slice."""
    if isinstance(part, Layer):
        return move_layer(part, view, canvas)
    whole = move_layer(part.whole, view, canvas)
    return whole and Slice(whole, move_layer(part.own, view, canvas))


def move_layer(layer: Layer, view: View, canvas: tuple[int, int]) -> Layer | None:
    """A layer as a camera sees it, on a canvas of height and width `canvas`; None if it is not on it."""
    matrix = view.at(1 / layer.distance_mm) @ _shift(layer.left, layer.top)
    ends = project(matrix, corners(layer.alpha.shape))
    left, top = np.maximum(np.floor(ends.min(0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(ends.max(0)).astype(int) + 2, canvas[::-1])
    if right <= left or bottom <= top:
        return None
    matrix, window = _shift(-left, -top) @ matrix, (int(right - left), int(bottom - top))
    color = cv2.warpPerspective(layer.color, matrix, window, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpPerspective(layer.alpha, matrix, window, flags=cv2.INTER_LINEAR)
    return Layer(np.maximum(color, 0), alpha, int(top), int(left), layer.distance_mm)


def _walk(rng: np.random.Generator, count: int) -> np.ndarray:
    """A random walk from 0, at most 1 in size."""
    steps = np.cumsum(np.r_[0, rng.normal(size=count - 1)])
    return steps * rng.uniform(0.3, 1) / max(np.abs(steps).max(), 1e-9)


def _shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _center(shape: tuple[int, ...]) -> np.ndarray:
    """(x, y) of the middle of a picture."""
    return np.array([shape[1] - 1, shape[0] - 1]) / 2


def main(argv: list[str] | None = None) -> None:
    """Writes the shots of one stack and their truth."""
    parser = argparse.ArgumentParser(prog="python -m studies.stack_scenes", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an existing folder for the shots")
    parser.add_argument("--setting", default="hand-held", choices=[s.name for s in SETTINGS], metavar="NAME",
                        help="%(choices)s (default: %(default)s)")
    parser.add_argument("--number", type=int, default=0, metavar="N", help="of the stack (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--shots", type=int, metavar="N", help="of the stack (default: drawn)")
    given = parser.parse_args(argv)
    setting = next(setting for setting in SETTINGS if setting.name == given.setting)
    from studies.stack_truth import write_stack

    for path in write_stack(make_stack(setting, given.seed, given.number, count=given.shots), given.folder):
        print(path)


if __name__ == "__main__":
    main()
