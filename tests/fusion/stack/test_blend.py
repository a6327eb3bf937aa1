"""The result's pixels from the shots themselves (`pixels="shots"`), the default of preset "photo"."""

import cv2
import numpy as np
import pytest

import edmf_jax
from edmf_jax.cli import fuse, main
from edmf_jax.errors import UserError
from edmf_jax.fusion import tiling
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos, tiles, tone, tone_estimate
from edmf_jax.io.images import write_image
from tests.helpers.networks import WEIGHTS
from tests.helpers.scenes import defocused, exposed, framed_with_black, hand_held, noisy_jpeg, scene, shots

ALIGNED = PhotoOptions(align="none")


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """Fails a test that runs the network, unless its name has "network" in it."""
    def fail(*_):
        raise AssertionError("the network was run")

    if "network" not in request.node.name:
        monkeypatch.setattr(tiling, "fuse_piece", fail)


@pytest.mark.parametrize("count", [2, 4])
def test_the_size_of_the_tiles_changes_nothing(monkeypatch, count):
    _, a, b = shots(131, 147)
    given = [a, framed_with_black(b, 9, 5), defocused(a, slice(30, 90)), defocused(b, slice(80, 130))][:count]
    given[1] = np.clip(given[1] * np.float32([0.8, 0.7, 0.9]), 0, 1)
    results = []
    for tile_px in ((256, 1024), (64, 48), (120, 40)):
        monkeypatch.setattr(tiles, "BLEND_TILE_PX", tile_px)
        results.append(fuse_photos(given, options=ALIGNED))
    for other in results[1:]:
        np.testing.assert_allclose(other.image, results[0].image, atol=1e-6)
        np.testing.assert_array_equal(other.sources, results[0].sources)


def test_where_one_shot_is_sharp_its_exact_pixels_are_taken(monkeypatch):
    equal = tone_estimate.Difference(tone.reference_curve(3), None, None)
    monkeypatch.setattr(tone_estimate, "compare", lambda reference, moving, valid, each: equal)
    _, a, b = (np.rint(255 * x).astype(np.uint8) for x in shots(120, 200))
    result = fuse_photos([a, b], options=ALIGNED)
    assert (result.image[:, :84] == a[:, :84]).mean() > 0.99
    assert (result.image[:, 116:] == b[:, 116:]).mean() > 0.99
    assert (result.sources[:, :90] == 0).mean() > 0.98 and (result.sources[:, 110:] == 1).mean() > 0.98


def test_a_shot_that_is_sharp_everywhere_is_the_result():
    truth = np.rint(255 * scene(120, 160)).astype(np.uint8)
    other = np.rint(255 * defocused(scene(120, 160), slice(None), 3)).astype(np.uint8)
    result = fuse_photos([truth, other], options=ALIGNED)
    error = np.abs(result.image.astype(int) - truth)
    assert (error == 0).mean() > 0.98 and error.max() <= 2 and not result.sources.any()


def test_two_shots_that_are_nearly_one_are_that_shot():
    pixels = np.rint(255 * scene(60, 70)).astype(np.uint8)
    other = pixels.copy()
    other[30, 40, 1] ^= 1  # equal ones are refused
    result = fuse_photos([pixels, other], options=ALIGNED)
    assert np.abs(result.image.astype(int) - pixels).max() <= 1


def test_many_shots_are_as_sharp_as_the_sharpest_and_the_map_says_which():
    truth = scene(90, 160)
    parts = [defocused(truth, slice(None), 3.0) for _ in range(5)]
    for i in range(5):
        parts[i][:, 32 * i : 32 * i + 32] = truth[:, 32 * i : 32 * i + 32]
    result = fuse_photos(parts, options=ALIGNED)
    assert np.abs(result.image - truth).mean() < 0.1 * np.abs(parts[0] - truth).mean()
    assert (result.sources == np.repeat(np.arange(5), 32)[None]).mean() > 0.9


def test_the_mean_of_many_flat_shots_has_less_noise():
    rng = np.random.default_rng(0)
    parts = [(0.5 + 0.004 * rng.standard_normal((80, 90, 3))).astype(np.float32) for _ in range(6)]
    assert fuse_photos(parts, options=ALIGNED).image.std() < 0.7 * parts[0].std()


