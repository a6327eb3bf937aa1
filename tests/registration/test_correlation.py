"""Correlation of tiles: equal to a plain loop, and the same shifts from every second pixel."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from edmf_jax.registration import correlation, planes
from tests.helpers.scenes import scene


def tiles_of(plane, origins, size, spacing):
    return np.stack([plane[y : y + size : spacing, x : x + size : spacing] for x, y in origins])


@pytest.mark.parametrize("size", [7, 12])
def test_the_correlation_is_that_of_a_plain_loop(rng, size):
    a, b = rng.standard_normal((2, 3, size, size)).astype(np.float32)
    if size % 2 == 0:  # what alternates from sample to sample has no place of its own, and is left out
        a, b = (np.fft.irfft2(spectra * below_nyquist(size), s=(size, size)).astype(np.float32)
                for spectra in map(np.fft.rfft2, (a, b)))
    found = correlation._circular_correlation(a, b, 2, 1)
    expected = [[[(x * np.roll(y, (-dy, -dx), (0, 1))).sum() for dx in range(-2, 3)] for dy in range(-2, 3)]
                for x, y in zip(a, b)]
    np.testing.assert_allclose(found, expected, atol=2e-4)


def below_nyquist(size):
    kept = np.ones((size, size // 2 + 1))
    kept[size // 2], kept[:, -1] = 0, 0
    return kept


def test_every_second_pixel_of_a_band_gives_the_shifts_of_all():
    log = planes.log_plane(planes.luma_plane(scene(300, 300, seed=3)))
    matrix = np.float32([[1, 0, 1.4], [0, 1, -0.7]])
    pair = [planes.bandpass_plane(x) for x in (log, cv2.warpAffine(log, matrix, (300, 300), flags=cv2.INTER_CUBIC))]
    origins = [(x, y) for x in range(20, 210, 32) for y in range(20, 210, 32)]
    all_pixels, halves = (correlation.correlate(*(tiles_of(x, origins, 64, spacing) for x in pair), 6, spacing)
                          for spacing in (1, 2))
    np.testing.assert_allclose(np.median(halves[0], 0), [1.4, -0.7], atol=0.05)
    np.testing.assert_allclose(halves[0], all_pixels[0], atol=0.05)
    np.testing.assert_allclose(halves[2], all_pixels[2], atol=0.03)
    np.testing.assert_allclose(np.trace(halves[1], axis1=1, axis2=2), np.trace(all_pixels[1], axis1=1, axis2=2),
                               rtol=0.25)


@pytest.mark.parametrize("growth", [0.0, 0.01, -0.01])
def test_broad_structure_is_found_where_it_is(rng, growth):
    """Neither the window nor contrast that falls off across one tile moves grain, whose structure is long."""
    wide = gaussian_filter(rng.standard_normal((2, 300, 300)), (0, 10, 2)).sum(0)
    fading = np.exp(growth * np.arange(64))[:, None]
    origins = [(x, y) for x in range(20, 210, 32) for y in range(20, 210, 32)]
    first, second = (np.float32(tiles_of(wide / wide.std(), [(x, y + dy) for x, y in origins], 64, 1))
                     for dy in (0, -2))
    shifts = correlation.correlate(first, np.float32(second * fading), 6)[0]
    np.testing.assert_allclose(np.median(shifts, 0), [0, 2], atol=0.35)  # 1.1 and 0.9 off otherwise
