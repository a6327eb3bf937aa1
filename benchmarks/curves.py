"""Training curves of runs that followed each other, as one SVG.

    python -m benchmarks.curves results/edmf -o curves.svg

Takes folders DIR/1, DIR/2, … with `metrics.jsonl` and `run.json`.  Above: the three parts of the current loss
(Eqs. 2, 4 and 6) times their weights, medians of nine logged steps, on a logarithmic scale; below: the
mean spatial frequency of each epoch's outputs, filled where the epoch was remembered.
"""

import argparse
import json
import math
import statistics
from pathlib import Path

from edmf_jax.files import replace_file

WIDTH, HEIGHT, LEFT, GAP = 900, 220, 60, 40  # px in the SVG's own coordinates
PARTS = {"pixel": "#1b6ca8", "grad": "#b4501e", "ssim": "#3a7d44"}
WINDOW = 9


def read_runs(folder: Path) -> list[tuple[dict, list[dict]]]:
    """Configuration and logged rows of the runs 1, 2, … in `folder`.

    Raises:
      FileNotFoundError: there is no run 1.
    """
    runs, number = [], 1
    while (folder / str(number) / "metrics.jsonl").is_file() or not runs:
        run = folder / str(number)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        runs.append((json.loads((run / "run.json").read_text())["config"], rows))
        number += 1
    return runs


def medians(values: list[float]) -> list[float]:
    """Of each value and its neighbours, `WINDOW` together; fewer at the ends."""
    half = WINDOW // 2
    return [statistics.median(values[max(0, i - half):i + half + 1]) for i in range(len(values))]


def series(runs: list[tuple[dict, list[dict]]]) -> tuple[list, list, list]:
    """Lines (colour, [(step, log10 of the part)]), dots (step, spatial frequency, remembered), and where runs begin."""
    lines, dots, starts, begun = [], [], [], 0
    for config, rows in runs:
        starts.append(begun)
        logged, ends = ([r for r in rows if ("event" in r) == event] for event in (False, True))
        for part, colour in PARTS.items():
            weight = config["loss"][f"{part}_weight"]
            values = medians([math.log10(weight * r[f"current_{part}"]) for r in logged])
            lines.append((colour, [(begun + r["step"], v) for r, v in zip(logged, values)]))
        dots += [(begun + r["step"], r["sharpness"], r["admitted"]) for r in ends]
        begun += max(r["step"] for r in rows)
    return lines, dots, [*starts, begun]


def draw(runs: list[tuple[dict, list[dict]]]) -> str:
    """The SVG."""
    lines, dots, starts = series(runs)
    values = [v for _, points in lines for _, v in points]
    across = lambda step: LEFT + (WIDTH - LEFT) * step / starts[-1]
    loss = _scale(math.floor(min(values)), math.ceil(max(values)), 0)
    least, most = (end(sharpness for _, sharpness, _ in dots) for end in (min, max))
    sharp = _scale(least - 0.002, most + 0.002, HEIGHT + GAP)
    parts = [f'<line class="run" x1="{across(s):.1f}" y1="0" x2="{across(s):.1f}" y2="{2 * HEIGHT + GAP}"/>'
             f'<text x="{across(s) + 3:.1f}" y="10">{n}</text>' for n, s in enumerate(starts[:-1], 1)]
    parts += [f'<text x="0" y="{loss(p) + 4:.1f}">1e{p}</text>'
              for p in range(math.floor(min(values)), math.ceil(max(values)) + 1)]
    parts += [f'<text x="0" y="{sharp(end) + 4:.1f}">{end:.3f}</text>' for end in (least, most)]
    parts += [f'<polyline stroke="{colour}" points="' + " ".join(f"{across(s):.1f},{loss(v):.1f}" for s, v in points)
              + '"/>' for colour, points in lines]
    parts += [f'<circle class="{"kept" if kept else "left"}" cx="{across(s):.1f}" cy="{sharp(v):.1f}" r="3"/>'
              for s, v, kept in dots]
    parts += [f'<text x="{LEFT + 8 + 130 * i}" y="{HEIGHT + 24}" fill="{colour}">{name} loss × its weight</text>'
              for i, (name, colour) in enumerate(PARTS.items())]
    parts.append(f'<text x="{LEFT + 8}" y="{2 * HEIGHT + GAP + 16}">spatial frequency of an epoch (filled: '
                 f"remembered); {starts[-1]} steps from left to right, a line where a run begins</text>")
    style = ("text{font:11px sans-serif}polyline{fill:none;stroke-width:1.2}.run{stroke:#bbb}.kept{fill:#333}"
             ".left{fill:none;stroke:#333}")
    box = f"0 -12 {WIDTH} {2 * HEIGHT + GAP + 36}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"><style>{style}</style>'
            f'<rect y="-12" width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')


def _scale(low: float, high: float, top: float):
    return lambda value: top + HEIGHT * (high - value) / (high - low)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    replace_file(options.output, draw(read_runs(options.folder)).encode())


if __name__ == "__main__":
    main()
