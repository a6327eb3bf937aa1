"""The eight metrics of Table 2: golden values, an independent implementation, quirks, extremes and symmetries."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import shannon_entropy
from skimage.metrics import structural_similarity

from edmf_jax import metrics
from tests.helpers import metrics_reference as reference
from tests.helpers.golden import golden_triples
from tests.helpers.triples import make_triple

# In the golden pictures' bucket, so that one compile per precision serves the whole file.
SIZE = (257, 306)
NAMES = ("EN", "MI", "SF", "VIF", "Qabf", "SSIM", "AG", "PSNR")


def row_of(triple):
    return np.array(list(metrics.evaluate(*triple).values()))


def reference_row(triple):
    return np.array([reference.TABLE_2[name](*triple) for name in NAMES])


@pytest.fixture(scope="module")
def golden():
    """Values of the toolbox's MATLAB code in Octave 7.3.0; their birth certificate is tests/golden/README.md."""
    return [(pictures, np.array([triple["metrics"][name] for name in NAMES])) for pictures, triple in golden_triples()]


def test_names_and_order():
    assert tuple(m.name for m in metrics.TABLE_2) == NAMES
    assert all(m.higher_is_better for m in metrics.TABLE_2)


def test_golden_values_in_float32(golden):
    for triple, expected in golden:
        np.testing.assert_allclose(row_of(triple), expected, rtol=1e-4)


def test_golden_values_in_float64(golden):
    with jax.enable_x64(True):
        for triple, expected in golden:
            np.testing.assert_allclose(row_of(triple), expected, rtol=1e-8)


def test_the_reference_implementation_gives_the_golden_values(golden):
    for triple, expected in golden[:2]:
        np.testing.assert_allclose(reference_row(triple), expected, rtol=1e-9)


@pytest.mark.parametrize(("height", "width"), [SIZE, (272, 352), (264, 317)])
def test_equals_the_independent_implementation(height, width):
    triple = make_triple(height, width)
    np.testing.assert_allclose(row_of(triple), reference_row(triple), rtol=1e-5)


def test_float64_equals_the_independent_implementation():
    triple = make_triple(*SIZE)
    with jax.enable_x64(True):
        np.testing.assert_allclose(row_of(triple), reference_row(triple), rtol=1e-10)


def test_float_planes_equal_8_bit_ones():
    triple = make_triple(45, 71)
    value = jax.jit(metrics.qabf)
    planes = [jnp.asarray(x, jnp.float32) for x in triple]
    assert float(value(*planes)) == pytest.approx(float(value(*triple)), rel=1e-6)


def test_eager_equals_jitted():
    triple = make_triple(45, 71)
    assert float(metrics.qabf(*triple)) == pytest.approx(reference.qabf(*triple), rel=1e-5)
    assert float(metrics.average_gradient(triple[2])) == pytest.approx(reference.ag(*triple), rel=1e-5)
    assert float(metrics.mutual_information(*triple)) == pytest.approx(reference.mi(*triple), rel=1e-5)


def test_leading_axes_are_batch_axes():
    triples = [make_triple(45, 71, seed) for seed in range(2)]
    a, b, fused = (jnp.stack([t[i] for t in triples]).astype(jnp.float32) for i in range(3))
    for name, function in (("MI", metrics.mutual_information), ("Qabf", metrics.qabf)):
        values = jax.jit(function)(a, b, fused)
        expected = [reference.TABLE_2[name](*t) for t in triples]
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_equals_scikit_image():
    a, b, fused = make_triple(48, 80)
    assert float(metrics.entropy(fused)) == pytest.approx(shannon_entropy(fused), rel=1e-6)
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    expected = np.mean([structural_similarity(fused, x, **options) for x in (a, b)])
    assert float(metrics.ssim(a, b, fused, textbook=True, border="valid")) == pytest.approx(expected, rel=1e-5)


class TestQuirks:
    """Where the toolbox deviates from the definition, the default follows it and `textbook=True` does not."""

    triple = make_triple(45, 71)

    def test_psnr_lies_48_db_above_the_usual_one(self):
        step = float(metrics.psnr(*self.triple) - metrics.psnr(*self.triple, textbook=True))
        assert step == pytest.approx(20 * np.log10(255), abs=1e-4)

    def test_mutual_information_merges_the_two_brightest_levels(self):
        usual = float(metrics.mutual_information(*self.triple, textbook=True))
        assert usual == pytest.approx(reference.mi(*self.triple, saturate=False), rel=1e-6)
        mixed = np.random.default_rng(0).integers(254, 256, (30, 30)).astype(np.uint8)
        # Levels 254 and 255 share a bin of the joint histogram, so the joint entropy is 0.
        assert float(metrics.mutual_information(mixed, mixed, mixed)) == pytest.approx(
            4 * float(metrics.entropy(mixed)), rel=1e-6
        )
        assert float(metrics.mutual_information(mixed, mixed, mixed, textbook=True)) == pytest.approx(
            2 * float(metrics.entropy(mixed)), rel=1e-6
        )

    def test_ssim_with_the_usual_dynamic_range_is_higher(self):
        assert float(metrics.ssim(*self.triple, textbook=True)) == pytest.approx(
            reference.ssim(*self.triple, peak=255), rel=1e-5
        )
        assert metrics.ssim(*self.triple, textbook=True) > metrics.ssim(*self.triple)

    def test_textbook_qabf_wraps_the_angle_and_counts_equal_edges_as_kept(self):
        assert float(metrics.qabf(*self.triple, textbook=True)) == pytest.approx(
            reference.qabf(*self.triple, textbook=True), rel=1e-5
        )

    def test_average_gradient_of_forward_differences(self):
        f = self.triple[2].astype(float)
        down, right = np.diff(f, axis=0)[:, :-1], np.diff(f, axis=1)[:-1]
        expected = np.sqrt((down**2 + right**2) / 2).mean()
        assert float(metrics.average_gradient(self.triple[2], textbook=True)) == pytest.approx(expected, rel=1e-5)

    def test_an_unknown_border_is_refused(self):
        with pytest.raises(ValueError, match="'mirror'"):
            metrics.ssim(*self.triple, border="mirror")


