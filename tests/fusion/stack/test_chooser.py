"""The network that chooses, on shots that come one after the other, as they are or reduced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core import chooser as core
from edmf_jax.core import chooser_layout
from edmf_jax.fusion.stack import chooser, evidence, reduced, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.chooser_engine import OpenCvEngine, XlaEngine, features
from edmf_jax.fusion.stack.leveling import level
from edmf_jax.weights.chooser_onnx import to_onnx

pytest.importorskip("onnx")
HALF_PRECISION = {"rtol": 2e-3, "atol": 0.05}


def shots_of(rng, height, width, count=3):
    """Leveled shots, the last of which ends in the frame, and their evidence."""
    pictures = rng.integers(0, 256, (count, height, width, 3), np.uint8)
    pictures[0, :, width // 2 :] = 100
    curve = np.tile(tone.GRID, (3, 1))
    leveling = level(curve, None, [curve], curve, (height, width, 3))
    ends = np.broadcast_to(np.arange(width) < width - 20, (height, width))
    covers = [None] * (count - 1) + [ends]
    shots = [AlignedShot(picture, valid, None, leveling) for picture, valid in zip(pictures, covers)]
    return shots, [evidence.measure(shot, 0.0) for shot in shots]


def corrections(computes, shots, measured, order=None):
    views = [reduced.view(*one, 1) for one in zip(shots, measured)]
    network = chooser.Network(computes, shots[0].image.shape)
    for i in range(len(shots)) if order is None else order:
        network.add(i, views[i])
    return np.stack([network.correction(i, lambda: views[i]) for i in range(len(shots))])  # noqa: B023


@pytest.fixture(scope="module")
def trained():
    """Parameters whose last layer is not zero, and their engine."""
    params = core.init_params(jax.random.key(0), core.SIZES["small"])
    params["head"]["kernel"] = 0.05 * jax.random.normal(jax.random.key(1), params["head"]["kernel"].shape)
    params = jax.tree.map(np.asarray, params)
    return OpenCvEngine(to_onnx(params)), params


def test_features_are_those_that_are_trained_on(rng):
    pixels = rng.random((2, 40, 48, 3)).astype(np.float32)
    valid = np.ones((2, 40, 48), bool)
    valid[1, :10, :20] = False
    hand, clipped = -10 * rng.random((2, 2, 40, 48)).astype(np.float32)
    expected = jax.jit(core.features)(core.Shots(pixels, hand, valid, clipped))
    for i in range(2):
        np.testing.assert_allclose(features(pixels[i], hand[i], valid[i], clipped[i]), expected[i].transpose(2, 0, 1),
                                   atol=1e-4)


def test_an_untrained_network_corrects_nothing(rng):
    params = jax.tree.map(np.asarray, core.init_params(jax.random.key(0), core.SIZES["small"]))
    assert not corrections((OpenCvEngine(to_onnx(params)), params), *shots_of(rng, 61, 90)).any()


def test_what_is_kept_and_the_order_of_the_shots_change_nothing(rng, trained, monkeypatch):
    shots, measured = shots_of(rng, 61, 90)
    expected = corrections(trained, shots, measured)
    assert np.abs(expected).max() > 1
    monkeypatch.setattr(chooser, "KEPT_BYTES", 0)
    np.testing.assert_allclose(corrections(trained, shots, measured, order=(2, 0, 1)), expected, **HALF_PRECISION)


def test_no_correction_is_larger_than_its_limit_which_is_less_for_stacks(rng, trained):
    shots, measured = shots_of(rng, 61, 90)
    network = chooser.Network(trained, shots[0].image.shape, 1.5)
    free = chooser.Network(trained, shots[0].image.shape)
    views = [reduced.view(*one, 1) for one in zip(shots, measured)]
    for i, view in enumerate(views):
        network.add(i, view)
        free.add(i, view)
    limited, whole = (np.stack([one.correction(i, lambda: views[i]) for i in range(3)])  # noqa: B023
                      for one in (network, free))
    assert np.abs(whole).max() > 2 and np.abs(limited).max() <= 1.5
    small = np.abs(whole) < 0.5
    np.testing.assert_array_equal(limited[small], whole[small])
    assert [chooser_layout.most_change(count) for count in (2, 3, 4, 30)] == [16, 16, 6, 6]


def test_frames_are_reduced_to_a_bounded_number_of_pixels():
    assert [reduced.factor_of(shape, 2) for shape in ((1000, 1600), (1001, 1600), (4000, 6000), (9000, 12000))] == [
        1, 2, 4, 16]
    # Ten shots of 0.4 MP have too many pixels together; of 24 MP, ten are seen as two are, and thirty smaller.
    assert [reduced.factor_of((600, 667), count) for count in (2, 7, 8, 10, 100)] == [1, 1, 2, 2, 2]
    assert [reduced.factor_of((4000, 6000), count) for count in (2, 8, 30)] == [4, 4, 8]
    assert reduced.reduced_shape((1001, 1603, 3), 4) == (251, 401)


def test_a_reduced_shot_is_the_mean_of_what_it_shows(rng):
    (*_, shot), (*_, measured) = shots_of(rng, 64, 96)
    view = reduced.view(shot, measured, 4)
    assert view.shot.image.shape == (16, 24, 3)
    expected = (shot.image / 255).reshape(16, 4, 24, 4, 3).mean((1, 3))
    np.testing.assert_allclose(view.shot.tile(slice(0, 16), slice(0, 24)).pixels, expected, atol=0.51 / 255)
    np.testing.assert_array_equal(view.shot.valid, np.broadcast_to(np.arange(24) < 19, (16, 24)))
    clipped = (shot.image.max(-1) == 255) | (shot.image.max(-1) == 254)
    np.testing.assert_allclose(view.clipped((slice(0, 16), slice(0, 24))),
                               clipped.reshape(16, 4, 24, 4).mean((1, 3)), atol=1 / 255)


def test_noise_that_is_reduced_counts_less(rng):
    """White noise has a sixteenth of the energy in means of 4 × 4 px, and a plain shot has no evidence then either."""
    plain = np.clip(np.rint(128 + 4 * rng.standard_normal((160, 160, 3))), 0, 255).astype(np.uint8)
    curve = np.tile(tone.GRID, (3, 1))
    shot = AlignedShot(plain, None, None, level(curve, None, [curve], curve, plain.shape))
    measured = evidence.measure(shot, evidence.noise_energy(plain, 255))
    small = reduced.view(shot, measured, 4).evidence
    assert small.noise == pytest.approx(measured.noise / 16)
    of_noise = [np.mean(one.fine.astype(float) ** 2) for one in (measured, evidence.measure(shot, 0.0))]
    assert np.mean(small.fine.astype(float) ** 2) < 0.2 * of_noise[1]


def test_a_correction_is_enlarged_and_added(rng):
    _, (measured, *_) = shots_of(rng, 64, 96)
    fields = {name: getattr(measured, name) for name in ("fine", "coarse", "weight", "ramp", "noise")}
    of = lambda correction, factor: chooser.ChosenEvidence(**fields, correction=np.float16(correction), factor=factor)
    part, inner = (slice(0, 64), slice(0, 96)), (slice(8, 24), slice(16, 64))
    plane = of(np.arange(24, dtype=np.float32)[None] * np.ones((16, 1)), 4)
    added = plane.logit(part) - measured.logit(part)
    np.testing.assert_allclose(added[:, 2:-2], np.broadcast_to((np.arange(2, 94) - 1.5) / 4, (64, 92)), atol=1e-4)
    np.testing.assert_array_equal(plane.logit(inner), plane.logit(part)[inner])
    one = of(rng.random((64, 96)), 1)
    np.testing.assert_allclose(one.logit(inner) - measured.logit(inner), one.correction[inner], atol=1e-5)


@pytest.mark.slow
def test_both_engines_compute_what_is_trained(rng, trained):
    engine, params = trained
    seen = rng.random((2, core.FEATURES, 32, 48)).astype(np.float32)
    encoded = [engine.encode(x) for x in seen]
    expected = jax.jit(core.encode_features)(params, jnp.asarray(seen.transpose(0, 2, 3, 1)))
    for scale, x in enumerate(expected):
        np.testing.assert_allclose(np.stack([one[scale] for one in encoded]), x.transpose(0, 3, 1, 2), atol=1e-4)
    other = XlaEngine(params)
    behind = -rng.random((32, 48)).astype(np.float32)
    for one in (engine, other):
        np.testing.assert_allclose(one.decode(encoded[0], encoded[1], encoded[0], behind),
                                   other.decode(other.encode(seen[0]), encoded[1], encoded[0], behind), atol=1e-3)
