"""A summary as tables, in Markdown and LaTeX."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edmf_jax.core.exposures import Exposures
from edmf_jax.evaluation.provenance import describe_versions
from edmf_jax.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval
from edmf_jax.evaluation.summary import Comparison, Summary

DECIMALS = 3  # as the paper's tables
_TRUTHS = {"average": "the mean of both exposures", "reference": "the exposure of A"}
_LISTED_IDS = 10  # at most so many ids of pairs left out are listed


@dataclasses.dataclass(frozen=True)
class Cell:
    """Text in a table; rank 0 (the best) is set bold, 1 underlined."""

    text: str
    rank: int | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under a header; the first column is text, the others are numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def to_markdown(summary: Summary) -> str:
    """The summary as a Markdown page."""
    parts = ["# Evaluation", describe(summary)]
    for table in make_tables(summary):
        parts += [f"## {table.title}", markdown_table(table), *([table.note] if table.note else [])]
    return "\n\n".join(parts) + "\n"


def to_latex(summary: Summary) -> str:
    r"""The summary as LaTeX `tabular`s, to be included with \input; they need the package booktabs."""
    parts = [_comment(describe(summary)), "% needs \\usepackage{booktabs}"]
    for table in make_tables(summary):
        parts += ["", f"% {table.title}", latex_table(table), *([_comment(table.note)] if table.note else [])]
    return "\n".join(parts) + "\n"


def describe(summary: Summary) -> str:
    """What was evaluated, how, and what was left out: a few sentences, one a line."""
    about = summary.about
    pictures = "the sources' gray levels were fused" if about["gray"] else "pictures were fused as they are"
    if about["exposures"]:
        pictures = f"{_describe_exposures(Exposures.from_record(about['exposures']), about['truth_at'])}; {pictures}"
    elif about["truth_at"]:
        pictures = f"a truth at {_TRUTHS[about['truth_at']]}; {pictures}"
    stored = {"png": "losslessly", "jpeg75": "as JPEG of quality 75"}[about["store"]]
    lines = [f"{about['count']} pairs of {about['dataset']}, split {about['split']}; {pictures}, fused pictures were "
             f"stored {stored}, and metrics computed from the stored pictures' gray levels; networks processed each "
             f"picture {'as a whole' if about['tiling'] == 'whole' else 'in tiles, as MUFusion’s authors do'}."]
    if about["rim_px"]:
        lines.append(f"{about['rim_px']} px at each edge are not scored.")
    for names, ids in _group_by_ids(summary.left_out).items():
        more = f" and {len(ids) - _LISTED_IDS} more" if len(ids) > _LISTED_IDS else ""
        listed = ", ".join(ids[:_LISTED_IDS]) + more
        lines.append(f"Left out of {', '.join(names)}, because a method has no finite value: {len(ids)} of "
                     f"{about['count']} pairs ({listed}).")
    if summary.unfinished:
        lines.append(f"Not in the tables, because pairs are still to be scored: {', '.join(summary.unfinished)}.")
    if versions := describe_versions(summary.made):
        lines.append(versions)
    return "\n".join(lines)


def _describe_exposures(exposures: Exposures, truth_at: str | None) -> str:
    truth = "" if exposures.is_identity and truth_at is None else f", a truth at {_TRUTHS[truth_at or 'average']}"
    return f"exposures “{exposures.name}”: {exposures.describe()}{truth}"


def make_tables(summary: Summary) -> list[Table]:
    """The tables of means, of their intervals and, for two methods or more, of the tests."""
    tables = [means_table(summary), _intervals_table(summary)]
    return [*tables, _tests_table(summary)] if len(summary.methods) > 1 else tables


def means_table(summary: Summary) -> Table:
    """The mean scores; the best of a column has rank 0, the second best rank 1."""
    ranks = {metric["name"]: summary.rank(metric) for metric in summary.metrics}

    def cell(name: str, metric: str, interval: Interval) -> Cell:
        return Cell(_number(interval.mean), ranks[metric].get(name))

    note = "Best bold, second underlined; an arrow up means that higher is better." if len(summary.methods) > 1 else ""
    return _table("Means", summary, cell, note)


def _intervals_table(summary: Summary) -> Table:
    """The confidence intervals of the means."""
    def cell(name: str, metric: str, interval: Interval) -> Cell:
        return Cell(f"{_number(interval.low)} to {_number(interval.high)}")

    return _table(f"{100 * CONFIDENCE:.0f} % confidence intervals of the means", summary, cell,
                  f"Percentile bootstrap over pairs, {RESAMPLES} resamples.")


def _table(title: str, summary: Summary, cell: Callable[[str, str, Interval], Cell], note: str) -> Table:
    """A table with a row for each method and a column for each metric.

    Args:
      title, note: of the table.
      summary: its methods and metrics.
      cell: method's name, metric's name, interval → cell.
    """
    header = ("Method", *(metric["name"] + {"higher": " ↑", "lower": " ↓"}.get(metric["better"], "")
                          for metric in summary.metrics))
    rows = [(Cell(name), *(cell(name, metric["name"], summary.intervals[name][metric["name"]])
                           for metric in summary.metrics)) for name in (entry["name"] for entry in summary.methods)]
    return Table(title, header, tuple(rows), note)


def _tests_table(summary: Summary) -> Table:
    """A row for every two methods: their differences, and the corrected p-values."""
    metrics = [metric["name"] for metric in summary.metrics]
    by_couple: dict[tuple[str, str], dict[str, Comparison]] = {}
    for comparison in summary.comparisons:
        by_couple.setdefault((comparison.first, comparison.second), {})[comparison.metric] = comparison
    rows = [(Cell(f"{first} − {second}"),
             *(Cell(f"{_number(found[m].difference, sign=True)} ({_p(found[m].p_holm)})") for m in metrics))
            for (first, second), found in by_couple.items()]
    return Table("Paired tests", ("Difference of means (p)", *metrics), tuple(rows),
                 f"Sign-flip permutation test of the mean difference over pairs, two-sided, {RESAMPLES} resamples; "
                 "p is corrected by Holm's method over all pairs of methods within a metric.")


def markdown_table(table: Table) -> str:
    """The table in Markdown."""
    def show(cell: Cell) -> str:
        text = re.sub(r"([|\\*_<>`])", r"\\\1", cell.text)
        return {0: f"**{text}**", 1: f"<u>{text}</u>"}.get(cell.rank, text)

    lines = [[show(Cell(text)) for text in table.header], ["---", *["---:"] * (len(table.header) - 1)],
             *([show(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex_table(table: Table) -> str:
    """The table as a LaTeX `tabular` with the rules of booktabs."""
    def show(cell: Cell) -> str:
        text = escape_latex(cell.text)
        return {0: rf"\textbf{{{text}}}", 1: rf"\underline{{{text}}}"}.get(cell.rank, text)

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    return "\n".join([rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}", r"\toprule",
                      line([escape_latex(text) for text in table.header]), r"\midrule",
                      *(line([show(cell) for cell in row]) for row in table.rows), r"\bottomrule", r"\end{tabular}"])


_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$",
          "↓": r"$\downarrow$", "−": "$-$", "–": "--", "Δ": r"$\Delta$", "<": r"$<$", ">": r"$>$",
          **{c: "\\" + c for c in "&%$#_{}"}}


def escape_latex(text: str) -> str:
    """The text with LaTeX's special characters, and the non-ASCII characters that our tables use, as commands."""
    return "".join(_LATEX.get(character, character) for character in text)


def _comment(text: str) -> str:
    """The text as LaTeX comments."""
    return "\n".join(f"% {line}" for line in text.splitlines())


def _group_by_ids(left_out: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Groups metrics that leave out the same pairs: metrics → ids of those pairs."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for metric, ids in left_out.items():
        if ids:
            groups.setdefault(ids, []).append(metric)
    return {tuple(metrics): ids for ids, metrics in groups.items()}


def _number(value: float, sign: bool = False) -> str:
    """The value with `DECIMALS` decimals and a typographic minus; a dash for NaN."""
    if np.isnan(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{DECIMALS}f}".replace("-", "−")


def _p(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
