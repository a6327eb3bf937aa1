"""From scores to tables: which pairs are counted, what is bold, and the Markdown and LaTeX output."""

import json

import numpy as np
import pytest

from edmf_jax.evaluation.statistics import Interval
from edmf_jax.evaluation.summary import summarize, to_record
from edmf_jax.evaluation.tables import (
    Cell,
    Table,
    escape_latex,
    latex_table,
    make_tables,
    markdown_table,
    to_latex,
    to_markdown,
)
from edmf_jax.io.json_text import to_json
from tests.helpers.scores import IDS, METRICS, make_record, make_scores


@pytest.fixture
def summary():
    return summarize(make_record(["low", "high", "middle"]), make_scores({"low": 1, "high": 3, "middle": 2}))


def test_means_are_over_all_pairs(summary):
    assert summary.pairs == {m["name"]: 12 for m in METRICS} and not any(summary.left_out.values())
    interval = summary.intervals["high"]["EN"]
    assert interval.low < interval.mean < interval.high and interval.mean == pytest.approx(3, abs=0.01)


def test_ranks_know_the_better_side(summary):
    ranks = {m["name"]: summary.rank(m) for m in METRICS}
    assert ranks["EN"] == {"high": 0, "middle": 1, "low": 2}
    assert ranks["ΔE"] == {"low": 0, "middle": 1, "high": 2}
    assert ranks["SD"] == {}


def test_every_two_methods_are_compared(summary):
    found = {(c.first, c.second): c for c in summary.comparisons if c.metric == "EN"}
    assert list(found) == [("low", "high"), ("low", "middle"), ("high", "middle")]
    # Twelve pairs, all of one sign: 2 of 2^12 patterns, three tests.
    assert [c.p for c in found.values()] == [2 / 2**12] * 3
    assert [c.p_holm for c in found.values()] == [6 / 2**12] * 3
    assert found["low", "high"].difference == pytest.approx(-2)


def test_infinite_undefined_and_missing_are_left_out_for_all_and_named():
    scores = make_scores({"a": 1, "b": 2})
    scores["a"]["3"]["PSNR"], scores["b"]["5"]["EN"] = np.inf, np.nan
    del scores["b"]["12"]
    summary = summarize(make_record(["a", "b"]), scores)
    assert summary.left_out == {"EN": ("5", "12"), "PSNR": ("3", "12"), "ΔE": ("12",), "SD": ("12",)}
    expected = np.mean([scores["a"][i]["PSNR"] for i in IDS if i not in ("3", "12")])
    assert summary.intervals["a"]["PSNR"].mean == pytest.approx(expected)
    page = to_markdown(summary)
    assert "Left out of PSNR, because a method has no finite value: 2 of 12 pairs (3, 12)." in page
    assert "Left out of ΔE, SD" in page and "inf" not in page and "nan" not in page


def test_a_metric_without_values_is_a_dash():
    scores = make_scores({"a": 1, "b": 2})
    for row in scores["a"].values():
        row["SD"] = np.inf
    summary = summarize(make_record(["a", "b"]), scores)
    means = make_tables(summary)[0]
    assert [row[-1] for row in means.rows] == [Cell("–"), Cell("–")]
    record = json.loads(to_json(to_record(summary)))
    assert record["methods"][0]["scores"]["SD"] == {"mean": None, "low": None, "high": None}


def test_equal_means_share_the_first_rank():
    summary = summarize(make_record(["a", "b", "c"]), make_scores({"a": 1, "b": 1, "c": 0}))
    assert summary.rank(METRICS[0]) == {"a": 0, "b": 0, "c": 1}
    assert {c.p for c in summary.comparisons if {c.first, c.second} == {"a", "b"}} == {1}


def test_one_method_has_no_winner_and_no_tests():
    summary = summarize(make_record(["a"]), make_scores({"a": 1}))
    assert [table.title for table in make_tables(summary)] == ["Means", "95 % confidence intervals of the means"]
    assert "**" not in to_markdown(summary)


def test_markdown(summary):
    page = to_markdown(summary)
    assert "12 pairs of edmf/table2, split test; the sources' gray levels were fused" in page
    assert "JPEG of quality 75" in page and "in tiles, as MUFusion’s authors do" in page
    assert "| Method | EN ↑ | PSNR ↑ | ΔE ↓ | SD |" in page
    line = next(line for line in page.splitlines() if line.startswith("| high |"))
    assert line.split(" | ")[1].startswith("**") and line.split(" | ")[1].endswith("**")
    middle = next(line for line in page.splitlines() if line.startswith("| middle |"))
    assert middle.count("<u>") == 3
    assert "| low − high | −2.000 (p = 0.001) |" in page and "Holm" in page and "10000 resamples" in page


def test_latex(summary):
    text = to_latex(summary)
    assert text.count(r"\begin{tabular}{lrrrr}") == text.count(r"\end{tabular}") == 3
    assert r"EN $\uparrow$" in text and r"$\Delta$E $\downarrow$" in text
    assert text.count(r"\textbf{") == 3 and text.count(r"\underline{") == 3
    assert r"low $-$ high & $-$2.000 (p = 0.001)" in text
    assert "% 12 pairs of edmf/table2" in text
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert "\n".join(body).isascii()
    assert all(line.count("&") == 4 for line in body if line.endswith(r"\\"))


def test_names_cannot_break_a_table():
    table = Table("T", ("Method", "x_1"), ((Cell("a|b*c_d"), Cell("1", 0)), (Cell(r"50%&$#{}~^\ "), Cell("2", 1))))
    assert r"| a\|b\*c\_d | **1** |" in markdown_table(table)
    assert r"50\%\&\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}" in latex_table(table)
    assert escape_latex("p < 0.001") == "p $<$ 0.001"


def test_record_is_json_with_everything(summary):
    record = json.loads(to_json(to_record(summary)))
    assert record["dataset"] == "edmf/table2" and record["count"] == 12
    assert record["metrics"][1] == {**METRICS[1], "pairs": 12, "left_out": []}
    assert set(record["methods"][0]["scores"]["EN"]) == set(Interval._fields)
    assert len(record["tests"]) == 3 * len(METRICS) and set(record["tests"][0]) == {
        "metric", "first", "second", "difference", "p", "p_holm"}
    assert record["statistics"]["resamples"] == 10_000
