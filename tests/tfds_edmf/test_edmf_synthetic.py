"""The `edmf_synthetic` builder: optics, occlusion, exposure, and what a pair promises."""

import pathlib
import re

import numpy as np
import pytest

pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")

from tfds_edmf.edmf_synthetic import edmf_synthetic_dataset_builder as builder_module  # noqa: E402
from tfds_edmf.edmf_synthetic import exposure, ground, lens, make_pair, pair, reexpose, scene, strokes  # noqa: E402

CONFIGS = {config.name: config for config in builder_module.Builder.BUILDER_CONFIGS}
TINY = CONFIGS["tiny"]
LENS = lens.Lens()
IMAGES = ("source_a", "source_b", "truth")
MAPS = ("focus_map", "attainable", "blur_a", "blur_b")


def tiny_pair(index: int, split: str = "train") -> dict:
    return make_pair(TINY.seed, split, index, TINY.sizes[index % len(TINY.sizes)])


@pytest.fixture(scope="module")
def pairs() -> list[dict]:
    return [tiny_pair(index) for index in range(TINY.train_pairs)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict:
    """The tiny configuration through TFDS, prepared in an empty folder."""
    folder = tmp_path_factory.mktemp("tfds")
    return tfds.load("edmf_synthetic/tiny", data_dir=folder, download=True, with_info=True)


# --- the lens


def test_blur_is_zero_at_the_focus_and_grows_away_from_it():
    distance = np.array([60.0, 80, 100, 130, 200, 1000])
    radius = LENS.blur_radius_px(distance, 100.0)
    assert radius[2] == 0
    assert np.all(np.diff(radius[:3]) < 0) and np.all(np.diff(radius[2:]) > 0)


def test_blur_radius_equals_a_hand_computed_value():
    # f = 10 mm, f/2: aperture 5 mm. Focused at 1010 mm the sensor is 10.1 mm behind the
    # lens. A point at 505 mm is a disc of 5 · 10.1 · (1/505 − 1/1010) = 0.05 mm: 2.5 px of
    # 0.01 mm in radius.
    camera = lens.Lens(focal_mm=10, f_number=2, pixel_mm=0.01)
    assert camera.blur_radius_px(505.0, 1010.0) == pytest.approx(2.5, rel=1e-12)


def test_a_pinhole_has_no_blur():
    assert lens.Lens(f_number=np.inf).blur_radius_px(50.0, 1000.0) == 0


@pytest.mark.parametrize("radius", [0.0, 0.3, 0.6, 1.0, 2.5, 4.0, 8.9])
def test_disc_kernel_keeps_the_light_and_is_a_disc(radius):
    kernel = lens.disc_kernel(radius)
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel, kernel[::-1])
    if radius > 0.5:
        # A disc's variance along an axis is r²/4; a pixel's own width adds 1/12.
        at = np.arange(len(kernel)) - len(kernel) // 2
        exact = lens.RADIUS_STEP_PX * round(radius / lens.RADIUS_STEP_PX)
        assert (kernel.sum(0) * at**2).sum() == pytest.approx(exact**2 / 4, abs=0.15)


def test_a_pixel_inside_a_disc_gets_the_pixel_over_the_disc_area():
    # Radius 1: the central pixel's corners lie 0.71 from the center, so it is full.
    assert lens.disc_kernel(1.0)[1, 1] == pytest.approx(1 / np.pi, abs=0.005)


def test_blur_moves_light_but_neither_makes_nor_loses_it(rng):
    image = np.zeros((60, 50, 3), np.float32)
    image[20:40, 20:30] = rng.random((20, 10, 3))
    blurred = lens.blur(image, 7.0)  # goes through the Fourier transform
    assert blurred.min() >= 0
    assert blurred.sum() == pytest.approx(image.sum(), rel=1e-5)


# --- occlusion

NEAR_MM, FAR_MM = 100.0, 250.0


