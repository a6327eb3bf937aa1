"""What the report of an evaluation is made from: its scores and summary, its data set, and the pairs to show.

Reads the folder of an `edmf evaluate`; writes nothing.
"""

import csv
import io
import itertools
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.core.exposures import Exposures
from edmf_jax.data.pairs import Pairs, open_pairs
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.evaluation.scoring import STORES
from edmf_jax.evaluation.store import read_evaluation, unfinished
from edmf_jax.evaluation.summary import Summary, summarize
from edmf_jax.io.images import read_image

_REQUIRED_FIELDS = ("dataset", "split", "data_bytes", "gray", "tiling", "store", "count", "ids", "methods", "metrics",
                    "versions", "commands")
_CHOICE_METRICS = ("SSIM", "Qabf")  # those of Table 2 that compare with the sources' structure and edges


class Evaluation(NamedTuple):
    """What `edmf evaluate` left in a folder.

    Attributes:
      folder: the folder.
      record: `evaluation.json`.
      scores: method → pair → metric → value, of the methods that have all their pairs; NaN and infinities as scored.
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

    def read_fused(self, method: str, pair: str) -> np.ndarray | None:
        """The fused picture that was scored; None if its file is missing.

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


class ChosenPair(NamedTuple):
    """A pair whose pictures are shown, and the reason in a sentence."""

    id: str
    why: str


def load_evaluation(folder: str | Path) -> Evaluation:
    """The evaluation in a folder.  While one is still running, methods that lack pairs are left out.

    Raises:
      UserError: the folder holds no evaluation, a damaged one, or no method that has all its pairs.
    """
    folder = Path(folder)
    record = read_evaluation(folder)
    if record is None:
        raise UserError(f"{folder}: no evaluation.json in it; name the --workdir of an `edmf evaluate`, of a "
                        "benchmark one of its sub-folders")
    absent = [key for key in _REQUIRED_FIELDS if not isinstance(record, dict) or key not in record]
    if absent:
        raise UserError(f"{folder / 'evaluation.json'}: not written by `edmf evaluate`, it has no {', '.join(absent)}")
    metrics = [metric["name"] for metric in record["metrics"]]
    rows = {entry["name"]: _read_scores(folder / entry["slug"] / "scores.csv", metrics) for entry in record["methods"]}
    incomplete = unfinished(record, rows)
    scores = {name: values for name, values in rows.items() if name not in incomplete}
    if not scores:
        raise UserError(f"{folder}: no method has scores of all {record['count']} pairs yet; finish it first: "
                        f"{record['commands'][-1]}")
    return Evaluation(folder, record, scores, summarize(record, scores, incomplete))


def _read_scores(path: Path, columns: list[str]) -> dict[str, dict[str, float]]:
    """Pair → metric → value from a `scores.csv`, without a half-written last line.

    `evaluation.store.ScoreStore` would cut that line off the file; a report leaves the file as it is.
    """
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


def open_source_pairs(evaluation: Evaluation, *, source: str | None = None, data_dir: str | None = None,
                      log: Callable[[str], None] = print) -> Pairs:
    """The data set that was evaluated.

    Args:
      evaluation: its record says where the data set was.
      source: the published files, if they have moved.
      data_dir: TFDS's folder, if it has moved.
      log: takes lines for the user.

    Raises:
      UserError: the data set can't be opened, or it is another one.
    """
    record, recorded = evaluation.record, _recorded_options(evaluation.record)
    patterns = recorded["patterns"]
    # With patterns the builder derives the config's name from the folder's path, so only the data set is named.
    name = record["dataset"].partition("/")[0] if patterns else record["dataset"]
    exposures = Exposures.from_record(record["exposures"]) if record.get("exposures") else None
    try:
        pairs = open_pairs(name, record["split"], source=source or recorded["source"],
                           data_dir=data_dir or recorded["data_dir"], patterns=patterns,
                           allow_missing=recorded["allow_missing"], gray=record["gray"], exposures=exposures, log=log)
    except UserError as error:
        raise UserError(f"the data set of {evaluation.folder} can't be opened: {error} (say where it is by --source or "
                        "--data-dir, or make a report without pictures: --images 0)") from error
    here = dict(zip(pairs.ids, pairs.digests))
    missing = [pair for pair in record["ids"] if pair not in here]
    digests = zip(record["ids"], record.get("digests", ()))  # absent from older evaluations
    changed = [pair for pair, digest in digests if here.get(pair, digest) != digest]
    if changed:
        raise UserError(f"{pairs.dataset}, split {pairs.split}, has other pictures of {len(changed)} pairs than the "
                        f"evaluated one ({', '.join(changed[:5])}{' …' if len(changed) > 5 else ''}); name the right "
                        "one by --source or --data-dir, or use --images 0")
    if missing or (not patterns and pairs.data_bytes != record["data_bytes"]):
        raise UserError(f"{pairs.dataset}, split {pairs.split}, is not the data set that was evaluated: it has "
                        f"{len(pairs.ids)} pairs of {pairs.data_bytes} bytes, the evaluated one had {record['count']} "
                        f"of {record['data_bytes']}; name the right one by --source or --data-dir, or use --images 0")
    return pairs


