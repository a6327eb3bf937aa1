"""The metrics beyond Table 2, against independent implementations; extreme inputs and symmetries."""


import jax
import numpy as np
import pytest
from scipy.stats import pearsonr
from skimage.metrics import normalized_mutual_information as skimage_nmi

from edmf_jax import metrics
from tests.helpers import metrics_further_reference as reference
from tests.helpers.golden import golden_triples
from tests.helpers.triples import make_triple

NAMES = ("Q_MI", "Q_Y", "Q_CB", "Q_P", "FMI", "MEF-SSIM", "CC", "SCD", "SD")
TRIPLE = make_triple(45, 74)


def expected_row(a, b, f):
    """Every metric from another program or an independent implementation."""
    correlation = lambda x, y: pearsonr(x.ravel().astype(float), y.ravel().astype(float)).statistic
    signed = [x.astype(float) for x in (a, b, f)]
    # scikit-image has nmi = (H(x) + H(y)) / H(x, y), which gives Q_MI's terms: 2 I / (H + H) = 2 (1 − 1/nmi).
    shared = [2 * (1 - 1 / skimage_nmi(x, f, bins=[np.arange(257)] * 2)) for x in (a, b)]
    return np.array([
        sum(shared),
        reference.qy(a, b, f), reference.qcb(a, b, f), reference.qp(a, b, f),
        reference.fmi(a, b, f), reference.mef_ssim(a, b, f),
        (correlation(a, f) + correlation(b, f)) / 2,
        correlation(signed[2] - signed[1], a) + correlation(signed[2] - signed[0], b),
        f.std(),
    ])  # fmt: skip


@pytest.fixture(scope="module")
def expected():
    return expected_row(*TRIPLE)


def row_of(triple):
    return np.array(list(metrics.evaluate(*triple, metrics.FURTHER).values()))


def test_names():
    assert tuple(m.name for m in metrics.FURTHER) == NAMES


def test_equals_the_independent_implementations(expected):
    np.testing.assert_allclose(row_of(TRIPLE), expected, rtol=1e-5)


@pytest.mark.slow
def test_float64_equals_the_independent_implementations(expected):
    with jax.enable_x64(True):
        np.testing.assert_allclose(row_of(TRIPLE), expected, rtol=1e-9)


def test_golden_values_of_the_toolbox():
    """From the MATLAB code in Octave 7.3.0; their birth certificate is tests/golden/README.md."""
    columns = tuple(m for m in metrics.FURTHER if m.name in ("SD", "CC", "SCD", "MEF-SSIM"))
    for pictures, triple in golden_triples():
        for name, value in metrics.evaluate(*pictures, columns).items():
            golden = triple["extra"][name.replace("-", "_")]
            assert value == pytest.approx(golden, rel=1e-5, nan_ok=True), name


@pytest.mark.slow
def test_multi_scale_mef_ssim_of_the_toolbox():
    pictures, triple = golden_triples()[0]
    value = jax.jit(metrics.mef_ms_ssim)(*pictures)
    assert float(value) == pytest.approx(triple["extra"]["MEF_MS_SSIM"], rel=1e-5)
    assert np.isnan(float(metrics.mef_ms_ssim(*make_triple(43, 50))))


class TestFeatureMutualInformation:
    @pytest.mark.parametrize("textbook", [False, pytest.param(True, marks=pytest.mark.slow)])
    def test_gradient_feature(self, textbook):
        small = [x[:20, :23] for x in TRIPLE]

        def feature(x):
            down, right = np.gradient(x)
            return np.hypot(down, right) if textbook else right

        options = dict(feature="gradient", textbook=textbook)
        value = jax.jit(lambda *x: metrics.feature_mutual_information(*x, **options))(*small)
        # Differences of halves are exact, but their hypotenuses are not, so ties may be broken differently.
        assert float(value) == pytest.approx(reference.fmi(*small, feature), rel=1e-5 if not textbook else 1e-3)

    def test_an_unknown_feature_is_refused(self):
        with pytest.raises(ValueError, match="'wavelet'"):
            metrics.feature_mutual_information(*TRIPLE, feature="wavelet")


class TestExtremes:
    picture = TRIPLE[2]
    flat, black = np.full_like(picture, 93), np.zeros_like(picture)

    def test_identical_pictures(self):
        row = metrics.evaluate(self.picture, self.picture, self.picture, metrics.FURTHER)
        assert row["Q_MI"] == pytest.approx(2, rel=1e-6)
        for name in ("Q_Y", "Q_CB", "FMI", "MEF-SSIM", "CC"):
            assert row[name] == pytest.approx(1, rel=1e-5), name
        assert 0.5 < row["Q_P"] < 1
        assert np.isnan(row["SCD"])

    @pytest.mark.parametrize("picture", [flat, black], ids=["constant", "black"])
    def test_constant_and_black_pictures(self, picture):
        row = metrics.evaluate(picture, picture, picture, metrics.FURTHER)
        assert [name for name, value in row.items() if np.isnan(value)] == ["Q_MI", "Q_P", "CC", "SCD"]
        assert [row[name] for name in ("Q_Y", "Q_CB", "FMI", "MEF-SSIM", "SD")] == pytest.approx([1, 1, 1, 1, 0])

    def test_a_constant_fused_picture(self):
        row = metrics.evaluate(TRIPLE[0], TRIPLE[1], self.flat, metrics.FURTHER)
        assert row["Q_MI"] == pytest.approx(0, abs=1e-6)
        assert row["SD"] == 0
        assert np.isnan(row["CC"])
        assert max(row["Q_CB"], row["FMI"]) < 0.5

    def test_swapped_sources(self):
        np.testing.assert_allclose(row_of((TRIPLE[1], TRIPLE[0], TRIPLE[2])), row_of(TRIPLE), rtol=1e-5)

    def test_pictures_below_the_smallest_size_give_nan(self):
        """NaN below the window's size; all in one compiled program, as valid parts of a larger bucket."""
        smallest_sizes = {"FMI": 3, "Q_Y": 7, "MEF-SSIM": 11}
        for size in (1, 2, 3, 6, 7, 10, 11):
            stack = np.zeros((3, *map(metrics.bucket_size, self.picture.shape)), np.uint8)
            stack[:, :size, :size] = [x[20 : 20 + size, 30 : 30 + size] for x in TRIPLE]
            values = metrics.evaluate_padded(stack, metrics.ValidSize(size, size), metrics.FURTHER)
            row = dict(zip(NAMES, np.asarray(values)))
            for name, smallest in smallest_sizes.items():
                assert np.isnan(row[name]) == (size < smallest), (name, size)
            assert 0 <= row["Q_CB"] <= 1
