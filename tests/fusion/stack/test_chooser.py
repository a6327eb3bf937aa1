"""The network that chooses, on shots that come one after the other, tile by tile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core import chooser as core
from edmf_jax.fusion.stack import chooser, evidence, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.chooser_engine import OnnxEngine, XlaEngine, features
from edmf_jax.fusion.stack.leveling import level

pytest.importorskip("onnxruntime")
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


def logits_of(computes, shots, measured, order=None):
    network = chooser.Network(computes, shots[0].image.shape)
    order = range(len(shots)) if order is None else order
    for i in order:
        network.add(i, shots[i], measured[i])
    whole = tuple(slice(0, side) for side in shots[0].image.shape[:2])
    return np.stack([network.logit(i, shots[i], measured[i])(whole) for i in range(len(shots))])


@pytest.fixture(scope="module")
def trained():
    """Parameters whose last layer is not zero, and their engine."""
    params = core.init_params(jax.random.key(0), core.SIZES["small"])
    params["head"]["kernel"] = 0.05 * jax.random.normal(jax.random.key(1), params["head"]["kernel"].shape)
    params = jax.tree.map(np.asarray, params)
    return OnnxEngine(params), params


def test_features_are_those_that_are_trained_on(rng):
    pixels = rng.random((2, 40, 48, 3)).astype(np.float32)
    valid = np.ones((2, 40, 48), bool)
    valid[1, :10, :20] = False
    hand, clipped = -10 * rng.random((2, 2, 40, 48)).astype(np.float32)
    expected = jax.jit(core.features)(core.Shots(pixels, hand, valid, clipped))
    for i in range(2):
        np.testing.assert_allclose(features(pixels[i], hand[i], valid[i], clipped[i]), expected[i].transpose(2, 0, 1),
                                   atol=1e-4)


def test_an_untrained_network_gives_the_hand_made_logits(rng):
    params = jax.tree.map(np.asarray, core.init_params(jax.random.key(0), core.SIZES["small"]))
    shots, measured = shots_of(rng, 61, 90)
    whole = slice(0, 61), slice(0, 90)
    expected = np.stack([one.logit(whole) for one in measured])
    found = logits_of((OnnxEngine(params), params), shots, measured)
    np.testing.assert_allclose(found[:, :, :70], expected[:, :, :70], **HALF_PRECISION)
    assert (found[2, :, 70:] < -1000).all()  # which the last shot lacks


def test_tiles_and_the_order_of_the_shots_change_nothing(rng, trained, monkeypatch):
    shots, measured = shots_of(rng, 40, 560)
    expected = logits_of(trained, shots, measured)
    assert np.abs(expected - np.stack([one.logit((slice(0, 40), slice(0, 560))) for one in measured])).max() > 1
    monkeypatch.setattr(chooser, "_ONE_PIECE_PX", 0)
    monkeypatch.setattr(chooser, "_TILE_PX", 128)
    np.testing.assert_allclose(logits_of(trained, shots, measured), expected, **HALF_PRECISION)
    monkeypatch.setattr(chooser, "KEPT_BYTES", 0)
    np.testing.assert_allclose(logits_of(trained, shots, measured, order=(2, 0, 1)), expected, **HALF_PRECISION)


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