def two_layers(background: np.ndarray, edge: int, color: float) -> list[lens.Layer]:
    """A wall far away, and before its left part, up to column `edge`, a near thing."""
    height, width = background.shape[:2]
    wall = lens.Layer(background, np.ones((height, width), np.float32), 0, 0, FAR_MM)
    alpha = np.ones((height + 60, edge + 30), np.float32)  # goes on beyond the frame
    thing = lens.Layer(np.full((*alpha.shape, 3), color, np.float32), alpha, -30, -30, NEAR_MM)
    return [wall, thing]


def checks(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.repeat(np.float32((x // 2 + y // 2) % 2)[..., None], 3, axis=2)


def inner(image: np.ndarray) -> np.ndarray:
    return image[12:-12, :-12]


def test_a_sharp_foreground_neither_leaks_into_nor_darkens_the_blurred_background():
    layers = two_layers(np.full((60, 80, 3), 0.2, np.float32), 40, 0.9)
    near = lens.render(layers, (60, 80), LENS, NEAR_MM)
    # A flat wall stays flat when blurred, right up to the sharp outline.
    np.testing.assert_allclose(inner(near), inner(lens.render(layers, (60, 80))), atol=1e-5)


def test_a_defocused_foreground_covers_the_sharp_background_in_part():
    wall = checks(60, 80)
    layers = two_layers(wall, 40, 0.5)
    far = lens.render(layers, (60, 80), LENS, FAR_MM)
    radius = float(LENS.blur_radius_px(NEAR_MM, FAR_MM))
    assert radius > 2
    solid = np.zeros((60, 80), np.float32)
    solid[:, :40] = 1
    cover = lens.blur(np.pad(solid, ((30, 30), (30, 0)), mode="edge"), radius)[30:-30, 30:, None]
    np.testing.assert_allclose(inner(far), inner(cover * 0.5 + (1 - cover) * wall), atol=1e-5)
    # Half covered on the outline, the haze reaching one radius to either side of it.
    assert inner(cover)[:, 39:41].mean() == pytest.approx(0.5, abs=1e-3)
    reach = int(np.ceil(radius)) + 1
    np.testing.assert_allclose(inner(far)[:, 40 + reach :], inner(wall)[:, 40 + reach :], atol=1e-6)
    np.testing.assert_allclose(inner(far)[:, : 40 - reach], 0.5, atol=1e-5)


def test_the_sharp_share_is_zero_behind_a_sharp_outline_and_partial_in_a_haze():
    layers = two_layers(checks(60, 80), 40, 0.5)
    near = inner(lens.sharp_share(layers, (60, 80), LENS, NEAR_MM, 0.75))
    far = inner(lens.sharp_share(layers, (60, 80), LENS, FAR_MM, 0.75))
    assert near[:, :40].min() == 1 and near[:, 40:].max() == 0
    assert far[:, 60:].min() == pytest.approx(1) and far[:, :20].max() < 1e-5
    assert 0.3 < far[:, 39:41].mean() < 0.7


def test_the_frontmost_surface_is_the_visible_one():
    distance = lens.visible_distance(two_layers(checks(60, 80), 40, 0.5), (60, 80))
    assert np.all(distance[:, :40] == NEAR_MM) and np.all(distance[:, 40:] == FAR_MM)


def test_a_layer_outside_the_canvas_changes_nothing():
    layers = two_layers(checks(30, 30), 10, 0.5)[:1]
    patch = np.ones((5, 5, 3), np.float32), np.ones((5, 5), np.float32)
    beyond = [lens.Layer(*patch, *at, FAR_MM) for at in ((-9, 3), (40, 3), (3, -9), (3, 40))]
    args = (30, 30), LENS, FAR_MM
    np.testing.assert_array_equal(lens.render(layers + beyond, *args), lens.render(layers, *args))


def test_ground_slices_leave_no_cracks():
    plane = np.full((120, 60, 3), 0.4, np.float32)
    distance = 1 / np.linspace(1 / 250, 1 / 90, 120)
    layers = ground.slices(plane, 0, distance, rows=7, pad=28)
    picture = lens.render(layers, (120, 60), LENS, 150.0)
    np.testing.assert_allclose(picture[14:-14, 14:-14], 0.4, atol=1e-4)


# --- exposure


def test_encode_has_the_values_of_srgb_and_decode_inverts_it():
    linear = np.array([0, 0.002, 0.18, 0.5, 1, 3], np.float32)
    np.testing.assert_allclose(exposure.encode(linear), [0, 0.02584, 0.461356, 0.735357, 1, 1], atol=1e-5)
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(exposure.encode(exposure.decode(levels)), levels, atol=1e-6)


def test_expose_gains_light_clips_it_and_then_bends_the_curve():
    light = np.array([0.1, 0.25, 0.6], np.float32)
    np.testing.assert_allclose(exposure.expose(light, 2, 1), exposure.encode(np.array([0.2, 0.5, 1.0])))
    np.testing.assert_allclose(exposure.expose(light, 1, 1.5), exposure.encode(light) ** 1.5, rtol=1e-6)


def test_reexpose_at_the_reference_changes_nothing():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(reexpose(levels, 1.0, 1.0), levels)


@pytest.mark.parametrize("gain", [2**-0.65, 1.0, 2**0.25, 2**0.65])
@pytest.mark.parametrize("gamma", [0.905, 1.0, 1.105])
def test_reexposed_truth_is_within_two_levels_of_the_exact_one(gain, gamma):
    light = np.linspace(0, 1, 20_001, dtype=np.float32)
    truth = exposure.quantize(exposure.encode(light))
    exact = exposure.quantize(exposure.expose(light, gain, gamma))
    difference = np.abs(exact.astype(int) - reexpose(truth, gain, gamma))
    assert difference.max() <= 2 and difference[truth > 8].max() <= 1


def test_exposures_lie_about_the_reference_and_some_are_equal(rng):
    drawn = [exposure.sample_exposures(rng) for _ in range(600)]
    gain = np.array([[a.gain, b.gain] for a, b in drawn])
    gamma = np.array([[a.gamma, b.gamma] for a, b in drawn])
    np.testing.assert_allclose(gain.prod(1), 1, rtol=1e-12)
    np.testing.assert_allclose(gamma.prod(1), 1, rtol=1e-12)
    stops = np.abs(np.log2(gain[:, 0] / gain[:, 1]))
    assert stops.max() <= exposure.STOPS_LIMIT + 1e-9
    assert np.mean(stops == 0) == pytest.approx(exposure.SAME_EXPOSURE, abs=0.05)
    # EDMF's own quantiles, in exposure.py: half below 0.21 stops, three quarters below 0.53.
    assert 0.1 < np.quantile(stops, 0.5) < 0.3 and 0.3 < np.quantile(stops, 0.75) < 0.6


def test_noise_has_the_asked_deviation_and_differs_between_shots(rng):
    light = np.full((100, 100, 3), 0.2, np.float32)
    shots = [pair.take_shot(rng, light, exposure.Exposure(), 1.5).astype(float) for _ in range(2)]
    # Rounding adds a variance of 1/12.
    assert shots[0].std() == pytest.approx(np.sqrt(1.5**2 + 1 / 12), rel=0.03)
    assert abs(np.corrcoef(shots[0].ravel(), shots[1].ravel())[0, 1]) < 0.03


# --- a pair


def assert_same(first: dict, second: dict):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_a_pair_is_the_same_again_whatever_was_made_before(pairs):
    for index in (4, 0):
        assert_same(tiny_pair(index), pairs[index])


def test_seed_split_and_index_each_give_another_pair(pairs):
    size = TINY.sizes[0]
    for other in (make_pair(TINY.seed + 1, "train", 0, size), make_pair(TINY.seed, "test", 0, size)):
        assert np.mean(other["truth"] != pairs[0]["truth"]) > 0.5
    assert np.mean(pairs[2]["truth"] != pairs[0]["truth"]) > 0.5


def test_images_have_the_asked_size_and_maps_one_channel(pairs):
    for index, example in enumerate(pairs):
        height, width = TINY.sizes[index % 2]
        for name in IMAGES:
            assert example[name].shape == (height, width, 3) and example[name].dtype == np.uint8
        for name in MAPS:
            assert example[name].shape == (height, width, 1) and example[name].dtype == np.uint8
        for name in ("focus_map", "attainable"):
            assert set(np.unique(example[name])) <= {0, 255}


def test_the_sizes_are_few_mostly_portrait_and_some_odd():
    sizes = CONFIGS["default"].sizes
    assert len(set(sizes)) == len(sizes) <= 8
    assert sum(height > width for height, width in sizes) > len(sizes) / 2
    assert any(height % 2 and width % 2 for height, width in sizes)
    assert any(height % 2 != width % 2 for height, width in sizes)
    assert any(height % 2 and width % 2 for height, width in TINY.sizes)


def test_the_focus_map_follows_the_blur_and_both_foci_are_seen(pairs):
    for example in pairs:
        blur_a, blur_b = example["blur_a"].astype(int), example["blur_b"].astype(int)
        chosen = example["focus_map"] == 255
        assert np.all(blur_a[chosen] <= blur_b[chosen]) and np.all(blur_a[~chosen] >= blur_b[~chosen])
        assert 0.02 < chosen.mean() < 0.98
        assert np.maximum(blur_a, blur_b).max() <= 16 * 11


def leveled(example: dict, source: str) -> np.ndarray:
    """A source brought to the reference exposure, encoded float32."""
    encoded = np.float32(example[f"source_{source}"] / 255) ** (1 / np.float32(example[f"gamma_{source}"]))
    return exposure.encode(exposure.decode(encoded) / np.float32(example[f"gain_{source}"]))


def unbordered(example: dict) -> tuple[slice, slice]:
    top, bottom, left, right = np.maximum(example["border_a"], example["border_b"])
    height, width = example["truth"].shape[:2]
    return slice(top, height - bottom), slice(left, width - right)


def gradient_energy(image: np.ndarray) -> np.ndarray:
    gray = image.mean(-1)
    energy = np.hypot(np.diff(gray, axis=0)[:, 1:], np.diff(gray, axis=1)[1:]) ** 2
    return lens.blur(np.pad(energy, ((1, 0), (1, 0))), 4.0)


def test_the_focus_map_agrees_with_the_sharper_source_where_there_is_texture(pairs):
    agreed, counted = 0, 0
    for example in pairs:
        window = unbordered(example)
        energy = [gradient_energy(leveled(example, source)[window]) for source in "ab"]
        attainable = example["attainable"][window][..., 0] == 255
        textured = attainable & (np.abs(np.log(energy[0] + 1e-4) - np.log(energy[1] + 1e-4)) > 0.5)
        chosen = example["focus_map"][window][..., 0] == 255
        agreed += np.sum((energy[0] > energy[1])[textured] == chosen[textured])
        counted += textured.sum()
    assert counted > 5000
    assert agreed / counted > 0.9


def test_the_truth_is_what_the_sharper_source_shows_where_it_is_attainable(pairs):
    for example in pairs:
        window = unbordered(example)
        truth = example["truth"][window] / 255
        a, b = (leveled(example, source)[window] for source in "ab")
        chosen = example["focus_map"][window] == 255
        clipped = np.maximum(example["source_a"], example["source_b"])[window].max(-1) == 255
        scored = (example["attainable"][window][..., 0] == 255) & ~clipped
        assert scored.mean() > 0.3

        def psnr(picture, truth=truth, scored=scored):
            return -10 * np.log10(np.mean((picture - truth)[scored] ** 2))

        best = psnr(np.where(chosen, a, b))
        assert best > 33
        assert best > psnr((a + b) / 2) + 5


def test_a_border_is_black_recorded_and_leaves_the_rest_alone(rng):
    picture = rng.integers(1, 256, (97, 81, 3)).astype(np.uint8)
    seen = np.zeros(4, bool)
    for _ in range(20):
        bordered, (top, bottom, left, right) = pair.add_border(rng, picture)
        assert bordered.dtype == np.uint8
        window = slice(top, 97 - bottom), slice(left, 81 - right)
        np.testing.assert_array_equal(bordered[window], picture[window])
        edges = bordered[0], bordered[-1], bordered[:, 0], bordered[:, -1]
        for edge, reach in zip(edges, (top, bottom, left, right), strict=True):
            assert bool(reach) == (edge.max() == 0)
            assert reach <= 1 + pair.BORDER_PX[1] + pair.BORDER_SLANT_PX + 0.5
        seen |= np.array([top, bottom, left, right]) > 0
    assert seen.all()


def test_one_source_at_most_has_a_border_and_about_the_planned_share_of_pairs(loaded):
    rows = [row for split in loaded[0].values() for row in tfds.as_numpy(split)]
    bordered = [(row["border_a"].any(), row["border_b"].any()) for row in rows]
    assert not any(a and b for a, b in bordered)
    assert any(a or b for a, b in bordered) and any(not (a or b) for a, b in bordered)
    for row in rows:
        for source in "ab":
            edge = row[f"source_{source}"][0], row[f"source_{source}"][-1]
            for line, reach in zip(edge, row[f"border_{source}"][:2], strict=True):
                assert not reach or line.max() == 0


@pytest.mark.parametrize("kind", scene.KINDS)
def test_every_kind_of_scene_fills_its_canvas_and_focuses_near_and_far(kind):
    view = scene.make_scene(np.random.default_rng(7), kind, (97, 81), LENS)
    distance = lens.visible_distance(view.layers, view.shape)
    assert np.isfinite(distance).all() and view.depths.near_mm < view.depths.far_mm
    light = lens.render(view.layers, view.shape)
    assert np.isfinite(light).all() and light.min() >= 0 and light.max() > 0


def test_every_letter_can_be_drawn():
    mask = strokes.word_mask("".join(strokes.LETTERS), 24)
    assert mask.shape[0] == 24 and 0.1 < mask.mean() < 0.6 and mask.max() == 1


# --- through TFDS


def test_tfds_gives_back_every_feature_in_order(loaded, pairs):
    splits, info = loaded
    assert info.splits["train"].num_examples == TINY.train_pairs
    assert info.splits["test"].num_examples == TINY.test_pairs
    for row, example in zip(tfds.as_numpy(splits["train"]), pairs, strict=True):
        assert_same(row, {name: np.asarray(example[name], row[name].dtype) for name in row})
    row = next(iter(tfds.as_numpy(splits["test"])))
    np.testing.assert_array_equal(row["source_a"], tiny_pair(0, "test")["source_a"])


def test_features_shared_with_edmf_have_its_types(loaded):
    features = loaded[1].features
    assert features["id"].dtype == np.int32 and features["id"].shape == ()
    for name in ("source_a", "source_b", "truth"):
        assert features[name].dtype == np.uint8 and features[name].shape == (None, None, 3)


def test_the_default_config_is_the_full_set():
    first = builder_module.Builder.BUILDER_CONFIGS[0]
    assert (first.name, first.train_pairs, first.test_pairs) == ("default", 48, 16)


def test_no_code_names_a_folder_of_this_machine():
    for file in pathlib.Path(builder_module.__file__).parent.glob("*.py"):
        assert not re.search(r"/(home|work)/", file.read_text())


class TestBuilderByTfds(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks: registration, pickling, splits that don't overlap, no stray files."""

    DATASET_CLASS = builder_module.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("tiny",)
    SPLITS = {"train": TINY.train_pairs, "test": TINY.test_pairs}  # noqa: RUF012
    EXAMPLE_DIR = str(pathlib.Path(builder_module.__file__).parent)  # it reads no example files
    SKIP_CHECKSUMS = True
    SKIP_TF1_GRAPH_MODE = True
