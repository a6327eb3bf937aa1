"""Runs methods on a data set: fused pictures, scores per pair, a summary.

It can be stopped at any moment; the same call continues (`jobs`).
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edmf_jax.core.exposures import TRUTHS, find_condition
from edmf_jax.data.pairs import open_pairs
from edmf_jax.errors import UserError
from edmf_jax.evaluation.jobs import Job, run_jobs
from edmf_jax.evaluation.methods import Method, make_methods, with_slugs
from edmf_jax.evaluation.provenance import evaluation_versions
from edmf_jax.evaluation.rows import check_rows_file, write_rows
from edmf_jax.evaluation.scoring import DEFAULT_METRICS, STORES, choose_metrics, metric_columns
from edmf_jax.evaluation.store import ScoreStore, open_evaluation, read_evaluation, unfinished, work_folder
from edmf_jax.evaluation.summary import Summary, summarize, to_record
from edmf_jax.evaluation.tables import to_latex, to_markdown
from edmf_jax.fusion.tiling import TILINGS
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json


def evaluate(dataset: str, methods: Sequence[str], workdir: str | Path, *, source: str | None = None,
             split: str = "test", tiling: str = "whole", store: str = "png", gray: bool = False,
             metrics: Sequence[str] = DEFAULT_METRICS, limit: int | None = None, every: int = 1,
             data_dir: str | None = None, patterns: Mapping[str, str | None] | None = None,
             allow_missing: bool = False, exposures: str | None = None, truth_at: str | None = None,
             rim_px: int = 0, as_published: bool = False, csv: str | Path | None = None,
             log: Callable[[str], None] = print) -> Summary:
    """Fuses and scores a data set's pairs by every method, and compares the methods.

    By default the metrics are those of the paper's Table 2, with its toolbox's conventions, on gray levels (MATLAB's
    rgb2gray of sources and fused picture).  If the data set has a ground truth, the fidelity to it is added, as
    `PSNR_truth`, ….

    Args:
      dataset: name of one of our TFDS data sets: "edmf", "lytro", "edmf_synthetic/tiny", ….
      methods: each SPEC or LABEL=SPEC, see `methods.make_methods`.
      workdir: the folder for pictures, scores and summary (see `store`).  What is in it already is not computed again;
        methods and pairs may be added.
      source: the published files, for a data set that is not prepared yet.
      split: of the data set.
      tiling: how weights process a picture, "whole" or "mufusion" (see `fusion.tiling`).
      store: "png", or "jpeg75": score pictures after JPEG compression of quality 75, as was evidently done for Table 2
        (a `folder:` of JPEG files is scored as it is).
      gray: fuse gray levels, as in Table 2's protocol, instead of the pictures in color.
      metrics: names or groups of metrics (see `scoring.choose_metrics`); the same in every call for a folder.
      limit: use only this many pairs, the first ones; None: all.
      every: use only each pair whose place in the split, counted from 1, is a multiple of this.
      data_dir: where TFDS keeps prepared data.
      patterns: file names of "image_pairs" (see `open_dataset`).
      allow_missing: leave out pairs that are missing from the data set's copy or from a `folder:` method.
      exposures: name of the condition (`exposures.CONDITIONS`) applied to sources and truth; None: leave them as they
        are.
      truth_at: one of `exposures.TRUTHS`, the exposure of the truth, where that of the sources differs from it in a
        known way: by `exposures`, or in `edmf_synthetic`; None: the mean of both of `exposures`, or as stored.
      rim_px: not scored on each side.
      as_published: methods color and save as their authors' scripts do, instead of all in one way (`methods.base`).
      csv: a file for all rows with the SHA-256 of the pictures, too (see `rows`); None: none.
      log: called with each line meant for the user.

    Returns:
      The summary that is also written to the three summary files.

    Raises:
      UserError: a wrong argument; `workdir` holds another evaluation or files of none, or another process is using it;
        pictures are missing.
      Interrupted: SIGINT or SIGTERM; the same call continues.
    """
    _check_choice("--tiling", tiling, TILINGS)
    _check_choice("--store", store, STORES)
    choose_metrics(metrics)
    if csv is not None:
        check_rows_file(Path(csv))
    if truth_at is not None:
        _check_choice("--truth-at", truth_at, TRUTHS)
    if rim_px < 0:
        raise UserError(f"--rim-px={rim_px}: must not be negative")
    condition = find_condition(exposures)
    pairs = open_pairs(dataset, split, source=source, data_dir=data_dir, patterns=patterns,
                       allow_missing=allow_missing, limit=limit, every=every, gray=gray, exposures=condition,
                       truth_at=truth_at, log=log)
    folder = Path(workdir)
    chosen = make_methods(methods, pairs.ids, tiling=tiling, as_published=as_published, log=log)
    _check_missing(chosen, len(pairs.ids), allow_missing, log)
    command = _command_line(dataset, methods, folder, source=source, split=split, tiling=tiling, store=store,
                            gray=gray, metrics=tuple(metrics), limit=limit, every=every, data_dir=data_dir,
                            allow_missing=allow_missing, exposures=exposures, truth_at=truth_at, rim_px=rim_px or None,
                            as_published=as_published, csv=csv,
                            **{f"pattern_{role}": text for role, text in (patterns or {}).items()})
    with work_folder(folder):
        known = read_evaluation(folder)
        chosen = with_slugs(chosen, known["methods"] if known else ())
        record = open_evaluation(folder, {
            "dataset": pairs.dataset, "split": split, "data_bytes": pairs.data_bytes, "gray": gray, "tiling": tiling,
            "store": store, "exposures": condition and condition.to_record(), "truth_at": truth_at,
            "rim_px": rim_px or None, "count": len(pairs.ids),
            "ids": pairs.ids, "digests": pairs.digests, "methods": [method.entry for method in chosen],
            "metrics": metric_columns(truth=pairs.has_truth, color=pairs.is_color, metrics=metrics),
            "versions": evaluation_versions(),
            "opened": {"source": source and str(Path(source).absolute()), "patterns": patterns,
                       "data_dir": data_dir and str(Path(data_dir).absolute())}}, command)
        names = [metric["name"] for metric in record["metrics"]]
        stores = {entry["name"]: ScoreStore(folder / entry["slug"], names) for entry in record["methods"]}
        run_jobs(pairs, [Job(m, stores[m.name], "png" if m.as_stored else store, metrics, rim_px) for m in chosen], log)
        if csv is not None:
            write_rows(Path(csv), folder, record, stores)
        return _write_summary(folder, record, stores, log)


def _check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UserError(f"{argument}={value} is unknown; use one of {', '.join(choices)}")


def _check_missing(methods: Sequence[Method], count: int, allow_missing: bool, log: Callable[[str], None]) -> None:
    """Raises UserError if a method lacks pictures; with `allow_missing` only logs it, unless it has none at all."""
    for method in methods:
        if not method.missing:
            continue
        listed = ", ".join(method.missing[:10]) + (" …" if len(method.missing) > 10 else "")
        problem = f"--method {method.spec} has no picture of {len(method.missing)} of {count} pairs: {listed}"
        if not allow_missing or len(method.missing) == count:
            raise UserError(f"{problem}; files are found by name (ID.png) or by the last number in their name; "
                            "complete the folder, or leave out these pairs with --allow-missing")
        log(f"{problem}; they are left out of the comparison")


def _write_summary(folder: Path, record: Mapping[str, Any], stores: Mapping[str, ScoreStore],
                   log: Callable[[str], None]) -> Summary:
    """Summarizes all methods in the folder that have all pairs, those of earlier calls included."""
    rows = {name: store.rows for name, store in stores.items()}
    lacking = unfinished(record, rows)
    complete = {name: scored for name, scored in rows.items() if name not in lacking}
    summary = summarize(record, complete, lacking)
    for suffix, text in (("json", to_json(to_record(summary))), ("md", to_markdown(summary)),
                         ("tex", to_latex(summary))):
        replace_file(folder / f"summary.{suffix}", text.encode())
    log(f"summary: {folder / 'summary.md'}, .tex and .json")
    return summary


def _command_line(dataset: str, methods: Sequence[str], folder: Path, **options) -> str:
    """The shell command that is equivalent to a call of `evaluate`."""
    defaults = {"split": "test", "tiling": "whole", "store": "png", "metrics": DEFAULT_METRICS, "every": 1}
    words = ["edmf", "evaluate", "--dataset", dataset]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value not in (None, False) and value != defaults.get(name):
            words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else [str(value)])]
    return shlex.join([*words, "--method", *methods, "--workdir", str(folder)])
