"""Preset "photo" with the network: tiles, order, exposures, borders, registration, types, and what is refused."""

import cv2
import jax
import numpy as np
import pytest

from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.errors import UserError
from edmf_jax.fusion import tiling
from edmf_jax.fusion.stack import (
    PhotoOptions,
    align_photos,
    analysis,
    exposure,
    fuse_photos,
    sketches,
    tiles,
    tone,
    tone_estimate,
)
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.registration import RegistrationConfig, View
from tests.helpers.networks import MODEL, PARAMS, WEIGHTS, run_padded, run_unpadded
from tests.helpers.scenes import defocused, exposed, framed_with_black, hand_held, noisy_jpeg, scene, shots

ALIGNED = PhotoOptions(align="none", pixels="network")


@pytest.fixture(autouse=True)
def compile_lightly(monkeypatch):
    monkeypatch.setattr(tiling, "_fuse_padded", run_padded)


@pytest.fixture
def mean_network(monkeypatch):
    """Replaces the network by the mean of its two planes; returns the list of the planes it gets."""
    given = []

    def mean(model, params, a, b, shape):
        given.append((a, b))
        return (a + b) / 2

    monkeypatch.setattr(tiling, "fuse_piece", mean)
    return given


def in_one_piece(a, b):
    return np.asarray(run_unpadded(MODEL, PARAMS, a[None], b[None]))[0]


# Tiles, and what the network gets


@pytest.mark.parametrize("count", [2, 3])
def test_the_size_of_the_tiles_changes_nothing(monkeypatch, count):
    _, a, b = shots(131, 147)
    given = [a, framed_with_black(b, 9, 5), defocused(a, slice(30, 90))][:count]
    given[1] = np.clip(given[1] * np.float32([0.8, 0.7, 0.9]), 0, 1)
    results = []
    for tile_px in (524, 64, 110):
        monkeypatch.setattr(tiles, "NETWORK_TILE_PX", tile_px)
        results.append(fuse_photos(given, weights=WEIGHTS, options=ALIGNED))
    for other in results[1:]:
        np.testing.assert_allclose(other.image, results[0].image, atol=2e-6)
        np.testing.assert_array_equal(other.sources, results[0].sources)
    assert results[0].image.std() > 0.01


def test_two_shots_are_the_network_of_both(monkeypatch):
    equal = tone_estimate.Difference(tone.reference_curve(1), None, None)
    monkeypatch.setattr(tone_estimate, "compare", lambda reference, moving, valid, each: equal)
    _, a, b = shots(61, 72, 1)
    result = fuse_photos([a, b], weights=WEIGHTS, options=ALIGNED)
    np.testing.assert_allclose(result.image[..., 0], in_one_piece(a[..., 0], b[..., 0]).clip(0, 1), atol=2e-6)
    assert result.registrations == (None, None) and result.frame == (0, 0, 61, 72)


def test_the_map_says_which_shot_is_sharp(mean_network):
    _, a, b = shots(80, 120)
    sources = fuse_photos([a, b], weights=WEIGHTS, options=ALIGNED).sources
    assert sources.dtype == np.uint8 and sources.shape == (80, 120)
    assert (sources[:, :48] == 0).mean() > 0.97 and (sources[:, 72:] == 1).mean() > 0.97


@pytest.mark.parametrize("pixels", ["shots", "network"])
@pytest.mark.parametrize("exposure", ["reference", "average", "well-exposed"])
def test_the_order_of_the_others_changes_nothing(exposure, pixels):
    truth = scene(70, 96)
    parts = [defocused(truth, slice(None)) for _ in range(4)]
    for i, part in enumerate(parts):
        part[:, 24 * i : 24 * i + 24] = truth[:, 24 * i : 24 * i + 24]
    parts = [exposed(part, stops) for part, stops in zip(parts, (0, 0.7, -0.6, 0.3))]
    options = PhotoOptions(align="none", exposure=exposure, pixels=pixels)
    one = fuse_photos(parts, weights=WEIGHTS, options=options)
    order = [0, 3, 1, 2]
    two = fuse_photos([parts[i] for i in order], weights=WEIGHTS, options=options)
    np.testing.assert_array_equal(two.image, one.image)
    np.testing.assert_array_equal(np.array(order)[two.sources], one.sources)
    assert two.stops == tuple(one.stops[i] for i in order)
    assert (one.sources == np.repeat(np.arange(4), 24)[None]).mean() > 0.8


