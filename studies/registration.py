"""Registration against known transformations, ours and OpenCV's: how exact, how often wrong, how often wrongly sure.

    python -m studies.registration --trials 50 [--pictures DIR] [--pairs DIR] [--json FILE]

With --json, a stopped run goes on where it stopped, and another method is added to the results in the file.
`registration_trials` makes the pairs of shots.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks import table
from edmf_jax import registration
from edmf_jax.registration import transforms
from studies.registration_trials import KINDS, Material, Trial, add_material_options, find_material, make_trial

MAX_ERROR_PX = 3.0  # a larger mean error is wrong
_GRID = 24  # points along the longer side, at which map and flow are compared with the truth


def run(trial: Trial, method: str, model: str) -> dict:
    """The result of one method on one trial: mean errors [px], whether it is wrong, confidence, seconds.

    `error` is that of the matrix at the corners, `content` that of matrix and flow where the moving shot has pixels
    (`content_error`).  A map with a flow is wrong if `content` is too large, another one if `error` is.  A method that
    finds no map returns the identity; its errors count as infinite, not as those of the identity.
    """
    began = time.perf_counter()
    found = registration.register(trial.reference, trial.moving, model=model, method=method)
    seconds = time.perf_counter() - began
    result = {"confident": found.confident, "seconds": round(seconds, 3), "inliers": found.inliers,
              "matches": found.matches, "tiles": found.tiles, "agreeing": found.agreeing_tiles,
              "residual": found.residual_px, "deviation": found.deviation_px, "overlap": found.overlap,
              "doubts": found.doubts, "flow": found.flow is not None, "error": float("inf"),
              "content": float("inf"), "wrong": True}
    if trial.truth is None or not found.overlap:
        return result
    shape = trial.reference.shape
    result["error"] = float(transforms.corner_errors(found.matrix, trial.truth, shape).mean())
    result["content"] = content_error(found, trial.truth, shape, trial.moving.shape)
    if trial.unwarped is not None:
        unwarped = registration.register(trial.reference, trial.unwarped, model=model, method=method)
        result["confident"] &= unwarped.confident
        warp = found.matrix @ np.linalg.inv(unwarped.matrix)
        result["apart"] = result["error"]  # how far the published pair itself is from being registered
        result["error"] = result["content"] = float("inf")
        if unwarped.overlap:
            result["error"] = float(transforms.corner_errors(warp, trial.truth, shape).mean())
            result["content"] = content_error(found, trial.truth, shape, trial.moving.shape, unwarped)
        result["flow"] |= unwarped.flow is not None
    result["wrong"] = result["content" if result["flow"] else "error"] > MAX_ERROR_PX
    return result


def content_error(found: registration.Registration, truth: np.ndarray, reference: tuple[int, ...],
                  moving: tuple[int, ...], unwarped: registration.Registration | None = None) -> float:
    """Mean distance [px] of map and flow from the truth, at a grid of points of the reference that `moving` covers.

    Args:
      found: from the reference to the moving shot.
      truth: 3×3, reference px → moving px; with `unwarped`, from px of the moving shot before it was warped.
      reference, moving: shapes of the shots.
      unwarped: from the reference to the moving shot before it was warped.
    """
    steps = _GRID / max(reference[:2])
    rows, columns = (max(2, round(side * steps)) for side in reference[:2])
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns * reference[1] - 0.5,
                       (np.arange(rows) + 0.5) / rows * reference[0] - 0.5)
    points = np.stack([x.ravel(), y.ravel()], -1)
    wanted = transforms.project(truth, points if unwarped is None else mapped(unwarped, points))
    covered = ((wanted >= -0.5) & (wanted <= np.array([moving[1], moving[0]]) - 0.5)).all(1)
    if not covered.any():
        return float("inf")
    return float(np.linalg.norm(mapped(found, points) - wanted, axis=1)[covered].mean())


def mapped(found: registration.Registration, points: np.ndarray) -> np.ndarray:
    """Where `points` `[N, 2]`, px of the reference, lie in the moving shot, by map and flow, `[N, 2]`."""
    return transforms.project(found.matrix, points) + (0 if found.flow is None else found.flow.at(points))


def run_all(material: Material, count: int, methods: Iterable[str], log: Path | None = None,
            kinds: Iterable[str] | None = None) -> list[dict]:
    """The results of `count` trials of each kind by each method.

    Args:
      material: what trials are made from.
      count: trials of each kind.
      methods: names of `registration.METHODS`.
      log: a file of JSON lines.  Its results with the same seed and model are taken instead of running them again, and
        new ones are added.
      kinds: of trial; None: all that the material is enough for.
    """
    results = {identity(result): result for result in read_log(log)}
    requested = []
    for number in range(count):
        for kind in kinds or material.kinds():
            trial = None  # made only if a method has no result of it yet
            for method in methods:
                name = {"kind": kind, "number": number, "method": method, "seed": material.seed,
                        "model": material.model}
                requested.append(identity(name))
                if requested[-1] in results:
                    continue
                trial = trial or make_trial(material, kind, number)
                results[requested[-1]] = {**name, **run(trial, method, material.model)}
                if log:
                    with open(log, "a", encoding="utf-8") as lines:
                        lines.write(json.dumps(results[requested[-1]]) + "\n")
    return [results[name] for name in requested]


def identity(result: dict) -> tuple:
    """What makes a result unique."""
    return tuple(result[key] for key in ("kind", "number", "method", "seed", "model"))


def read_log(path: Path | None) -> list[dict]:
    """The results in a file of JSON lines; an incomplete last line, of a killed run, is cut off the file."""
    if path is None or not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        path.write_text(complete, encoding="utf-8")
    return [json.loads(line) for line in complete.splitlines()]


def table_rows(results: list[dict]) -> list[table.Row]:
    """A row for each kind and method: the errors of all trials, and how many failed."""
    rows = []
    for kind in [k for k in KINDS if any(r["kind"] == k for r in results)]:
        for method in dict.fromkeys(r["method"] for r in results):
            some = [r for r in results if r["kind"] == kind and r["method"] == method]
            if some:
                rows.append(_row(kind, method, some))
    return rows


def _row(kind: str, method: str, results: list[dict]) -> table.Row:
    confident = [r for r in results if r["confident"]]
    counts = (f"confident {len(confident)} of {len(results)}, confident and wrong "
              f"{sum(r['wrong'] for r in confident)}, {np.median([r['seconds'] for r in results]):.1f} s each")
    if kind == "unrelated":
        return table.measured(f"registration, {kind}, {method}: called confident", "share",
                              [len(confident) / len(results)], counts)
    # Nearest rank, because interpolation next to an infinite error gives NaN.
    percentile_95 = lambda values: np.percentile(values, 95, method="higher")
    errors = [r["error"] for r in results]
    note = f"95th percentile {percentile_95(errors):.2f} px, failed {sum(r['wrong'] for r in results)}, {counts}"
    if any("content" in r for r in results):
        content = [r.get("content", r["error"]) for r in results]
        note += (f"; of map and flow median {np.median(content):.3f}, 95th percentile {percentile_95(content):.2f} px, "
                 f"with a flow {sum(r.get('flow', False) for r in results)}")
    if confident:
        kept = [r["error"] for r in confident]
        note += f"; of the confident ones median {np.median(kept):.3f}, 95th percentile {percentile_95(kept):.2f} px"
    return table.measured(f"registration, {kind}, {method}: mean corner error", "px", errors, note)


def main(argv: list[str] | None = None) -> None:
    """Runs the trials and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m studies.registration", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each kind (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=list(registration.METHODS), choices=registration.METHODS,
                        help="default: all")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="default: all that there is material for")
    parser.add_argument("--json", type=Path, help="where every trial's numbers go, a line each; goes on from there")
    add_material_options(parser)
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)  # so that the methods' times are comparable on a machine with other work
    material = find_material(options.seed, options.model, options.pictures, options.pairs)
    results = run_all(material, options.trials, options.methods, options.json, options.kinds)
    print(table.markdown(table_rows(results), {"trials of each kind": str(options.trials), "model": options.model}))


if __name__ == "__main__":
    main()
