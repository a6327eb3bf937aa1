"""Fidelity to a ground truth, against scikit-image and TensorFlow."""

import jax
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from edmf_jax import metrics
from edmf_jax.metrics import truth
from tests.helpers.triples import make_triple


@pytest.fixture(scope="module")
def pair():
    """An odd-sized picture and a noisy copy."""
    picture = make_triple(179, 186)[1]
    noise = np.random.default_rng(0).normal(0, 9, picture.shape)
    return np.clip(picture + noise, 0, 255).round().astype(np.uint8), picture


@pytest.fixture(scope="module")
def color_pair():
    rng = np.random.default_rng(1)
    first = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    second = np.clip(first + rng.normal(0, 12, first.shape), 0, 255).round().astype(np.uint8)
    first[:5], second[:3] = 77, 0  # grays and black, where the hue is undefined
    return first, second


def test_equals_scikit_image(pair):
    row = metrics.evaluate_to_truth(*pair)
    assert row["PSNR"] == pytest.approx(peak_signal_noise_ratio(pair[1], pair[0]), rel=1e-6)
    expected = structural_similarity(*pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert row["SSIM"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_multi_scale_ssim_equals_tensorflow(pair):
    tf = pytest.importorskip("tensorflow")
    expected = tf.image.ssim_multiscale(*(x[None, :, :, None].astype(np.float32) for x in pair), max_val=255)
    assert metrics.evaluate_to_truth(*pair)["MS-SSIM"] == pytest.approx(float(expected[0]), rel=3e-5)


def test_multi_scale_ssim(pair):
    # TensorFlow 2.21.0, CPU: tf.image.ssim_multiscale(first, second, max_val=255) of this pair; see the test above.
    assert metrics.evaluate_to_truth(*pair)["MS-SSIM"] == pytest.approx(0.9767032265663147, rel=3e-5)


def test_identical_pictures(pair):
    row = metrics.evaluate_to_truth(pair[0], pair[0])
    assert row == {"PSNR": np.inf, "SSIM": pytest.approx(1, rel=1e-6), "MS-SSIM": pytest.approx(1, rel=1e-6)}


def test_symmetric(pair):
    forward, back = metrics.evaluate_to_truth(*pair), metrics.evaluate_to_truth(*pair[::-1])
    assert list(forward.values()) == pytest.approx(list(back.values()), rel=1e-6)


def test_ms_ssim_of_a_picture_too_small_for_five_scales_is_nan(pair):
    stack, _ = metrics.pad_to_bucket(np.stack(pair))
    values = metrics.evaluate_padded(stack, metrics.ValidSize(177, 175), metrics.TO_TRUTH)
    assert np.isnan(np.asarray(values)).tolist() == [False, False, True]
    assert np.isfinite(np.asarray(metrics.evaluate_padded(stack, metrics.ValidSize(176, 176), metrics.TO_TRUTH))).all()
    assert np.isnan(float(truth.ssim(*(x[:10, :20] for x in pair))))


class TestColorDifference:
    def test_equals_scikit_image(self, color_pair):
        expected = deltaE_ciede2000(*(rgb2lab(x) for x in color_pair))
        labs = [truth.srgb_to_lab(np.moveaxis(x, -1, 0)) for x in color_pair]
        np.testing.assert_allclose(truth.ciede2000(*labs), expected, rtol=1e-3, atol=2e-4)
        assert float(jax.jit(truth.delta_e_2000)(*color_pair)) == pytest.approx(expected.mean(), rel=1e-5)

    def test_float64_equals_scikit_image(self, color_pair):
        with jax.enable_x64(True):
            value = jax.jit(truth.delta_e_2000)(*color_pair)
        assert float(value) == pytest.approx(deltaE_ciede2000(*(rgb2lab(x) for x in color_pair)).mean(), rel=1e-9)

    def test_published_pairs(self):
        """Sharma, Wu and Dalal 2005, Table 1, pairs 1, 7, 9, 14 and 25: L*, a*, b* of both, ΔE 2000."""
        rows = np.array([
            (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
            (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
            (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
            (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
            (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        ]).T  # fmt: skip
        with jax.enable_x64(True):
            np.testing.assert_allclose(truth.ciede2000(rows[:3], rows[3:6]), rows[6], atol=5e-5)

    def test_lower_is_better_and_equal_is_zero(self, color_pair):
        assert not metrics.COLOR_TO_TRUTH[0].higher_is_better
        assert float(jax.jit(truth.delta_e_2000)(color_pair[0], color_pair[0])) == 0

    def test_color_pictures_are_compared_in_gray_and_in_color(self, pair):
        row = metrics.evaluate_to_truth(*(np.stack([x, x, x], -1) for x in pair))
        assert list(row) == ["PSNR", "SSIM", "MS-SSIM", "ΔE2000"]
        assert row["PSNR"] == metrics.evaluate_to_truth(*pair)["PSNR"]
        labs = [rgb2lab(np.stack([x, x, x], -1)) for x in pair]
        assert row["ΔE2000"] == pytest.approx(deltaE_ciede2000(*labs).mean(), rel=1e-4)
