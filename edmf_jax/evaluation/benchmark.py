"""Benchmarks: some pairs of a data set evaluated under exposure conditions, compared in one table.

    W/CONDITION/…                a folder as `edmf evaluate` writes it, which `edmf report` can show
    W/summary.md, summary.json   fidelity to the ground truth, for every condition and method
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.errors import UserError
from edmf_jax.evaluation.benchmark_pairs import BENCHMARKS, Benchmark
from edmf_jax.evaluation.evaluate import evaluate
from edmf_jax.evaluation.store import work_folder
from edmf_jax.evaluation.summary import Summary
from edmf_jax.evaluation.tables import Cell, Table, describe, markdown_table, means_table
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json

SHOWN = ("PSNR_truth", "SSIM_truth", "ΔE2000_truth")
"""Columns of the table; ΔE only if the pictures are in color."""


def run_benchmark(name: str, methods: Sequence[str], workdir: str | Path, *, log: Callable[[str], None] = print,
                  **options) -> Table:
    """Evaluates the methods under every condition of a benchmark; if it is stopped, the same call continues.

    Args:
      name: a key of `benchmark_pairs.BENCHMARKS`.
      methods: as in `evaluate`.
      workdir: folder for a sub-folder per condition, and the table as summary.md and summary.json.
      log: called with each line meant for the user.
      options: further arguments of `evaluate`, except `exposures`, `split`, `rim_px` and `truth_at`.

    Returns:
      A table with a row for each condition and method: means of `SHOWN`, ranked within each condition.

    Raises:
      UserError: an unknown benchmark; `workdir` holds the evaluation of a single data set or a foreign summary, or
        another process is using it; any UserError of `evaluate`.
      Interrupted: SIGINT or SIGTERM.
    """
    if name not in BENCHMARKS:
        raise UserError(f"--benchmark={name} is unknown; use one of {', '.join(BENCHMARKS)}")
    folder, benchmark = Path(workdir), BENCHMARKS[name]
    if (folder / "evaluation.json").exists():
        raise UserError(f"--workdir={folder} holds the evaluation of one data set; choose another folder for "
                        f"--benchmark {name}")
    with work_folder(folder):
        _check_free(folder, benchmark)
        summaries = {}
        for number, condition in enumerate(benchmark.conditions, 1):
            log(f"{condition} ({number} of {len(benchmark.conditions)}): {CONDITIONS[condition].describe()}")
            summaries[condition] = evaluate(benchmark.dataset, methods, folder / condition, exposures=condition,
                                            log=log, **benchmark.fixed, **options)
        table = combine(summaries)
        for suffix, text in (("md", _page(name, summaries, table)), ("json", to_json(to_record(name, summaries)))):
            replace_file(folder / f"summary.{suffix}", text.encode())
    log(f"benchmark: {folder / 'summary.md'} and .json")
    return table


def _check_free(folder: Path, benchmark: Benchmark) -> None:
    """Raises UserError if a summary is there that no benchmark wrote, because no condition was evaluated."""
    found = [name for name in ("summary.md", "summary.json") if (folder / name).exists()]
    if found and not any((folder / condition / "evaluation.json").exists() for condition in benchmark.conditions):
        raise UserError(f"--workdir={folder}: {', '.join(found)} is already there, of no benchmark in this folder, and "
                        "would be overwritten; choose another folder, or move it away")


def combine(summaries: Mapping[str, Summary]) -> Table:
    """The table of a benchmark.

    Args:
      summaries: condition's name → summary; at least one.
    """
    rows: list[tuple[Cell, ...]] = []
    for condition, summary in summaries.items():
        means = means_table(summary)
        shown = [i for i, title in enumerate(means.header) if title.split(" ")[0] in SHOWN]
        rows += [(Cell(f"{condition}: {row[0].text}"), *(row[i] for i in shown)) for row in means.rows]
    header = ("Condition: method", *(means.header[i] for i in shown))
    where = "the exposure of A" if summary.about["truth_at"] == "reference" else "the mean of both exposures"
    return Table("Fidelity to the truth", header, tuple(rows), f"Means over pairs, compared with the truth at {where}. "
                 "Best of a condition bold, second underlined.")


def to_record(name: str, summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """The content of `summary.json`: conditions, their methods, and each mean with its interval."""
    conditions = []
    for condition, summary in summaries.items():
        metrics = [metric["name"] for metric in summary.metrics if metric["name"] in SHOWN]
        methods = [{"name": entry["name"],
                    "scores": {metric: summary.intervals[entry["name"]][metric]._asdict() for metric in metrics}}
                   for entry in summary.methods]
        conditions.append({**summary.about, "condition": condition, "unfinished": list(summary.unfinished),
                           "pairs": {metric: summary.pairs[metric] for metric in metrics}, "methods": methods})
    return {"benchmark": name, "conditions": conditions}


def _page(name: str, summaries: Mapping[str, Summary], table: Table) -> str:
    """The content of `summary.md`."""
    conditions = (describe(summary).replace("\n", " ") for summary in summaries.values())
    return "\n\n".join([f"# Benchmark {name}", *conditions, markdown_table(table), table.note]) + "\n"
