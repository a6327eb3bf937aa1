"""Photographs against a ground truth: how close each `--exposure`, `--pixels` and color rule comes to it.

    python -m studies.photographs --source MFI-WHU --limit 20 [--json FILE]

prints the tables of docs/exposure.md; about 4 minutes on two idle cores.  All pairs are registered; the errors of
registration are measured by `studies.registration`.  "rendered" is the test split of `edmf_synthetic`.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.fusion import stack, tiling
from edmf_jax.fusion.pixels import from_unit
from edmf_jax.methods.average import average
from edmf_jax.methods.guided_filter import guided_filter
from edmf_jax.metrics import pad_to_bucket, rgb_to_gray, truth
from edmf_jax.weights.store import Weights, load_pretrained, load_weights
from studies import color_rules
from studies.photograph_scenes import AS_RENDERED, EXPOSURES, SETTINGS, ExposedPair, photograph_pairs, rendered_pairs

MAX_RENDERED_PAIRS = 16
METRICS = ("PSNR", "SSIM", "ΔE")
ScoreTable = dict[tuple[str, str, str], list[tuple[float, ...]]]
"""(table, setting, method) → for each pair its scores in the order of `METRICS`."""


@jax.jit
def _score(gray, gray_truth, color, color_truth, valid_size):
    return (truth.psnr(gray, gray_truth, valid_size=valid_size), truth.ssim(gray, gray_truth, valid_size=valid_size),
            truth.delta_e_2000(color, color_truth, valid_size=valid_size))


def score(picture: np.ndarray, true: np.ndarray) -> tuple[float, ...]:
    """PSNR [dB] and SSIM of the gray levels, and the mean ΔE 2000, of uint8 pictures `[H, W, 3]`."""
    colors, valid_size = pad_to_bucket(np.stack([picture, true]))
    grays, _ = pad_to_bucket(np.stack([rgb_to_gray(picture), rgb_to_gray(true)]))
    return tuple(float(x) for x in _score(*grays, *colors, valid_size))


def measure(pair: ExposedPair, weights: Weights, add: Callable[[str, str, tuple[float, ...]], None]) -> None:
    """Scores all methods on one pair; calls `add(table, method, scores)` for each."""
    true = {how: pair.truth_at(how) for how in EXPOSURES}
    for how in EXPOSURES:
        options = stack.PhotoOptions(align="none", exposure=how)
        fused = stack.fuse_photos([pair.a, pair.b], options=options).image
        add("exposure", how, score(fused, true[how]))
    options = stack.PhotoOptions(align="none", exposure="average", pixels="network")
    fused = stack.fuse_photos([pair.a, pair.b], weights=weights, options=options).image
    add("exposure", "average, network", score(fused, true["average"]))
    at_one_exposure = color_rules.to_one_exposure(pair.a, pair.b, options)
    fused_luma = luma(fused.astype(np.float32)) / 255
    for name, picture in color_rules.apply_rules(fused_luma, *at_one_exposure):
        add("color", name, score(from_unit(picture, np.uint8), true["average"]))
    # The remaining methods leave exposures alone; their results are closest to the average.
    as_published = tiling.fuse_levels(weights.model, weights.params, pair.a, pair.b)
    add("exposure", "preset paper", score(as_published, true["average"]))
    add("exposure", "mean of the sources", score(average(pair.a, pair.b), true["average"]))
    add("exposure", "guided filter", score(guided_filter(pair.a, pair.b), true["average"]))
    leveled = (from_unit(picture, np.uint8) for picture in at_one_exposure)
    add("exposure", "guided filter, leveled", score(guided_filter(*leveled), true["average"]))


def measure_all(source: Path | None, limit: int, weights: Weights) -> ScoreTable:
    """Scores on every setting of both data sets; without `source`, of the rendered one only."""
    scores: ScoreTable = defaultdict(list)
    plans: list[tuple[str, Iterable[ExposedPair]]] = [
        (f"rendered: {setting.name if setting else AS_RENDERED}",
         rendered_pairs(setting, min(limit, MAX_RENDERED_PAIRS)))
        for setting in (None, SETTINGS[-1])]
    if source:
        plans += [(f"MFI-WHU: {setting.name}", photograph_pairs(source, setting, limit)) for setting in SETTINGS]
    for name, pairs in plans:
        began, count = time.perf_counter(), 0
        for pair in pairs:
            measure(pair, weights, lambda table, method, values, name=name: scores[table, name, method].append(values))
            count += 1
        print(f"<!-- {name}: {count} pairs, {time.perf_counter() - began:.0f} s -->", flush=True)
    return scores


def markdown_table(scores: ScoreTable, table: str, metric: str, *, setting_rows: bool) -> str:
    """One metric's means in Markdown: a row for each setting and a column for each method, or the other way round."""
    settings = list(dict.fromkeys(setting for name, setting, _ in scores if name == table))
    methods = list(dict.fromkeys(method for name, _, method in scores if name == table))
    rows, columns = (settings, methods) if setting_rows else (methods, settings)
    better = "↓" if metric == "ΔE" else "↑"
    lines = [f"| {metric} {better} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for row in rows:
        keys = [(table, row, column) if setting_rows else (table, column, row) for column in columns]
        means = [np.mean(scores[key], axis=0)[METRICS.index(metric)] for key in keys]
        lines.append(f"| {row} | " + " | ".join(f"{x:.3f}" if metric == "SSIM" else f"{x:.2f}" for x in means) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m studies.photographs", description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, metavar="DIR", help="MFI-WHU; without it the rendered pairs only")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="pairs of each setting (default 20)")
    parser.add_argument("--weights", metavar="W", help="a folder of weights or a name (default: those that ship)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every pair's numbers go")
    given = parser.parse_args(argv)
    began = time.perf_counter()
    weights = load_weights(given.weights) if given.weights else load_pretrained("edmf")
    scores = measure_all(given.source, given.limit, weights)
    for metric in METRICS:
        print(f"\n{markdown_table(scores, 'exposure', metric, setting_rows=True)}")
    print(f"\n{markdown_table(scores, 'color', 'ΔE', setting_rows=False)}\n")
    print(f"<!-- {time.perf_counter() - began:.0f} s -->")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([{"table": t, "setting": s, "method": m, "scores": v}
                                          for (t, s, m), v in scores.items()], indent=1))


if __name__ == "__main__":
    main()
