"""The work folder of an evaluation, from which a stopped evaluation continues.

    W/evaluation.json      what is evaluated: data set and its origin, settings, methods, metrics, versions, commands
    W/METHOD/scores.csv    a row per pair, written as soon as it is scored
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
from edmf_jax.io.atomic import disk_errors, replace_file
from edmf_jax.runtime.process import versions

_PACKAGES = ("edmf-jax", "jax", "jaxlib", "flax", "numpy")
# Scores stand in one table only if all of these are equal.
_SETTINGS = ("dataset", "split", "data_bytes", "gray", "tiling", "store", "exposures")


def evaluation_versions() -> dict[str, str]:
    """Versions of the packages that determine the scores."""
    # OpenCV is asked directly, because its distribution may have either of two names.
    return {**versions(_PACKAGES), "opencv": cv2.__version__}


def open_evaluation(folder: Path, record: dict[str, Any], command: str) -> dict[str, Any]:
    """Creates or updates `evaluation.json`.

    Methods that are in it already stay, and new ones follow them.  The list of pairs may have become longer.

    Args:
      folder: the work folder; created if absent.
      record: all fields but `commands`.
      command: the command line of this call, added to `commands`.

    Returns:
      The record as written.

    Raises:
      UserError: the folder can't be written, or holds another evaluation.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    before = read_evaluation(folder)
    commands = []
    if before:
        _check_same(folder, before, record)
        entries = {entry["name"]: entry for entry in record["methods"]}
        known = [entries.pop(entry["name"], entry) for entry in before["methods"]]
        record = {**record, "methods": [*known, *entries.values()]}
        commands = before["commands"]
    if command not in commands:
        commands = [*commands, command]
    record = {**record, "commands": commands}
    replace_file(folder / "evaluation.json", to_json(record).encode())
    return record


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """The `evaluation.json` of a folder; None if it has none.

    Raises:
      UserError: the file is damaged.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); choose another --workdir") from error


def _check_same(folder: Path, before: Mapping, now: Mapping) -> None:
    """Raises UserError, with all differences, if the scores of both records must not stand in one table."""
    different = [f"{key}={json.dumps(before.get(key))} there, {json.dumps(now.get(key))} here"
                 for key in _SETTINGS if before.get(key) != now.get(key)]
    columns_before, columns = ([metric["name"] for metric in record["metrics"]] for record in (before, now))
    if columns_before != columns:
        different.append(f"metrics {' '.join(columns_before)} there, {' '.join(columns)} here")
    if before["ids"] != now["ids"][: len(before["ids"])]:
        different.append(f"{len(before['ids'])} pairs there, {len(now['ids'])} or others here (pairs can only be "
                         "added)")
    entries = {entry["name"]: entry for entry in before["methods"]}
    for entry in now["methods"]:
        old = entries.get(entry["name"], entry)
        different += [f"method {entry['name']}: {key} {old.get(key)} there, {entry.get(key)} here"
                      for key in ("spec", "sha256") if old.get(key) != entry.get(key)]
    if different:
        raise UserError(f"--workdir={folder} holds another evaluation ({'; '.join(different)}); choose another folder, "
                        "or use that evaluation's settings")


class ScoreStore:
    """A method's folder: the rows of its `scores.csv`, to which new ones are appended.

    A killed process can leave an incomplete last line; it is dropped, and so its pair is scored again.

    Attributes:
      folder: the method's folder; created with its `fused` sub-folder if absent.
      columns: the metrics' names.
      path: the file.
      rows: pair's id → metric's name → score.
    """

    def __init__(self, folder: Path, columns: Sequence[str]):
        """Reads the file, or creates it with its header.

        Raises:
          UserError: the file is damaged or has other columns.
        """
        self.folder, self.columns = folder, tuple(columns)
        self.path = folder / "scores.csv"
        self.rows: dict[str, dict[str, float]] = {}
        header = _csv_line(["id", *self.columns])
        (folder / "fused").mkdir(parents=True, exist_ok=True)
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        complete = text[: text.rfind("\n") + 1]
        if complete and not complete.startswith(header):
            raise UserError(f"{self.path} has other columns than {header.strip()}; delete it to score again")
        for fields in csv.reader(io.StringIO(complete[len(header):])):
            try:
                pair_id, *values = fields
                self.rows[pair_id] = dict(zip(self.columns, map(float, values), strict=True))
            except ValueError as error:
                raise UserError(f"{self.path} is damaged at {','.join(fields)!r}; delete it to score again") from error
        if complete != text or not complete:
            replace_file(self.path, (complete or header).encode())

    def add(self, pair_id: str, values: Mapping[str, float]) -> None:
        """Appends the scores of one pair (NaN for metrics that are absent); they are on the disk when this returns."""
        row = {column: float(values.get(column, math.nan)) for column in self.columns}
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_csv_line([pair_id, *map(repr, row.values())]))
            file.flush()
            os.fsync(file.fileno())
        self.rows[pair_id] = row


def unfinished(record: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the methods in `evaluation.json` that still lack pairs.

    Args:
      record: the content of `evaluation.json`.
      rows: method's name → id of each scored pair → anything.
    """
    return [entry["name"] for entry in record["methods"]
            if set(record["ids"]) - rows[entry["name"]].keys() - set(entry["missing"])]


def _csv_line(fields: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(fields)
    return out.getvalue()


def to_json(record: Any) -> str:
    """Indented JSON, in which infinite and undefined numbers are null."""
    return json.dumps(_without_nonfinite(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _without_nonfinite(value: Any) -> Any:
    """The value with every infinite or NaN number in it replaced by None."""
    if isinstance(value, Mapping):
        return {key: _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
