"""Rows of the benchmark's table, as Markdown and as JSON."""

import dataclasses
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      name: what was measured.
      unit: of the values.
      min, median: the smallest value and the median; None if left out.
      repeats: how many values.
      note: how it was measured.
      left_out: the reason if it could not be measured, else empty.
    """

    name: str
    unit: str
    min: float | None = None
    median: float | None = None
    repeats: int = 0
    note: str = ""
    left_out: str = ""


def measured(name: str, unit: str, values: Sequence[float], note: str = "") -> Row:
    """A row from the values of its repeats."""
    return Row(name, unit, min(values), statistics.median(values), len(values), note)


def left_out(name: str, unit: str, reason: str) -> Row:
    """A row that says why there are no numbers."""
    return Row(name, unit, left_out=" ".join(reason.split()))


def from_dicts(rows: Iterable[dict]) -> list[Row]:
    """Rows from dictionaries with the fields of `Row`; other keys are ignored."""
    known = {field.name for field in dataclasses.fields(Row)}
    return [Row(**{key: value for key, value in row.items() if key in known}) for row in rows]


def number(value: float | None) -> str:
    """The number with about three significant digits and without an exponent; None is empty."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    digits = 2
    while abs(value) < 10 ** (1 - digits + 1) and digits < 8:
        digits += 1
    return f"{value:.{digits if abs(value) < 10 else 1}f}"


def markdown(rows: Sequence[Row], environment: dict[str, str]) -> str:
    """The whole report: a line for each entry of the environment, then the table."""
    lines = [f"- {name}: {value}" for name, value in environment.items()]
    lines += ["", "| what | unit | min | median | repeats | note |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for row in rows:
        note = f"left out: {row.left_out}" if row.left_out else row.note
        repeats = str(row.repeats) if row.repeats else ""
        cells = row.name, row.unit, number(row.min), number(row.median), repeats, note
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def write_json(path: Path, rows: Sequence[Row], environment: dict[str, str]) -> None:
    """Writes the report as JSON: `{"environment": {…}, "rows": [{…}, …]}`, each row with the fields of `Row`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment, "rows": [dataclasses.asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
