"""Registration against known transformations, beside OpenCV's: how exact, how often wrong, how often wrongly sure.

By itself: `python -m benchmarks.registration --trials 50 [--pictures DIR] [--pairs DIR] [--json FILE]`; with --json a
run that was stopped goes on, and another method is added to what is there.  As a group of `make bench` it
measures a few rendered and unrelated trials.  `registration_trials` says what is registered.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks import table
from benchmarks.registration_trials import KINDS, Material, Trial, make_trial, material
from edmf_jax import registration
from edmf_jax.registration import transforms

WRONG_PX = 3.0  # mean corner error
TRIALS, QUICK_TRIALS = 10, 3  # of each kind, in `make bench`


def run(trial: Trial, method: str, model: str) -> dict:
    """What one method makes of one trial: mean corner error [px], whether it is wrong, sure, and seconds.

    A method that finds nothing answers with the identity; its error is taken as infinite, not as that of the identity.
    """
    began = time.perf_counter()
    found = registration.register(trial.reference, trial.moving, model=model, method=method)
    seconds = time.perf_counter() - began
    result = {"confident": found.confident, "seconds": round(seconds, 3), "inliers": found.inliers,
              "matches": found.matches, "tiles": found.tiles, "agreeing": found.agreeing,
              "residual": found.residual_px, "deviation": found.deviation_px, "overlap": found.overlap,
              "doubts": found.doubts, "error": float("inf"), "wrong": True}
    if trial.truth is None or not found.overlap:
        return result
    shape = trial.reference.shape
    result["error"] = float(transforms.corner_errors(found.matrix, trial.truth, shape).mean())
    if trial.still is not None:
        still = registration.register(trial.reference, trial.still, model=model, method=method)
        result["confident"] &= still.confident
        there = found.matrix @ np.linalg.inv(still.matrix)
        result["apart"] = result["error"]  # how far the pair itself was from being registered
        result["error"] = float(transforms.corner_errors(there, trial.truth, shape).mean()) if still.overlap else np.inf
    result["wrong"] = result["error"] > WRONG_PX
    return result


def run_all(given: Material, count: int, methods: Iterable[str], kept: Path | None = None,
            kinds: Iterable[str] | None = None) -> list[dict]:
    """`count` trials of each kind by each method; what `kept`, JSON lines, has already is not run again.

    Only what was run with the same seed and model counts; a last line that was cut off is run again.
    """
    results = {identity(r): r for r in read_kept(kept)}
    asked = []
    for number in range(count):
        for kind in kinds or given.kinds():
            trial = None  # made only where a method has yet to see it
            for method in methods:
                name = {"kind": kind, "number": number, "method": method, "seed": given.seed, "model": given.model}
                asked.append(identity(name))
                if asked[-1] in results:
                    continue
                trial = trial or make_trial(given, kind, number)
                results[asked[-1]] = {**name, **run(trial, method, given.model)}
                if kept:
                    with open(kept, "a", encoding="utf-8") as lines:
                        lines.write(json.dumps(results[asked[-1]]) + "\n")
    return [results[name] for name in asked]


def identity(result: dict) -> tuple:
    """What tells one result from another."""
    return tuple(result[key] for key in ("kind", "number", "method", "seed", "model"))


def read_kept(path: Path | None) -> list[dict]:
    """The whole lines of a file of results; a part of a line is cut off it."""
    if path is None or not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def table_rows(results: list[dict]) -> list[table.Row]:
    """Per kind and method the error of all trials, and what went wrong how often."""
    rows = []
    for kind in [k for k in KINDS if any(r["kind"] == k for r in results)]:
        for method in dict.fromkeys(r["method"] for r in results):
            some = [r for r in results if r["kind"] == kind and r["method"] == method]
            if some:
                rows.append(_row(kind, method, some))
    return rows


def _row(kind: str, method: str, some: list[dict]) -> table.Row:
    sure = [r for r in some if r["confident"]]
    counts = (f"confident {len(sure)} of {len(some)}, confident and wrong {sum(r['wrong'] for r in sure)}, "
              f"{np.median([r['seconds'] for r in some]):.1f} s each")
    if kind == "unrelated":
        return table.measured(f"registration, {kind}, {method}: called confident", "share",
                              [len(sure) / len(some)], counts)
    errors = [r["error"] for r in some]
    # Nearest rank, because interpolation next to an infinite error is no number.
    high = lambda values: np.percentile(values, 95, method="higher")
    note = f"95th percentile {high(errors):.2f} px, failed {sum(r['wrong'] for r in some)}, {counts}"
    if sure:
        kept = [r["error"] for r in sure]
        note += f"; of the confident ones median {np.median(kept):.3f}, 95th percentile {high(kept):.2f} px"
    return table.measured(f"registration, {kind}, {method}: mean corner error", "px", errors, note)


def rows(repeats: int, *, quick: bool = False, given: Material | None = None) -> list[table.Row]:
    """The group of `make bench`: a few trials of the kinds that need no files, by every method."""
    count = QUICK_TRIALS if quick else max(TRIALS, repeats)
    return table_rows(run_all(given or Material(), count, registration.METHODS))


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--model", default="homography", choices=list(transforms.CONTROLS))
    parser.add_argument("--methods", nargs="+", default=list(registration.METHODS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="default: all that there is material for")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--pairs", type=Path, help="a folder with Source_A and Source_B")
    parser.add_argument("--json", type=Path, help="where every trial's numbers go, a line each; goes on from there")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # so that the methods' times compare on a machine that does other things too
    given = material(options.seed, options.model, options.pictures, options.pairs)
    results = run_all(given, options.trials, options.methods, options.json, options.kinds)
    print(table.markdown(table_rows(results), {"trials of each kind": str(options.trials), "model": options.model}))


if __name__ == "__main__":
    main()
