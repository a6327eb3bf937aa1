import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from edmf_jax.core import ssim as module
from edmf_jax.core.ssim import ssim


@pytest.fixture
def planes(rng):
    x = rng.random((37, 45), np.float32)
    return x, np.clip(x + 0.2 * rng.standard_normal((37, 45)).astype(np.float32), 0, 1)


def test_equals_the_pytorch_reference(reference):
    data = reference("filters")
    sources = jnp.asarray(data["sources"] / 255, jnp.float32)
    np.testing.assert_allclose(ssim(sources[:1], sources[1:]), data["ssim"], rtol=1e-5)


def test_equals_scikit_images(planes):
    x, y = planes
    _, full = structural_similarity(x.astype(np.float64), y.astype(np.float64), data_range=1, gaussian_weights=True,
                                    sigma=1.5, use_sample_covariance=False, full=True)
    # Before its mean, scikit-image cuts off a border of 5 px; the map that it returns still has it.
    assert float(ssim(x, y)) == pytest.approx(full[5:-5, 5:-5].mean(), rel=1e-5)


def test_identical_planes_score_one(planes):
    assert float(ssim(planes[0], planes[0])) == pytest.approx(1, abs=1e-6)
    assert float(ssim(jnp.zeros((11, 11)), jnp.zeros((11, 11)))) == 1


def test_symmetric_in_its_arguments(planes):
    x, y = planes
    assert float(ssim(x, y)) == pytest.approx(float(ssim(y, x)), rel=1e-6)
    assert float(ssim(x.T, y.T)) == pytest.approx(float(ssim(x, y)), rel=1e-5)


def test_constant_planes_by_hand():
    """Only the luminance term is left: (2ab + C1) / (a² + b² + C1)."""
    a, b, c1 = 0.25, 0.75, 1e-4
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert float(ssim(jnp.full((12, 13), a), jnp.full((12, 13), b))) == pytest.approx(expected, rel=1e-3)


def test_inverted_planes_score_below_zero(rng):
    x = rng.random((32, 32), np.float32)
    assert float(ssim(x, 1 - x)) < -0.5


def test_peak_scales(planes):
    x, y = planes
    assert float(ssim(255 * x, 255 * y, peak=255)) == pytest.approx(float(ssim(x, y)), rel=1e-4)


def test_smallest_legal_plane():
    assert ssim(jnp.ones((3, 11, 11)), jnp.ones((3, 11, 11))).shape == (3,)
    with pytest.raises(ValueError, match="at least 11×11 px, got 10×30"):
        ssim(jnp.ones((10, 30)), jnp.ones((10, 30)))


def test_float32_against_float64(planes):
    x, y = planes
    with jax.enable_x64(True):
        exact = float(ssim(jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64)))
    assert float(ssim(x, y)) == pytest.approx(exact, rel=1e-5)


def test_gradient_is_finite_for_constant_and_equal_planes():
    for x, y in ((jnp.zeros((16, 16)), jnp.zeros((16, 16))), (jnp.full((16, 16), 0.5), jnp.zeros((16, 16)))):
        gradient = jax.grad(lambda x, y: ssim(x, y))(x, y)
        assert bool(jnp.isfinite(gradient).all())


def test_constants_are_those_of_the_paper():
    assert (module.WINDOW_PX, module.SIGMA_PX, module.K1, module.K2) == (11, 1.5, 0.01, 0.03)
