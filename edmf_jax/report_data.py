"""An evaluation's folder as its report needs it: scores, summary, which pairs tell most.  Nothing is written here."""

import csv
import io
import itertools
import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.exposures import Exposures
from edmf_jax.images import read_image
from edmf_jax.pairs import Pairs, open_pairs
from edmf_jax.scores import read_evaluation, unfinished
from edmf_jax.scoring import STORES
from edmf_jax.summary import Summary, summarize

_NEEDED = ("dataset", "split", "data_bytes", "gray", "tiling", "store", "count", "ids", "methods", "metrics",
           "versions", "commands")
_TELLING = ("SSIM", "Qabf")  # of Table 2's metrics those that ask for the sources' structure and edges


class Evaluation(NamedTuple):
    """What `edmf evaluate` left in a folder.

    Attributes:
      folder: the folder.
      record: `evaluation.json`.
      scores: method → pair → metric → value, of methods that have all their pairs; NaN and infinities as scored.
      summary: of those methods.
    """

    folder: Path
    record: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    summary: Summary

    @property
    def methods(self) -> list[str]:
        """Names of the methods in the tables."""
        return list(self.scores)

    def fused(self, method: str, pair: str) -> np.ndarray | None:
        """The fused picture that was scored; None where its file is not there.

        Raises:
          UserError: the file is damaged.
        """
        slug = next(entry["slug"] for entry in self.record["methods"] if entry["name"] == method)
        for suffix, _ in STORES.values():
            try:
                return read_image(self.folder / slug / "fused" / f"{pair}{suffix}")
            except MissingFileError:
                continue
        return None


class Chosen(NamedTuple):
    """A pair whose pictures are shown, and why just this one."""

    id: str
    why: str


def read(folder: str | Path) -> Evaluation:
    """The evaluation in a folder; one that is being written is read as far as it is.

    Raises:
      UserError: the folder holds no evaluation, a damaged one, or no method that has all its pairs.
    """
    folder = Path(folder)
    record = read_evaluation(folder)
    if record is None:
        raise UserError(f"{folder}: no evaluation.json in it; name the --workdir of an `edmf evaluate`, of a "
                        "benchmark one of its sub-folders")
    lacks = [key for key in _NEEDED if not isinstance(record, dict) or key not in record]
    if lacks:
        raise UserError(f"{folder / 'evaluation.json'}: not written by `edmf evaluate`, it has no {', '.join(lacks)}")
    names = [metric["name"] for metric in record["metrics"]]
    rows = {entry["name"]: _read_scores(folder / entry["slug"] / "scores.csv", names) for entry in record["methods"]}
    lacking = unfinished(record, rows)
    scores = {name: found for name, found in rows.items() if name not in lacking}
    if not scores:
        raise UserError(f"{folder}: no method has scores of all {record['count']} pairs yet; finish it first: "
                        f"{record['commands'][-1]}")
    return Evaluation(folder, record, scores, summarize(record, scores, lacking))


