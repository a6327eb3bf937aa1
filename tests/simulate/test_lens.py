"""Shots of known scenes: which layer spreads over which."""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.simulate import lens
from edmf_jax.simulate.kernels import Aperture
from edmf_jax.simulate.ranges import OFF
from edmf_jax.simulate.scenes import Scene, composite

SIZE, RADIUS = 64, 6.0
EDGE = SIZE // 2
ONE = OFF._replace(front_shares=(1.0,))
shoot = jax.jit(lens.through_lens, static_argnames="ranges")


def scene(back, front):
    """A front that covers the left half, at depth 0, before a background at depth 1."""
    cover = np.zeros((1, 1, SIZE, SIZE), np.float32)
    cover[..., :EDGE] = 1
    picture = lambda x: np.broadcast_to(np.float32(x), (SIZE, SIZE))[..., None].repeat(3, -1)
    return Scene(jnp.asarray(picture(back))[None], jnp.asarray(picture(front))[None, None], jnp.asarray(cover),
                 jnp.zeros((1, 1)), jnp.ones((1, SIZE, SIZE)), jnp.full(1, RADIUS),
                 Aperture(jnp.zeros(1, bool), jnp.zeros(1), jnp.zeros(1)), jnp.zeros(1, bool))


def shots(view, ranges=ONE):
    """Light of the shot focused on the front and of the one on the background, `[2, S, S]`, and the radii."""
    seen = shoot(jax.random.key(0, impl="rbg"), view, jnp.array([[0.0, 1.0]]), ranges)
    return np.asarray(seen.light)[0, ..., 0], np.asarray(seen.radius)[0]


def test_a_defocused_front_spreads_over_a_sharp_background_and_a_sharp_one_receives_nothing(rng):
    texture = rng.random((SIZE, SIZE)).astype(np.float32)
    (near, far), radius = shots(scene(texture, 0.0))
    np.testing.assert_allclose(near[:, :EDGE], 0, atol=1e-5)  # occluded, however bright what lies behind
    assert near[:, EDGE + 12 :].std() < 0.3 * texture[:, EDGE + 12 :].std()  # the background is blurred
    np.testing.assert_allclose(far[:, EDGE + 8 :], texture[:, EDGE + 8 :], atol=1e-5)
    assert np.unique(radius[0]).tolist() == [0, RADIUS]


def test_the_veil_of_a_defocused_front_fades_over_twice_the_radius():
    row = shots(scene(0.5, 0.0))[0][1][EDGE]
    np.testing.assert_allclose(row[: EDGE - 7], 0, atol=1e-5)
    np.testing.assert_allclose(row[EDGE + 7 :], 0.5, atol=1e-5)
    assert np.all(np.diff(row[EDGE - 6 : EDGE + 6]) > 0)
    np.testing.assert_allclose(row[EDGE - 1] + row[EDGE], 0.5, atol=1e-4)  # half of it at the edge


def test_energy_is_kept_where_nothing_is_occluded():
    view = scene(0.25, 0.25)
    for light in shots(view)[0]:
        np.testing.assert_allclose(light, 0.25, atol=1e-4)


def test_light_beyond_white_spreads_with_all_its_energy():
    back = np.zeros((SIZE, SIZE), np.float32)
    back[EDGE, 45] = 50
    (near, far), _ = shots(scene(back, 0.0)._replace(covers=jnp.zeros((1, 1, SIZE, SIZE))))
    assert far[EDGE, 45] > 49.9
    assert near.sum() == np.float32(50).item() or abs(near.sum() - 50) < 0.1
    assert (near > 0.1).sum() > 80  # a disc, each of its pixels far below the lamp


def test_with_everything_in_focus_a_shot_is_the_layers_on_top_of_each_other(rng):
    view = scene(rng.random((SIZE, SIZE)), rng.random((SIZE, SIZE)))._replace(span=jnp.zeros(1))
    truth = composite(view.back, view.covers[..., None] * view.fronts, view.covers)[0, ..., 0]
    for light in shots(view)[0]:
        np.testing.assert_allclose(light, truth, atol=1e-5)


def test_parallax_moves_a_layer_only_where_it_is_blurred():
    ranges = ONE._replace(parallax_share=1.0, parallax_px=(3.0, 3.0))
    still, moved = (shots(scene(0.0, 1.0), r)[0] for r in (ONE, ranges))
    np.testing.assert_allclose(moved[0], still[0], atol=1e-4)
    assert np.abs(moved[1] - still[1]).max() > 0.02


def test_pasted_shots_are_the_truth_on_their_side_of_a_hard_mask(rng):
    texture = rng.random((SIZE, SIZE)).astype(np.float32)
    view = scene(texture, texture)
    seen = shoot(jax.random.key(0, impl="rbg"), view, jnp.array([[0.0, 1.0]]), ONE)
    truth = jnp.asarray(texture)[None, ..., None].repeat(3, -1)
    inside = np.ones((1, SIZE, SIZE), bool)
    inside[:, :6] = False
    dark = ONE._replace(dark_rim_share=1.0)
    pasted = jax.jit(lens.pasted, static_argnames="ranges")
    light = np.asarray(pasted(jax.random.key(1, impl="rbg"), seen, truth, inside, ONE).light)[0, ..., 0]
    np.testing.assert_array_equal(light[0, :, :EDGE], texture[:, :EDGE])
    np.testing.assert_array_equal(light[1, :, EDGE:], texture[:, EDGE:])
    assert light[0, :, EDGE:].std() < 0.5 * texture.std()
    rim = np.asarray(pasted(jax.random.key(1, impl="rbg"), seen, truth, inside, dark).light)[0, ..., 0]
    assert rim[0, 6, EDGE + 8 :].mean() < 0.8 * light[0, 6, EDGE + 8 :].mean()


def test_what_is_cut_out_before_black_or_white_has_lines_along_its_mask():
    seen = shoot(jax.random.key(0, impl="rbg"), scene(0.5, 0.5), jnp.array([[0.0, 1.0]]), ONE)
    truth, inside = jnp.full((1, SIZE, SIZE, 3), 0.5), np.ones((1, SIZE, SIZE), bool)
    pasted = jax.jit(lens.pasted, static_argnames="ranges")
    for share, least, most in ((0.0, 0.0, 1e-4), (1.0, 0.1, 0.5)):
        ranges = ONE._replace(pasted_line_share=share)
        light = np.asarray(pasted(jax.random.key(1, impl="rbg"), seen, truth, inside, ranges).light)[0, ..., 0]
        np.testing.assert_allclose(light[0, :, :EDGE], 0.5)  # each shot's own side
        np.testing.assert_allclose(light[1, :, EDGE:], 0.5)
        for line in (light[0, :, EDGE], light[1, :, EDGE - 1]):
            assert least <= np.abs(line - 0.5).min() and np.abs(line - 0.5).max() <= most
        np.testing.assert_allclose(light[:, :, [4, -4]], 0.5, atol=0.02)
