"""Photographs against a ground truth: what each `--exposure`, `--pixels` and each colour rule is worth.

    python -m benchmarks.photographs --source MFI-WHU --limit 20 [--json FILE]

prints the tables of docs/exposure.md; about 4 minutes on two idle cores.  Pairs are registered: what registration
costs is measured by `benchmarks.registration`.  "rendered" is `edmf_synthetic`'s test split.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import numpy as np

from benchmarks import colour_rules
from benchmarks.photograph_scenes import DRAWN, SETTINGS, Scene, photographs, rendered
from edmf_jax import photo, tiling
from edmf_jax.baselines import average, guided_filter
from edmf_jax.metrics import pad_to_bucket, rgb_to_gray, truth
from edmf_jax.weights import Weights, load_pretrained, load_weights

EXPOSURES = ("reference", "average", "well-exposed")
SYNTHETIC_PAIRS = 16
METRICS = ("PSNR", "SSIM", "ΔE")
Scores = dict[tuple[str, str, str], list[tuple[float, ...]]]
"""(table, setting, method) → per pair, in the order of `METRICS`."""


@jax.jit
def _score(grey, grey_truth, colour, colour_truth, frame):
    return (truth.psnr(grey, grey_truth, frame=frame), truth.ssim(grey, grey_truth, frame=frame),
            truth.delta_e_2000(colour, colour_truth, frame=frame))


def score(picture: np.ndarray, true: np.ndarray) -> tuple[float, ...]:
    """PSNR [dB] and SSIM of grey levels, mean ΔE 2000, of uint8 `[H, W, 3]`."""
    colours, frame = pad_to_bucket(np.stack([picture, true]))
    greys, _ = pad_to_bucket(np.stack([rgb_to_gray(picture), rgb_to_gray(true)]))
    return tuple(float(x) for x in _score(*greys, *colours, frame))


def measure(scene: Scene, weights: Weights, add: Callable[[str, str, tuple[float, ...]], None]) -> None:
    """All methods on one pair; `add(table, method, scores)`."""
    true = {how: scene.truth_at(how) for how in EXPOSURES}
    for how in EXPOSURES:
        options = photo.PhotoOptions(align="none", exposure=how)
        fused = photo.fuse_photos([scene.a, scene.b], options=options).image
        add("exposure", how, score(fused, true[how]))
    options = photo.PhotoOptions(align="none", exposure="average", pixels="network")
    fused = photo.fuse_photos([scene.a, scene.b], weights=weights, options=options).image
    add("exposure", "average, network", score(fused, true["average"]))
    levelled = colour_rules.levelled(scene.a, scene.b, options)
    luma = fused @ np.float32([0.299, 0.587, 0.114]) / 255
    for name, picture in colour_rules.all_of(luma, *levelled):
        add("colour", name, score(eight_bits(picture), true["average"]))
    # These know no exposure: the middle one is what they are nearest to.
    add("exposure", "preset paper", score(tiling.fuse_levels(weights.model, weights.params, scene.a, scene.b),
                                          true["average"]))
    add("exposure", "mean of the sources", score(average(scene.a, scene.b), true["average"]))
    add("exposure", "guided filter", score(guided_filter(scene.a, scene.b), true["average"]))
    add("exposure", "guided filter, levelled", score(guided_filter(*map(eight_bits, levelled)), true["average"]))


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """uint8 of floats in [0, 1], clipped."""
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def measure_all(source: Path | None, limit: int, weights: Weights) -> Scores:
    """Every setting of both data sets; without `source` the rendered one only."""
    scores: Scores = defaultdict(list)
    plans: list[tuple[str, Iterable[Scene]]] = [
        (f"rendered: {setting.name if setting else DRAWN}", rendered(setting, min(limit, SYNTHETIC_PAIRS)))
        for setting in (None, SETTINGS[-1])]
    if source:
        plans += [(f"MFI-WHU: {setting.name}", photographs(source, setting, limit)) for setting in SETTINGS]
    for name, scenes in plans:
        began, count = time.perf_counter(), 0
        for scene in scenes:
            measure(scene, weights, lambda table, method, values, name=name: scores[table, name, method].append(values))
            count += 1
        print(f"<!-- {name}: {count} pairs, {time.perf_counter() - began:.0f} s -->", flush=True)
    return scores


def table_of(scores: Scores, where: str, metric: str, *, settings_down: bool) -> str:
    """One metric's means in Markdown: settings down and methods across, or the other way round."""
    settings = list(dict.fromkeys(setting for table, setting, _ in scores if table == where))
    methods = list(dict.fromkeys(method for table, _, method in scores if table == where))
    rows, columns = (settings, methods) if settings_down else (methods, settings)
    better = "↓" if metric == "ΔE" else "↑"
    lines = [f"| {metric} {better} | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for row in rows:
        keys = [(where, row, column) if settings_down else (where, column, row) for column in columns]
        means = [np.mean(scores[key], axis=0)[METRICS.index(metric)] for key in keys]
        lines.append(f"| {row} | " + " | ".join(f"{x:.3f}" if metric == "SSIM" else f"{x:.2f}" for x in means) + " |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs", description=__doc__)
    parser.add_argument("--source", type=Path, metavar="DIR", help="MFI-WHU; without it the rendered pairs only")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="pairs of each setting (default 20)")
    parser.add_argument("--weights", metavar="W", help="a folder of weights or a name (default: those that ship)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every pair's numbers go")
    given = parser.parse_args(argv)
    began = time.perf_counter()
    weights = load_weights(given.weights) if given.weights else load_pretrained("edmf")
    scores = measure_all(given.source, given.limit, weights)
    for metric in METRICS:
        print(f"\n{table_of(scores, 'exposure', metric, settings_down=True)}")
    print(f"\n{table_of(scores, 'colour', 'ΔE', settings_down=False)}\n")
    print(f"<!-- {time.perf_counter() - began:.0f} s -->")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([{"table": t, "setting": s, "method": m, "scores": v}
                                          for (t, s, m), v in scores.items()], indent=1))


if __name__ == "__main__":
    main()