def _recorded_options(record: Mapping[str, Any]) -> dict[str, Any]:
    """How the data set was opened: source, data_dir, patterns, allow_missing.

    Evaluations from before 22 November 2026 have no field for it, only their command lines.
    """
    words = shlex.split(record["commands"][-1])

    def option(name: str) -> str | None:
        return next((value for word, value in itertools.pairwise(words) if word == f"--{name}"), None)

    opened = record.get("opened")
    if not opened:
        # Paths in a command were relative to a folder that is unknown: only those that exist are used.
        paths = {key: option(key.replace("_", "-")) for key in ("source", "data_dir")}
        patterns = {role: option(f"pattern-{role}") for role in ("a", "b", "truth")}
        opened = {**{key: path if path and Path(path).exists() else None for key, path in paths.items()},
                  "patterns": patterns if any(patterns.values()) else None}
    return {**opened, "allow_missing": "--allow-missing" in words}


def choose_pairs(evaluation: Evaluation, count: int) -> list[ChosenPair]:
    """The pairs to show, in the data set's order; the same evaluation gives the same ones.

    Half are those on which methods differ most: in turn, where the first method is furthest ahead of
    and furthest behind each other method, in SSIM and Qabf (of a single method: its
    highest and lowest scores).  The others are spread evenly over the rest.

    Args:
      evaluation: what is reported.
      count: how many pairs; if there are fewer, all of them.
    """
    ids = list(evaluation.record["ids"])
    count = min(count, len(ids))
    reasons: dict[str, str] = {}
    for pair, why in _most_different(evaluation):
        if len(reasons) >= (count + 1) // 2:
            break
        reasons.setdefault(pair, why)
    rest = [pair for pair in ids if pair not in reasons]
    spread = np.linspace(0, len(rest) - 1, count - len(reasons)).round().astype(int) if rest else ()
    reasons |= {rest[i]: "One of those spread evenly over the data set." for i in spread}
    return [ChosenPair(pair, reasons[pair]) for pair in ids if pair in reasons]


def _most_different(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Pairs with a reason, the most extreme one of every comparison first, then the second of every one, ….

    A comparison is a metric of the first method and another one, with a list for either sign of the difference.
    """
    ids, (first, *others) = evaluation.record["ids"], evaluation.methods
    metrics = [metric for metric in evaluation.record["metrics"] if metric["name"] in _CHOICE_METRICS]
    rankings = []
    for other, metric in itertools.product(others or [None], metrics or evaluation.record["metrics"][:2]):
        name, sign = metric["name"], -1 if metric["better"] == "lower" else 1

        def value(method, pair, name=name):
            return evaluation.scores[method].get(pair, {}).get(name, math.nan)

        lead = {pair: sign * (value(first, pair) - (value(other, pair) if other else 0)) for pair in ids}
        # Infinity − infinity is NaN, too.  Sorting is stable, so equal leads keep the data set's order.
        order = sorted((pair for pair in ids if math.isfinite(lead[pair])), key=lead.get)
        low, high = ((f"One of those where {first} is furthest behind {other} in {name}.",
                      f"One of those where {first} is furthest ahead of {other} in {name}.") if other else
                     (f"One of the worst of {first} in {name}.", f"One of the best of {first} in {name}."))
        rankings += [[(pair, low) for pair in order if not other or lead[pair] < 0],
                     [(pair, high) for pair in reversed(order) if not other or lead[pair] > 0]]
    for row in itertools.zip_longest(*rankings):
        yield from (item for item in row if item)
