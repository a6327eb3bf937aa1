import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from edmf_jax.core import focus

# Compiled as a whole: by itself, each operation would be compiled for each shape.
local_sf, local_gradient = (jax.jit(f, static_argnums=1) for f in (focus.local_spatial_frequency, focus.local_gradient))
focus_masks = jax.jit(focus.focus_masks, static_argnums=(2, 3))


def test_local_spatial_frequency_equals_the_pytorch_reference(reference):
    data = reference("filters")
    sources = jnp.asarray(data["sources"] / 255, jnp.float32)
    np.testing.assert_allclose(local_sf(sources, 7), data["local_sf_7"], rtol=1e-5)


def test_masks_equal_the_pytorch_reference(reference):
    data = reference("train_step")
    planes = jnp.asarray(data["sources"], jnp.float32) / 255
    mask_a, mask_b = focus_masks(planes[:, 0], planes[:, 1], 19)
    np.testing.assert_array_equal(mask_a.astype(bool), data["mask_1"])
    np.testing.assert_array_equal(mask_b.astype(bool), ~data["mask_1"])


def test_spatial_frequency_by_hand():
    plane = jnp.array([[0.0, 1.0], [0.5, 0.5]])
    row, column = (1 + 0) / 2, (0.25 + 0.25) / 2
    assert float(focus.spatial_frequency(plane)) == pytest.approx(np.sqrt(row + column), rel=1e-6)


def test_spatial_frequency_symmetries(rng):
    plane = rng.random((17, 29), np.float32)
    value = float(focus.spatial_frequency(plane))
    for other in (plane.T, plane[::-1], plane[:, ::-1], plane + 0.5):
        assert float(focus.spatial_frequency(other)) == pytest.approx(value, rel=1e-5)
    assert float(focus.spatial_frequency(3 * plane)) == pytest.approx(3 * value, rel=1e-6)


def test_constant_planes_have_no_sharpness_and_belong_to_the_first_source():
    plane = jnp.full((20, 21), 0.7)
    assert float(focus.spatial_frequency(plane)) == 0
    mask_a, mask_b = focus_masks(plane, plane)
    assert mask_a.min() == 1
    assert mask_b.max() == 0


def test_masks_choose_the_sharp_side(rng):
    """A picture blurred on the left against one blurred on the right: the mask finds the boundary."""
    sharp = rng.random((64, 80)).astype(np.float32)
    blurred = ndimage.gaussian_filter(sharp, 2)
    left_sharp, right_sharp = sharp.copy(), sharp.copy()
    left_sharp[:, 40:] = blurred[:, 40:]
    right_sharp[:, :40] = blurred[:, :40]
    mask_a, mask_b = focus_masks(left_sharp, right_sharp)
    assert mask_a[:, :30].min() == 1
    assert mask_a[:, 50:].max() == 0
    swapped_b, swapped_a = focus_masks(right_sharp, left_sharp)
    np.testing.assert_array_equal(mask_a, swapped_a)
    np.testing.assert_array_equal(mask_b, swapped_b)


def test_masks_are_unchanged_by_an_added_constant(rng):
    a, b = rng.random((2, 40, 40)).astype(np.float32) / 2
    np.testing.assert_array_equal(focus_masks(a, b)[0], focus_masks(a + 0.25, b)[0])


def test_masks_refuse_different_shapes():
    with pytest.raises(ValueError, match=r"\(20, 20\) and \(20, 21\)"):
        focus.focus_masks(jnp.zeros((20, 20)), jnp.zeros((20, 21)))


def test_smallest_legal_plane_and_odd_sizes(rng):
    for shape in ((10, 10), (11, 37)):
        plane = rng.random(shape, np.float32)
        assert local_sf(plane, 19).shape == shape
    with pytest.raises(ValueError, match="pad=9"):
        focus.local_spatial_frequency(jnp.zeros((9, 20)), 19)


def test_jitted_is_eager_and_batches_do_not_mix(rng):
    planes = rng.random((3, 24, 24), np.float32)
    batched = focus.local_spatial_frequency(planes)
    np.testing.assert_allclose(jax.jit(focus.local_spatial_frequency)(planes), batched, rtol=1e-5)
    for plane, expected in zip(planes, batched, strict=True):
        np.testing.assert_allclose(local_sf(plane, 19), expected, rtol=1e-5)


def test_the_gradient_activity_finds_the_sharp_side_too_and_equals_scipy(rng):
    sharp = rng.random((40, 60)).astype(np.float32)
    blurred = ndimage.gaussian_filter(sharp, 2)
    both = np.where(np.arange(60) < 30, sharp, blurred), np.where(np.arange(60) < 30, blurred, sharp)
    mask_a, _ = focus_masks(*both, 7, "gradient")
    assert mask_a[:, :22].min() == 1
    assert mask_a[:, 38:].max() == 0
    expected = ndimage.uniform_filter(np.abs(ndimage.laplace(sharp, mode="mirror")), 7, mode="mirror")
    np.testing.assert_allclose(local_gradient(sharp, 7), expected, rtol=1e-4)
    assert float(local_gradient(jnp.full((20, 20), 0.3), 7).max()) < 1e-6


