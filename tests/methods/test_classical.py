"""Classical methods: equal and swapped sources, a known truth, and independent implementations."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from edmf_jax.methods import registry
from edmf_jax.methods.average import average

NAMES = ("average", "exposure-fusion", "guided-filter", "laplacian-pyramid", "max-sf", "max-sf-pixelwise")


def fuse(name, *images):
    return registry.module_of(name).load()(images)


def textured(shape, seed=1):
    """Slightly blurred noise: uint8."""
    noise = np.random.default_rng(seed).normal(128, 90, shape).astype(np.float32)
    return cv2.GaussianBlur(noise, (5, 5), 0.7).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def composite():
    """A truth and two shots of it: A is blurred in the right half, B in the left."""
    truth = textured((120, 160, 3))
    blurred = cv2.GaussianBlur(truth, (0, 0), 3)
    left = np.arange(160)[None, :, None] < 80
    return truth, np.where(left, truth, blurred), np.where(left, blurred, truth)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(64, 80), (63, 81, 3), (5, 7)])
def test_equal_sources_come_back_unchanged(name, shape):
    image = textured(shape)
    fused = fuse(name, image, image.copy())
    assert fused.dtype == np.uint8
    np.testing.assert_array_equal(fused, image)


@pytest.mark.parametrize("name", NAMES)
def test_swapped_sources_give_the_same(name, composite):
    _, a, b = composite
    np.testing.assert_array_equal(fuse(name, a, b), fuse(name, b, a))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("average", "exposure-fusion")])
@pytest.mark.parametrize("gray", [False, True])
def test_a_sharp_composite_is_recovered(name, composite, gray):
    truth, a, b = (x[..., 1] for x in composite) if gray else composite
    error = np.abs(fuse(name, a, b).astype(int) - truth)
    assert error.mean() < 0.25 * np.abs(average(a, b).astype(int) - truth).mean()
    assert error[:, :50].mean() < 1.5 and error[:, 110:].mean() < 1.5  # away from the seam


def test_average_rounds_halves_up():
    a, b = np.array([[0, 1, 255, 7]], np.uint8), np.array([[0, 2, 255, 8]], np.uint8)
    np.testing.assert_array_equal(average(a, b), [[0, 2, 255, 8]])


def test_pixelwise_map_is_that_of_the_definition():
    a, b = textured((40, 50), 1), textured((40, 50), 2)
    energy = []
    for x in (a.astype(float), b.astype(float)):
        down, right = np.diff(x, axis=0, prepend=x[:1]), np.diff(x, axis=1, prepend=x[:, :1])
        energy.append(ndimage.uniform_filter(down**2 + right**2, 19, mode="nearest"))
    clear = np.abs(energy[0] - energy[1]) > 1e-6
    np.testing.assert_array_equal(fuse("max-sf-pixelwise", a, b)[clear], np.where(energy[0] >= energy[1], a, b)[clear])
    assert 0.1 < np.mean(energy[0] >= energy[1]) < 0.9


def test_a_tie_belongs_to_the_first_source():
    a, b = np.full((30, 30), 10, np.uint8), np.full((30, 30), 200, np.uint8)
    np.testing.assert_array_equal(fuse("max-sf-pixelwise", a, b), a)


def test_consistency_check_removes_an_island():
    a, b = textured((300, 300)), np.full((300, 300), 128, np.uint8)
    a[140:160, 140:160] = 128  # flat in A, sharp in B
    b[140:160, 140:160] = textured((20, 20), 3)
    assert np.any(fuse("max-sf-pixelwise", a, b) == b)
    np.testing.assert_array_equal(fuse("max-sf", a, b), a)
    np.testing.assert_array_equal(fuse("max-sf", b, a), a)


def test_consistency_check_is_that_of_the_definition(rng):
    coarse = cv2.resize(rng.normal(size=(6, 8)).astype(np.float32), (240, 200), interpolation=cv2.INTER_CUBIC)
    noise = textured((200, 240))
    noise[noise == 128] = 129  # the sources differ everywhere, so every fused pixel shows its source
    a, b = (np.where(chosen, noise, np.uint8(128)) for chosen in (coarse > 0, coarse <= 0))
    mask = ndimage.uniform_filter((fuse("max-sf-pixelwise", a, b) == a).astype(float), 61, mode="reflect") >= 0.5
    for _ in range(2):  # regions of A, then of B
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
        mask = ~np.isin(labels, 1 + np.flatnonzero(sizes >= 0.01 * mask.size))
    assert 0.1 < mask.mean() < 0.9
    np.testing.assert_array_equal(fuse("max-sf", a, b), np.where(mask, a, b))


def test_exposure_fusion_is_that_of_the_paper():
    images = [textured((70, 90, 3), seed) // scale for seed, scale in ((1, 1), (2, 2), (3, 4))]
    weights = []
    for image in images:
        x = image.astype(np.float32) / 255
        contrast = np.abs(ndimage.laplace(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), mode="mirror"))
        weights.append(contrast * x.std(-1) * np.exp(-((x - 0.5) ** 2) / (2 * 0.2**2)).prod(-1) + 1e-12)
    weights = [w / sum(weights) for w in weights]
    fused = None
    for image, weight in zip(images, weights):
        details, level = [], image.astype(np.float32)
        gains, gain = [], weight.astype(np.float32)
        for _ in range(int(np.log2(70))):
            down = cv2.pyrDown(level)
            details.append(level - cv2.pyrUp(down, dstsize=level.shape[1::-1]))
            gains.append(gain)
            level, gain = down, cv2.pyrDown(gain)
        parts = [g[..., None] * d for g, d in zip([*gains, gain], [*details, level])]
        fused = parts if fused is None else [f + p for f, p in zip(fused, parts)]
    result = fused[-1]
    for detail in reversed(fused[:-1]):
        result = cv2.pyrUp(result, dstsize=detail.shape[1::-1]) + detail
    error = np.abs(fuse("exposure-fusion", *images).astype(int) - np.rint(result).clip(0, 255))
    assert error.max() <= 1 and error.mean() < 0.01


def test_decision_maps_are_the_shares_of_the_first_picture(composite):
    _, a, b = composite
    for name in ("max-sf", "max-sf-pixelwise"):
        share = registry.module_of(name).load().decision_map([a, b])
        assert share.dtype == np.float32 and share.shape == a.shape[:2]
        np.testing.assert_array_equal(fuse(name, a, b), np.where(share[..., None] == 1, a, b))
        assert share[:, :60].mean() > 0.9 and share[:, 100:].mean() < 0.1