def test_many_shots_are_as_sharp_as_the_sharpest(mean_network):
    truth = scene(90, 160)
    parts = [defocused(truth, slice(None), 3.0) for _ in range(5)]
    for i in range(1, 5):
        parts[i][:, 40 * (i - 1) : 40 * i] = truth[:, 40 * (i - 1) : 40 * i]
    fuse_photos(parts, weights=WEIGHTS, options=ALIGNED)
    _, composite = mean_network[-1]
    luma = truth @ np.float32([0.299, 0.587, 0.114])
    assert np.abs(composite - luma).mean() < 0.25 * np.abs(parts[0] @ np.float32([0.299, 0.587, 0.114]) - luma).mean()


# Exposure


@pytest.mark.parametrize(("stops", "gamma", "balance"), [(2, 1, (1, 1, 1)), (-2, 1, (1, 1, 1)), (1, 1, (1.2, 1, 0.8)),
                                                         (-1.5, 0.85, (1, 1, 1)), (0, 1.15, (0.8, 1, 1.25))])
def test_another_exposure_leaves_no_seam_and_no_tint(mean_network, stops, gamma, balance):
    _, a, b = shots(240, 320, seed=3)
    a, b = 0.2 + 0.45 * a, 0.2 + 0.45 * b
    plain = fuse_photos([exposed(a), exposed(b)], weights=WEIGHTS, options=ALIGNED).image.astype(int)
    other = exposed(b, stops, gamma, balance)
    result = fuse_photos([exposed(a), other], weights=WEIGHTS, options=ALIGNED)
    usable = (other < 240).all(-1)
    error = (result.image.astype(int) - plain)[usable]
    assert usable.mean() > 0.25
    assert np.abs(error.mean(0)).max() < 1 and np.abs(error).mean() < 1.2
    if gamma == 1 and balance == (1, 1, 1):
        assert abs(result.stops[1] - stops) < 0.05


def test_average_is_the_middle_of_two_exposures(mean_network):
    condition = CONDITIONS["half-stop-gamma"]
    truth, a, b = (np.rint(255 * x).astype(np.uint8) for x in shots(240, 320, seed=4))
    a, b, truth = condition.apply(a, b, truth)
    options = lambda exposure: PhotoOptions("none", exposure=exposure, pixels="network")
    fused = lambda exposure: fuse_photos([a, b], weights=WEIGHTS, options=options(exposure)).image
    bias = {name: abs(float(fused(name).mean()) - float(truth.mean())) for name in ("average", "reference")}
    assert bias["average"] < 1 < bias["reference"]


def room_with_a_window(room):
    """A picture whose right third is bright; the rest is `room` and brighter, and not clipped by two stops more."""
    inside = scene(200, 260, seed=5)
    truth = np.minimum(room + 0.5 * inside, 0.52)
    truth[:, 180:] = 0.55 + 0.38 * inside[:, 180:]
    return truth


@pytest.mark.parametrize("pixels", ["shots", "network"])
def test_well_exposed_keeps_what_the_reference_has_blown_out(mean_network, pixels):
    # The other shot must be in focus at the window: what one shot has clipped and the other has blurred is in neither,
    # and no fusion brings it back.
    truth = room_with_a_window(0.25)
    bright, fair = exposed(truth, 2), exposed(defocused(truth, slice(0, 60)), 0)
    clipped = (bright == 255).all(-1)
    options = {name: PhotoOptions("none", exposure=name, pixels=pixels) for name in ("reference", "well-exposed")}
    fused = {name: fuse_photos([bright, fair], weights=WEIGHTS, options=option).image
             for name, option in options.items()}
    truth_clipped = exposed(truth)[clipped].astype(float).ravel()
    assert clipped.mean() > 0.1 and fused["reference"][clipped].min() > 245
    assert fused["well-exposed"][clipped].std() > 0.6 * truth_clipped.std()
    assert np.corrcoef(fused["well-exposed"][clipped].ravel(), truth_clipped)[0, 1] > 0.95
    assert np.abs(fused["well-exposed"].astype(float).mean() - exposed(truth).mean()) < 12


