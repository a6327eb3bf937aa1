"""The mean of shots by their weights."""

import numpy as np

from edmf_jax.fusion.stack import weighted_mean
from edmf_jax.fusion.stack.aligned import Tile


def test_a_pixel_of_one_shot_alone_is_its_own_however_little_it_weighs():
    """At the edge of a shot in a plain area, where a mask gives everything to a shot that has nothing there."""
    sums, whole = weighted_mean.Sums((2, 2, 3), 2, clips=True), (slice(None), slice(None))
    pixels, weight = np.full((2, 2, 3), 0.5, np.float32), np.full((2, 2), 1 / 255, np.float32)
    sums.add(whole, 0, Tile(pixels, weight, weight[..., None] * pixels), np.full((2, 2), 4e-17, np.float32))
    result = weighted_mean.Blended(*(np.zeros((2, 2, *more), kind) for more, kind in (
        ((3,), np.uint8), ((), np.uint8), ((), np.float16), ((), bool), ((), bool), ((), bool))))
    sums.finish(whole, result, whole)
    assert (result.image == 128).all() and result.covered.all()
