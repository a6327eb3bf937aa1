"""The chooser: what holds for any parameters, and what an untrained network does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core import chooser

WIDTHS = (4, 6)  # two scales: sides are multiples of 4
HEIGHT, WIDTH = 40, 48


@pytest.fixture(scope="module")
def params():
    """Random parameters, the last layer's too."""
    drawn = chooser.init_params(jax.random.key(0), WIDTHS)
    head = 0.3 * jax.random.normal(jax.random.key(1), drawn["head"]["kernel"].shape)
    return drawn | {"head": {"kernel": head, "bias": drawn["head"]["bias"]}}


def random_shots(seed, scenes=2, shots=3, channels=3):
    rng = np.random.default_rng(seed)
    pixels = rng.random((scenes, shots, HEIGHT, WIDTH, channels)).astype(np.float32)
    valid = rng.random(pixels.shape[:-1]) > 0.02
    valid[:, 0] = True
    valid[:, 1, :, :7] = False
    clipped = (rng.random(pixels.shape[:-1]) > 0.9).astype(np.float32)
    hand = rng.normal(-20, 4, valid.shape).astype(np.float32)
    return chooser.Shots(pixels, hand, valid, clipped)


@jax.jit
def run(params, shots):
    """Logits, repairs, weights, repair."""
    chosen = chooser.choose(params, shots)
    return *chosen, *chooser.choice(*chosen)


def test_the_sizes_have_about_as_many_parameters_as_they_say():
    for name, near in {"small": 50e3, "medium": 150e3, "large": 400e3}.items():
        drawn = jax.eval_shape(functools.partial(chooser.init_params, widths=chooser.SIZES[name]), jax.random.key(0))
        assert 0.9 < chooser.count_params(drawn) / near < 1.1, name
        assert chooser.factor(drawn) == 16


def test_an_untrained_network_makes_the_hand_made_choice():
    shots = random_shots(0)
    _, _, weights, repair = run(chooser.init_params(jax.random.key(3), WIDTHS), shots)
    masked = np.where(shots.valid, shots.hand, -np.inf)
    e = np.exp(masked - masked.max(1, keepdims=True))
    np.testing.assert_allclose(weights, e / e.sum(1, keepdims=True), atol=1e-6)
    assert not np.asarray(repair).any()


def test_the_order_of_the_shots_has_no_effect(params):
    shots, order = random_shots(1), [2, 0, 1]
    _, _, weights, repair = run(params, shots)
    _, _, turned, same = run(params, jax.tree.map(lambda x: x[:, order], shots))
    np.testing.assert_allclose(turned, np.asarray(weights)[:, order], atol=2e-5)
    np.testing.assert_allclose(same, repair, rtol=5e-5, atol=2e-5)


def test_scenes_of_a_batch_do_not_mix_and_any_number_of_shots_is_taken(params):
    shots = random_shots(2, shots=5)
    _, _, weights, _ = run(params, shots)
    _, _, alone, _ = run(params, jax.tree.map(lambda x: x[1:], shots))
    np.testing.assert_allclose(alone[0], weights[1], atol=2e-5)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    _, _, single, _ = run(params, jax.tree.map(lambda x: x[:1, :1], shots))
    np.testing.assert_allclose(single, 1, atol=1e-6)


def test_a_shot_that_covers_nothing_changes_nothing(params):
    shots = random_shots(3)
    gone = shots._replace(valid=shots.valid & (np.arange(3) < 2).reshape(1, 3, 1, 1))
    _, _, weights, repair = run(params, gone)
    _, _, of_two, repair_of_two = run(params, jax.tree.map(lambda x: x[:, :2], shots))
    np.testing.assert_allclose(weights[:, :2], of_two, atol=2e-5)
    np.testing.assert_allclose(repair, repair_of_two, atol=2e-5)
    assert not np.asarray(weights[:, 2]).any()


def test_pixels_that_are_not_valid_have_no_effect_whatever_they_are(params):
    shots = random_shots(4)
    changed = np.where(shots.valid[..., None], shots.pixels, 7.0)
    hand = np.where(shots.valid, shots.hand, 1e6)
    before, after = run(params, shots), run(params, shots._replace(pixels=changed, hand=hand))
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)
    assert not np.asarray(before[2])[~shots.valid].any()


def test_where_no_shot_is_valid_all_weights_are_zero_and_gradients_finite(params):
    shots = random_shots(5)
    shots = shots._replace(valid=shots.valid & (np.arange(WIDTH) > 3))
    _, _, weights, _ = run(params, shots)
    assert not np.asarray(weights[..., :4]).any()
    gradient = jax.jit(jax.grad(lambda p: jnp.square(run(p, shots)[2]).sum()))(params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def test_two_passes_over_one_shot_at_a_time_give_the_same(params):
    shots = random_shots(6)
    logits, repairs, *_ = run(params, shots)
    one = [jax.tree.map(lambda x, i=i: x[:, i], shots) for i in range(3)]
    first_pass = jax.jit(lambda shot: chooser.pool(chooser.encode(params, shot), shot, (2, 1)))
    second_pass = jax.jit(lambda shot, pooled: chooser.decode(params, shot, chooser.encode(params, shot), pooled, 1))
    pooled = functools.reduce(chooser.join, map(first_pass, one))
    for i, shot in enumerate(one):
        logit, repair = second_pass(shot, pooled)
        np.testing.assert_allclose(logit, logits[:, i], atol=1e-4)
        np.testing.assert_allclose(repair, repairs[:, i], atol=1e-4)


def test_gray_shots_are_taken(params):
    _, _, weights, repair = run(params, random_shots(7, channels=1))
    assert weights.shape == (2, 3, HEIGHT, WIDTH)
    assert repair.shape == (2, HEIGHT, WIDTH, 1)


def test_sides_that_do_not_fit_are_refused(params):
    shots = jax.tree.map(lambda x: x[:, :, :39], random_shots(8))
    with pytest.raises(ValueError, match="multiples of 4 px, got 39×48"):
        chooser.choose(params, shots)


def test_a_pixel_reaches_as_far_as_stated_and_no_further(params):
    """Changes one pixel in the middle of a picture that is larger than the reach, at each place in a coarse pixel."""
    reach, step = chooser.reach_px(params), chooser.factor(params)
    side = 2 * -(-(reach + step) // step) * step
    rng = np.random.default_rng(9)
    pixels = rng.random((1, 2, side, side, 1)).astype(np.float32)
    shots = chooser.Shots(pixels, np.zeros(pixels.shape[:-1], np.float32), np.ones(pixels.shape[:-1], bool),
                          np.zeros(pixels.shape[:-1], np.float32))
    logits = np.asarray(run(params, shots)[0])
    furthest = 0
    for offset in range(step):
        at = side // 2 + offset
        changed = pixels.copy()
        changed[0, 0, at, at] = 3.0
        moved = np.asarray(run(params, shots._replace(pixels=changed))[0]) != logits
        rows = np.nonzero(moved.any((0, 1, 3)))[0]
        furthest = max(furthest, at - rows.min(), rows.max() - at)
    assert reach - step < furthest <= reach
