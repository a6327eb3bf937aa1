"""Methods on a data set: fused pictures, scores per pair, a summary; stopped at any moment, it goes on.

Three things overlap: pictures are decoded ahead, the main thread fuses, and
another one stores what was fused and scores it.  A row is written as soon as its
picture is scored.
"""

import collections
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from edmf_jax.errors import UserError
from edmf_jax.exposures import find_condition
from edmf_jax.files import replace_file
from edmf_jax.interrupt import Interrupted, InterruptFlag
from edmf_jax.methods import Method, make_methods, with_slugs
from edmf_jax.pairs import Pairs, Scene, open_pairs
from edmf_jax.scores import Scores, evaluation_versions, open_evaluation, read_evaluation, to_json, unfinished
from edmf_jax.scoring import DEFAULT_METRICS, STORES, as_stored, choose, columns, encode, score
from edmf_jax.summary import Summary, summarize, to_record
from edmf_jax.tables import to_latex, to_markdown
from edmf_jax.tiling import TILINGS

_DECODERS, _DECODED_AHEAD, _SCORED_BEHIND = 4, 4, 4


def evaluate(dataset: str, methods: Sequence[str], workdir: str | Path, *, source: str | None = None,
             split: str = "test", tiling: str = "whole", store: str = "png", gray: bool = False,
             metrics: Sequence[str] = DEFAULT_METRICS, limit: int | None = None, data_dir: str | None = None,
             patterns: Mapping[str, str | None] | None = None, allow_missing: bool = False,
             exposures: str | None = None, log: Callable[[str], None] = print) -> Summary:
    """Fuses and scores a data set's pairs by every method, and compares the methods.

    Metrics are those of the paper's Table 2, in its toolbox's conventions, or others,
    on grey levels (MATLAB's rgb2gray of sources and fused picture), and the fidelity to
    the truth where the data set has one, as `PSNR_truth`, …

    Args:
      dataset: a TFDS name of ours: "edmf", "lytro", "edmf_synthetic/tiny", …
      methods: each SPEC or LABEL=SPEC, see `methods.make_methods`.
      workdir: the folder for pictures, scores and summary (`scores`).  What is in it
        is not done again; methods and pairs may be added.
      source: the published files, for a data set that is not prepared yet.
      split: of the data set.
      tiling: how weights see a picture, "whole" or "mufusion" (`tiling`).
      store: "png", or "jpeg75": pictures are scored after JPEG of quality 75, as Table 2's evidently were
        (a `folder:` of JPEG files is scored as it is).
      gray: fuse grey levels, as Table 2's protocol does, instead of the pictures as they are.
      metrics: names or groups of them (`scoring.choose`); the same at every call for a folder.
      limit: only so many pairs, the first ones.
      data_dir: where TFDS keeps prepared data.
      patterns: file names of "image_pairs" (`open_dataset`).
      allow_missing: go on without pairs that the data set's copy, or a `folder:` method, lacks.
      exposures: the condition (`exposures.CONDITIONS`) at which sources and truth are taken; None: as they are.
      log: takes the lines meant for the user.

    Returns:
      The summary that the three summary files show.

    Raises:
      UserError: a mistake in what was given; `workdir` holds another evaluation; pictures are missing.
      Interrupted: SIGINT or SIGTERM; the same call goes on.
    """
    _check_choice("--tiling", tiling, TILINGS)
    _check_choice("--store", store, STORES)
    choose(metrics)
    condition = find_condition(exposures)
    pairs = open_pairs(dataset, split, source=source, data_dir=data_dir, patterns=patterns,
                       allow_missing=allow_missing, limit=limit, gray=gray, exposures=condition, log=log)
    folder = Path(workdir)
    known = read_evaluation(folder)
    chosen = with_slugs(make_methods(methods, pairs.ids, tiling=tiling), known["methods"] if known else ())
    _check_missing(chosen, len(pairs.ids), allow_missing, log)
    command = _command(dataset, methods, folder, source=source, split=split, tiling=tiling, store=store, gray=gray,
                       metrics=tuple(metrics), limit=limit, data_dir=data_dir, allow_missing=allow_missing,
                       exposures=exposures, **{f"pattern_{role}": text for role, text in (patterns or {}).items()})
    record = open_evaluation(folder, {
        "dataset": pairs.dataset, "split": split, "data_bytes": pairs.data_bytes, "gray": gray, "tiling": tiling,
        "store": store, "exposures": condition and condition.to_record(), "count": len(pairs.ids), "ids": pairs.ids,
        "methods": [method.entry for method in chosen],
        "metrics": columns(truth=pairs.has_truth, color=pairs.is_color, metrics=metrics),
        "versions": evaluation_versions(),
        "opened": {"source": source and str(Path(source).absolute()), "patterns": patterns,
                   "data_dir": data_dir and str(Path(data_dir).absolute())}}, command)
    names = [metric["name"] for metric in record["metrics"]]
    books = {entry["name"]: Scores(folder / entry["slug"], names) for entry in record["methods"]}
    _run(pairs, [_Job(m, books[m.name], "png" if m.as_stored else store, metrics) for m in chosen], log)
    return _write_summary(folder, record, books, log)


