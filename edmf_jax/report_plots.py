"""Means and intervals as inline SVG: a dot and a line for each method, one little plot for each metric.

Dots, not bars: the methods' means often differ by a few per cent, and an axis that
shows this does not begin at 0, where a bar's length would mislead.
"""

import html
import math
from collections.abc import Mapping

from edmf_jax.statistics import Interval
from edmf_jax.summary import Summary

WIDTH, ROW, TOP, BOTTOM, SIDE = 280, 38, 6, 26, 6  # px in the SVG's own coordinates
_NAME = 26  # characters that fit beside a number


def dot_plots(summary: Summary) -> str:
    """A `<figure>` for each metric."""
    return "\n".join(_figure(summary, metric) for metric in summary.metrics)


def number(value: float | None, decimals: int = 3) -> str:
    """The number for a reader; – where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{decimals}f}".replace("-", "−")


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers within [low, high], about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _figure(summary: Summary, metric: Mapping[str, str]) -> str:
    name, ranks = metric["name"], summary.rank(metric)
    intervals = {entry["name"]: summary.intervals[entry["name"]][name] for entry in summary.methods}
    arrow = {"higher": "↑ higher is better", "lower": "↓ lower is better"}.get(metric["better"], "")
    caption = f"<strong>{html.escape(name)}</strong>" + (f" [{html.escape(metric['unit'])}]" if metric["unit"] else "")
    known = [i for i in intervals.values() if not math.isnan(i.mean)]
    if not known:
        body = "<p>No pair has a finite value of every method.</p>"
    else:
        body = _plot(name, intervals, ranks, *_range(known))
    return f'<figure class="dots"><figcaption>{caption} <span class="better">{arrow}</span></figcaption>{body}</figure>'


def _range(intervals: list[Interval]) -> tuple[float, float]:
    low, high = min(i.low for i in intervals), max(i.high for i in intervals)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    # Where 0 is near anyway, the axis may as well begin there.
    return (0.0 if 0 <= low < 0.25 * high else low - margin), high + margin


def _plot(metric: str, intervals: Mapping[str, Interval], ranks: Mapping[str, int], low: float, high: float) -> str:
    height = TOP + ROW * len(intervals) + BOTTOM
    foot = TOP + ROW * len(intervals) + 2

    def x(value: float) -> float:
        return round(SIDE + (WIDTH - 2 * SIDE) * (value - low) / (high - low), 1)

    marks = ticks(low, high)
    decimals = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9)) if len(marks) > 1 else 3
    parts = [f'<line class="grid" x1="{x(t)}" x2="{x(t)}" y1="{TOP}" y2="{foot}"/>'
             f'<text class="tick" x="{x(t)}" y="{foot + 15}">{number(t, decimals)}</text>' for t in marks]
    for row, (name, interval) in enumerate(intervals.items()):
        parts.append(_row(name, interval, TOP + ROW * row, x, ranks.get(name)))
    zero = "from 0" if low == 0 else "not from 0"
    text = "; ".join(f"{name} {number(i.mean)}, {number(i.low)} to {number(i.high)}" for name, i in intervals.items())
    return (f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(f"{metric}: {text}")}">'
            f'{"".join(parts)}</svg><p class="axis">axis {zero}: {number(low)} to {number(high)}</p>')


def _row(name: str, interval: Interval, top: float, x, rank: int | None) -> str:
    shown = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
    kind = {0: " best", 1: " second"}.get(rank, "")
    labels = (f'<text class="name" x="{SIDE}" y="{top + 14}">{html.escape(shown)}</text>'
              f'<text class="value{kind}" x="{WIDTH - SIDE}" y="{top + 14}">{number(interval.mean)}</text>')
    if math.isnan(interval.mean):
        return f"<g>{labels}</g>"
    middle = top + 25
    text = html.escape(f"{name}: {number(interval.mean)}, {number(interval.low)} to {number(interval.high)}")
    return (f'<g class="row{kind}"><title>{text}</title>{labels}'
            f'<line class="interval" x1="{x(interval.low)}" x2="{x(interval.high)}" y1="{middle}" y2="{middle}"/>'
            f'<circle cx="{x(interval.mean)}" cy="{middle}" r="4.5"/></g>')
