"""Blur: energy, width, symmetry, and that wide and narrow kernels meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.simulate import kernels
from edmf_jax.simulate.kernels import Aperture
from tfds_edmf.edmf_synthetic.lens import disc_kernel

SIZE = 64
DISC = Aperture(jnp.zeros(1, bool), jnp.zeros(1), jnp.zeros(1))
GAUSSIAN = DISC._replace(gaussian=jnp.ones(1, bool))
CAT_EYE = DISC._replace(cut=jnp.full(1, 0.5))

spread_out = jax.jit(kernels.kernels, static_argnums=2)
blurred = jax.jit(kernels.blur)


def moments(kernel):
    """Sum, and variance down and across, of a kernel around the corner."""
    at = np.fft.fftfreq(len(kernel)) * len(kernel)
    return kernel.sum(), (kernel * at[:, None] ** 2).sum(), (kernel * at**2).sum()


@pytest.mark.parametrize("radius", [3.0, 10.0, 25.0])
def test_a_disc_has_sum_1_and_a_quarter_of_its_squared_radius_as_variance(radius):
    for aperture in (DISC, GAUSSIAN):
        total, down, across = moments(np.asarray(spread_out(jnp.full((1, 1), radius), aperture, 256))[0, 0])
        assert total == pytest.approx(1, abs=1e-5)
        assert down == pytest.approx(radius**2 / 4, rel=0.06)  # its rim is antialiased
        assert across == pytest.approx(down, rel=1e-3)


def test_a_disc_is_the_one_of_the_rendered_data_set():
    kernel = np.fft.fftshift(np.asarray(spread_out(jnp.full((1, 1), 6.0), DISC, 256))[0, 0])
    expected = disc_kernel(6.0)
    n = len(expected) // 2
    np.testing.assert_allclose(kernel[128 - n : 129 + n, 128 - n : 129 + n], expected, atol=2e-3)


def test_a_cat_eye_lacks_its_sides_and_stays_centered():
    kernel = np.asarray(spread_out(jnp.full((1, 1), 10.0), CAT_EYE, 256))[0, 0]
    total, down, across = moments(kernel)
    at = np.fft.fftfreq(256) * 256
    assert total == pytest.approx(1, abs=1e-5)
    assert across < 0.6 * down
    assert abs((kernel * at).sum()) < 1e-4


def test_a_radius_of_zero_changes_nothing_and_any_keeps_the_mean_of_a_flat_picture(rng):
    planes = jnp.asarray(rng.random((1, 1, 2, SIZE, SIZE)), jnp.float32)
    sharp, soft, wide = (blurred(planes, jnp.full((1, 1, 1), r), DISC)[0, 0, 0] for r in (0.0, 8.0, 50.0))
    np.testing.assert_allclose(sharp, planes[0, 0], atol=1e-5)
    assert wide.std() < soft.std() < 0.2 * sharp.std()
    flat = blurred(jnp.full((1, 1, 2, SIZE, SIZE), 0.3), jnp.full((1, 1, 1), 50.0), DISC)
    np.testing.assert_allclose(flat, 0.3, atol=1e-4)


def test_wide_kernels_on_a_reduced_copy_meet_the_narrow_ones():
    planes = np.zeros((1, 1, 2, SIZE, SIZE), np.float32)
    planes[..., :24, :40] = 1
    at = kernels.WIDE_PX
    below, above = (np.asarray(blurred(planes, jnp.full((1, 1, 1), r), DISC)) for r in (at, at + 0.01))
    assert np.abs(below - above).max() < 0.03
    assert np.abs(below - above).mean() < 0.01


def test_a_shift_moves_down_and_right():
    planes = np.zeros((1, 1, 2, SIZE, SIZE), np.float32)
    planes[..., 30, 20] = 1
    for radius in (2.0, 20.0):
        moved = np.asarray(jax.jit(kernels.blur)(planes, jnp.full((1, 1, 1), radius), DISC,
                                                 jnp.array([3.0, -2.0]).reshape(1, 1, 1, 2)))[0, 0, 0, 0]
        still = np.asarray(blurred(planes, jnp.full((1, 1, 1), radius), DISC))[0, 0, 0, 0]
        np.testing.assert_allclose(moved[6:-6, 6:-6], np.roll(still, (3, -2), (0, 1))[6:-6, 6:-6], atol=3e-3)