def test_black_edges_are_never_seen():
    truth = np.rint(255 * (0.3 + 0.6 * scene(200, 240, seed=7))).astype(np.uint8)
    a, b, c = truth.copy(), truth.copy(), np.rint(255 * (0.3 + 0.6 * defocused(scene(200, 240, seed=7), slice(0, 99))))
    cv2.fillPoly(a, [np.array([[0, 0], [14, 0], [5, 199], [0, 199]])], (0, 0, 0))
    b[:7] = 0
    for given in ([a, b], [a, b, c.astype(np.uint8)]):
        result = fuse_photos([noisy_jpeg(x) for x in given], options=ALIGNED)
        error = np.abs(result.image.astype(int) - noisy_jpeg(truth))
        corner = np.zeros((200, 240), bool)
        corner[:12, :20] = len(given) == 2  # no shot has these
        assert error[~corner].max() < 60 and error[:, :20][~corner[:, :20]].mean() < 8 and error[:10, 20:].mean() < 8
        assert result.image[~corner].min() > 50
        assert (result.sources[20:, :3] != 0).all() and (result.sources[:5, 25:] != 1).all()


@pytest.mark.parametrize(("stops", "balance"), [(2, (1, 1, 1)), (-1.5, (1.2, 1, 0.8))])
def test_another_exposure_leaves_no_seam_and_no_tint(stops, balance):
    truth, a, b = (0.2 + 0.45 * x for x in shots(240, 320, seed=3))
    other = exposed(b, stops, 1, balance)
    result = fuse_photos([exposed(a), other], options=ALIGNED)
    error = (result.image.astype(int) - exposed(truth))[(other < 240).all(-1)]
    assert np.abs(error.mean(0)).max() < 1 and np.abs(error).mean() < 1.5


def test_hand_held_shots_and_a_crop():
    truth, a, b = shots(300, 400, seed=11)
    matrix = np.array([[1.02, 0.01, -7.0], [-0.01, 1.02, -4], [1e-5, 0, 1]])
    moved = exposed(hand_held(b, matrix), 1)
    given = [lambda: exposed(a), lambda: moved]
    whole, cut = (fuse_photos(given, options=PhotoOptions(crop=crop)) for crop in (False, True))
    assert np.abs(whole.image.astype(int) - exposed(truth))[8:-8, 8:-8].mean() < 4
    top, left, height, width = cut.frame
    np.testing.assert_array_equal(cut.image, whole.image[top : top + height, left : left + width])
    assert height < 300 and width <= 400


@pytest.mark.parametrize("shape", [(50, 60), (50, 60, 1), (50, 60, 3), (16, 17)])
def test_gray_stays_gray_and_16_bits_stay(shape):
    _, a, b = shots(*shape[:2], shape[2] if len(shape) == 3 else 1)
    wide = [np.rint(65535 * x).astype(np.uint16).reshape(shape) for x in (a, b)]
    result = fuse_photos(wide, options=ALIGNED).image
    assert result.dtype == np.uint16 and result.shape == shape
    floats = fuse_photos([x.astype(np.float64) / 65535 for x in wide], options=ALIGNED).image
    assert floats.dtype == np.float64
    np.testing.assert_allclose(result / 65535, floats, atol=3e-5)


def test_a_network_needs_weights():
    a, b = (exposed(x) for x in shots(50, 60)[1:])
    with pytest.raises(UserError, match='weights=None, but pixels="network"'):
        fuse_photos([a, b], options=PhotoOptions("none", pixels="network"))
    with pytest.raises(UserError, match="pixels='film' is unknown; use one of shots, network"):
        fuse_photos([a, b], weights=WEIGHTS, options=PhotoOptions("none", pixels="film"))


def test_weights_name_a_network_and_a_network_only(monkeypatch):
    a, b = (exposed(x) for x in shots(50, 60)[1:])
    calls = []
    monkeypatch.setattr(tiling, "fuse_piece", lambda model, params, x, y, shape: calls.append(x) or (x + y) / 2)
    from_shots = edmf_jax.fuse([a, b], "none", align="none")
    assert not calls
    edmf_jax.fuse([a, b], WEIGHTS, align="none")
    assert len(calls) == 1
    with pytest.raises(UserError, match='weights are given, but pixels="shots" uses no network'):
        edmf_jax.fuse([a, b], WEIGHTS, align="none", pixels="shots")
    with pytest.raises(UserError, match='pixels=\'shots\' is for the preset "photo"'):
        edmf_jax.fuse([a, b], preset="paper", pixels="shots")
    np.testing.assert_array_equal(from_shots, fuse_photos([a, b], options=ALIGNED).image)


def test_the_report_says_where_the_pixels_come_from(tmp_path):
    _, a, b = shots(60, 80)
    for name, shot in (("a", a), ("b", b)):
        write_image(tmp_path / f"{name}.png", exposed(shot))
    command = ["fuse", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out.png"), "--align",
               "none", "--pixels", "shots", "--weights", "none", "--report", str(tmp_path / "page.html")]
    assert main.main(command) == 0
    page = (tmp_path / "page.html").read_text()
    assert "shots: each from the shots that are sharp there" in page and "SHA-256" not in page
    assert fuse.PIXELS == ("shots", "network")
