"""The folder of an evaluation, from which it goes on after a stop.

    W/evaluation.json      what is evaluated: data set (and whence), settings, methods, metrics, versions, commands
    W/METHOD/scores.csv    a row for each pair, written when it is scored
    W/METHOD/fused/ID.png  the fused picture that was scored
"""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from edmf_jax.errors import UserError
from edmf_jax.files import disk_errors, replace_file
from edmf_jax.runtime import versions

_PACKAGES = ("edmf-jax", "jax", "jaxlib", "flax", "numpy")
# What must be the same for scores to stand in one table.
_SETTINGS = ("dataset", "split", "data_bytes", "gray", "tiling", "store", "exposures")


def evaluation_versions() -> dict[str, str]:
    """Versions of what decides the scores."""
    return {**versions(_PACKAGES), "opencv": cv2.__version__}  # the distribution may have either of two names


def open_evaluation(folder: Path, record: dict[str, Any], command: str) -> dict[str, Any]:
    """Writes `evaluation.json`, or takes up the one that is there; returns it.

    Methods that were there stay, new ones come after them; the pairs may have become more.

    Args:
      folder: made where absent.
      record: all fields but `commands`.
      command: what was asked for.

    Raises:
      UserError: the folder can't be written, or holds another evaluation.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    before = read_evaluation(folder)
    commands = []
    if before:
        _check_same(folder, before, record)
        now = {entry["name"]: entry for entry in record["methods"]}
        old = [now.pop(entry["name"], entry) for entry in before["methods"]]
        record = {**record, "methods": [*old, *now.values()]}
        commands = before["commands"]
    if command not in commands:
        commands = [*commands, command]
    record = {**record, "commands": commands}
    replace_file(folder / "evaluation.json", to_json(record).encode())
    return record


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """`evaluation.json` of a folder; None where there is none.

    Raises:
      UserError: it is damaged.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); choose another --workdir") from error


def _check_same(folder: Path, before: Mapping, now: Mapping) -> None:
    """Whether the scores of both can stand in one table."""
    different = [f"{key}={json.dumps(before.get(key))} there, {json.dumps(now.get(key))} here"
                 for key in _SETTINGS if before.get(key) != now.get(key)]
    columns_before, columns = ([metric["name"] for metric in record["metrics"]] for record in (before, now))
    if columns_before != columns:
        different.append(f"metrics {' '.join(columns_before)} there, {' '.join(columns)} here")
    if before["ids"] != now["ids"][: len(before["ids"])]:
        different.append(f"{len(before['ids'])} pairs there, {len(now['ids'])} or others here (they may only grow)")
    entries = {entry["name"]: entry for entry in before["methods"]}
    for entry in now["methods"]:
        old = entries.get(entry["name"], entry)
        different += [f"method {entry['name']}: {key} {old.get(key)} there, {entry.get(key)} here"
                      for key in ("spec", "sha256") if old.get(key) != entry.get(key)]
    if different:
        raise UserError(f"--workdir={folder} holds another evaluation ({'; '.join(different)}); choose another folder, "
                        "or the settings of that one")


class Scores:
    """`METHOD/scores.csv`: the rows there are, and new ones at their end.

    A half-written last line, what a killed process leaves, is dropped.
    """

    def __init__(self, folder: Path, columns: Sequence[str]):
        self.folder, self.columns = folder, tuple(columns)
        self.path = folder / "scores.csv"
        self.rows: dict[str, dict[str, float]] = {}
        header = _line(["id", *self.columns])
        (folder / "fused").mkdir(parents=True, exist_ok=True)
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole and not whole.startswith(header):
            raise UserError(f"{self.path} has other columns than {header.strip()}; delete it to score anew")
        for fields in csv.reader(io.StringIO(whole[len(header):])):
            try:
                name, *values = fields
                self.rows[name] = dict(zip(self.columns, map(float, values), strict=True))
            except ValueError as error:
                raise UserError(f"{self.path} is damaged at {','.join(fields)!r}; delete it to score anew") from error
        if whole != text or not whole:
            replace_file(self.path, (whole or header).encode())

    def add(self, name: str, values: Mapping[str, float]) -> None:
        """One pair's row, on the disk when this returns."""
        row = {column: float(values.get(column, math.nan)) for column in self.columns}
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line([name, *map(repr, row.values())]))
            file.flush()
            os.fsync(file.fileno())
        self.rows[name] = row


def unfinished(record: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of `evaluation.json`'s methods that still lack pairs, given each method's scored ones."""
    return [entry["name"] for entry in record["methods"]
            if set(record["ids"]) - rows[entry["name"]].keys() - set(entry["missing"])]


def _line(fields: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(fields)
    return out.getvalue()


def to_json(record: Any) -> str:
    """Indented JSON; what is infinite or undefined becomes null."""
    return json.dumps(_finite(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