@pytest.mark.parametrize("pixels", ["shots", "network"])
def test_well_exposed_keeps_a_window_beside_a_dark_room(mean_network, pixels):
    # The brighter shot is the better exposed one by far; what it has clipped must still be kept.
    truth = room_with_a_window(0.08)
    bright, fair = exposed(truth, 2), exposed(defocused(truth, slice(0, 60)), 0)
    clipped, room = (bright == 255).all(-1), np.s_[:, :170]
    for given in ([bright, fair], [fair, bright]):
        options = PhotoOptions("none", exposure="well-exposed", pixels=pixels)
        result = fuse_photos(given, weights=WEIGHTS, options=options).image
        truth_clipped = exposed(truth)[clipped].astype(float).ravel()
        assert result[clipped].std() > 0.4 * truth_clipped.std()
        assert np.corrcoef(result[clipped].ravel(), truth_clipped)[0, 1] > 0.95
        assert result[room].mean() > exposed(truth)[room].mean() + 50  # nearly as bright as the brighter shot
        assert np.ptp(result[clipped].astype(float).mean(0)) < 4 + np.ptp(exposed(truth)[clipped].astype(float).mean(0))


def test_curves_and_targets_rise():
    _, a, b = shots(200, 260, seed=6)
    copies = [exposed(a, 1).astype(np.float32) / 255, exposed(b, -1, 1.1).astype(np.float32) / 255]
    curves = [tone.reference_curve(3), tone_estimate.compare(*copies, np.ones((200, 260), bool)).curve]
    values = exposure.scene_values(curves, copies, [np.ones((200, 260), bool)] * 2)
    for how in ("reference", "average", "well-exposed"):
        target = exposure.target_curve(curves, values, how)
        table = exposure.table(curves[1], target)
        assert (np.diff(target) >= -1e-7).all() and (np.diff(table) >= -1e-6).all() and np.ptp(table) > 0.2


# Borders


def test_black_edges_are_never_seen(mean_network):
    truth = np.rint(255 * (0.3 + 0.6 * scene(200, 240, seed=7))).astype(np.uint8)
    a, b = truth.copy(), truth.copy()
    cv2.fillPoly(a, [np.array([[0, 0], [14, 0], [5, 199], [0, 199]])], (0, 0, 0))
    b[:7] = 0
    result = fuse_photos([noisy_jpeg(a), noisy_jpeg(b)], weights=WEIGHTS, options=ALIGNED)
    error = np.abs(result.image.astype(int) - noisy_jpeg(truth))
    corner = np.zeros((200, 240), bool)
    corner[:12, :20] = True  # no shot has these
    assert error[~corner].max() < 40 and error[:, :20][~corner[:, :20]].mean() < 4 and error[:10, 20:].mean() < 4
    for planes in mean_network:
        assert min(plane[12:].min() for plane in planes) > 0.2
    assert (result.sources[20:, :3] == 1).all() and (result.sources[:5, 25:] == 0).all()


def test_a_dark_thing_at_the_edge_is_no_border(mean_network):
    truth = np.rint(255 * (0.3 + 0.6 * scene(200, 240, seed=8))).astype(np.float32)
    truth[40:160, :50] = 2
    a = np.rint(truth).astype(np.uint8)
    b = np.rint(cv2.GaussianBlur(truth, (0, 0), 4)).astype(np.uint8)
    sketched = [sketches.sketch(Masked(x, None), with_view=False) for x in (a, b)]
    found = analysis.analyze_stack(sketched, [None, None])
    assert found.edge_regions == [None, None]


