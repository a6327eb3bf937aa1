"""The hand-made logit is what `fusion.stack` chooses by."""

import jax
import numpy as np

from edmf_jax.core import hand_made
from edmf_jax.fusion.stack import evidence


def test_it_is_the_evidence_that_photographs_are_chosen_by(rng):
    pixels = rng.random((72, 96, 3)).astype(np.float32)
    pixels[:, 50:] = 0.5 + 0.02 * pixels[:, 50:]
    pixels[30:, 60:] = 0.4
    noise = 2e-5
    planes = evidence._planes(pixels)
    fine = evidence._windowed(planes, evidence._without_rim(np.ones((72, 96), bool), (slice(0, 72), slice(0, 96)),
                                                            (72, 96)), noise)
    coarse = evidence._windowed(evidence.cell_means(planes, 8), np.ones((9, 12), bool), noise / 64)
    whole = evidence.Evidence(np.sqrt(fine), coarse, None, None)
    logits = jax.jit(hand_made.hand_made_logits)(pixels, None, noise)
    np.testing.assert_allclose(logits, whole.logit((slice(0, 72), slice(0, 96))), atol=5e-3)
    assert (hand_made.POWER, hand_made.FLOOR, hand_made.CELL_PX) == (evidence.POWER, evidence.FLOOR, evidence.CELL_PX)


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
