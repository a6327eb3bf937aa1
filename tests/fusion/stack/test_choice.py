"""The choice among the shots: `choice`."""

import numpy as np
import pytest

from edmf_jax.fusion.stack import choice, tiles
from edmf_jax.fusion.stack.evidence import FLOOR, POWER

SHAPE = (90, 130)
WHOLE = slice(0, SHAPE[0]), slice(0, SHAPE[1])
FLAT = POWER * np.log(FLOOR)
SHARP = POWER * np.log(0.2)


def weights_of(logits):
    """The weights of all shots, `[N, H, W]`, from logits `[N, H, W]`."""
    made, given = choice.Choice(logits[0].shape), [lambda part, x=x: x[part] for x in np.float32(logits)]
    for logit in given:
        made.add(logit)
    made.settle()
    whole = slice(0, logits[0].shape[0]), slice(0, logits[0].shape[1])
    return np.stack([made.weights(logit)(whole) for logit in given])


def random_logits(count, seed=0):
    """Shots that are sharp in some places, plain in others."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(FLAT, SHARP, (count, 6, 9))
    return np.kron(coarse, np.ones((15, 15)))[:, : SHAPE[0], : SHAPE[1]]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_weights_add_up_to_one(count):
    weights = weights_of(random_logits(count))
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-5)
    assert weights.min() > -1e-5


def test_where_something_is_sharp_the_weights_are_the_softmax():
    logits = np.full((2, *SHAPE), SHARP)
    logits[0, :, 60:] -= 3
    logits[1, :, :60] -= 40
    weights = weights_of(logits)
    np.testing.assert_allclose(weights[0, :, 63:], 1 / (1 + np.exp(3)), atol=2e-3)
    np.testing.assert_allclose(weights[0, :, :57], 1, atol=1e-3)


def test_where_nothing_is_sharp_the_places_around_decide():
    rng = np.random.default_rng(1)
    logits = np.full((2, *SHAPE), FLAT) + rng.normal(0, 2, (2, *SHAPE))  # chance would blotch this
    logits[0, 30:60, 40:48] = logits[1, 30:60, 90:98] = SHARP
    weights = weights_of(logits)
    plain = np.ones(SHAPE, bool)
    plain[25:65, 35:103] = False
    assert np.abs(np.diff(weights[0], axis=1))[:, 1:][plain[:, 2:]].max() < 0.06
    assert weights[0, 45, 44] > 0.999 and weights[0, 45, 94] < 0.001
    assert weights[0, 45, 52] > 0.6 > 0.4 > weights[0, 45, 86]


def test_of_plain_shots_the_mean_is_taken():
    weights = weights_of(np.full((5, *SHAPE), FLAT))
    np.testing.assert_allclose(weights, 0.2, atol=1e-6)


def test_tiles_change_nothing(monkeypatch):
    logits = random_logits(3, seed=2)
    whole = weights_of(logits)
    monkeypatch.setattr(tiles, "BLEND_TILE_PX", (24, 40))
    np.testing.assert_allclose(weights_of(logits), whole, atol=1e-6)


def test_a_part_of_the_weights_is_that_of_the_whole():
    logits = np.float32(random_logits(2, seed=3))
    made = choice.Choice(SHAPE)
    for x in logits:
        made.add(lambda part, x=x: x[part])
    made.settle()
    weights = made.weights(lambda part: logits[0][part])
    part = slice(32, 72), slice(64, 130)
    np.testing.assert_allclose(weights(part), weights(WHOLE)[part], atol=1e-6)


def test_a_shot_that_has_nothing_has_no_weight():
    logits = np.full((2, *SHAPE), SHARP)
    logits[1, :40] = -1e4
    weights = weights_of(logits)
    np.testing.assert_allclose(weights[0, :38], 1, atol=1e-3)


@pytest.mark.parametrize("shape", [(16, 16), (17, 400), (3, 5)])
def test_any_size(shape):
    weights = weights_of(np.full((2, *shape), FLAT))
    assert weights.shape == (2, *shape)
    np.testing.assert_allclose(weights, 0.5, atol=1e-6)