def test_cropped_to_what_all_shots_have(mean_network):
    truth = np.rint(255 * (0.3 + 0.6 * scene(120, 140, seed=9))).astype(np.uint8)
    a, b = truth.copy(), truth.copy()
    a[:, :10], b[112:] = 0, 0
    whole = fuse_photos([a, b], weights=WEIGHTS, options=ALIGNED)
    cut = fuse_photos([a, b], weights=WEIGHTS, options=PhotoOptions("none", crop=True, pixels="network"))
    top, left, height, width = cut.frame
    assert top == 0 and 10 <= left <= 15 and 105 <= height <= 112 and left + width == 140
    np.testing.assert_array_equal(cut.image, whole.image[:height, left:])
    assert cut.sources.shape == (height, width)


# Registration


def test_hand_held_shots_are_aligned(mean_network):
    _, a, b = shots(300, 400, seed=11)
    matrix = np.array([[1.02, 0.01, -7.0], [-0.01, 1.02, -4], [1e-5, 0, 1]])
    moved = exposed(hand_held(b, matrix), 1)
    (_, first, everywhere, nothing), (number, aligned, valid, found) = align_photos(
        [exposed(a), moved], options=PhotoOptions())
    assert number == 1 and nothing is None and found.confident and everywhere.all() and first.shape == (300, 400, 3)
    assert aligned.dtype == np.uint8 and 0.9 < valid.mean() < 1 and not aligned[~valid].any()
    np.testing.assert_allclose(found.matrix, np.linalg.inv(np.linalg.inv(matrix)), atol=0.5)
    result = fuse_photos([lambda: exposed(a), lambda: moved], weights=WEIGHTS,
                         options=PhotoOptions(pixels="network"))
    error = np.abs(result.image.astype(int) - exposed(a * 0.5 + b * 0.5))
    assert error[8:-8, 8:-8].mean() < 4 and (result.sources[~valid] == 0).all()
    np.testing.assert_allclose(result.registrations[1].matrix, found.matrix)


def test_a_large_shot_is_registered_on_a_copy(monkeypatch):
    _, a, b = shots(300, 400, seed=12)
    matrix = np.array([[1.0, 0, 6], [0, 1, -3], [0, 0, 1]])
    given = [exposed(a), exposed(hand_held(b, matrix))]
    copies = []

    def small_view(image, mask):
        copies.append(View(image, RegistrationConfig(match_pixels=30_000, refine_pixels=40_000), mask))
        return copies[-1]

    monkeypatch.setattr(sketches, "View", small_view)
    found = list(align_photos(given, options=PhotoOptions(model="similarity")))[1][3]
    assert len(copies) == 2 and all(view.match_plane.size <= 30_000 for view in copies)
    np.testing.assert_allclose(found.matrix[:2, 2], matrix[:2, 2], atol=0.7)


# Types


def test_sixteen_bits_to_the_end():
    _, a, b = shots(64, 80)
    wide = [np.rint(65535 * x).astype(np.uint16) for x in (a, b)]
    result = fuse_photos(wide, weights=WEIGHTS, options=ALIGNED).image
    assert result.dtype == np.uint16 and len(np.unique(result)) > 2000
    floats = fuse_photos([x.astype(np.float64) / 65535 for x in wide], weights=WEIGHTS, options=ALIGNED).image
    assert floats.dtype == np.float64
    np.testing.assert_allclose(result / 65535, floats, atol=3e-5)


@pytest.mark.parametrize("shape", [(50, 60), (50, 60, 1), (50, 60, 3)])
def test_gray_stays_gray(mean_network, shape):
    _, a, b = shots(50, 60, shape[2] if len(shape) == 3 else 1)
    a, b = (np.rint(255 * x).astype(np.uint8).reshape(shape) for x in (a, b))
    for given in ([a, b], [lambda: a, lambda: b]):
        result = fuse_photos(given, weights=WEIGHTS, options=ALIGNED)
        assert result.image.shape == shape and result.image.dtype == np.uint8 and result.image.std() > 1
    assert [x[1].shape for x in align_photos([a, b], options=ALIGNED)] == [shape, shape]


