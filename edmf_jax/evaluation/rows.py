"""All rows of an evaluation in one CSV file, to be cited and compared: method, pair, SHA-256 of the picture, scores."""

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edmf_jax.errors import UserError
from edmf_jax.evaluation.scoring import STORES
from edmf_jax.evaluation.store import ScoreStore
from edmf_jax.io.atomic import disk_errors, replace_file

_FIRST_COLUMNS = ("method", "pair", "sha256")


def check_rows_file(path: Path) -> None:
    """Raises UserError if `path` exists and is not a file of such rows, so that nothing else is replaced."""
    with disk_errors(path):
        start = path.read_bytes()[:100] if path.exists() else b""
    if start and not start.startswith(",".join(_FIRST_COLUMNS).encode()):
        raise UserError(f"--csv {path}: already there, and not a table of this command; name another file")


def write_rows(path: Path, folder: Path, record: Mapping[str, Any], stores: Mapping[str, ScoreStore]) -> None:
    """Writes the rows of all methods, in the order of methods and pairs; pairs that are not scored yet are left out.

    Args:
      path: the file; one that is there is replaced (see `check_rows_file`).
      folder: the work folder, whose stored pictures the digests are of.
      record: its `evaluation.json`.
      stores: method's name → its rows.

    Raises:
      UserError: the file can't be written, or a stored picture is gone.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIRST_COLUMNS, *(metric["name"] for metric in record["metrics"])])
    for entry in record["methods"]:
        scored = stores[entry["name"]].rows
        for pair_id in (i for i in record["ids"] if i in scored):
            digest = _digest(folder / entry["slug"] / "fused", pair_id)
            writer.writerow([entry["name"], pair_id, digest, *map(repr, scored[pair_id].values())])
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.getvalue().encode())


def _digest(folder: Path, pair_id: str) -> str:
    """SHA-256 of the stored picture's file."""
    for suffix in dict.fromkeys(suffix for suffix, _ in STORES.values()):
        file = folder / f"{pair_id}{suffix}"
        if file.is_file():
            with file.open("rb") as data:
                return hashlib.file_digest(data, "sha256").hexdigest()
    raise UserError(f"{folder}: the picture of pair {pair_id} is gone; delete its row in {folder.parent}/scores.csv, "
                    "and the same command fuses and scores it again")
