"""The report of an evaluation as one HTML page (`webpage`): the tables, and the data for its script.

Whatever a user named (methods, pairs, commands) is escaped for where it stands.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edmf_jax.report_data import Chosen, Evaluation
from edmf_jax.report_images import AMPLIFIED
from edmf_jax.report_plots import dot_plots, number
from edmf_jax.statistics import CONFIDENCE, RESAMPLES, Interval
from edmf_jax.tables import describe
from edmf_jax.webpage import assemble, data_elements, to_script

_SCRIPTS = ("tools.js", "compare.js", "viewer.js", "evaluation.js", "start.js")


def render(evaluation: Evaluation, pictures: Sequence[str], *, notes: Iterable[str] = ()) -> str:
    """The page.

    Args:
      evaluation: what is reported.
      pictures: `to_script` of each shown pair, in order.
      notes: further sentences about what is not on the page.
    """
    record, summary = evaluation.record, evaluation.summary
    title = f"{record['dataset']}, {record['split']}: {', '.join(evaluation.methods)}"
    what, *left_out = describe(summary).splitlines()
    parts = {
        "generator": "edmf report",
        "title": html.escape(title), "heading": html.escape(f"{record['dataset']}, split {record['split']}"),
        "what": html.escape(what), "notes": _notes([*left_out, *notes]), "facts": _facts(evaluation),
        "table": _table(evaluation), "confidence": f"{100 * CONFIDENCE:.0f}", "resamples": f"{RESAMPLES:,}",
        "plots": dot_plots(summary), "data": to_script(_data(evaluation)),
        "pictures": data_elements(pictures),
    }
    return assemble("page.html", _SCRIPTS, parts)


def pair_record(chosen: Chosen, pictures: Mapping[str, Any], strip: str) -> dict[str, Any]:
    """What the viewer needs of a pair."""
    return {"id": chosen.id, "why": chosen.why, "strip": strip, **pictures}


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>'


def _facts(evaluation: Evaluation) -> str:
    """Methods, commands and versions as definition lists."""
    record = evaluation.record
    methods = "".join(
        f"<dt>{html.escape(entry['name'])}</dt><dd><code>{html.escape(entry['spec'])}</code>"
        + (f" <small>SHA-256 {html.escape(entry['sha256'][:12])}…</small>" if entry.get("sha256") else "")
        + ("" if entry["name"] in evaluation.methods else " (unfinished: not in the tables)") + "</dd>"
        for entry in record["methods"])
    versions = ", ".join(html.escape(f"{name} {version}") for name, version in record["versions"].items())
    commands = "".join(f"<pre><code>{html.escape(command)}</code></pre>" for command in record["commands"])
    return (f'<dl class="methods">{methods}</dl><p>{"Commands" if len(record["commands"]) > 1 else "Command"}:</p>'
            f"{commands}<p>Versions: {versions}.</p>")


def _table(evaluation: Evaluation) -> str:
    """Means with intervals: a row for each method; the script sorts it by a column."""
    summary = evaluation.summary
    ranks = {metric["name"]: summary.rank(metric) for metric in summary.metrics}
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button" title="Sort by {html.escape(m["name"])}">'
        f'{html.escape(m["name"])} {_arrow(m["better"])}</button>'
        f'<small>{html.escape(m["unit"]) or "&nbsp;"}{_pairs(summary, m["name"])}</small></th>'
        for m in summary.metrics)
    rows = []
    for name in evaluation.methods:
        cells = "".join(_cell(summary.intervals[name][metric["name"]], ranks[metric["name"]].get(name))
                        for metric in summary.metrics)
        rows.append(f'<tr><th scope="row">{html.escape(name)}</th>{cells}</tr>')
    return (f'<table id="means"><thead><tr><th scope="col">Method</th>{head}</tr></thead>'
            f'<tbody>{"".join(rows)}</tbody></table>')


def _cell(interval: Interval, rank: int | None) -> str:
    if math.isnan(interval.mean):
        return '<td data-value="">–</td>'
    mean, kind = number(interval.mean), {0: ' class="best"', 1: ' class="second"'}.get(rank, "")
    mean = {0: f"<strong>{mean}</strong>", 1: f"<u>{mean}</u>"}.get(rank, mean)
    return (f'<td{kind} data-value="{interval.mean!r}">{mean}'
            f"<small>{number(interval.low)} – {number(interval.high)}</small></td>")


def _arrow(better: str) -> str:
    meaning = {"higher": ("↑", "higher is better"), "lower": ("↓", "lower is better")}.get(better)
    return f'<abbr title="{meaning[1]}">{meaning[0]}</abbr>' if meaning else ""


def _pairs(summary, metric: str) -> str:
    """How many pairs, where it is not all of them."""
    count = summary.pairs[metric]
    return "" if count == summary.about["count"] else f" <span>{count} of {summary.about['count']} pairs</span>"


def _data(evaluation: Evaluation) -> dict[str, Any]:
    """Scores and tests for the script; scores[metric][method][pair]."""
    record, methods = evaluation.record, evaluation.methods
    metrics = [metric["name"] for metric in record["metrics"]]
    scores = [[[_value(evaluation.scores[method].get(pair, {}).get(metric)) for pair in record["ids"]]
               for method in methods] for metric in metrics]
    tests = [{"metric": metrics.index(c.metric), "first": methods.index(c.first), "second": methods.index(c.second),
              "difference": _value(c.difference), "p": _value(c.p_holm)} for c in evaluation.summary.comparisons]
    return {"methods": methods, "metrics": record["metrics"], "ids": record["ids"], "scores": scores, "tests": tests,
            "pairs": [evaluation.summary.pairs[metric] for metric in metrics], "amplified": AMPLIFIED}


def _value(value: float | None) -> float | str | None:
    """Six digits of a number; JSON has no infinity and no NaN: "inf", "-inf" and None."""
    if value is None or math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else ("inf" if value > 0 else "-inf")
