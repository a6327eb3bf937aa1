import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from edmf_jax.core import filters

PLANES = [(23, 31), (16, 17), (40, 24)]
# Compiled as a whole: by itself, each operation would be compiled for each of the planes.
box_filter = jax.jit(filters.box_filter, static_argnums=1)
FILTERS = [jax.jit(filters.laplacian), jax.jit(lambda x: filters.box_filter(x, 5)), jax.jit(filters.gaussian_filter)]


@pytest.fixture(params=PLANES, ids=str)
def plane(request, rng):
    return rng.random(request.param, np.float32)


def test_laplacian_equals_the_pytorch_reference(reference):
    data = reference("filters")
    sources = jnp.asarray(data["sources"] / 255, jnp.float32)
    np.testing.assert_allclose(filters.laplacian(sources), data["laplacian"], atol=1e-6)


def test_laplacian_equals_scipys(plane):
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    expected = ndimage.correlate(plane.astype(np.float64), kernel, mode="mirror")
    np.testing.assert_allclose(filters.laplacian(plane), expected, atol=1e-6)


@pytest.mark.parametrize("window", [1, 3, 7, 19])
def test_box_filter_equals_scipys(plane, window):
    expected = ndimage.uniform_filter(plane.astype(np.float64), window, mode="mirror")
    np.testing.assert_allclose(box_filter(plane, window), expected, atol=1e-6)


def test_gaussian_filter_equals_scipys_inside(plane):
    expected = ndimage.gaussian_filter(plane.astype(np.float64), 1.5, radius=5)[5:-5, 5:-5]
    np.testing.assert_allclose(filters.gaussian_filter(plane, 11, 1.5), expected, atol=1e-6)


def test_the_window_of_every_platform_is_the_same(plane, rng):
    weights = filters.gaussian_kernel(11, 1.5)
    banded, banded_vjp = jax.vjp(lambda x: filters.banded_window(x, weights), jnp.asarray(plane))
    shifted, shifted_vjp = jax.vjp(lambda x: filters.shifted_window(x, weights), jnp.asarray(plane))
    np.testing.assert_allclose(shifted, banded, atol=1e-6)
    gradient = rng.random(banded.shape, np.float32)
    np.testing.assert_allclose(shifted_vjp(gradient)[0], banded_vjp(gradient)[0], atol=1e-6)


@pytest.mark.parametrize(("platform", "products"), [("cpu", 2), ("tpu", 2), ("cuda", 0), ("rocm", 0)])
def test_the_window_is_written_for_the_platform_that_it_is_lowered_for(platform, products):
    """Whatever the platform here, and without a branch at run time."""
    lowered = jax.jit(filters.gaussian_filter).trace(jnp.zeros((20, 20))).lower(lowering_platforms=(platform,))
    assert lowered.as_text().count("stablehlo.dot_general") == products
    name = {"cuda": "gpu", "rocm": "gpu"}.get(platform, platform)
    assert ("products" in filters.window_form(name)) == bool(products)


def test_gaussian_kernel_is_symmetric_and_sums_to_one():
    kernel = filters.gaussian_kernel(11, 1.5)
    assert kernel.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_array_equal(kernel, kernel[::-1])


@pytest.mark.parametrize("pad", [0, 1, 9])
def test_reflect_pad_equals_numpys(plane, pad):
    np.testing.assert_array_equal(filters.reflect_pad(plane, pad), np.pad(plane, pad, mode="reflect"))


def test_reflect_pad_refuses_more_samples_than_the_axis_has():
    with pytest.raises(ValueError, match=r"pad=4 needs more than 4 samples on axis -2, got shape \(4, 9\)"):
        filters.reflect_pad(jnp.zeros((4, 9)), 4)


@pytest.mark.parametrize("window", [0, 4, -3])
def test_box_filter_refuses_windows_that_are_not_odd_and_positive(window):
    with pytest.raises(ValueError, match=f"odd and positive, got {window}"):
        filters.box_filter(jnp.zeros((9, 9)), window)


@pytest.mark.parametrize("function", FILTERS, ids=["laplacian", "box", "gaussian"])
class TestEveryFilter:
    def test_constant_planes(self, function):
        out = np.asarray(function(jnp.full((20, 20), 0.25)))
        np.testing.assert_allclose(out, out[0, 0], atol=1e-7)

    def test_commutes_with_mirroring_and_transposing(self, function, plane):
        np.testing.assert_allclose(function(plane[:, ::-1]), function(plane)[:, ::-1], atol=1e-6)
        np.testing.assert_allclose(function(plane.T), function(plane).T, atol=1e-6)

    def test_batch_of_one_is_the_single_one(self, function, plane):
        np.testing.assert_allclose(function(plane[None])[0], function(plane), atol=1e-6)

    def test_jitted_is_eager(self, function, plane):
        np.testing.assert_allclose(function(plane), function.__wrapped__(plane), atol=1e-6)

    def test_gradient_is_the_adjoint(self, function, plane, rng):
        """⟨f(x), y⟩ = ⟨x, f*(y)⟩ for a linear f, in float32."""
        out, vjp = jax.vjp(function, jnp.asarray(plane))
        y = rng.random(out.shape, np.float32)
        assert float(jnp.vdot(out, y)) == pytest.approx(float(jnp.vdot(plane, vjp(jnp.asarray(y))[0])), rel=1e-4)
