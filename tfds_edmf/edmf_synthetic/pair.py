"""One pair of the data set: a scene, two shots of it, and its ground truth and maps."""

import zlib

import numpy as np

from tfds_edmf.edmf_synthetic import exposure, scene
from tfds_edmf.edmf_synthetic.lens import RADIUS_STEP_PX, Lens, render, sharp_share, visible_distance

LENS = Lens()
NOISE_LEVELS = (0.5, 1.5)  # standard deviation of the sensor noise, in 8-bit levels
# A pixel's truth is attainable if in one shot at least this share of the pixel comes from surfaces
# blurred by at most this radius.
ATTAINABLE_SHARE, ATTAINABLE_PX = 0.98, 0.75
BORDERED = 0.4  # share of pairs in which one source has a black border
BORDER_PX = (2, 9)  # range of its width on each bordered side
BORDER_SLANT_PX = 2.5  # largest change of that width along the side


def make_pair(seed: int, split: str, index: int, size: tuple[int, int],
              exposures: tuple[exposure.Exposure, exposure.Exposure] | None = None) -> dict[str, object]:
    """Pair `index` of a split, a pure function of the arguments.

    The result is bit-identical in any order and process, with the same versions of numpy and OpenCV
    on the same kind of processor.

    Args:
        seed: seed of the data set.
        split: "train" or "test"; any other name gives other pairs.
        index: number of the pair, >= 0; the kinds of scene take turns with it.
        size: height and width, px.
        exposures: of source A and of source B, instead of those that the data set draws; everything
            else stays the same. A gain may be three numbers for R, G and B: white balance.

    Returns:
        The features that `Builder` documents.
    """
    entropy = (seed, zlib.crc32(split.encode()), index)
    # Separate generators, so that a new kind of object changes neither exposures nor noise.
    scene_rng, camera_rng, noise_rng = map(np.random.default_rng, np.random.SeedSequence(entropy).spawn(3))
    view = scene.make_scene(scene_rng, scene.KINDS[index % len(scene.KINDS)], size, LENS)
    truth = _crop(render(view.layers, view.shape))
    light = _reference_gain(camera_rng, truth, view.night)

    focus = [view.depths.near_mm, view.depths.far_mm]
    if camera_rng.random() < 0.5:
        focus.reverse()
    drawn = exposure.sample_exposures(camera_rng)
    exposures = exposures or drawn
    sigma = camera_rng.uniform(*NOISE_LEVELS)
    shots = [
        take_shot(noise_rng, _crop(light * render(view.layers, view.shape, LENS, focus_mm)), settings, sigma)
        for focus_mm, settings in zip(focus, exposures, strict=True)
    ]
    borders = [np.zeros(4, np.int32), np.zeros(4, np.int32)]
    if camera_rng.random() < BORDERED:
        bordered = int(camera_rng.integers(2))
        shots[bordered], borders[bordered] = add_border(camera_rng, shots[bordered])
    return {
        "id": index,
        "source_a": shots[0],
        "source_b": shots[1],
        "truth": exposure.quantize(exposure.encode(light * truth)),
        **_maps(view, focus),
        "gain_a": exposures[0].gain,
        "gain_b": exposures[1].gain,
        "gamma_a": exposures[0].gamma,
        "gamma_b": exposures[1].gamma,
        "border_a": borders[0],
        "border_b": borders[1],
    }


def take_shot(rng, light: np.ndarray, settings: exposure.Exposure, sigma: float) -> np.ndarray:
    """The 8-bit picture of linear light [H, W, 3]; `sigma` is the standard deviation of the noise, in levels."""
    picture = exposure.expose(light, settings.gain, settings.gamma)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return exposure.quantize(picture + noise * np.float32(sigma / 255))


def add_border(rng, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds black edges like those that resampling leaves when one shot is registered to the other.

    One to four sides get an edge, slightly slanted.

    Returns:
        The picture, uint8 [H, W, 3], and int32 [4]: the number of rows or columns at the top, bottom,
        left and right with at least one pixel that the border blackened or dimmed.
    """
    height, width = picture.shape[:2]
    sides = rng.permutation(4) < rng.integers(1, 5)
    starts = rng.uniform(*BORDER_PX, 4) * sides
    ends = np.maximum(starts + rng.uniform(-1, 1, 4) * BORDER_SLANT_PX, 1) * sides
    y, x = np.float32(np.ogrid[:height]) + 0.5, np.float32(np.ogrid[:width]) + 0.5

    def inside(across, along, side):  # share of the pixel on the picture's side of the edge
        if not sides[side]:
            return np.ones((1, 1), np.float32)
        line = starts[side] + (ends[side] - starts[side]) * along
        return np.clip(across - line + 0.5, 0, 1)

    rows, columns = y[:, None], x[None]
    cover = inside(rows, columns / width, 0) * inside(height - rows, columns / width, 1)
    cover = cover * inside(columns, rows / height, 2) * inside(width - columns, rows / height, 3)
    reach = np.where(sides, np.ceil(np.maximum(starts, ends) + 0.5), 0).astype(np.int32)
    darkened = np.rint(picture * np.broadcast_to(cover, (height, width))[..., None])
    return darkened.astype(np.uint8), reach


def _maps(view: scene.RenderedScene, focus_mm: list[float]) -> dict[str, np.ndarray]:
    """Focus, attainability and blur maps, uint8 [H, W, 1] each; `focus_mm` holds the focus of source A and of B."""
    distance = _crop(visible_distance(view.layers, view.shape))
    blur_a, blur_b = (LENS.blur_radius_px(distance, focus) for focus in focus_mm)
    shares = [sharp_share(view.layers, view.shape, LENS, focus, ATTAINABLE_PX) for focus in focus_mm]
    attainable = _crop(np.maximum(*shares)) >= ATTAINABLE_SHARE
    return {
        "focus_map": _mask_bytes(blur_a < blur_b),
        "attainable": _mask_bytes(attainable),
        "blur_a": _radius_bytes(blur_a),
        "blur_b": _radius_bytes(blur_b),
    }


def _reference_gain(rng, sharp: np.ndarray, night: bool) -> np.float32:
    """The factor on light that exposes the all-in-focus picture well, for the reference exposure.

    The median becomes a middle gray (darker at night), but at most 1 % of the pixels saturate.
    """
    middle = exposure.decode(rng.uniform(0.14, 0.2) if night else rng.uniform(0.4, 0.52))
    saturated = np.quantile(sharp.max(axis=-1), 0.99)
    return np.float32(min(middle / np.median(sharp), 0.98 / saturated))


def _crop(canvas: np.ndarray) -> np.ndarray:
    margin = scene.MARGIN_PX
    return canvas[margin:-margin, margin:-margin]


def _mask_bytes(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)[..., None]


def _radius_bytes(radius_px: np.ndarray) -> np.ndarray:
    steps = np.clip(np.rint(radius_px / RADIUS_STEP_PX), 0, 255)
    return steps.astype(np.uint8)[..., None]
