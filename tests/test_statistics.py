"""Intervals and tests against SciPy, and their edges: nothing to average, one picture, no difference."""

import numpy as np
import pytest
from scipy import stats

from edmf_jax.statistics import bootstrap_interval, holm, sign_flip_test


def test_bootstrap_is_scipys(rng):
    values = rng.gamma(2, size=80)
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=rng).confidence_interval
    assert ours.mean == pytest.approx(values.mean(), rel=1e-14)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.04 * width)


def test_bootstrap_is_reproducible_and_keeps_its_confidence(rng):
    values = rng.normal(size=40)
    assert bootstrap_interval(values) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    wide, narrow = bootstrap_interval(values, confidence=0.99), bootstrap_interval(values, confidence=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_bootstrap_of_little():
    assert bootstrap_interval(np.array([3.0])) == (3.0, 3.0, 3.0)
    assert bootstrap_interval(np.full(9, 0.25)) == (0.25, 0.25, 0.25)
    assert np.isnan(bootstrap_interval(np.array([]))).all()


@pytest.mark.parametrize("count", [2, 7, 11])
def test_few_pictures_are_tested_exactly(rng, count):
    first, second = rng.normal(0.4, 1, (2, count)).round(1)  # rounded: ties
    theirs = stats.permutation_test((first, second), lambda x, y: np.mean(x - y), permutation_type="samples",
                                    n_resamples=np.inf).pvalue
    assert sign_flip_test(first - second) == pytest.approx(theirs, abs=1e-12)


def test_many_pictures_are_tested_as_by_scipy(rng):
    differences = rng.normal(0.1, 1, 300)
    assert sign_flip_test(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    theirs = stats.permutation_test((differences, np.zeros(300)), lambda x, y: np.mean(x - y), rng=rng,
                                    permutation_type="samples", n_resamples=9_999, vectorized=False).pvalue
    assert sign_flip_test(differences) == pytest.approx(theirs, abs=0.02)


def test_p_value_is_two_sided_and_never_zero(rng):
    differences = rng.normal(5, 1, 50)
    assert sign_flip_test(differences) == sign_flip_test(-differences) == 1 / 10_001
    assert sign_flip_test(differences, resamples=99) == 1 / 100


def test_p_values_are_uniform_where_nothing_differs():
    rng = np.random.default_rng(1)
    p = [sign_flip_test(rng.normal(size=30), resamples=199) for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_no_difference_is_no_finding():
    assert sign_flip_test(np.zeros(5)) == sign_flip_test(np.zeros(50)) == 1
    assert sign_flip_test(np.array([4.0])) == 1  # one picture proves nothing
    assert np.isnan(sign_flip_test(np.array([])))


@pytest.mark.parametrize("function", [bootstrap_interval, sign_flip_test])
@pytest.mark.parametrize("values", [[1, np.inf], [np.nan, 2], [[1, 2]]])
def test_what_is_not_a_row_of_finite_numbers_is_refused(function, values):
    with pytest.raises(ValueError, match="one finite number per picture"):
        function(np.array(values))


def test_holm_by_hand():
    # Sorted .01 .02 .03 .9, times 4 3 2 1, never decreasing.
    np.testing.assert_allclose(holm(np.array([0.02, 0.01, 0.9, 0.03])), [0.06, 0.04, 0.9, 0.06])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])
    np.testing.assert_allclose(holm(np.array([0.04, np.nan, 0.01])), [0.04, np.nan, 0.02])
    assert holm(np.array([])).size == 0
