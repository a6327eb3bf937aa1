"""Confidence intervals of a mean over pictures, and tests whether two methods differ: seeded, so reproducible.

The units are pictures: the bootstrap resamples pictures and the permutation test flips the signs of their differences;
neither resamples pixels.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20241114  # of every random draw; the same pictures give the same interval
_VALUES_AT_ONCE = 1_000_000  # numbers drawn at once; bounds the memory to a few tens of MB


class Interval(NamedTuple):
    """A mean and its confidence interval; NaN if there are no pictures."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values: np.ndarray, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE,
                       seed: int = SEED) -> Interval:
    """Percentile bootstrap interval of the mean: Efron 1979, DOI 10.1214/aos/1176344552.

    Every resample draws as many pictures as there are, with replacement; the interval holds the middle `confidence` of
    the resamples' means.  For a single picture, or for equal values, it has no width.

    Args:
      values: one number per picture, `[pictures]`.
      resamples: how many.
      confidence: in (0, 1).
      seed: of the random draws.

    Raises:
      ValueError: a value is infinite or NaN, or `values` has not one axis.
    """
    values = _check_finite(values, "bootstrap_interval")
    if values.ndim != 1:
        raise ValueError(f"bootstrap_interval: one finite number per picture is needed, got shape {values.shape}")
    if len(values) < 2:  # too few for SciPy
        return Interval(*[float(values[0]) if len(values) else np.nan] * 3)
    low, high = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, batch=_batch(values), vectorized=True, confidence_level=confidence,
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(values.mean()), float(low), float(high))


def sign_flip_test(differences: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Two-sided p-values of the paired permutation test that the mean difference is zero (Fisher 1935).

    If two methods are exchangeable, every picture's difference could as well have the other sign.  p is the share of
    sign patterns whose mean is at least as far from zero as the observed one.  If there are no more than `resamples`
    patterns (by default, up to 13 pictures), all of them are counted.  Otherwise p counts `resamples` random patterns
    and the observed one, (1 + k) / (1 + resamples), so it never claims less than 1 / (1 + resamples) (Phipson and Smyth
    2010, DOI 10.2202/1544-6115.1585).

    Args:
      differences: per test and picture, `[..., pictures]`; all tests share the sign patterns.
      resamples: how many random patterns.
      seed: of the random draws.

    Returns:
      `[...]`; NaN without pictures, 1 if no picture differs.

    Raises:
      ValueError: a difference is infinite or NaN, or `differences` has no axis.
    """
    differences = _check_finite(differences, "sign_flip_test")
    *tests, count = differences.shape
    if count < 2 or 0 in tests:  # too few for SciPy; one picture proves nothing
        return np.full(tests, 1.0 if count else np.nan)
    largest = np.abs(differences).max(axis=-1, keepdims=True)
    return np.asarray(stats.permutation_test(
        (differences / np.where(largest > 0, largest, 1),), _absolute_mean, permutation_type="samples",
        n_resamples=resamples, batch=_batch(differences), alternative="greater", axis=-1, vectorized=True,
        rng=np.random.default_rng(seed),
    ).pvalue)


def _absolute_mean(scaled: np.ndarray, axis: int) -> np.ndarray:
    """|mean| of differences in [−1, 1], rounded so that equal means compare equal, in whatever order they were summed.

    Its one-sided test ("greater") is the two-sided test of the mean.
    """
    return np.round(np.abs(np.mean(scaled, axis=axis)), 12)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values of several tests, corrected so that the chance of any false positive stays bounded.

    Holm 1979 (JSTOR 4615733): in ascending order, each p-value is multiplied by the number of tests from it on, never
    decreasing, at most 1.  NaN stays NaN and does not count as a test.
    """
    p_values = np.asarray(p_values, float)
    corrected = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def _batch(values: np.ndarray) -> int:
    """How many resamples to draw at once."""
    return max(1, _VALUES_AT_ONCE // values.size)


def _check_finite(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not values.ndim or not np.isfinite(values).all():
        raise ValueError(f"{name}: one finite number per picture is needed, got shape {values.shape} with "
                         f"{int((~np.isfinite(values)).sum())} infinite or undefined")
    return values
