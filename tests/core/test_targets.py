import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from edmf_jax.core import filters, focus, targets


def test_unsharp_mask_equals_scipy_and_keeps_weak_detail_and_constants(rng):
    plane = (0.3 + 0.4 * rng.random((30, 41))).astype(np.float32)
    detail = plane - ndimage.gaussian_filter(plane, 1, radius=3, mode="mirror")
    expected = plane + 0.5 * np.sign(detail) * np.maximum(np.abs(detail) - 0.02, 0)
    np.testing.assert_allclose(targets.unsharp_mask(plane, 0.5, 0.02), expected, atol=1e-6)
    np.testing.assert_array_equal(targets.unsharp_mask(plane, 0.5, 1.0), plane)
    np.testing.assert_allclose(targets.unsharp_mask(jnp.full((9, 9), 0.3), 0.5, 0.0), 0.3, atol=1e-6)
    extreme = (rng.random((20, 20)) > 0.5).astype(np.float32)
    assert float(targets.unsharp_mask(extreme, 2.0, 0.0).min()) >= 0
    assert float(targets.unsharp_mask(extreme, 2.0, 0.0).max()) <= 1


def test_equalized_sources_have_the_mean_exposure_and_their_own_detail(rng):
    sharp = rng.uniform(0.3, 0.6, (40, 50)).astype(np.float32)
    pair = jnp.stack([sharp + 0.2, sharp - 0.2])
    np.testing.assert_allclose(targets.equalize_exposure(pair, 1.0), [sharp, sharp], atol=1e-6)
    np.testing.assert_allclose(targets.equalize_exposure(pair, 0.5), [sharp + 0.1, sharp - 0.1], atol=1e-6)
    np.testing.assert_array_equal(targets.equalize_exposure(pair, 0.0), pair)
    # A difference in focus is not equalized: of the detail that a 5-px mean removes, hardly any is carried over.
    soft = np.asarray(filters.box_filter(jnp.asarray(sharp), 5))
    ours = targets.equalize_exposure(jnp.stack([jnp.asarray(sharp), jnp.asarray(soft)]), 1.0)
    np.testing.assert_allclose(ours, [sharp, soft], atol=0.02)
    assert np.abs(sharp - soft).max() > 0.1


def weighted_target(planes, sources, exponent, floor, window_px):
    activities = focus.local_spatial_frequency(jnp.asarray(sources), window_px)
    return targets.sharpness_weighted_target(jnp.asarray(planes), activities, exponent, floor)


def test_sharpness_weighted_target_by_hand(rng):
    sources = rng.uniform(0.2, 0.8, (2, 40, 44)).astype(np.float32)
    sources[1, :, :22] = 0.5  # flat: spatial frequency 0, except near the transition
    planes = rng.uniform(0, 1, (2, 40, 44)).astype(np.float32)
    ours = np.asarray(weighted_target(planes, sources, 3.0, 0.1, 5))
    activity = [np.asarray(focus.local_spatial_frequency(jnp.asarray(s), 5), np.float64) for s in sources]
    weights = [(a + 0.1) ** 3 for a in activity]
    np.testing.assert_allclose(ours[0], (weights[0] * planes[0] + weights[1] * planes[1]) / sum(weights), atol=1e-5)
    np.testing.assert_array_equal(ours[0], ours[1])
    other = weighted_target(planes[::-1].copy(), sources[::-1].copy(), 3.0, 0.1, 5)
    np.testing.assert_allclose(other, ours, atol=1e-6)


def test_sharpness_weighted_target_has_the_masks_as_its_limit_and_is_the_mean_of_flat_parts(rng):
    sources = jnp.asarray(rng.uniform(0, 1, (3, 2, 32, 36)), jnp.float32)
    masks = jnp.stack(focus.focus_masks(sources[:, 0], sources[:, 1], 9), 1)
    chosen = jnp.sum(masks * sources, 1)
    sharpest = weighted_target(sources, sources, 1e6, 1e-6, 9)[:, 0]
    assert np.mean(np.abs(sharpest - chosen) < 1e-4) > 0.99
    noise = 0.5 + 1e-4 * (sources - 0.5)
    np.testing.assert_allclose(weighted_target(noise, noise, 10.0, 0.03, 19)[:, 0], noise.mean(1), atol=1e-6)


def test_equalize_exposure_equals_scipy_also_at_the_borders(rng):
    pair = rng.uniform(0, 1, (2, 21, 34)).astype(np.float32)
    smooth = [ndimage.uniform_filter(ndimage.uniform_filter(pair.mean(0) - plane, 19, mode="mirror"), 19, mode="mirror")
              for plane in pair]
    expected = np.clip(pair + 0.7 * np.stack(smooth), 0, 1)
    np.testing.assert_allclose(targets.equalize_exposure(jnp.asarray(pair), 0.7), expected, atol=1e-6)


def test_targets_are_the_sources_or_equalized_then_sharpened_then_weighted(rng):
    planes = jnp.asarray(rng.uniform(0, 1, (3, 2, 32, 32)), jnp.float32)
    activities = focus.local_spatial_frequency(planes, 7)
    assert targets.make_targets(targets.TargetConfig(), planes, activities) is planes
    both = targets.TargetConfig(exposure_share=0.5, detail_gain=0.3, detail_floor=0.01)
    expected = targets.unsharp_mask(targets.equalize_exposure(planes, 0.5), 0.3, 0.01)
    np.testing.assert_array_equal(targets.make_targets(both, planes, activities), expected)
    everything = both._replace(blend_exponent=5.0, blend_floor=0.02)
    np.testing.assert_array_equal(targets.make_targets(everything, planes, activities),
                                  targets.sharpness_weighted_target(expected, activities, 5.0, 0.02))
