"""What published scripts do while coloring and saving, one trap at a time on the same fused luma: its effect on scores.

    python -m studies.save_traps EDMF --pairs 20 340 180 --output save-traps.csv

The luma is the shipped network's, so that only the saving differs.  `docs/methods.md` says which script does what.
"""

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.data.pairs import Scene
from edmf_jax.evaluation.scoring import as_stored, encode, score
from edmf_jax.evaluation.statistics import bootstrap_interval
from edmf_jax.fusion.tiling import fuse_whole
from edmf_jax.io.images import read_image
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.luma_fusion import FULL_RANGE, STUDIO_RANGE, luma_levels, merge_chroma, recolor
from edmf_jax.methods.planes import levels_rounded_up, levels_stretched, levels_truncated
from edmf_jax.metrics import TABLE_2
from edmf_jax.weights.store import load_pretrained

HONEST = "none: clipped, rounded, lossless"
Trap = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _full_range(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return to_levels(recolor(luma.astype(np.float64), a, b, FULL_RANGE))


def _cut_off(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return levels_truncated(recolor(luma, a, b, FULL_RANGE))


def _as_studio_range(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return to_levels(recolor(luma, a, b, STUDIO_RANGE))


def _chroma_without_offset(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    chroma = [merge_chroma(*(x @ FULL_RANGE.forward[:, i] for x in (a, b))) for i in (1, 2)]
    return to_levels(np.stack([luma, *chroma], -1) @ FULL_RANGE.backward)


def _chroma_of_a(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    planes = cv2.cvtColor(a, cv2.COLOR_RGB2YCrCb)
    planes[..., 0] = levels_truncated(luma)
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def _jpeg(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    fused = _full_range(luma, a, b)
    return as_stored(fused, encode(fused, "jpeg75"), "jpeg75")


TRAPS: dict[str, Trap] = {
    HONEST: _full_range,
    "levels cut off to integers": _cut_off,
    "luma stretched to 0…255": lambda luma, a, b: _full_range(levels_stretched(luma), a, b),
    "luma scaled to a maximum of 255": lambda luma, a, b: _full_range(levels_rounded_up(luma * 255 / luma.max()), a, b),
    "full-range luma colored as studio range": _as_studio_range,
    "chroma merged without its offset of 128": _chroma_without_offset,
    "8-bit luma, chroma of the first picture": _chroma_of_a,
    "JPEG of quality 75": _jpeg,
}
"""Trap → a function of fused luma `[H, W]` (levels, float64, not clipped) and both sources (uint8 `[H, W, 3]`), which
gives the picture that is scored: uint8 `[H, W, 3]`."""


def score_traps(scene: Scene, luma: np.ndarray) -> Iterator[tuple[str, dict[str, float]]]:
    """Name and Table 2's metrics of every trap; `luma` as in `TRAPS`."""
    for name, save in TRAPS.items():
        yield name, score(scene, save(luma, scene.a, scene.b))


def fused_luma(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shipped network's luma of two uint8 pictures: levels, float64 `[H, W]`, not clipped."""
    weights = load_pretrained("edmf")
    planes = ((luma_levels(x, FULL_RANGE) / 255).astype(np.float32) for x in (a, b))
    return 255 * fuse_whole(weights.model, weights.params, *planes).astype(np.float64)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown: the honest means, and each trap's mean difference from them with half its 95 % bootstrap interval.

    Args:
      rows: pair, trap, metrics, as in the CSV file; every pair has every trap.
    """
    values = {name: np.array([row[2:] for row in rows if row[1] == name], float) for name in TRAPS}
    lines = [f"| trap | {' | '.join(m.name for m in TABLE_2)} |", "| --- |" + " ---: |" * len(TABLE_2),
             f"| {HONEST} | {' | '.join(f'{mean:.3f}' for mean in values[HONEST].mean(0))} |"]
    for name in list(TRAPS)[1:]:
        intervals = [bootstrap_interval(column) for column in (values[name] - values[HONEST]).T]
        cells = [f"{i.mean:+.3f} ± {(i.high - i.low) / 2:.3f}".replace("-", "−") for i in intervals]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Scores the pairs that the CSV file lacks, adds their rows to it and prints the table of all."""
    parser = argparse.ArgumentParser(prog="python -m studies.save_traps", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edmf", type=Path, help="the published folder, with Source_A and Source_B")
    parser.add_argument("--pairs", type=int, nargs="+", required=True, help="published numbers")
    parser.add_argument("--output", type=Path, required=True, help="the CSV file")
    args = parser.parse_args(argv)
    if not args.output.exists():
        args.output.write_text(f"pair,trap,{','.join(m.name for m in TABLE_2)}\n", encoding="utf-8")
    done = {row[0] for row in _read(args.output)}
    for number in (n for n in args.pairs if str(n) not in done):
        a, b = (read_image(args.edmf / f"Source_{x}" / f"bg-{x}-{number}.jpg") for x in "AB")
        scored = list(score_traps(Scene(str(number), a, b), fused_luma(a, b)))
        with args.output.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [number, name, *(repr(float(values[m.name])) for m in TABLE_2)] for name, values in scored)
    print(table(_read(args.output)))


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


if __name__ == "__main__":
    main()
