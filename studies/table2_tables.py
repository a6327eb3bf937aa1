"""Tables of the rows that `studies.table2` wrote, and their files for results/.

    python -m studies.table2_tables rows.csv device.csv --variant default
    python -m studies.table2_tables rows.csv --variant jpeg75 --paper --known
    python -m studies.table2_tables rows.csv --variant published --from default
    python -m studies.table2_tables rows.csv device.csv --write results/table2/edmf

Of a row that several files have, the first file's is taken.  A method that has fewer pairs than the others is compared
with its reference method on the pairs that both have: its mean of all pairs is estimated as the reference's mean of all
pairs and the mean difference; ± is then half the interval of that difference.  With --known the reference's mean is
that of all 500 pairs of EDMF as docs/results.md has it (Baselines), of gray levels.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edmf_jax.evaluation.statistics import bootstrap_interval
from studies import save_traps
from studies.table2 import REFUSED

REFERENCES = {"max-sf": "max-sf", "max-sf-pixelwise": "max-sf", "gacn": "max-sf", "sesf": "max-sf",
              "samf": "max-sf"}
"""Method → the one whose scores vary most like its own; of others it is the Laplacian pyramid."""
KNOWN = {
    ("max-sf", "default"): "7.450 8.636 19.892 1.375 0.700 0.680 6.226 67.770",
    ("max-sf", "jpeg75"): "7.452 8.333 19.903 1.372 0.695 0.673 6.247 67.773",
    ("laplacian-pyramid", "default"): "7.544 5.791 20.310 1.242 0.664 0.676 6.475 69.040",
    ("laplacian-pyramid", "jpeg75"): "7.566 5.720 20.414 1.242 0.656 0.667 6.532 69.034",
}
"""Means over EDMF's 500 test pairs, by `edmf evaluate --gray`."""
PAPER = {"gacn": "7.522 7.468 20.632 1.288 0.706 0.645 6.686 68.156",
         "samf": "7.528 7.543 20.445 1.272 0.685 0.639 6.588 68.184",
         "zmff": "7.499 5.463 21.328 1.069 0.652 0.645 6.997 67.781",
         "mufusion": "7.613 5.324 20.247 1.067 0.563 0.640 7.326 68.545",
         "edmf": "7.567 5.598 21.498 1.189 0.653 0.667 7.121 68.720"}
"""Table 2 of the paper, DOI 10.3390/s24227287, of the methods that run here."""
_FILES = {"default": "lossless", "jpeg75": "jpeg75", "published": "published", "swapped": "swapped",
          "inner": "inner"}
_TRAP = "trap: "
_HIDDEN = ("pair", "method", "variant", "cpu_s", "sha256")


class Rows(NamedTuple):
    """Scores: (method, variant) → pair → a number per metric; their lines, by (pair, method, variant)."""

    metrics: tuple[str, ...]
    scores: Mapping[tuple[str, str], Mapping[str, np.ndarray]]
    lines: Mapping[tuple[str, str, str], Mapping[str, str]]

    def of(self, method: str, variant: str) -> Mapping[str, np.ndarray]:
        """Pair → scores; empty if there are none."""
        return self.scores.get((method, variant), {})

    def methods(self, variant: str) -> list[str]:
        """The methods that have rows of a variant, those with most pairs first."""
        found = [method for method, kind in self.scores if kind == variant]
        return sorted(found, key=lambda method: -len(self.of(method, variant)))


def read_rows(paths: Sequence[Path]) -> Rows:
    """The rows of some files of equal columns; refused pairs have a line and no scores."""
    lines: dict[tuple[str, str, str], Mapping[str, str]] = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                lines.setdefault((line["pair"], line["method"], line["variant"]), line)
    metrics = tuple(name for name in next(iter(lines.values())) if name not in _HIDDEN)
    scores: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for (pair, method, variant), line in lines.items():
        if line["sha256"] != REFUSED:
            scores.setdefault((method, variant), {})[pair] = np.array([float(line[name]) for name in metrics])
    return Rows(metrics, scores, lines)


