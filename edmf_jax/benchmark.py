"""Benchmarks: one data set under several conditions, each evaluated in a sub-folder, compared in one table.

    W/CONDITION/…                what `edmf evaluate` leaves in a folder; its report and resumption too
    W/summary.md, summary.json   every condition and method: the fidelity to the truth
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edmf_jax.errors import UserError
from edmf_jax.evaluate import evaluate
from edmf_jax.exposures import CONDITIONS
from edmf_jax.files import replace_file
from edmf_jax.scores import to_json
from edmf_jax.summary import Summary
from edmf_jax.tables import Cell, Table, describe, markdown_table, means_table

SHOWN = ("PSNR_truth", "SSIM_truth", "ΔE2000_truth")
"""Columns of the table; ΔE where the pictures are in colour."""


class Benchmark(NamedTuple):
    """A data set with a ground truth, and the conditions (`exposures.CONDITIONS`) that it is evaluated under."""

    dataset: str
    conditions: tuple[str, ...]


BENCHMARKS = {"mfi-whu-exposure": Benchmark("mfi_whu", ("published", "quarter-stop", "half-stop-gamma"))}
"""`--benchmark` → what it is."""


def run_benchmark(name: str, methods: Sequence[str], workdir: str | Path, *, log: Callable[[str], None] = print,
                  **options) -> Table:
    """Evaluates the methods under every condition of a benchmark; stopped, the same call goes on.

    Args:
      name: of `BENCHMARKS`.
      methods: as of `evaluate`.
      workdir: gets a folder for each condition, and the table as summary.md and summary.json.
      log: takes the lines meant for the user.
      options: further arguments of `evaluate`, but not `exposures`.

    Returns:
      A row for each condition and method: means of `SHOWN`, the best of a condition ranked first.

    Raises:
      UserError: an unknown benchmark, `workdir` holds another evaluation, or what `evaluate` raises.
      Interrupted: SIGINT or SIGTERM.
    """
    if name not in BENCHMARKS:
        raise UserError(f"--benchmark={name} is unknown; use one of {', '.join(BENCHMARKS)}")
    folder, benchmark = Path(workdir), BENCHMARKS[name]
    if (folder / "evaluation.json").exists():
        raise UserError(f"--workdir={folder} holds the evaluation of one data set; choose another folder for "
                        f"--benchmark {name}")
    summaries = {}
    for number, condition in enumerate(benchmark.conditions, 1):
        log(f"{condition} ({number} of {len(benchmark.conditions)}): {CONDITIONS[condition].describe()}")
        summaries[condition] = evaluate(benchmark.dataset, methods, folder / condition, exposures=condition, log=log,
                                        **options)
    table = combine(summaries)
    for suffix, text in (("md", _page(name, summaries, table)), ("json", to_json(to_record(name, summaries)))):
        replace_file(folder / f"summary.{suffix}", text.encode())
    log(f"benchmark: {folder / 'summary.md'} and .json")
    return table


def combine(summaries: Mapping[str, Summary]) -> Table:
    """The table of a benchmark, from its conditions' summaries."""
    rows: list[tuple[Cell, ...]] = []
    for condition, summary in summaries.items():
        means = means_table(summary)
        kept = [i for i, title in enumerate(means.header) if title.split(" ")[0] in SHOWN]
        rows += [(Cell(f"{condition}: {row[0].text}"), *(row[i] for i in kept)) for row in means.rows]
    header = ("Condition: method", *(means.header[i] for i in kept))
    note = "Means over pairs, to the truth at the mean of both exposures. "
    return Table("Fidelity to the truth", header, tuple(rows), note + "Best of a condition bold, second underlined.")


def to_record(name: str, summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """`summary.json`: conditions, their methods, and each mean with its interval."""
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
    conditions = (describe(summary).replace("\n", " ") for summary in summaries.values())
    return "\n\n".join([f"# Benchmark {name}", *conditions, markdown_table(table), table.note]) + "\n"
