"""The hand-made logit is what `fusion.stack` chooses by."""

import dataclasses

import jax
import numpy as np
import pytest

from edmf_jax.core import hand_made
from edmf_jax.fusion.stack import evidence, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.leveling import level


@pytest.mark.parametrize("hole", [False, True])
def test_it_is_the_evidence_that_photographs_are_chosen_by(rng, hole):
    pixels = rng.random((72, 96, 3)).astype(np.float32)
    pixels[:, 50:] = 0.5 + 0.02 * pixels[:, 50:]
    pixels[30:, 60:] = 0.4
    valid, noise = np.ones((72, 96), bool), 2e-5
    if hole:
        valid[20:27, 30:60] = valid[:, 85:] = False
    curve = tone.reference_curve(3)
    shot = AlignedShot(pixels, valid, None, level(curve, None, [curve], curve, pixels.shape))
    whole = dataclasses.replace(evidence.measure(shot, noise), weight=None)
    expected = whole.logit((slice(0, 72), slice(0, 96)))
    logits = jax.jit(hand_made.hand_made_logits)(pixels, valid, noise)
    np.testing.assert_allclose(logits, expected, atol=2e-2)
    np.testing.assert_allclose(logits[:40, :60], expected[:40, :60], atol=5e-3)


def test_a_patch_from_within_a_shot_has_the_logit_of_the_shot(rng):
    """But where what is outside of it tells: within the far window and the cells' own one."""
    pixels = rng.random((1, 256, 256, 3)).astype(np.float32)
    part = slice(0, 1), slice(8, 248), slice(8, 248)
    measure = jax.jit(hand_made.hand_made_logits, static_argnames="rim")
    whole, patch = measure(pixels, rim=True), measure(pixels[part], rim=False)
    middle = slice(0, 1), slice(116, 124), slice(116, 124)
    np.testing.assert_allclose(patch[middle], whole[part][middle], atol=1e-4)
    assert np.isfinite(patch).all() and np.abs(patch - whole[part]).max() < 2


def test_noise_is_estimated_alike(rng):
    pixels = (0.5 + 0.01 * rng.standard_normal((2, 48, 48, 3))).astype(np.float32)
    expected = [evidence.noise_energy(shot, 1.0) for shot in pixels]
    np.testing.assert_allclose(hand_made.noise_energy(pixels), expected, rtol=0.1)


def test_gray_and_color_pictures_of_one_luma_have_one_logit(rng):
    gray = rng.random((2, 32, 32, 1)).astype(np.float32)
    measure = jax.jit(hand_made.hand_made_logits)
    logits = measure(gray)
    np.testing.assert_allclose(measure(np.repeat(gray, 3, -1)), logits, atol=2e-3)
    assert logits.shape == (2, 32, 32)


def test_what_a_shot_lacks_does_not_change_what_is_far_from_it(rng):
    pixels = rng.random((1, 64, 160, 3)).astype(np.float32)
    valid = np.ones((1, 64, 160), bool)
    valid[..., 152:] = False
    other = np.where(valid[..., None], pixels, 0).astype(np.float32)
    measure = jax.jit(hand_made.hand_made_logits)
    np.testing.assert_allclose(measure(other, valid), measure(pixels, valid), atol=2e-3)