def means(rows: Rows, variant: str, known: bool = False) -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Method → pairs, mean per metric and half its 95 % interval; estimated for those with under nine tenths."""
    most = max(len(rows.of(method, variant)) for method in rows.methods(variant))
    found = {}
    for method in rows.methods(variant):
        reference = reference_of(method)
        own, base = rows.of(method, variant), rows.of(reference, variant)
        shared = [pair for pair in own if pair in base]
        is_whole = len(own) > 0.9 * most or len(base) <= 0.9 * most
        if known and method == reference:
            found[method] = 500, np.array(KNOWN[reference, variant].split(), float), np.full(len(rows.metrics), np.nan)
            continue
        if not shared or method == reference or (is_whole and not known):
            found[method] = (len(own), *_mean_and_half(np.array(list(own.values()))))
            continue
        mean, half = _mean_and_half(np.array([own[pair] - base[pair] for pair in shared]))
        whole = np.array(KNOWN[reference, variant].split(), float) if known else np.mean(list(base.values()), 0)
        found[method] = len(shared), whole + mean, half
    return found


def reference_of(method: str) -> str:
    """See `REFERENCES`."""
    return REFERENCES.get(method, "laplacian-pyramid")


def means_table(rows: Rows, variant: str, paper: bool = False, known: bool = False) -> str:
    """Markdown: every method's pairs and means; with `paper` beside Table 2's row and how far it is off."""
    lines = _header(rows, "method", "pairs")
    for method, (count, mean, half) in means(rows, variant, known).items():
        cells = [f"{m:.3f}" + ("" if np.isnan(h) else f" ± {h:.3f}") for m, h in zip(mean, half)]
        lines.append(_line(f"{method} | {count}", cells))
        if paper and method in PAPER:
            printed = np.array(PAPER[method].split(), float)
            lines.append(_line("… the paper | 500", [f"{value:.3f}" for value in printed]))
            off = [f"{m - p:+.2f} dB" if name == "PSNR" else f"{100 * (m / p - 1):+.1f} %"
                   for name, m, p in zip(rows.metrics, mean, printed)]
            lines.append(_line("… difference | ", off))
    return "\n".join(lines)


def differences_table(rows: Rows, variant: str, base: str) -> str:
    """Markdown: how much a variant differs from another one of the same method on the same pairs."""
    lines = _header(rows, "method", "pairs")
    for method in rows.methods(variant):
        other = rows.of(method, base)
        shared = {pair: values - other[pair] for pair, values in rows.of(method, variant).items() if pair in other}
        if shared:
            mean, half = _mean_and_half(np.array(list(shared.values())))
            lines.append(_line(f"{method} | {len(shared)}", [f"{m:+.3f} ± {h:.3f}" for m, h in zip(mean, half)]))
    return "\n".join(lines)


def traps_table(rows: Rows) -> str:
    """Markdown: `save_traps.table` of the traps among the rows."""
    lines = [(pair, variant.removeprefix(_TRAP), [line[name] for name in rows.metrics])
             for (pair, _, variant), line in rows.lines.items() if variant.startswith(_TRAP)]
    count = len({pair for pair, *_ in lines})
    return f"{count} pairs\n\n{save_traps.table([[pair, trap, *cells] for pair, trap, cells in lines])}"


def write_files(rows: Rows, prefix: str) -> None:
    """A CSV file per variant, PREFIX-lossless.csv and so on; of the traps one; sorted, six digits."""
    for suffix in (*_FILES.values(), "traps"):
        chosen = [line for key, line in rows.lines.items() if _FILES.get(key[2], "traps") == suffix]
        if not chosen:
            continue
        order = {method: i for i, method in enumerate(dict.fromkeys(line["method"] for line in chosen))}
        chosen.sort(key=lambda line: (order[line["method"]], int(line["pair"])))
        with Path(f"{prefix}-{suffix}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*_HIDDEN, *rows.metrics])
            for line in chosen:
                scores = [line[name] and f"{float(line[name]):.6g}" for name in rows.metrics]
                writer.writerow([*(line[name] for name in _HIDDEN), *scores])


def _mean_and_half(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    intervals = [bootstrap_interval(column) for column in values.T]
    return np.array([i.mean for i in intervals]), np.array([(i.high - i.low) / 2 for i in intervals])


def _header(rows: Rows, *names: str) -> list[str]:
    return [f"| {' | '.join((*names, *rows.metrics))} |", "| --- |" + " ---: |" * (len(names) - 1 + len(rows.metrics))]


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |".replace("| -", "| −")


def main(argv: list[str] | None = None) -> None:
    """Prints a table, or writes files."""
    parser = argparse.ArgumentParser(prog="python -m studies.table2_tables", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="CSV")
    parser.add_argument("--variant", default="default")
    parser.add_argument("--from", dest="base", metavar="VARIANT", help="print differences from this variant")
    parser.add_argument("--paper", action="store_true", help="beside the paper's Table 2")
    parser.add_argument("--traps", action="store_true", help="print what each way of saving moves")
    parser.add_argument("--known", action="store_true", help="estimate EDMF's 500 pairs from the references' means")
    parser.add_argument("--write", metavar="PREFIX", help="write PREFIX-lossless.csv, PREFIX-jpeg75.csv, …")
    given = parser.parse_args(argv)
    rows = read_rows(given.files)
    if given.write:
        write_files(rows, given.write)
    if given.traps:
        print(traps_table(rows))
    elif not given.write:
        print(differences_table(rows, given.variant, given.base) if given.base else
              means_table(rows, given.variant, given.paper, given.known))


if __name__ == "__main__":
    main()
