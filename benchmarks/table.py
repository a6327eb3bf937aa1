"""Rows of the benchmark, and the two forms they are printed in."""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, in which unit, over how many repeats.

    A row that could not be measured has `left_out`, the reason, and no numbers.
    """

    name: str
    unit: str
    min: float | None = None
    median: float | None = None
    repeats: int = 0
    note: str = ""
    left_out: str = ""


def measured(name: str, unit: str, values: Sequence[float], note: str = "") -> Row:
    """A row from the values of its repeats; "min" is the smallest number, whether small is good or not."""
    return Row(name, unit, min(values), statistics.median(values), len(values), note)


def left_out(name: str, unit: str, reason: str) -> Row:
    """A row that says why there are no numbers."""
    return Row(name, unit, left_out=" ".join(reason.split()))


def from_dicts(rows: Iterable[dict]) -> list[Row]:
    """Rows that another module made as plain dictionaries."""
    known = {field.name for field in dataclasses.fields(Row)}
    return [Row(**{key: value for key, value in row.items() if key in known}) for row in rows]


def number(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    digits = 2
    while abs(value) < 10 ** (1 - digits + 1) and digits < 8:
        digits += 1
    return f"{value:.{digits if abs(value) < 10 else 1}f}"


def markdown(rows: Sequence[Row], environment: dict[str, str]) -> str:
    """The whole report: a line for each fact of the environment, then the table."""
    lines = [f"- {name}: {value}" for name, value in environment.items()]
    lines += ["", "| what | unit | min | median | repeats | note |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        note = f"left out: {row.left_out}" if row.left_out else row.note
        repeats = str(row.repeats) if row.repeats else ""
        cells = row.name, row.unit, number(row.min), number(row.median), repeats, note
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def write_json(path: Path, rows: Sequence[Row], environment: dict[str, str]) -> None:
    """The same as JSON: `{"environment": {…}, "rows": [{name, unit, min, median, repeats, note, left_out}, …]}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment, "rows": [dataclasses.asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
