"""ZMFF's optimization, with small networks; its parts are compared with the authors' in test_published.py."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.errors import UserError
from edmf_jax.methods import memory, skip_network, zmff
from tests.helpers.method_weights import random_pictures


def test_rates_are_halved_after_200_400_and_800_steps():
    state, rates = zmff.optimizer().init(jnp.zeros(())), {}
    update = jax.jit(zmff.optimizer().update)
    for step in range(803):  # with a constant gradient, Adam moves by the rate
        change, state = update(jnp.ones(()), state)
        rates[step] = -float(change)
    for step, rate in ((0, 0.01), (200, 0.01), (201, 0.005), (400, 0.005), (401, 0.0025), (801, 0.00125)):
        assert rates[step] == pytest.approx(rate, rel=1e-3)


def test_equal_pictures_score_1_everywhere(rng):
    picture = rng.random((11, 12)).astype(np.float32)
    assert (zmff.score_maps(np.stack([picture, picture])) == 1).all()
    scores = zmff.score_maps(np.stack([picture, np.full_like(picture, 0.5)]))
    assert ((scores[0] == 1) != (scores[1] == 1))[3:-3, 3:-3].all()


@pytest.mark.slow
def test_the_loss_falls_and_progress_is_told(monkeypatch):
    # Networks of one level and four channels.
    for module, name, value in ((zmff, "FUSED_LEVELS", 1), (zmff, "MASK_LEVELS", 1), (skip_network, "WIDTH", 4),
                                (skip_network, "SKIP_WIDTH", 2)):
        monkeypatch.setattr(module, name, value)
    luma, told = random_pictures(2, 13, 15)[..., 1].astype(np.float32) / 255, []
    outputs, curve = zmff.optimize(luma, 25, lambda done, steps: told.append((done, steps)))
    assert told == [(10, 25), (20, 25), (25, 25)]
    assert curve.shape == (25,) and curve[-1] < 0.9 * curve[0]
    assert all(x.shape == (13, 15) and 0 < x.min() < x.max() < 1 for x in outputs)


def test_color_of_the_first_picture_as_published_and_of_both_otherwise():
    pair = random_pictures(2, 12, 13)
    luma = np.full((12, 13), 0.5, np.float32)
    colors = [zmff.Zmff(as_published=flag)._color(luma, images) for flag in (True, False)
              for images in (pair, (pair[0], pair[0]))]
    np.testing.assert_array_equal(colors[0], colors[1])
    assert (colors[2] != colors[3]).any()
    assert np.abs(colors[1].astype(int) - colors[3])[(colors[3] > 0).all(-1) & (colors[3] < 255).all(-1)].max() <= 3


def test_too_small_pictures_and_too_little_memory_are_named():
    with pytest.raises(UserError, match="zmff needs at least 33 px on both sides, but the pictures have 33×32 px"):
        zmff.load()([np.zeros((32, 33), np.uint8)] * 2)
    sizes = types.SimpleNamespace(temp_size_in_bytes=10**15, output_size_in_bytes=0)
    with pytest.raises(UserError, match=r"zmff on pictures of 9×9 px needs 1000000\.0 GB of memory, but .* are free"):
        memory.check_memory(types.SimpleNamespace(memory_analysis=lambda: sizes), "zmff on pictures of 9×9 px")
    memory.check_memory(types.SimpleNamespace(memory_analysis=lambda: None), "nothing known")
