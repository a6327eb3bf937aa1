"""The work folder of an evaluation, from which a stopped evaluation continues.

    W/evaluation.json      what is evaluated: data set and its origin, settings, methods, metrics, commands; and, for
                           each method, which versions made which rows (see `provenance`)
    W/METHOD/scores.csv    a row per pair, written as soon as it is scored
    W/METHOD/fused/ID.png  the fused picture that was scored
"""

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edmf_jax.errors import UserError
from edmf_jax.evaluation.provenance import continued, made_by_of
from edmf_jax.io.atomic import disk_errors, replace_file
from edmf_jax.io.json_text import to_json
from edmf_jax.runtime.lock import LOCK_NAME, exclusive

# Scores stand in one table only if all of these are equal.
_SETTINGS = ("dataset", "split", "data_bytes", "gray", "tiling", "store", "exposures", "truth_at", "rim_px")
SUMMARIES = ("summary.md", "summary.tex", "summary.json")


@contextlib.contextmanager
def work_folder(folder: Path) -> Iterator[None]:
    """Creates a work folder if it is absent, and holds its lock for the length of a `with` block.

    If the block raises before anything was written there, the folder is removed again.

    Raises:
      UserError: it can't be created, or another process holds its lock.
    """
    new = not folder.exists()
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(folder):
            yield
    except BaseException:
        if new and os.listdir(folder) == [LOCK_NAME]:
            with contextlib.suppress(OSError):
                (folder / LOCK_NAME).unlink()
                folder.rmdir()
        raise


def open_evaluation(folder: Path, record: dict[str, Any], command: str) -> dict[str, Any]:
    """Creates or updates `evaluation.json`.

    Methods that are in it already stay, and new ones follow them.  The list of pairs may have become longer.

    Args:
      folder: the work folder, created if absent; the caller holds its lock (`work_folder`).
      record: all fields but `commands`; `versions` are those of this process.
      command: the command line of this call, added to `commands`.

    Returns:
      The record as written: `versions` are those that created the folder, and each method has `made_by`.

    Raises:
      UserError: the folder can't be written, or holds another evaluation, or files that are of no evaluation.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    before = read_evaluation(folder)
    now, known, commands = record["versions"], {}, []
    if before:
        _check_same(folder, before, record)
        known = {entry["name"]: {**entry, "made_by": made_by_of(entry, before)} for entry in before["methods"]}
        commands = before["commands"]
    _check_free(folder, [entry for entry in record["methods"] if entry["name"] not in known], before is None)
    methods = dict(known)
    for entry in record["methods"]:
        made_by = known[entry["name"]]["made_by"] if entry["name"] in known else []
        scored = _scored(folder / entry["slug"] / "scores.csv")
        methods[entry["name"]] = {**entry, "made_by": continued(made_by, scored, now)}
    if command not in commands:
        commands = [*commands, command]
    record = {**record, "versions": (before or record)["versions"], "methods": list(methods.values()),
              "commands": commands}
    replace_file(folder / "evaluation.json", to_json(record).encode())
    return record


def _check_free(folder: Path, methods: Sequence[Mapping[str, Any]], new: bool) -> None:
    """Raises UserError if something that is not ours has the name of a file or folder to write.

    Args:
      methods: those that are new in this folder.
      new: whether the evaluation is.
    """
    names = [*(SUMMARIES if new else ()), *(entry["slug"] for entry in methods)]
    found = [name for name in names if os.path.lexists(folder / name)]
    if found:
        raise UserError(f"--workdir={folder}: {', '.join(found)} is already there, of no evaluation in this folder, "
                        "and would be overwritten; choose another folder, or move it away")


def _scored(path: Path) -> list[str]:
    """Ids of the complete rows of a `scores.csv`; [] if there is none."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [row[0] for row in csv.reader(io.StringIO(text[: text.rfind("\n") + 1])) if row][1:]


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
    changed = [i for i, old, new in zip(now["ids"], before.get("digests", ()), now.get("digests", ())) if old != new]
    if changed:  # not known of evaluations from before 26 November 2026
        different.append(f"other pictures of {len(changed)} pairs, {', '.join(changed[:5])}"
                         f"{' …' if len(changed) > 5 else ''}")
    entries = {entry["name"]: entry for entry in before["methods"]}
    for entry in now["methods"]:
        old = entries.get(entry["name"], entry)
        different += [f"method {entry['name']}: {key} {old.get(key)} there, {entry.get(key)} here"
                      for key in ("spec", "sha256", "as_published") if old.get(key) != entry.get(key)]
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
