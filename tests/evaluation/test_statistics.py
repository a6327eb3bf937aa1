"""Intervals and tests against plain NumPy, and their edge cases: no pictures, one picture, no difference."""

import itertools

import numpy as np
import pytest
from scipy import stats

from edmf_jax.evaluation.statistics import bootstrap_interval, holm, sign_flip_test


def test_bootstrap_equals_plain_resampling(rng):
    values = rng.gamma(2, size=80)
    interval = bootstrap_interval(values)
    means = [rng.choice(values, 80).mean() for _ in range(10_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    assert interval.mean == pytest.approx(values.mean(), rel=1e-14)
    assert interval.low == pytest.approx(low, abs=0.04 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.04 * (high - low))


def test_bootstrap_is_reproducible_and_keeps_its_confidence(rng):
    values = rng.normal(size=40)
    assert bootstrap_interval(values) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    wide, narrow = bootstrap_interval(values, confidence=0.99), bootstrap_interval(values, confidence=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_bootstrap_of_few_or_equal_values():
    assert bootstrap_interval(np.array([3.0])) == (3.0, 3.0, 3.0)
    assert bootstrap_interval(np.full(9, 0.25)) == (0.25, 0.25, 0.25)
    assert np.isnan(bootstrap_interval(np.array([]))).all()


@pytest.mark.parametrize("count", [2, 7, 11, 13])
def test_few_pictures_are_tested_exactly(rng, count):
    tenths = rng.normal(4, 10, (20, count)).round().astype(int)  # integers: many ties between sign patterns
    signs = np.array(list(itertools.product((-1, 1), repeat=count)))
    expected = [np.mean(np.abs(signs @ row) >= abs(row.sum())) for row in tenths]
    np.testing.assert_array_equal(sign_flip_test(tenths / 10), expected)


def test_many_pictures_are_tested_with_random_signs(rng):
    differences = rng.normal(0.1, 1, 300)
    p = sign_flip_test(differences)
    assert p == sign_flip_test(differences) != sign_flip_test(differences, seed=1)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    sums = rng.choice([-1, 1], (10_000, 300)) @ differences
    assert p == pytest.approx(np.mean(np.abs(sums) >= abs(differences.sum())), abs=0.02)


@pytest.mark.parametrize("count", [12, 60])
def test_several_tests_at_once_equal_single_ones(rng, count):
    differences = rng.normal(0.2, 1, (3, count))
    np.testing.assert_array_equal(sign_flip_test(differences), [sign_flip_test(row) for row in differences])


def test_p_value_is_two_sided_and_never_zero(rng):
    differences = rng.normal(5, 1, 50)
    assert sign_flip_test(differences) == sign_flip_test(-differences) == 1 / 10_001
    assert sign_flip_test(differences, resamples=99) == 1 / 100


def test_p_values_are_uniform_if_nothing_differs():
    rng = np.random.default_rng(1)
    p = [sign_flip_test(rng.normal(size=30), resamples=199) for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_no_difference_is_never_significant():
    assert sign_flip_test(np.zeros(5)) == sign_flip_test(np.zeros(50)) == 1
    assert sign_flip_test(np.array([4.0])) == 1  # one picture proves nothing
    assert np.isnan(sign_flip_test(np.array([])))
    assert sign_flip_test(np.zeros((2, 0))).shape == (2,)


@pytest.mark.parametrize(("function", "values"), [
    (bootstrap_interval, [1, np.inf]), (bootstrap_interval, [np.nan, 2]), (bootstrap_interval, [[1, 2]]),
    (sign_flip_test, [1, np.inf]), (sign_flip_test, [np.nan, 2]), (sign_flip_test, 1.0),
])
def test_anything_but_finite_numbers_per_picture_is_refused(function, values):
    with pytest.raises(ValueError, match="one finite number per picture"):
        function(np.array(values))


def test_holm_by_hand():
    # Sorted .01 .02 .03 .9, times 4 3 2 1, never decreasing.
    np.testing.assert_allclose(holm(np.array([0.02, 0.01, 0.9, 0.03])), [0.06, 0.04, 0.9, 0.06])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])
    np.testing.assert_allclose(holm(np.array([0.04, np.nan, 0.01])), [0.04, np.nan, 0.02])
    assert holm(np.array([])).size == 0