def _read_scores(path: Path, columns: list[str]) -> dict[str, dict[str, float]]:
    """Rows of a `scores.csv`, a half-written last line left out; `Scores` would mend the file, this only reads."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    header, *lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1])) if "\n" in text else [[]]
    try:
        if lines and header != ["id", *columns]:
            raise ValueError(f"columns {','.join(header)}")
        return {name: dict(zip(columns, map(float, values), strict=True)) for name, *values in lines}
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); delete it and evaluate again") from error


def open_sources(evaluation: Evaluation, *, source: str | None = None, data_dir: str | None = None,
                 log=print) -> Pairs:
    """The data set that was evaluated, found where it was then unless told otherwise.

    Raises:
      UserError: it can't be had, or what is there is another one.
    """
    record, then = evaluation.record, _opened(evaluation.record)
    patterns = then["patterns"]
    # Configs of folders with patterns are named by the builder itself, from the folder's path.
    name = record["dataset"].partition("/")[0] if patterns else record["dataset"]
    exposures = Exposures.from_record(record["exposures"]) if record.get("exposures") else None
    try:
        pairs = open_pairs(name, record["split"], source=source or then["source"],
                           data_dir=data_dir or then["data_dir"], patterns=patterns,
                           allow_missing=then["allow_missing"], gray=record["gray"], exposures=exposures,
                           log=log)
    except UserError as error:
        raise UserError(f"the data set of {evaluation.folder} can't be opened: {error} (say where it is by --source or "
                        "--data-dir, or make a report without pictures: --images 0)") from error
    missing = [pair for pair in record["ids"] if pair not in set(pairs.ids)]
    if missing or (not patterns and pairs.data_bytes != record["data_bytes"]):
        raise UserError(f"{pairs.dataset}, split {pairs.split}, is not the data set that was evaluated: "
                        f"{len(pairs.ids)} pairs of {pairs.data_bytes} bytes there, {record['count']} of "
                        f"{record['data_bytes']} then; name the right one by --source or --data-dir, or use --images 0")
    return pairs


def _opened(record: Mapping[str, Any]) -> dict[str, Any]:
    """Whence the data set came; evaluations from before 22 November 2026 have it in their commands only."""
    words = shlex.split(record["commands"][-1])

    def option(name: str) -> str | None:
        return next((after for word, after in itertools.pairwise(words) if word == f"--{name}"), None)

    opened = record.get("opened")
    if not opened:
        # The command's paths were relative to a folder that we do not know: only what exists is taken.
        paths = {key: option(key.replace("_", "-")) for key in ("source", "data_dir")}
        patterns = {role: option(f"pattern-{role}") for role in ("a", "b", "truth")}
        opened = {**{key: path if path and Path(path).exists() else None for key, path in paths.items()},
                  "patterns": patterns if any(patterns.values()) else None}
    return {**opened, "allow_missing": "--allow-missing" in words}


def choose_pairs(evaluation: Evaluation, count: int) -> list[Chosen]:
    """The pairs to show, in the data set's order; the same evaluation gives the same ones.

    Half are the most telling: in turn, where the first method is furthest ahead of
    and furthest behind each other method, in SSIM and Qabf (of a single method: its
    highest and lowest scores).  The others are spread evenly over the rest.

    Args:
      count: how many; all where there are fewer.
    """
    ids = list(evaluation.record["ids"])
    count = min(count, len(ids))
    chosen: dict[str, str] = {}
    for pair, why in _extremes(evaluation):
        if len(chosen) >= (count + 1) // 2:
            break
        chosen.setdefault(pair, why)
    rest = [pair for pair in ids if pair not in chosen]
    picked = np.linspace(0, len(rest) - 1, count - len(chosen)).round().astype(int) if rest else ()
    chosen |= {rest[i]: "One of those spread evenly over the data set." for i in picked}
    return [Chosen(pair, chosen[pair]) for pair in ids if pair in chosen]


def _extremes(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Pairs and why they tell something, the most extreme of every comparison first."""
    ids, (first, *others) = evaluation.record["ids"], evaluation.methods
    metrics = [metric for metric in evaluation.record["metrics"] if metric["name"] in _TELLING]
    queues = []
    for other, metric in itertools.product(others or [None], metrics or evaluation.record["metrics"][:2]):
        name, sign = metric["name"], -1 if metric["better"] == "lower" else 1

        def value(method, pair, name=name):
            return evaluation.scores[method].get(pair, {}).get(name, math.nan)

        lead = {pair: sign * (value(first, pair) - (value(other, pair) if other else 0)) for pair in ids}
        # NaN comes also of infinity − infinity; sorting is stable, so equal ones keep the data set's order.
        order = sorted((pair for pair in ids if math.isfinite(lead[pair])), key=lead.get)
        low, high = ((f"One of those where {first} is furthest behind {other} in {name}.",
                      f"One of those where {first} is furthest ahead of {other} in {name}.") if other else
                     (f"One of the worst of {first} in {name}.", f"One of the best of {first} in {name}."))
        queues += [[(pair, low) for pair in order if not other or lead[pair] < 0],
                   [(pair, high) for pair in reversed(order) if not other or lead[pair] > 0]]
    for row in itertools.zip_longest(*queues):
        yield from (item for item in row if item)
