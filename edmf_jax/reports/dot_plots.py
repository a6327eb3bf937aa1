"""Positions and labels of the dot plots: one small plot for each metric, a row in it for each method.

A dot is a mean, a line its confidence interval.  Dots, not bars: the methods' means often differ by a few per cent,
and an axis that shows this does not begin at 0, where a bar's length would mislead.  `dot_plot.html.j2` draws them.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edmf_jax.evaluation.statistics import Interval
from edmf_jax.evaluation.summary import Summary

# Units of the SVG's own coordinates.
_WIDTH, _ROW_HEIGHT, _MARGIN_TOP, _MARGIN_BOTTOM, _MARGIN_SIDE = 280, 38, 6, 26, 6
_MAX_NAME_LENGTH = 26  # characters that fit beside a number
RANK_CLASSES = {0: "best", 1: "second"}
"""`Summary.rank` → the CSS class of a method."""


class Tick(NamedTuple):
    """A mark of the axis: its position and its number."""

    x: float
    text: str


class PlotRow(NamedTuple):
    """A method's row.

    Attributes:
      name: shortened to what fits.
      rank: "best", "second" or "".
      mean: as text.
      title: the tooltip: method, mean and interval.
      y: the row's upper edge.
      dot, low, high: positions of the mean and of the interval's ends; None without a finite mean.
    """

    name: str
    rank: str
    mean: str
    title: str
    y: int
    dot: float | None
    low: float | None
    high: float | None


class DotPlot(NamedTuple):
    """What the template draws.

    Attributes:
      metric, unit: as in the summary.
      better: "↑ higher is better", "↓ lower is better" or "".
      rows: none where no pair has a finite value of every method.
      ticks: of the axis.
      low, high: the axis's range, as text.
      from_zero: whether the axis begins at 0.
      label: the whole plot in words, for screen readers.
      width, height, left, right, top, foot: the drawing's size and the edges of its area.
    """

    metric: str
    unit: str
    better: str
    rows: tuple[PlotRow, ...] = ()
    ticks: tuple[Tick, ...] = ()
    low: str = ""
    high: str = ""
    from_zero: bool = False
    label: str = ""
    width: int = _WIDTH
    height: int = 0
    left: int = _MARGIN_SIDE
    right: int = _WIDTH - _MARGIN_SIDE
    top: int = _MARGIN_TOP
    foot: int = 0


def dot_plots(summary: Summary) -> list[DotPlot]:
    """A plot for each metric."""
    return [_dot_plot(summary, metric) for metric in summary.metrics]


def format_number(value: float, decimals: int = 3) -> str:
    """The number for a reader, with a true minus sign; – for NaN."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{decimals}f}".replace("-", "−")


def axis_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], about `wanted` of them."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _dot_plot(summary: Summary, metric: Mapping[str, str]) -> DotPlot:
    intervals = {entry["name"]: summary.intervals[entry["name"]][metric["name"]] for entry in summary.methods}
    better = {"higher": "↑ higher is better", "lower": "↓ lower is better"}.get(metric["better"], "")
    plot = DotPlot(metric["name"], metric["unit"], better)
    finite = [interval for interval in intervals.values() if not math.isnan(interval.mean)]
    if not finite:
        return plot
    low, high = _axis_range(finite)

    def x(value: float) -> float:
        return round(_MARGIN_SIDE + (_WIDTH - 2 * _MARGIN_SIDE) * (value - low) / (high - low), 1)

    ranks = summary.rank(metric)
    rows = tuple(_row(name, interval, RANK_CLASSES.get(ranks.get(name), ""), _MARGIN_TOP + _ROW_HEIGHT * number, x)
                 for number, (name, interval) in enumerate(intervals.items()))
    marks = axis_ticks(low, high)
    decimals = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9)) if len(marks) > 1 else 3
    words = "; ".join(f"{name} {_interval_text(interval)}" for name, interval in intervals.items())
    bottom = _MARGIN_TOP + _ROW_HEIGHT * len(rows)
    return plot._replace(rows=rows, ticks=tuple(Tick(x(mark), format_number(mark, decimals)) for mark in marks),
                         low=format_number(low), high=format_number(high), from_zero=low == 0,
                         label=f"{metric['name']}: {words}", height=bottom + _MARGIN_BOTTOM, foot=bottom + 2)


def _axis_range(intervals: list[Interval]) -> tuple[float, float]:
    low, high = min(i.low for i in intervals), max(i.high for i in intervals)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    # If the lowest value is close to 0 compared with the highest, the axis begins at 0.
    return (0.0 if 0 <= low < 0.25 * high else low - margin), high + margin


def _row(name: str, interval: Interval, rank: str, y: int, x: Callable[[float], float]) -> PlotRow:
    shown = name if len(name) <= _MAX_NAME_LENGTH else name[: _MAX_NAME_LENGTH - 1] + "…"
    dot, low, high = (None if math.isnan(interval.mean) else x(value)
                      for value in (interval.mean, interval.low, interval.high))
    return PlotRow(shown, rank, format_number(interval.mean), f"{name}: {_interval_text(interval)}", y, dot, low, high)


def _interval_text(interval: Interval) -> str:
    return f"{format_number(interval.mean)}, {format_number(interval.low)} to {format_number(interval.high)}"
