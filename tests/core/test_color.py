"""YCbCr, chroma fusion, gray levels and the sRGB curve: round trips, independent references, symmetries."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.color import (
    NEUTRAL,
    fuse_chroma,
    linear_to_srgb,
    luma,
    luma_levels,
    rgb_to_gray,
    rgb_to_ycbcr,
    srgb_to_linear,
    to_8_bits,
    to_gray,
    ycbcr_to_rgb,
)


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
def test_known_colors(rgb, ycbcr):
    planes = rgb_to_ycbcr(np.array(rgb, np.float32) / 255)
    np.testing.assert_allclose(np.array(planes) * 255, ycbcr, atol=5e-3)


def test_gray_has_neutral_chroma():
    gray = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[:, None], 3, -1)
    y, cb, cr = rgb_to_ycbcr(gray)
    np.testing.assert_allclose(y, gray[:, 0], atol=2e-7)
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


def test_fuse_chroma_is_the_formula_of_the_paper_page():
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


def test_fuse_chroma_prefers_a_colored_plane_to_a_neutral_one():
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


def test_luma_levels_are_exact():
    image = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    np.testing.assert_array_equal(luma_levels(image), [[255, 0, 76, 150, 29, 18]])
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert luma_levels(gray) is gray
    with pytest.raises(ValueError, match="uint16"):
        luma_levels(gray.astype(np.uint16))


def test_luma_levels_are_luma_rounded():
    rgb = random_rgb(3)
    np.testing.assert_array_equal(luma_levels(rgb), np.floor(luma(rgb.astype(np.float64)) + 0.5 + 1e-9))


def test_the_two_8_bit_grays_hardly_differ():
    """By one level at most, in 0.5 % of random colors (of a photograph's pixels, in about 2.5e-5)."""
    rgb = random_rgb(4, (1000, 1000, 3))
    difference = np.abs(luma_levels(rgb).astype(int) - rgb_to_gray(rgb))
    assert difference.max() == 1 and 0 < difference.mean() < 0.01


def test_to_gray_takes_8_and_16_bits_with_and_without_color():
    rgb = random_rgb(5)
    wide = rgb.astype(np.uint16) * 257
    np.testing.assert_array_equal(to_8_bits(wide), rgb)
    np.testing.assert_array_equal(to_gray(rgb), rgb_to_gray(rgb))
    np.testing.assert_array_equal(to_gray(wide), rgb_to_gray(rgb))
    np.testing.assert_array_equal(to_gray(wide[..., 1]), rgb[..., 1])
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(rgb_to_gray(np.stack([levels] * 3, -1)), levels)


def test_srgb_curve_of_numpy_equals_that_of_jax():
    values = np.linspace(0, 1.5, 1001)
    for curve in (srgb_to_linear, linear_to_srgb):
        np.testing.assert_allclose(curve(jnp.asarray(values), jnp), curve(values), rtol=2e-6, atol=1e-7)


def test_srgb_curve_of_the_synthetic_pairs_is_the_same():
    """`tfds_edmf` may not import this package, so it has its own curve, in float32."""
    exposure = pytest.importorskip("tfds_edmf.edmf_synthetic.exposure")
    values = np.linspace(0, 1, 4001, dtype=np.float32)
    np.testing.assert_allclose(exposure.encode(values), linear_to_srgb(values.astype(np.float64)), rtol=0, atol=5e-7)
    np.testing.assert_allclose(exposure.decode(values), srgb_to_linear(values.astype(np.float64)), rtol=0, atol=5e-7)
