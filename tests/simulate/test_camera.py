"""Cameras, registration and coverage: nothing when off, and what is asked for when on."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.simulate import camera, coverage, registration
from edmf_jax.simulate.ranges import OFF
from edmf_jax.simulate.registration import Misfit

B, N, SIZE = 4, 3, 32
KEY = jax.random.key(0, impl="rbg")
LIGHT = np.random.default_rng(1).random((B, N, SIZE, SIZE, 3)).astype(np.float32)


def jitted(f):
    return jax.jit(f, static_argnames="ranges")


expose, clip, add_noise, compress = map(jitted, (camera.expose, camera.clip, camera.add_noise, camera.compress))
LINEAR = jnp.zeros(B, bool)


def test_with_everything_off_a_shot_is_its_encoded_light():
    some = jnp.arange(B) % 2 == 0
    expected = np.where(np.asarray(some).reshape(B, 1, 1, 1, 1), LIGHT, linear_to_srgb(LIGHT))
    np.testing.assert_allclose(expose(KEY, LIGHT, some, OFF), expected, atol=1e-5)
    np.testing.assert_array_equal(add_noise(KEY, LIGHT, OFF), LIGHT)
    np.testing.assert_array_equal(clip(KEY, LIGHT, LINEAR, OFF)[0], LIGHT)
    np.testing.assert_allclose(compress(KEY, LIGHT, OFF), np.round(LIGHT * 255) / 255, atol=1e-6)
    np.testing.assert_array_equal(camera.sharpen(LIGHT, jnp.zeros(B)), LIGHT)


def test_what_leveling_leaves_is_even_over_the_shots():
    gray = np.full(LIGHT.shape, 0.2, np.float32)
    ranges = OFF._replace(uneven_share=1.0, stops=(0.2, 0.2), color_stops=(0.1, 0.1), field_stops=(0.05, 0.05))
    pictures = np.asarray(expose(KEY, gray, LINEAR, ranges))
    stops = np.log2(srgb_to_linear(pictures) / 0.2)
    np.testing.assert_allclose(stops.mean(1), 0, atol=1e-3)
    assert 0.1 < stops.std() < 0.4
    assert stops[0, 0, ..., 0].std() > 1e-3  # uneven over the picture as well


def test_a_shot_that_was_exposed_longer_clips_lower_and_says_where():
    ranges = OFF._replace(clip_share=1.0, clip_stops=(1.0, 1.0))
    light, clipped = (np.asarray(x) for x in clip(KEY, LIGHT, LINEAR, ranges))
    tops = light.max((2, 3, 4))
    assert set(np.round(tops, 1).ravel()) == {0.5, 1.0}
    lower = tops < 0.6
    np.testing.assert_array_equal(clipped[lower], (LIGHT >= 0.995 * 0.5).any(-1)[lower])


def test_noise_is_as_strong_as_asked_grows_in_the_dark_and_differs_by_shot():
    gray = np.full((B, N, SIZE, SIZE, 3), 0.5, np.float32)
    ranges = OFF._replace(noise_share=1.0, noise_levels=(3.0, 3.0), noise_spread=(0.3, 0.3))
    deviations = np.asarray(add_noise(KEY, gray, ranges)).std((2, 3, 4))
    typical = np.exp(np.log(deviations * 255).mean())
    assert typical == pytest.approx(3 * (0.6 + 1.2 * 0.25), rel=0.3)
    assert np.ptp(np.log(deviations), 1).min() > 0.05
    dark = np.asarray(add_noise(KEY, 0 * gray, ranges)).std((2, 3, 4))
    np.testing.assert_allclose(dark / deviations, 2, rtol=0.05)  # (0.6 + 1.2) / (0.6 + 1.2 / 4)


def test_hot_pixels_sit_at_one_place_in_all_shots():
    out = np.asarray(add_noise(KEY, 0 * LIGHT, OFF._replace(hot_share=1.0, hot_density=(0.01, 0.01))))
    np.testing.assert_array_equal(out, np.broadcast_to(out[:, :1], out.shape))
    assert 0.005 < (out > 0.3).mean() < 0.02


def test_sharpening_strengthens_edges_and_keeps_what_is_flat():
    step = np.zeros((1, 16, 32, 3), np.float32)
    step[:, :, 16:] = 0.5
    out = np.asarray(camera.sharpen(step, jnp.ones(1)))[0, 8, :, 0]
    assert out.max() > 0.55 and out.min() < -0.05
    np.testing.assert_allclose(out[[0, -1]], [0, 0.5], atol=1e-6)


def test_jpeg_is_the_one_of_a_codec():
    rng = np.random.default_rng(3)
    smooth = np.kron(rng.random((4, 4, 3)), np.ones((8, 8, 1)))
    picture = np.uint8(255 * np.clip(0.7 * smooth + 0.3 * rng.random((32, 32, 3)), 0, 1))
    ours = 255 * np.asarray(jax.jit(camera.jpeg)(picture[None].astype(np.float32) / 255, jnp.array([80.0])))[0]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=80, subsampling=0)
    theirs = np.asarray(Image.open(file)).astype(float)
    # Integer arithmetic rounds some coefficients to the other side.
    assert np.abs(ours - theirs).mean() < 0.2 * np.abs(picture - theirs).mean()


def test_registration_moves_turns_and_scales():
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    picture = jnp.asarray(np.stack([y, x], -1))[None, None]
    move = jax.jit(registration.move)
    zero = jnp.zeros((1, 2))
    same = move(picture, Misfit(jnp.zeros((1, 2, 2)), zero, zero))
    np.testing.assert_allclose(same, np.broadcast_to(picture, same.shape), atol=1e-5)
    out = np.asarray(move(picture, Misfit(jnp.array([[[0.5, -0.25], [0.0, 0.0]]]), jnp.array([[0.0, 0.01]]), zero)))[0]
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(out[0][inner], np.stack([y + 0.5, x - 0.25], -1)[inner], atol=1e-3)
    c = (SIZE - 1) / 2
    turned = np.stack([y + 0.01 * (x - c), x - 0.01 * (y - c)], -1)
    np.testing.assert_allclose(out[1][inner], turned[inner], atol=5e-3)
    off = jitted(lambda key, ranges: registration.draw_misfit(key, B, N, ranges))(KEY, OFF)
    assert not any(np.asarray(x).any() for x in off)


def test_the_reference_covers_everything_and_others_end_inside():
    draw = jitted(lambda key, ranges: coverage.draw_coverage(key, B, N, SIZE, ranges))
    assert np.asarray(draw(KEY, OFF)).all()
    valid = np.asarray(draw(KEY, OFF._replace(uncovered_share=1.0, uncovered_px=(3.0, 6.0))))
    assert valid[:, 0].all()
    assert valid[:, 1:].any((2, 3)).all() and not valid[:, 1:].all()
    assert valid[..., 8:-8, 8:-8].all()


def test_pictures_that_end_are_continued_mirrored():
    first, last = jnp.array([[4, 0]]), jnp.array([[31, 27]])
    picture = jnp.asarray(LIGHT[:1])
    out = np.asarray(coverage.mirrored(picture, first, last))[0]
    np.testing.assert_array_equal(out[:, 4:, :28], LIGHT[0, :, 4:, :28])
    np.testing.assert_array_equal(out[:, 3, :28], LIGHT[0, :, 5, :28])
    np.testing.assert_array_equal(out[:, 4:, 28], LIGHT[0, :, 4:, 26])
    inside = np.asarray(coverage.inside_frames(first, last, SIZE))[0]
    assert inside[4:, :28].all() and inside.sum() == 28 * 28
