"""How many real pairs `edmf fuse` refuses to register by its defaults, and why: EDMF's test pairs.

    python -m studies.pairs --pairs EDMF --json FILE.jsonl [--every 5] [--limit 100]

EDMF is a folder with Source_A and Source_B; its test pairs are those of the split `table2` (numbers 1 to 500), as far
as the folder has them.  With --json a stopped run goes on where it stopped.  The pairs have no truth: how exact maps
are, is measured by `studies.registration` and `studies.stacks`.
"""

import argparse
import collections
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, align_photos
from edmf_jax.io.images import read_image
from edmf_jax.registration.transforms import corner_errors
from studies.registration import read_log
from studies.registration_trials import find_material


def find_pairs(folder: Path, numbers: Iterable[int]) -> dict[int, tuple[Path, Path]]:
    """Number → the files of A and B, in the order of the numbers; those that the folder lacks are left out."""
    numbers = set(numbers)
    pairs = {int(a.stem.rpartition("-")[2]): (a, b) for a, b in find_material(0, "homography", None, folder).pairs}
    return {number: pairs[number] for number in sorted(pairs.keys() & numbers)}


def split_numbers() -> range:
    """The published numbers of the test split, as the data set defines it."""
    from tfds_edmf.edmf.edmf_dataset_builder import Builder  # takes seconds: TensorFlow

    return next(config.test for config in Builder.BUILDER_CONFIGS if config.name == "table2")


def register_pair(paths: tuple[Path, Path]) -> dict:
    """How the default registration of `edmf fuse` fares with a pair; A is the reference.

    `refused`: why, or ""; `seconds`: registering and warping, without reading; `moved`: mean distance of the corners
    from where they were; `flow`: whether a flow was needed on top of the map.
    """
    shots = [read_image(path) for path in paths]
    began = time.perf_counter()
    try:
        *_, (_, _, _, found) = align_photos(shots, [path.name for path in paths], options=PhotoOptions())
    except UserError as error:
        return {"refused": str(error), "seconds": round(time.perf_counter() - began, 3)}
    seconds = round(time.perf_counter() - began, 3)
    moved = corner_errors(found.matrix, np.eye(3), shots[0].shape).mean()
    return {"refused": "", "seconds": seconds, "deviation": float(found.deviation_px), "model": found.model,
            "overlap": float(found.overlap), "moved": round(float(moved), 2),
            "flow": getattr(found, "flow", None) is not None}


def run_all(pairs: dict[int, tuple[Path, Path]], log: Path | None, measure: Callable[[tuple[Path, Path]], dict]
            ) -> list[dict]:
    """What `measure` finds of all pairs; what the log, a file of JSON lines, has is not measured again."""
    results = {result["pair"]: result for result in read_log(log)}
    for number, paths in pairs.items():
        if number not in results:
            results[number] = {"pair": number, **measure(paths)}
            if log:
                with log.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(results[number]) + "\n")
    return [results[number] for number in pairs]


def markdown(results: Sequence[dict]) -> str:
    """A table of what was measured, and a line for each refused pair."""
    refused, kept = ([r for r in results if bool(r["refused"]) == is_refused] for is_refused in (True, False))
    models = collections.Counter(r["model"] for r in kept)
    rows = [("pairs", str(len(results))),
            ("refused", f"{len(refused)} ({100 * len(refused) / max(len(results), 1):.1f} %)"),
            ("seconds", _spread([r["seconds"] for r in results])),
            ("deviation of the worst corner, px", _spread([r["deviation"] for r in kept])),
            ("corners moved, px", _spread([r["moved"] for r in kept])),
            ("model", ", ".join(f"{model} {count}" for model, count in models.most_common())),
            ("with a flow", str(sum(r["flow"] for r in kept)))]
    lines = ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows), ""]
    for reason, numbers in reasons(refused).items():
        lines.append(f"- {reason}: {', '.join(map(str, numbers))}")
    return "\n".join(lines)


def reasons(refused: Iterable[dict]) -> dict[str, list[int]]:
    """Reason, its numbers left open, → the pairs that were refused for it, the most frequent first."""
    found = collections.defaultdict(list)
    for result in refused:
        inside = re.search(r"cannot be registered(?: to [^:]+:|,) (.*?); check that", result["refused"])
        for doubt in (inside[1] if inside else result["refused"]).split("; "):
            found[re.sub(r"\d+(\.\d+)?", "N", doubt)].append(result["pair"])
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    most_of_them = np.percentile(values, 95, method="higher")
    return f"median {np.median(values):.2f}, 95 % {most_of_them:.2f}, most {max(values):.2f}"


def main(argv: list[str] | None = None) -> None:
    """Registers the pairs and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m studies.pairs", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="a folder with Source_A and Source_B")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="every K-th pair only")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N of them only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every pair's numbers, a line each; goes on there")
    given = parser.parse_args(argv)
    pairs = list(find_pairs(given.pairs, split_numbers()).items())[:: given.every][: given.limit]
    print(markdown(run_all(dict(pairs), given.json, register_pair)))


if __name__ == "__main__":
    main()
