"""How sure a mean over pictures is, and whether two methods differ: NumPy only, seeded.

Pictures are the units: whatever is drawn anew here is pictures (bootstrap) or the
signs of their differences (permutation), never pixels.
"""

import itertools
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20241114  # of every draw; the same pictures give the same interval
EXACT_UP_TO = 13  # pictures: all 2^13 signs are fewer than the random ones
_AT_ONCE = 2_000  # draws; bounds the memory


class Interval(NamedTuple):
    """A mean and its confidence interval; NaN where there is nothing to average."""

    mean: float
    low: float
    high: float


def bootstrap_interval(values: np.ndarray, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE,
                       seed: int = SEED) -> Interval:
    """Percentile bootstrap interval of the mean of `values` [pictures]: Efron 1979, DOI 10.1214/aos/1176344552.

    Every draw takes as many pictures as there are, with replacement; the interval
    holds the middle `confidence` of the draws' means.  One picture has no width.

    Raises:
      ValueError: a value is infinite or NaN, or `values` is not one row of numbers.
    """
    values = _check_finite(values, "bootstrap_interval")
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(len(values), size=(count, len(values)), dtype=np.int32)].mean(axis=1)
             for count in _blocks(resamples)]
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def sign_flip_test(differences: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """Two-sided p-value of the paired permutation test that the mean difference is zero (Fisher 1935).

    If the two methods are exchangeable, every picture's difference could as well
    have the other sign.  p is the share of sign patterns whose mean is at least
    as far from zero as the observed one: of all patterns for up to 13 pictures,
    else of `resamples` random ones and the observed one, (1 + k) / (1 + resamples),
    which never claims less than 1 / (1 + resamples) (Phipson and Smyth 2010,
    DOI 10.2202/1544-6115.1585).  NaN without pictures, 1 where nothing differs.

    Raises:
      ValueError: a difference is infinite or NaN, or they are not one row of numbers.
    """
    differences = _check_finite(differences, "sign_flip_test")
    count = len(differences)
    if not count:
        return np.nan
    # Patterns that give the same mean in another order of summation count as equal.
    observed = abs(differences.sum()) * (1 - 1e-12)
    if count <= EXACT_UP_TO:
        patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        return float(np.mean(np.abs(patterns @ differences) >= observed))
    generator = np.random.default_rng(seed)
    extreme = 0
    for draws in _blocks(resamples):
        bits = np.unpackbits(generator.integers(256, size=(draws, -(-count // 8)), dtype=np.uint8), axis=1)
        # Σ ±d = 2 Σ of those with + − Σ d
        sums = 2 * (bits[:, :count] @ differences) - differences.sum()
        extreme += int(np.sum(np.abs(sums) >= observed))
    return (1 + extreme) / (1 + resamples)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values of several tests corrected so that the chance of any false alarm stays bounded.

    Holm 1979 (JSTOR 4615733): sorted, times the number of tests not yet passed,
    never decreasing, at most 1.  NaN stays NaN and counts as no test.
    """
    p_values = np.asarray(p_values, float)
    corrected = np.full(p_values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    corrected[order] = np.minimum(np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def _blocks(total: int) -> list[int]:
    """`total` in parts of at most `_AT_ONCE`."""
    return [min(_AT_ONCE, total - start) for start in range(0, total, _AT_ONCE)]


def _check_finite(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"{name}: one finite number per picture is needed, got shape {values.shape} with "
                         f"{int((~np.isfinite(values)).sum())} infinite or undefined")
    return values
