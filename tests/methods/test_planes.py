"""Guided filter, small regions, levels and colors against their definitions."""

import numpy as np
import pytest

from edmf_jax.core.color import fuse_chroma, rgb_to_ycbcr
from edmf_jax.methods import planes
from edmf_jax.methods.luma_fusion import FULL_RANGE, STUDIO_RANGE, luma_levels, merge_chroma, recolor


def brute_guided_filter(guide, image, radius, epsilon):
    """The paper's equations, window by window."""
    height, width = guide.shape

    def window(y, x):
        return slice(max(y - radius, 0), y + radius + 1), slice(max(x - radius, 0), x + radius + 1)

    slope, offset = np.zeros(guide.shape), np.zeros(guide.shape)
    for y, x in np.ndindex(guide.shape):
        i, p = guide[window(y, x)], image[window(y, x)]
        slope[y, x] = ((i * p).mean() - i.mean() * p.mean()) / (i.var() + epsilon)
        offset[y, x] = p.mean() - slope[y, x] * i.mean()
    return np.array([[slope[window(y, x)].mean() * guide[y, x] + offset[window(y, x)].mean() for x in range(width)]
                     for y in range(height)])


def test_guided_filter_is_that_of_the_equations(rng):
    guide, image = rng.random((2, 9, 12))
    np.testing.assert_allclose(planes.guided_filter(guide, image, 3, 0.1), brute_guided_filter(guide, image, 3, 0.1),
                               atol=1e-12)


def test_a_flat_mask_stays_exactly_flat(rng):
    assert (planes.guided_filter(rng.random((20, 30)), np.ones((20, 30)), 4, 0.1) == 1).all()


def test_small_regions_go_by_area_and_connectivity():
    mask = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1]], bool)
    assert planes.without_small_regions(mask, 3, connectivity=8).sum() == 3
    assert planes.without_small_regions(mask, 2, connectivity=4).sum() == 2
    assert not planes.without_small_regions(mask, 2.5, connectivity=4).any()
    np.testing.assert_array_equal(planes.without_small_regions(mask, 1, connectivity=4), mask)


def test_levels():
    values = np.array([-3, 0.5, 1.5, 2.499, 254.5, 300])
    assert planes.levels_rounded_up(values).tolist() == [0, 1, 2, 2, 255, 255]
    assert planes.levels_truncated(values).tolist() == [0, 0, 1, 2, 254, 255]
    assert planes.levels_stretched(np.array([-1.0, 0, 1])).tolist() == [0, 128, 255]
    assert planes.levels_stretched(np.full(3, 9.0)).tolist() == [0, 0, 0]


@pytest.fixture
def pair(rng):
    return rng.integers(0, 256, (2, 8, 9, 3), np.uint8)


def test_full_range_color_is_the_core_s(pair):
    y, cb, _ = rgb_to_ycbcr(pair[0] / np.float32(255))
    np.testing.assert_allclose(luma_levels(pair[0], FULL_RANGE), 255 * y, atol=1e-3)
    _, cb_b, _ = rgb_to_ycbcr(pair[1] / np.float32(255))
    merged = merge_chroma(*(x.astype(float) @ FULL_RANGE.forward[:, 1] + 128 for x in pair))
    np.testing.assert_allclose(merged, 255 * np.asarray(fuse_chroma(cb, cb_b)), atol=2e-2)


@pytest.mark.parametrize(("space", "error"), [(FULL_RANGE, 1e-9), (STUDIO_RANGE, 0.6)])
def test_a_picture_keeps_its_color(pair, space, error):
    same = recolor(luma_levels(pair[0], space), pair[0], pair[0], space)
    np.testing.assert_allclose(same, pair[0], atol=error)  # the scripts' numbers have three digits


def test_neutral_chroma_and_gray_pictures():
    assert merge_chroma(np.array([128.0, 138]), np.array([128.0, 128])).tolist() == [128, 138]
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert luma_levels(gray, STUDIO_RANGE).tolist() == gray.tolist() == recolor(gray, gray, gray, FULL_RANGE).tolist()
