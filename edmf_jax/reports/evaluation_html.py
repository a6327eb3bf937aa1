"""The page of an evaluation as HTML: fills evaluation.html.j2 with tables and plots, and its script with data."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from edmf_jax.evaluation.provenance import count_pairs
from edmf_jax.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval
from edmf_jax.evaluation.tables import describe
from edmf_jax.reports.dot_plots import RANK_CLASSES, dot_plots, format_number
from edmf_jax.reports.evaluation_data import ChosenPair, Evaluation
from edmf_jax.reports.evaluation_pictures import DIFFERENCE_GAIN
from edmf_jax.reports.webpage import render_page, script_json

_SCRIPTS = ("common.js", "compare.js", "viewer.js", "evaluation.js")


class MeanCell(NamedTuple):
    """A method's mean of a metric: the value (None without a finite mean), and texts of it and its interval.

    `rank` is "best", "second" or "".
    """

    value: float | None
    mean: str = ""
    low: str = ""
    high: str = ""
    rank: str = ""


def render(evaluation: Evaluation, pictures: Sequence[str], *, notes: Iterable[str] = ()) -> str:
    """The page.

    Args:
      evaluation: what is reported.
      pictures: `script_json` of the `pair_record` of each shown pair, in order.
      notes: further sentences on what is missing from the page.
    """
    record, summary = evaluation.record, evaluation.summary
    what, *left_out = describe(summary).splitlines()
    methods = [{"name": entry["name"], "spec": entry["spec"], "sha256": entry.get("sha256"),
                "finished": entry["name"] in evaluation.methods} for entry in record["methods"]]
    return render_page(
        "evaluation.html.j2", _SCRIPTS,
        title=f"{record['dataset']}, {record['split']}: {', '.join(evaluation.methods)}",
        heading=f"{record['dataset']}, split {record['split']}", what=what, notes=[*left_out, *notes],
        methods=methods, commands=record["commands"],
        versions=_versions(evaluation),
        columns=[{"metric": metric["name"], "unit": metric["unit"], "better": metric["better"],
                  "pairs": summary.pairs[metric["name"]]} for metric in summary.metrics],
        count=summary.about["count"], rows=_table_rows(evaluation), confidence=f"{100 * CONFIDENCE:.0f}",
        resamples=f"{RESAMPLES:,}", plots=dot_plots(summary), data=script_json(_script_data(evaluation)),
        pictures=pictures)


def pair_record(chosen: ChosenPair, views: Mapping[str, Any], thumbnail: str) -> dict[str, Any]:
    """What viewer.js needs of a pair: `encode_pair`'s views, the reason of the choice, and a thumbnail."""
    return {"id": chosen.id, "why": chosen.why, "strip": thumbnail, **views}


def _versions(evaluation: Evaluation) -> list[str]:
    """The versions that made the scores: one text, or a text for each set of them with what it made."""
    scores: dict[str, list[str]] = {}
    for method, rows in evaluation.summary.made.items():
        for used, ids in rows:
            text = ", ".join(f"{name} {version}" for name, version in used.items())
            scores.setdefault(text, []).append(f"{method} ({count_pairs(len(ids))})")
    return list(scores) if len(scores) < 2 else [f"{', '.join(made)}: {text}" for text, made in scores.items()]


def _table_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The table of means: a row for each method; the page's script sorts them by a column."""
    summary = evaluation.summary
    ranks = {metric["name"]: summary.rank(metric) for metric in summary.metrics}
    return [{"method": method, "cells": [_mean_cell(summary.intervals[method][name], ranks[name].get(method))
                                         for name in ranks]} for method in evaluation.methods]


def _mean_cell(interval: Interval, rank: int | None) -> MeanCell:
    if math.isnan(interval.mean):
        return MeanCell(None)
    return MeanCell(interval.mean, format_number(interval.mean), format_number(interval.low),
                    format_number(interval.high), RANK_CLASSES.get(rank, ""))


def _script_data(evaluation: Evaluation) -> dict[str, Any]:
    """Scores and paired tests for the page's script; scores are indexed [metric][method][pair]."""
    record, methods = evaluation.record, evaluation.methods
    metrics = [metric["name"] for metric in record["metrics"]]
    scores = [[[_json_number(evaluation.scores[method].get(pair, {}).get(metric)) for pair in record["ids"]]
               for method in methods] for metric in metrics]
    tests = [{"metric": metrics.index(c.metric), "first": methods.index(c.first), "second": methods.index(c.second),
              "difference": _json_number(c.difference), "p": _json_number(c.p_holm)}
             for c in evaluation.summary.comparisons]
    return {"methods": methods, "metrics": record["metrics"], "ids": record["ids"], "scores": scores, "tests": tests,
            "pairs": [evaluation.summary.pairs[metric] for metric in metrics], "differenceGain": DIFFERENCE_GAIN}


def _json_number(value: float | None) -> float | str | None:
    """The number with six digits; JSON has no infinities and no NaN, so they are "inf", "-inf" and None."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else ("inf" if value > 0 else "-inf")
