"""The hand-made logit is `fusion.stack`'s measure."""

import jax
import numpy as np

from edmf_jax.core import hand_made
from edmf_jax.fusion.stack import blend, sharpness


def test_it_is_the_measure_that_photographs_are_blended_by(rng):
    plane = rng.random((2, 51, 64)).astype(np.float32)
    plane[1] *= 0.02
    measured = jax.jit(hand_made.log_focus_measure)(plane)
    expected = [np.log(sharpness.focus_measure(x)) for x in plane]
    np.testing.assert_allclose(measured, expected, atol=2e-4)
    assert hand_made.POWER == blend.POWER
    assert hand_made.REACH_PX == sharpness.FOCUS_REACH_PX


def test_gray_and_color_pictures_of_one_luma_have_one_logit(rng):
    gray = rng.random((2, 32, 32, 1)).astype(np.float32)
    measure = jax.jit(hand_made.hand_made_logits)
    logits = measure(gray)
    np.testing.assert_allclose(measure(np.repeat(gray, 3, -1)), logits, atol=2e-3)
    assert logits.shape == (2, 32, 32)