class TestExtremes:
    picture = make_triple(*SIZE)[2]
    flat, black = np.full_like(picture, 93), np.zeros_like(picture)

    def test_identical_pictures(self):
        row = metrics.evaluate(self.picture, self.picture, self.picture)
        # The shared bin of levels 254 and 255 raises MI a little above 2 EN.
        assert row["MI"] == pytest.approx(2 * row["EN"], rel=0.02)
        assert row["VIF"] == pytest.approx(2, rel=1e-6)
        assert row["Qabf"] == pytest.approx(0.9753, abs=1e-4)
        assert row["SSIM"] == pytest.approx(1, rel=1e-6)
        assert row["PSNR"] == np.inf

    def test_constant_pictures(self):
        row = metrics.evaluate(self.flat, self.flat, self.flat)
        assert [row[name] for name in ("EN", "MI", "SF", "AG")] == [0, 0, 0, 0]
        assert np.isnan(row["VIF"])
        assert row["Qabf"] == pytest.approx(0.9753, abs=1e-4)
        assert row["SSIM"] == pytest.approx(1, rel=1e-6)

    def test_black_pictures(self):
        row = metrics.evaluate(self.black, self.black, self.black)
        assert [row[name] for name in ("EN", "MI", "SF", "AG")] == [0, 0, 0, 0]
        assert np.isnan(row["VIF"])
        assert np.isnan(row["Qabf"])
        assert row["SSIM"] == 1

    def test_swapped_sources(self):
        a, b, fused = make_triple(*SIZE)
        np.testing.assert_allclose(row_of((a, b, fused)), row_of((b, a, fused)), rtol=1e-6)

    def test_a_blurred_picture_scores_lower(self):
        a, b, fused = make_triple(*SIZE)
        soft = gaussian_filter(fused.astype(float), 1.5).round().astype(np.uint8)
        sharp_row, soft_row = metrics.evaluate(a, b, fused), metrics.evaluate(a, b, soft)
        # PSNR is not among them, because the mean error to two sources is smallest for their average.
        lower = [name for name in NAMES if sharp_row[name] > soft_row[name]]
        assert set(lower) >= {"MI", "SF", "VIF", "Qabf", "AG"}

    def test_pictures_below_the_smallest_size_give_nan(self):
        def row(height, width):
            stack = np.zeros((3, *map(metrics.bucket_size, SIZE)), np.uint8)
            stack[:, :height, :width] = make_triple(height, width)
            return np.asarray(metrics.evaluate_padded(stack, metrics.ValidSize(height, width)))

        np.testing.assert_allclose(row(41, 67), reference_row(make_triple(41, 67)), rtol=1e-5)
        assert [name for name, value in zip(NAMES, row(40, 67)) if np.isnan(value)] == ["VIF"]
        assert [name for name, value in zip(NAMES, row(5, 1)) if np.isnan(value)] == ["SF", "VIF", "AG"]
        assert np.isnan(float(metrics.vif(*make_triple(40, 41))))
        one = np.full((1, 1), 7, np.uint8)
        assert np.isnan(float(metrics.spatial_frequency(one)))
        assert np.isnan(float(metrics.average_gradient(one)))

    def test_a_nan_stays_a_nan(self):
        planes = [jnp.asarray(x, jnp.float32).at[0, 0].set(jnp.nan) for x in make_triple(45, 71)]
        assert np.isnan(float(jax.jit(metrics.qabf)(*planes)))


class TestArguments:
    def test_other_types_and_sizes_are_refused(self):
        a, b, fused = make_triple(48, 80)
        with pytest.raises(ValueError, match="float32"):
            metrics.evaluate(a, b, fused.astype(np.float32))
        with pytest.raises(ValueError, match=r"b of uint8 \(47, 80\)"):
            metrics.evaluate(a, b[1:], fused)
        with pytest.raises(ValueError, match="rgb_to_gray"):
            metrics.evaluate(*(np.stack([x] * 3, -1) for x in (a, b, fused)))

    def test_gray_of_primaries_and_grays(self):
        primaries = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
        np.testing.assert_array_equal(metrics.rgb_to_gray(primaries), [76, 150, 29, 255])
        grays = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        np.testing.assert_array_equal(metrics.rgb_to_gray(grays), np.arange(256))
        with pytest.raises(ValueError, match="float64"):
            metrics.rgb_to_gray(np.zeros((2, 2, 3)))
