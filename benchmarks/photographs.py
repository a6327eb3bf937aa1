"""Photographs against a ground truth: what each `--exposure` and each colour rule is worth.

    python -m benchmarks.photographs --source MFI-WHU --limit 20 [--json FILE]

prints the tables of docs/exposure.md.  Pairs are registered: what registration costs is measured by
`benchmarks.registration`.  A source is given twice the same exposure in `published`; there the three choices are one.
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
        fused = photo.fuse_photos([scene.a, scene.b], weights=weights, options=options).image
        add("exposure", how, score(fused, true[how]))
        if how == "average":
            levelled = colour_rules.levelled(scene.a, scene.b, options)
            add("exposure", "guided filter, levelled", score(guided_filter(*map(eight_bits, levelled)), true[how]))
            luma = fused @ np.float32([0.299, 0.587, 0.114]) / 255
            for name, picture in colour_rules.all_of(luma, *levelled):
                add("colour", name, score(eight_bits(picture), true[how]))
    # These know no exposure: the middle one is what they are nearest to.
    add("exposure", "preset paper", score(tiling.fuse_levels(weights.model, weights.params, scene.a, scene.b),
                                          true["average"]))
    add("exposure", "mean of the sources", score(average(scene.a, scene.b), true["average"]))
    add("exposure", "guided filter", score(guided_filter(scene.a, scene.b), true["average"]))


def eight_bits(picture: np.ndarray) -> np.ndarray:
    """uint8 of floats in [0, 1], clipped."""
    return np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)


def measure_all(source: Path | None, limit: int, weights: Weights) -> Scores:
    """Every setting of both data sets; without `source` the rendered one only."""
    scores: Scores = defaultdict(list)
    plans: list[tuple[str, Iterable[Scene]]] = [
        (f"edmf_synthetic: {setting.name if setting else DRAWN}", rendered(setting, min(limit, SYNTHETIC_PAIRS)))
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


def markdown(scores: Scores, table: str, columns: tuple[str, ...]) -> str:
    """One table: a row for each setting and method, means over the pairs."""
    lines = ["| | " + " | ".join(f"{c} {'↓' if c == 'ΔE' else '↑'}" for c in columns) + " |",
             "| --- |" + " ---: |" * len(columns)]
    for (where, setting, method), values in scores.items():
        if where == table:
            means = dict(zip(METRICS, np.mean(values, axis=0)))
            cells = [f"{means[c]:.3f}" if c == "SSIM" else f"{means[c]:.2f}" for c in columns]
            lines.append(f"| {setting} ({len(values)}): {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def matrix(scores: Scores, table: str, metric: str) -> str:
    """One metric: a row for each method, a column for each setting."""
    settings = list(dict.fromkeys(setting for where, setting, _ in scores if where == table))
    methods = list(dict.fromkeys(method for where, _, method in scores if where == table))
    lines = [f"| {metric} | " + " | ".join(settings) + " |", "| --- |" + " ---: |" * len(settings)]
    for method in methods:
        means = [np.mean(scores[table, setting, method], axis=0)[METRICS.index(metric)] for setting in settings]
        lines.append(f"| {method} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
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
    print(f"\n{markdown(scores, 'exposure', METRICS)}\n\n{matrix(scores, 'colour', 'ΔE')}\n")
    print(f"<!-- {time.perf_counter() - began:.0f} s -->")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps([{"table": t, "setting": s, "method": m, "scores": v}
                                          for (t, s, m), v in scores.items()], indent=1))


if __name__ == "__main__":
    main()
