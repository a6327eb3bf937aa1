"""A shot's pixels at the target exposure, and their weights, are those of `fusion.stack`."""

import jax
import numpy as np
import pytest

from edmf_jax.core import leveled
from edmf_jax.core.piecewise import Place
from edmf_jax.fusion.stack import device_steps, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.gain_field import GainField
from edmf_jax.fusion.stack.leveling import level
from edmf_jax.fusion.stack.local_light import LocalLight

SIZE = 40, 52
CURVE = np.tile(np.minimum(0.8 * tone.GRID**1.1, 1), (3, 1))
FIELD = GainField(np.float64([[0, 0.4, 0, 0.1], [0.3, -0.2, 0, 0], [0.1, 0, 0, 0], [0, 0, 0, 0]]), -0.5, 0.7)


def shot_of(dtype, light, rng, valid=None):
    """A shot of noise that is darker than the reference, and clips."""
    values = 1.2 * rng.random((*SIZE, 3))
    full = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    image = np.minimum(values, 1) * full
    image = (np.rint(image) if full > 1 else image).astype(dtype)
    curves, local = [tone.reference_curve(3), CURVE], None
    if light:
        maps = rng.random((2, 9, 11)).astype(np.float32)
        local = LocalLight(maps[0], maps[1] - 0.5, -0.4, 0.5)
    leveling = level(np.minimum(1.3 * CURVE, 1), FIELD if light else None, curves, curves[0], (*SIZE, 3), local)
    return AlignedShot(image, valid, None, leveling)


@pytest.mark.parametrize("dtype, light", [(np.uint8, False), (np.uint16, True), (np.float32, True)])
def test_pixels_are_leveled_as_on_the_cpu(dtype, light, rng):
    shot = shot_of(dtype, light, rng)
    rows, columns = slice(8, 40), slice(5, 45)
    expected = shot.leveling.apply(shot.image[rows, columns], rows, columns)
    found = jax.jit(leveled.leveled)(shot.image[rows, columns], device_steps.on_device(shot.leveling, dtype),
                                     np.arange(8, 40), np.arange(5, 45), Place(0, 0, *SIZE))
    # OpenCV interpolates maps in steps of 1/32 of their pixels.
    np.testing.assert_allclose(np.moveaxis(found, 0, -1), expected, atol=2e-2 if light else 1e-6)
    assert np.abs(np.moveaxis(found, 0, -1) - expected).mean() < (2e-3 if light else 1e-7)


def test_weights_fall_toward_a_shots_end_and_where_it_clips(rng):
    valid = np.ones(SIZE, bool)
    valid[:, :6] = valid[30:, 40:] = False
    shot = shot_of(np.uint8, False, rng, valid)
    assert shot.leveling.clipping_loss.any()
    expected = shot.tile(slice(0, SIZE[0]), slice(0, SIZE[1]))
    around = np.pad(valid, leveled.FEATHER_REACH_PX, mode="reflect")
    weight, channels = leveled.weights(shot.image, around, device_steps.on_device(shot.leveling, np.uint8))
    np.testing.assert_allclose(weight, expected.weight, atol=1e-5)
    np.testing.assert_allclose(np.moveaxis(channels, 0, -1), expected.channel_weight, atol=1e-5)
