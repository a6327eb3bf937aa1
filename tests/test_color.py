"""BT.601 colour and chroma fusion: round trips, OpenCV as an independent reference, symmetries."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.color import NEUTRAL, fuse_chroma, luma, rgb_to_ycbcr, ycbcr_to_rgb


def random_rgb(seed=0, shape=(33, 47, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_round_trip_is_exact_to_float32():
    rgb = random_rgb().astype(np.float32) / 255
    np.testing.assert_allclose(ycbcr_to_rgb(*rgb_to_ycbcr(rgb)), rgb, atol=5e-7)


def test_agrees_with_opencv_within_one_level():
    rgb = random_rgb()
    planes = np.stack([np.asarray(p) for p in rgb_to_ycbcr(rgb.astype(np.float32) / 255)], -1) * 255
    reference = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]  # full range, offset 128
    assert np.abs(np.clip(planes, 0, 255) - reference).max() <= 1.0


@pytest.mark.parametrize("rgb, ycbcr", [
    # ITU-T T.871: white, black, and the primaries with their saturated chroma (in 1/255).
    ((255, 255, 255), (255, 128, 128)),
    ((0, 0, 0), (0, 128, 128)),
    ((255, 0, 0), (76.245, 84.97, 255.5)),
    ((0, 0, 255), (29.07, 255.5, 107.27)),
])
def test_known_colours(rgb, ycbcr):
    planes = rgb_to_ycbcr(np.array(rgb, np.float32) / 255)
    np.testing.assert_allclose(np.array(planes) * 255, ycbcr, atol=5e-3)


def test_grey_has_neutral_chroma():
    grey = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None], 3, -1)
    y, cb, cr = rgb_to_ycbcr(grey)
    np.testing.assert_allclose(y, grey[:, 0], atol=2e-7)
    np.testing.assert_allclose(cb, NEUTRAL, atol=2e-7)
    np.testing.assert_allclose(cr, NEUTRAL, atol=2e-7)


def test_luma_is_the_first_plane_and_takes_numpy():
    rgb = random_rgb().astype(np.float64) / 255
    assert isinstance(luma(rgb), np.ndarray)
    np.testing.assert_allclose(luma(rgb), rgb_to_ycbcr(rgb.astype(np.float32))[0], atol=2e-7)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 4)])
def test_other_channel_counts_are_refused(shape):
    with pytest.raises(ValueError, match="three channels"):
        rgb_to_ycbcr(jnp.zeros(shape))


def chroma_pair(seed=1):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.random((17, 23), np.float32)) for _ in range(2)]


def test_fuse_chroma_is_the_formula_of_the_notes():
    levels = np.random.default_rng(2).integers(0, 256, (2, 50, 50)).astype(np.float64)
    levels[:, 0, :] = 128  # a row where both are neutral
    w1, w2 = np.abs(levels[0] - 128), np.abs(levels[1] - 128)
    total = w1 + w2
    expected = np.where(total == 0, 128, (levels[0] * w1 + levels[1] * w2) / np.where(total == 0, 1, total))
    fused = fuse_chroma(*jnp.asarray(levels / 255, jnp.float32))
    np.testing.assert_allclose(np.asarray(fused) * 255, expected, atol=2e-4)


def test_fuse_chroma_is_symmetric():
    a, b = chroma_pair()
    np.testing.assert_array_equal(fuse_chroma(a, b), fuse_chroma(b, a))


def test_fuse_chroma_of_equal_planes_is_that_plane():
    a, _ = chroma_pair()
    np.testing.assert_allclose(fuse_chroma(a, a), a, atol=1e-7)


def test_fuse_chroma_of_neutral_planes_is_neutral():
    neutral = jnp.full((5, 5), NEUTRAL, jnp.float32)
    np.testing.assert_array_equal(fuse_chroma(neutral, neutral), neutral)


def test_fuse_chroma_takes_the_coloured_one_over_a_neutral_one():
    a, _ = chroma_pair()
    np.testing.assert_allclose(fuse_chroma(a, jnp.full_like(a, NEUTRAL)), a, atol=1e-7)


def test_fuse_chroma_stays_between_its_arguments():
    a, b = chroma_pair()
    fused = fuse_chroma(a, b)
    assert bool(jnp.all((fused >= jnp.minimum(a, b) - 1e-6) & (fused <= jnp.maximum(a, b) + 1e-6)))


def test_fuse_chroma_jitted_is_eager_and_has_finite_gradients():
    a, b = (np.array(plane) for plane in chroma_pair())
    a[0], b[0] = NEUTRAL, NEUTRAL
    np.testing.assert_allclose(jax.jit(fuse_chroma)(a, b), fuse_chroma(a, b), atol=1e-7)
    gradient = jax.jit(jax.grad(lambda a, b: fuse_chroma(a, b).sum()))(a, b)
    assert bool(jnp.isfinite(gradient).all())
