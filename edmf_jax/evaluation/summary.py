"""From scores per pair to a comparison of methods: means, confidence intervals, paired tests.

All methods are compared on the same pairs.  If one of them has no finite value on a pair (no picture, or the infinite
PSNR of identical pictures), that pair is left out of the metric for all methods, and listed.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edmf_jax.evaluation import statistics
from edmf_jax.evaluation.provenance import Stretch, made_by_of, stretches
from edmf_jax.evaluation.statistics import Interval, bootstrap_interval, holm, sign_flip_test


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two methods compared by one metric.

    Attributes:
      metric: the metric's name.
      first, second: the methods' names.
      difference: mean of first − second over the pairs.
      p: p-value of `statistics.sign_flip_test`.
      p_holm: p, corrected over all comparisons of the metric.
    """

    metric: str
    first: str
    second: str
    difference: float
    p: float
    p_holm: float


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of an evaluation.

    Attributes:
      about: the fields of `evaluation.json` on data and settings.
      methods: their entries in `evaluation.json`, in the order of the tables' rows.
      metrics: name, better ("higher", "lower", "none") and unit of every column.
      intervals: method's name → metric's name → mean and interval.
      pairs: metric's name → the number of pairs that it is averaged over.
      left_out: metric's name → ids of the pairs left out.
      comparisons: of every two methods, by every metric.
      unfinished: methods in the folder that still lack pairs; they are not in the tables.
      made: method's name → its rows by the versions that made them.
    """

    about: Mapping[str, Any]
    methods: tuple[Mapping[str, Any], ...]
    metrics: tuple[Mapping[str, str], ...]
    intervals: Mapping[str, Mapping[str, Interval]]
    pairs: Mapping[str, int]
    left_out: Mapping[str, tuple[str, ...]]
    comparisons: tuple[Comparison, ...]
    unfinished: tuple[str, ...] = ()
    made: Mapping[str, Sequence[Stretch]] = dataclasses.field(default_factory=dict)

    def rank(self, metric: Mapping[str, str]) -> dict[str, int]:
        """Ranks the methods by their mean.

        Args:
          metric: one of `metrics`.

        Returns:
          Method's name → 0 for the best mean, 1 for the second best, …; equal means share a rank.  Empty if the metric
          has no better side, or fewer than two methods have a mean.
        """
        sign = {"higher": -1, "lower": 1}.get(metric["better"])
        means = {entry["name"]: self.intervals[entry["name"]][metric["name"]].mean for entry in self.methods}
        means = {name: mean for name, mean in means.items() if not np.isnan(mean)}
        if sign is None or len(means) < 2:
            return {}
        ascending = sorted({sign * mean for mean in means.values()})
        return {name: ascending.index(sign * mean) for name, mean in means.items()}


def summarize(record: Mapping[str, Any], scores: Mapping[str, Mapping[str, Mapping[str, float]]],
              unfinished: Sequence[str] = ()) -> Summary:
    """Summarizes the methods that `scores` holds.

    Args:
      record: the content of `evaluation.json`.
      scores: method's name → pair's id → metric's name → score.
      unfinished: names of the methods that still lack pairs.
    """
    methods = tuple(entry for entry in record["methods"] if entry["name"] in scores)
    names = [entry["name"] for entry in methods]
    intervals: dict[str, dict[str, Interval]] = {name: {} for name in names}
    pairs, left_out, comparisons = {}, {}, []
    for metric in (entry["name"] for entry in record["metrics"]):
        table = np.array([[scores[name].get(i, {}).get(metric, np.nan) for i in record["ids"]] for name in names])
        counted = np.isfinite(table).all(axis=0)
        pairs[metric] = int(counted.sum())
        left_out[metric] = tuple(i for i, is_counted in zip(record["ids"], counted) if not is_counted)
        for name, row in zip(names, table[:, counted]):
            intervals[name][metric] = bootstrap_interval(row)
        comparisons += _compare(metric, names, table[:, counted])
    about = {key: record[key] for key in ("dataset", "split", "gray", "tiling", "store", "count")}
    about |= {key: record.get(key) for key in ("exposures", "truth_at", "rim_px")}  # absent from older evaluations
    made = {entry["name"]: stretches(made_by_of(entry, record), scores[entry["name"]]) for entry in methods}
    return Summary(about, methods, tuple(record["metrics"]), intervals, pairs, left_out, tuple(comparisons),
                   tuple(unfinished), made)


def _compare(metric: str, names: Sequence[str], table: np.ndarray) -> list[Comparison]:
    """Compares every two methods by one metric; the correction is over these comparisons.

    Args:
      metric: its name.
      names: the methods.
      table: finite scores, `[methods, pairs]`.
    """
    couples = list(itertools.combinations(range(len(names)), 2))
    if not couples:
        return []
    differences = np.stack([table[i] - table[j] for i, j in couples])
    p_values = sign_flip_test(differences)
    means = [float(d.mean()) if len(d) else np.nan for d in differences]
    return [Comparison(metric, names[i], names[j], mean, float(p), float(p_holm))
            for (i, j), mean, p, p_holm in zip(couples, means, p_values, holm(p_values))]


def to_record(summary: Summary) -> dict[str, Any]:
    """The content of `summary.json`: the whole summary as JSON values."""
    metrics = [{**metric, "pairs": summary.pairs[metric["name"]], "left_out": list(summary.left_out[metric["name"]])}
               for metric in summary.metrics]
    methods = [{**{key: entry[key] for key in ("name", "slug", "spec")},
                "made_by": [{"versions": dict(used), "pairs": len(ids)} for used, ids in summary.made[entry["name"]]],
                "scores": {name: value._asdict() for name, value in summary.intervals[entry["name"]].items()}}
               for entry in summary.methods]
    return {**summary.about, "metrics": metrics, "methods": methods, "unfinished": list(summary.unfinished),
            "tests": [dataclasses.asdict(comparison) for comparison in summary.comparisons],
            "statistics": {"interval": "percentile bootstrap over pairs", "confidence": statistics.CONFIDENCE,
                           "test": "paired sign-flip permutation test of the mean difference, two-sided",
                           "correction": "Holm, over all pairs of methods within a metric",
                           "resamples": statistics.RESAMPLES, "seed": statistics.SEED}}
