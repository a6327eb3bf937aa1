"""Training curves of runs that follow each other, as one SVG; and thinning of their logs.

    python -m studies.training_curves results/edmf -o curves.svg
    python -m studies.training_curves --thin results/*/*/metrics.jsonl

The first takes folders DIR/1, DIR/2, … with `metrics.jsonl` and `run.json`.  Upper plot: the three parts of the current
loss (Eqs. 2, 4 and 6) times their weights, running medians of nine logged steps, on a logarithmic scale.  Lower plot:
the mean spatial frequency of each epoch's outputs, filled where the epoch was admitted to the memory.  The second drops
from logs what the plots do not use.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

from edmf_jax.io.atomic import replace_file

WIDTH, HEIGHT, LEFT, GAP = 900, 220, 60, 40  # units of the SVG: width, height of a plot, left margin, gap between plots
PARTS = {"pixel": "#1b6ca8", "grad": "#b4501e", "ssim": "#3a7d44"}  # part of the loss: color
WINDOW = 9
STEP_FIELDS = ("step", *(f"current_{part}" for part in PARTS))
EPOCH_FIELDS = ("step", "event", "sharpness", "admitted")
Run = tuple[dict, list[dict]]
"""A run's configuration and the records of its log."""


def read_records(log: Path) -> list[dict]:
    """The records of a `metrics.jsonl`."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def read_runs(folder: Path) -> list[Run]:
    """The runs 1, 2, … in `folder`.

    Raises:
      FileNotFoundError: there is no run 1.
    """
    runs, number = [], 1
    while (folder / str(number) / "metrics.jsonl").is_file() or not runs:
        run = folder / str(number)
        records = read_records(run / "metrics.jsonl")
        runs.append((json.loads((run / "run.json").read_text(encoding="utf-8"))["config"], records))
        number += 1
    return runs


def is_step(record: dict) -> bool:
    """Whether a record is of a logged step, not of an event."""
    return "event" not in record


def is_epoch_end(record: dict) -> bool:
    """Whether a record is of the end of an epoch."""
    return record.get("event") == "epoch_end"


def thin(records: Iterable[dict]) -> list[dict]:
    """The records and fields that the curves are drawn from: logged steps (loss parts) and ends of epochs."""
    return [{field: record[field] for field in (STEP_FIELDS if is_step(record) else EPOCH_FIELDS)}
            for record in records if is_step(record) or is_epoch_end(record)]


def running_medians(values: list[float]) -> list[float]:
    """For each value the median of `WINDOW` values around it; of fewer at the ends."""
    half = WINDOW // 2
    return [statistics.median(values[max(0, i - half):i + half + 1]) for i in range(len(values))]


def series(runs: list[Run]) -> tuple[list, list, list]:
    """What is plotted, with the steps of all runs counted in one sequence.

    Returns:
      lines: (color, [(step, log10 of the weighted part of the loss)]), three for each run.
      dots: (step, spatial frequency, whether the epoch was admitted).
      starts: the steps at which runs begin, and the last step.
    """
    lines, dots, starts, offset = [], [], [], 0
    for config, records in runs:
        starts.append(offset)
        logged = [record for record in records if is_step(record)]
        for part, color in PARTS.items():
            weight = config["loss"][f"{part}_weight"]
            values = running_medians([math.log10(weight * r[f"current_{part}"]) for r in logged])
            lines.append((color, [(offset + r["step"], v) for r, v in zip(logged, values)]))
        dots += [(offset + r["step"], r["sharpness"], r["admitted"]) for r in records if is_epoch_end(r)]
        offset += max(r["step"] for r in records)
    return lines, dots, [*starts, offset]


def draw(runs: list[Run]) -> str:
    """The SVG."""
    lines, dots, starts = series(runs)
    values = [v for _, points in lines for _, v in points]
    low, high = math.floor(min(values)), math.ceil(max(values))
    least, most = (extreme(sharpness for _, sharpness, _ in dots) for extreme in (min, max))
    x = lambda step: LEFT + (WIDTH - LEFT) * step / starts[-1]
    y_loss, y_sharpness = _scale(low, high, 0), _scale(least - 0.002, most + 0.002, HEIGHT + GAP)
    parts = [f'<line class="run" x1="{x(s):.1f}" y1="0" x2="{x(s):.1f}" y2="{2 * HEIGHT + GAP}"/>'
             f'<text x="{x(s) + 3:.1f}" y="10">{n}</text>' for n, s in enumerate(starts[:-1], 1)]
    parts += [f'<text x="0" y="{y_loss(power) + 4:.1f}">1e{power}</text>' for power in range(low, high + 1)]
    parts += [f'<text x="0" y="{y_sharpness(value) + 4:.1f}">{value:.3f}</text>' for value in (least, most)]
    parts += [f'<polyline stroke="{color}" points="' + " ".join(f"{x(s):.1f},{y_loss(v):.1f}" for s, v in points)
              + '"/>' for color, points in lines]
    parts += [f'<circle class="{"kept" if admitted else "left"}" cx="{x(s):.1f}" cy="{y_sharpness(v):.1f}" r="3"/>'
              for s, v, admitted in dots]
    parts += [f'<text x="{LEFT + 8 + 130 * i}" y="{HEIGHT + 24}" fill="{color}">{name} loss × its weight</text>'
              for i, (name, color) in enumerate(PARTS.items())]
    parts.append(f'<text x="{LEFT + 8}" y="{2 * HEIGHT + GAP + 16}">spatial frequency of an epoch (filled: '
                 f"remembered); {starts[-1]} steps from left to right, a line where a run begins</text>")
    style = ("text{font:11px sans-serif}polyline{fill:none;stroke-width:1.2}.run{stroke:#bbb}.kept{fill:#333}"
             ".left{fill:none;stroke:#333}")
    box = f"0 -12 {WIDTH} {2 * HEIGHT + GAP + 36}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"><style>{style}</style>'
            f'<rect y="-12" width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')


def _scale(low: float, high: float, top: float) -> Callable[[float], float]:
    """Value → y, with `high` at `top` and `low` at `top + HEIGHT`."""
    return lambda value: top + HEIGHT * (high - value) / (high - low)


def main(argv: list[str] | None = None) -> None:
    """Writes the SVG, or thins logs in place."""
    parser = argparse.ArgumentParser(prog="python -m studies.training_curves", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="has the runs' folders 1, 2, …")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the SVG to write")
    parser.add_argument("--thin", type=Path, nargs="+", metavar="FILE",
                        help="instead: metrics.jsonl files to reduce, in place, to what the curves are drawn from")
    options = parser.parse_args(argv)
    if options.thin and not (options.folder or options.output):
        for log in options.thin:
            replace_file(log, "".join(json.dumps(record) + "\n" for record in thin(read_records(log))).encode())
    elif options.folder and options.output and not options.thin:
        replace_file(options.output, draw(read_runs(options.folder)).encode())
    else:
        parser.error("give a folder of runs and --output FILE, or --thin FILE …")


if __name__ == "__main__":
    main()