def test_shots_may_differ_in_bits():
    _, a, b = shots(64, 80)
    result = fuse_photos([np.rint(255 * a).astype(np.uint8), b], weights=WEIGHTS, options=ALIGNED).image
    same = fuse_photos([a, b], weights=WEIGHTS, options=ALIGNED).image
    np.testing.assert_allclose(result / 255, same, atol=0.03)
    assert result.dtype == np.uint8


def test_progress_rises_to_the_end():
    _, a, b = shots(50, 60)
    reports = []
    fuse_photos([a, b, b * 0.9], weights=WEIGHTS, options=ALIGNED, progress=lambda *report: reports.append(report))
    shares = [share for _, share in reports]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1 and all(words for words, _ in reports)


# What is refused


GOOD = np.random.default_rng(0).integers(30, 220, (40, 50, 3), np.uint8)
NAN = np.where(np.arange(50)[None, :, None] == 3, np.nan, GOOD / 255)
FUSE = PhotoOptions(align="none", pixels="network")


@pytest.mark.parametrize(("given", "options", "words"), [
    ([GOOD], FUSE, "two or more shots"),
    ([GOOD, GOOD.copy()], FUSE, "B is the same picture as A; give every shot once"),
    ([GOOD, GOOD.copy(), lambda: GOOD], FUSE, "B is the same picture as A; give every shot once"),
    ([GOOD, np.zeros_like(GOOD)], FUSE, "B: this shot is black all over"),
    ([np.zeros_like(GOOD), GOOD], FUSE, "A: this shot is black all over"),
    ([GOOD, GOOD[:, :-1]], FUSE, "B: this shot has 49×40 px and the reference A has 50×40 px.*--align"),
    ([GOOD, GOOD[..., 0]], FUSE, "B: this shot is gray and the reference A is color"),
    ([GOOD, NAN], FUSE, "B: values from nan to nan"),
    ([np.full((40, 50), np.inf), GOOD[..., 0]], FUSE, "A: values from inf"),
    ([GOOD[:1], GOOD[:1]], FUSE, "A: this shot has 50×1 px, but fusion takes at least 16×16 px"),
    ([GOOD.astype(np.int32), GOOD], FUSE, "A: dtype is int32"),
    ([np.zeros((40, 50, 4), np.uint8), GOOD], FUSE, "A: 4 channels.*alpha"),
    ([np.zeros(40, np.uint8), GOOD], FUSE, r"A: shape is \(40,\)"),
    ([GOOD, GOOD[::-1]], PhotoOptions(), "B: cannot be registered to A: .*--align none"),
    ([GOOD, GOOD[::-1]], PhotoOptions(align="magic"), "align='magic' is unknown; use one of pso-sift"),
    ([GOOD, GOOD[::-1]], PhotoOptions("none", exposure="hdr"), "exposure='hdr' is unknown"),
])
def test_what_is_no_stack_is_refused_in_one_line(given, options, words):
    with pytest.raises(UserError, match=words) as caught:
        fuse_photos(given, ["A", "B", "C"][: len(given)], weights=WEIGHTS, options=options)
    assert "\n" not in str(caught.value)


def test_a_shot_that_is_given_twice_is_left_out_of_three():
    _, a, b = shots(64, 80)
    lines = []
    result = fuse_photos([a, b, lambda: b.copy()], ["A", "B", "C"], weights=WEIGHTS, options=ALIGNED,
                         left_out=lambda name, reason: lines.append("missed"), warn=lines.append)
    assert lines == ["C: left out, it is the same picture as B"]
    assert result.used == (0, 1) and dict(result.left_out) == {2: "it is the same picture as B"}
    np.testing.assert_array_equal(result.image, fuse_photos([a, b], weights=WEIGHTS, options=ALIGNED).image)


def test_names_are_counted():
    with pytest.raises(UserError, match="1 names for 2 shots"):
        fuse_photos([GOOD, GOOD[::-1]], ["A"], weights=WEIGHTS, options=FUSE)


def test_too_little_memory_is_one_line(monkeypatch):
    def fail(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(tiling, "fuse_piece", fail)
    with pytest.raises(UserError, match="50×40 px take more memory than there is"):
        fuse_photos([GOOD, GOOD[::-1]], weights=WEIGHTS, options=FUSE)