class _Job(NamedTuple):
    """A method, where its scores go, how its pictures are stored, and the metrics they are scored by."""

    method: Method
    book: Scores
    store: str
    metrics: Sequence[str]

    def wanted(self, name: str) -> bool:
        """Whether this pair is still to be done."""
        return name not in self.book.rows and name not in self.method.missing

    def picture(self, name: str) -> Path:
        """Where the fused picture is stored."""
        return self.book.folder / "fused" / f"{name}{STORES[self.store][0]}"


def _run(pairs: Pairs, jobs: Sequence[_Job], log: Callable[[str], None]) -> None:
    """Does what is not done yet."""
    for job in jobs:
        _check_unchanged(job)
    total = len(pairs.ids) * len(jobs) - sum(len(job.method.missing) for job in jobs)
    left = sum(job.wanted(name) for job in jobs for name in pairs.ids)
    if 0 < left < total:
        log(f"{total - left} of {total} pictures are scored already: going on with the other {left}")
    seconds: dict[str, list[float]] = {job.method.name: [] for job in jobs}
    with (InterruptFlag() as flag, ThreadPoolExecutor(_DECODERS) as decoders, ThreadPoolExecutor(1) as scorer,
          tqdm(total=total, initial=total - left, desc="fuse and score", unit="picture", disable=None) as bar):
        todo = (record for record in pairs.records() if any(job.wanted(record.id) for job in jobs))
        scenes = _ahead(decoders, pairs.decode, todo) if left else ()
        work = ((job, scene) for scene in scenes for job in jobs if job.wanted(scene.id))
        pending: collections.deque[tuple[_Job, str, Future]] = collections.deque()
        try:
            for job, scene in work:
                if flag.signal:
                    break
                began = time.perf_counter()
                fused = job.method.fuse(scene)
                seconds[job.method.name].append(time.perf_counter() - began)
                pending.append((job, scene.id, scorer.submit(_store_and_score, job, scene, fused)))
                if len(pending) > _SCORED_BEHIND:
                    _collect(pending, bar)
        finally:  # also where a picture can't be fused: what is done is kept
            while pending:
                _collect(pending, bar)
        if flag.signal:
            left = sum(job.wanted(name) for job in jobs for name in pairs.ids)
            raise Interrupted(f"stopped; {total - left} of {total} pictures are scored, the same command goes on",
                              flag.signal)
    for name, times in seconds.items():
        if times:
            log(f"{name}: {np.median(times):.3f} s to fuse a picture (median)")


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable) -> Iterator:
    """`map(function, items)`, a few results ahead of what was taken."""
    futures: collections.deque[Future] = collections.deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > _DECODED_AHEAD:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _store_and_score(job: _Job, scene: Scene, fused: np.ndarray) -> dict[str, float]:
    data = encode(fused, job.store)
    replace_file(job.picture(scene.id), data)
    return score(scene, as_stored(fused, data, job.store), job.metrics)


def _collect(pending: collections.deque, bar: tqdm) -> None:
    job, name, future = pending.popleft()
    job.book.add(name, future.result())
    bar.update()


def _check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UserError(f"{argument}={value} is unknown; use one of {', '.join(choices)}")


def _check_missing(methods: Sequence[Method], count: int, allow_missing: bool, log: Callable[[str], None]) -> None:
    for method in methods:
        if not method.missing:
            continue
        named = ", ".join(method.missing[:10]) + (" …" if len(method.missing) > 10 else "")
        found = f"--method {method.spec} has no picture of {len(method.missing)} of {count} pairs: {named}"
        if not allow_missing or len(method.missing) == count:
            raise UserError(f"{found}; files are found as ID.png or by the last number in their name; complete the "
                            "folder, or go on without these pairs: --allow-missing")
        log(f"{found}; they are left out of the comparison")


def _check_unchanged(job: _Job) -> None:
    """Whether pictures of a folder were replaced after they were scored."""
    for name, path in job.method.pictures.items():
        stored = job.picture(name)
        if name in job.book.rows and stored.is_file() and path.stat().st_mtime > stored.stat().st_mtime:
            raise UserError(f"{path} was changed after it was scored; delete {job.book.folder} to score it anew")


def _write_summary(folder: Path, record: Mapping[str, Any], books: Mapping[str, Scores],
                   log: Callable[[str], None]) -> Summary:
    """Summarizes the methods that have all pairs, those of earlier calls too."""
    rows = {name: book.rows for name, book in books.items()}
    lacking = unfinished(record, rows)
    complete = {name: scored for name, scored in rows.items() if name not in lacking}
    summary = summarize(record, complete, lacking)
    for name, text in (("json", to_json(to_record(summary))), ("md", to_markdown(summary)), ("tex", to_latex(summary))):
        replace_file(folder / f"summary.{name}", text.encode())
    log(f"summary: {folder / 'summary.md'}, .tex and .json")
    return summary


def _command(dataset: str, methods: Sequence[str], folder: Path, **options) -> str:
    """The command line that does the same."""
    defaults = {"split": "test", "tiling": "whole", "store": "png", "metrics": DEFAULT_METRICS}
    words = ["edmf", "evaluate", "--dataset", dataset]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False) and value != defaults.get(name):
            words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else [str(value)])]
    return shlex.join([*words, "--method", *methods, "--workdir", str(folder)])
