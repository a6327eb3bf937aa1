"""Scores per picture → what can be said about methods: means, confidence intervals, paired tests.

All methods are compared on the same pairs: a pair on which one of them has no
value (no picture, an infinite PSNR of identical pictures) is left out of that
metric for all, and named.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edmf_jax import statistics
from edmf_jax.statistics import Interval, bootstrap_interval, holm, sign_flip_test


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One metric of two methods: mean of first − second over the pairs, its p-value as it is and corrected."""

    metric: str
    first: str
    second: str
    difference: float
    p: float
    p_holm: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """What an evaluation found.

    Attributes:
      about: `evaluation.json`'s fields on data and settings.
      methods: their entries there, in the order of the rows.
      metrics: name, better ("higher", "lower", "none") and unit of every column.
      intervals: method's name → metric's name → mean and interval.
      pairs: metric's name → how many pairs it is averaged over.
      left_out: metric's name → the pairs left out.
      comparisons: every metric of every two methods.
      unfinished: methods of the folder that lack pairs, and are not in the tables.
    """

    about: Mapping[str, Any]
    methods: tuple[Mapping[str, Any], ...]
    metrics: tuple[Mapping[str, str], ...]
    intervals: Mapping[str, Mapping[str, Interval]]
    pairs: Mapping[str, int]
    left_out: Mapping[str, tuple[str, ...]]
    comparisons: tuple[Comparison, ...]
    unfinished: tuple[str, ...] = ()

    def rank(self, metric: Mapping[str, str]) -> dict[str, int]:
        """Method's name → 0 for the best mean of a metric, 1 for the second, …; equal means share a rank."""
        sign = {"higher": -1, "lower": 1}.get(metric["better"])
        means = {entry["name"]: self.intervals[entry["name"]][metric["name"]].mean for entry in self.methods}
        means = {name: mean for name, mean in means.items() if not np.isnan(mean)}
        if sign is None or len(means) < 2:
            return {}
        ladder = sorted({sign * mean for mean in means.values()})
        return {name: ladder.index(sign * mean) for name, mean in means.items()}


def summarize(record: Mapping[str, Any], scores: Mapping[str, Mapping[str, Mapping[str, float]]],
              unfinished: Sequence[str] = ()) -> Summary:
    """The summary of `evaluation.json`'s `record` and the methods' scores: name → id → metric → value."""
    methods = tuple(entry for entry in record["methods"] if entry["name"] in scores)
    names = [entry["name"] for entry in methods]
    intervals: dict[str, dict[str, Interval]] = {name: {} for name in names}
    pairs, left_out, comparisons = {}, {}, []
    for metric in (entry["name"] for entry in record["metrics"]):
        table = np.array([[scores[name].get(i, {}).get(metric, np.nan) for i in record["ids"]] for name in names])
        counted = np.isfinite(table).all(axis=0)
        pairs[metric] = int(counted.sum())
        left_out[metric] = tuple(i for i, has in zip(record["ids"], counted) if not has)
        for name, row in zip(names, table[:, counted]):
            intervals[name][metric] = bootstrap_interval(row)
        comparisons += _compare(metric, names, table[:, counted])
    about = {key: record[key] for key in ("dataset", "split", "gray", "tiling", "store", "count")}
    about["exposures"] = record.get("exposures")  # older evaluations have none
    return Summary(about, methods, tuple(record["metrics"]), intervals, pairs, left_out, tuple(comparisons),
                   tuple(unfinished))


def _compare(metric: str, names: Sequence[str], table: np.ndarray) -> list[Comparison]:
    """Every two methods on one metric; the correction is for all of these tests."""
    couples = list(itertools.combinations(range(len(names)), 2))
    differences = [table[i] - table[j] for i, j in couples]
    p_values = np.array([sign_flip_test(d) for d in differences])
    means = [float(d.mean()) if len(d) else np.nan for d in differences]
    return [Comparison(metric, names[i], names[j], mean, float(p), float(p_holm))
            for (i, j), mean, p, p_holm in zip(couples, means, p_values, holm(p_values))]


def to_record(summary: Summary) -> dict[str, Any]:
    """`summary.json`: the whole summary as JSON values."""
    metrics = [{**metric, "pairs": summary.pairs[metric["name"]], "left_out": list(summary.left_out[metric["name"]])}
               for metric in summary.metrics]
    methods = [{**{key: entry[key] for key in ("name", "slug", "spec")},
                "scores": {name: value._asdict() for name, value in summary.intervals[entry["name"]].items()}}
               for entry in summary.methods]
    return {**summary.about, "metrics": metrics, "methods": methods, "unfinished": list(summary.unfinished),
            "tests": [dataclasses.asdict(comparison) for comparison in summary.comparisons],
            "statistics": {"interval": "percentile bootstrap over pairs", "confidence": statistics.CONFIDENCE,
                           "test": "paired sign-flip permutation test of the mean difference, two-sided",
                           "correction": "Holm, over all pairs of methods within a metric",
                           "resamples": statistics.RESAMPLES, "seed": statistics.SEED}}
