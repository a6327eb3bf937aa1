"""Registration against known transformations, beside OpenCV's: how exact, how often wrong, how often wrongly sure.

By itself: `python -m benchmarks.registration --trials 50 [--pictures DIR] [--pairs DIR]`.

Three kinds of trial, in turn:

- `rendered`: a pair of `edmf_synthetic` (thin lens, differing focus and exposure), one shot warped.  Exact truth.
- `photograph` (with --pictures): one photograph made into two shots, each with the other
  half out of focus, of differing gain, gamma and noise; one is warped.  Exact truth.
- `pair` (with --pairs, a folder with Source_A and Source_B as in EDMF): a real pair is registered as it is and with B
  warped.  The pairs are registered only to some px (depth, hand-held), so what is measured is whether the
  two results differ by the warp.

And `unrelated`: two different scenes; any confidence is wrong there.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks import table
from edmf_jax import registration
from edmf_jax.images import read_image
from edmf_jax.registration import transforms

SIZE = (640, 480)
WRONG_PX = 3.0  # mean corner error with an exact truth
WRONG_SHARE = 0.02  # and without one: of the diagonal
TURN_DEGREES, ZOOM, SHIFT, BEND = 5.0, 0.06, 0.04, 0.01  # the largest; zoom, shift and bend as shares of the size


def random_map(rng: np.random.Generator, shape: tuple[int, ...], model: str) -> np.ndarray:
    """A transformation as between two hand-held shots with focus breathing, reference px → moving px."""
    ends = transforms.corners(shape)
    middle, size = ends.mean(0), max(shape[:2])
    angle, zoom = np.radians(rng.uniform(-TURN_DEGREES, TURN_DEGREES)), 1 + rng.uniform(-ZOOM, ZOOM)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (ends - middle) @ turn.T + middle + rng.uniform(-SHIFT, SHIFT, 2) * size
    if model == "similarity":
        return np.vstack([np.c_[turn, moved[0] - turn @ ends[0]], [0, 0, 1]])
    bend = rng.uniform(-BEND, BEND, (4, 2)) * size
    if model == "affine":
        return np.vstack([cv2.getAffineTransform(np.float32(ends[:3]), np.float32((moved + bend)[:3])), [0, 0, 1]])
    return cv2.getPerspectiveTransform(np.float32(ends), np.float32(moved + bend))


def move(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The moving picture that `matrix` (reference → moving) registers to `image`; black where nothing is known."""
    return cv2.warpPerspective(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC)


def two_shots(rng: np.random.Generator, image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two shots of a photograph, uint8: opposite halves in focus, differing exposure; the second one moved."""
    height, width = image.shape[:2]
    direction, middle = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25)
    y, x = np.mgrid[:height, :width]
    far = (x / width - 0.5) * np.cos(direction) + (y / height - 0.5) * np.sin(direction) > middle
    far = cv2.GaussianBlur(np.float32(far), (0, 0), 6)[..., None]
    linear = (np.float32(image) / 255) ** 2.2
    radius = rng.uniform(1.0, 5.0) * max(height, width) / 800
    size = 2 * int(np.ceil(radius)) + 1
    dy, dx = np.mgrid[:size, :size] - size // 2
    disc = np.clip(radius + 0.5 - np.hypot(dx, dy), 0, 1)
    soft = cv2.filter2D(linear, -1, np.float32(disc / disc.sum()))
    stops = rng.uniform(0.2, 1.0) * rng.choice([-1, 1])
    shots = []
    for part, sign in ((far, 0.5), (1 - far, -0.5)):
        shot = linear + part * (soft - linear)
        if sign < 0:
            shot = np.clip(move(shot, matrix), 0, 1)
        shot = np.clip(shot * 2 ** (sign * stops), 0, 1) ** (rng.uniform(0.9, 1.1) / 2.2)
        noisy = shot * 255 + rng.normal(0, rng.uniform(0.5, 2.0), shot.shape)
        shots.append(np.uint8(np.clip(np.rint(noisy), 0, 255)))
    return shots[0], shots[1]


def trials(count: int, model: str, seed: int, pictures: list[Path], pairs: list[tuple[Path, Path]]) -> Iterator[dict]:
    """`count` trials of each kind there is material for: kind, reference, moving, truth, and `still` for pairs."""
    from tfds_edmf.edmf_synthetic.pair import make_pair

    last = None
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        rendered = make_pair(seed, "registration", i, SIZE)
        a, b = rendered["source_a"], rendered["source_b"]
        matrix = random_map(rng, a.shape, model)
        yield {"kind": "rendered", "reference": a, "moving": move(b, matrix), "truth": matrix}
        if pictures:
            image = _colour(pictures[i % len(pictures)])
            matrix = random_map(rng, image.shape, model)
            first, second = two_shots(rng, image, matrix)
            yield {"kind": "photograph", "reference": first, "moving": second, "truth": matrix}
            a = first
        if pairs:
            first, second = (_colour(path) for path in pairs[i % len(pairs)])
            matrix = random_map(rng, first.shape, model)
            yield {"kind": "pair", "reference": first, "moving": move(second, matrix), "truth": matrix,
                   "still": second}
            a = first
        if last is not None:
            yield {"kind": "unrelated", "reference": a, "moving": last, "truth": None}
        last = a


def _colour(path: Path) -> np.ndarray:
    image = read_image(path)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)


def run(trial: dict, method: str, model: str) -> dict:
    """What one method makes of one trial: corner error [px], whether it is wrong, sure, and seconds."""
    began = time.perf_counter()
    found = registration.register(trial["reference"], trial["moving"], model=model, method=method)
    seconds = time.perf_counter() - began
    result = {"kind": trial["kind"], "method": method, "confident": found.confident, "seconds": seconds,
              "inliers": found.inliers, "matches": found.matches, "tiles": found.tiles, "agreeing": found.agreeing,
              "residual": found.residual_px, "deviation": found.deviation_px, "overlap": found.overlap,
              "doubts": found.doubts, "error": float("inf"), "wrong": True}
    if trial["truth"] is None:
        return result
    shape = trial["reference"].shape
    result["error"] = float(transforms.corner_errors(found.matrix, trial["truth"], shape).mean())
    result["wrong"] = result["error"] > WRONG_PX
    if "still" in trial:
        still = registration.register(trial["reference"], trial["still"], model=model, method=method)
        result["wrong"] = result["error"] > WRONG_SHARE * float(np.hypot(*shape[:2]))
        result["confident"] &= still.confident
        if np.linalg.det(still.matrix):
            there = found.matrix @ np.linalg.inv(still.matrix)
            result["error"] = float(transforms.corner_errors(there, trial["truth"], shape).mean())
    return result


def rows(results: list[dict]) -> list[table.Row]:
    """A table of what `run` gave: per kind and method the error of all trials, and what went wrong how often."""
    lines = []
    for kind in dict.fromkeys(r["kind"] for r in results):
        for method in dict.fromkeys(r["method"] for r in results):
            some = [r for r in results if r["kind"] == kind and r["method"] == method]
            if not some:
                continue
            seconds = float(np.median([r["seconds"] for r in some]))
            sure = [r for r in some if r["confident"]]
            note = (f"confident {len(sure)} of {len(some)}, wrong {sum(r['wrong'] for r in some)}, "
                    f"confident and wrong {sum(r['wrong'] for r in sure)}, {seconds:.1f} s each")
            if kind == "unrelated":
                lines.append(table.measured(f"{kind}, {method}: called confident", "", [len(sure)], note))
                continue
            errors = [r["error"] for r in some]
            note = f"95th percentile {np.percentile(errors, 95):.2f} px; {note}"
            if sure:
                kept = [r["error"] for r in sure]
                note += f"; confident ones {np.median(kept):.3f} / {np.percentile(kept, 95):.2f} px"
            lines.append(table.measured(f"{kind}, {method}: mean corner error", "px", errors, note))
    return lines


def main() -> None:
    """Runs and prints; `--json` also keeps every trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each kind")
    parser.add_argument("--model", default="homography", choices=list(transforms.CONTROLS))
    parser.add_argument("--methods", nargs="+", default=list(registration.METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--pairs", type=Path, help="a folder with Source_A and Source_B")
    parser.add_argument("--json", type=Path, help="where every trial's numbers go")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    pictures = sorted(options.pictures.iterdir()) if options.pictures else []
    pairs = []
    if options.pairs:
        sides = [{path.stem.rpartition("-")[2]: path for path in (options.pairs / f"Source_{side}").iterdir()}
                 for side in "AB"]
        pairs = [(sides[0][name], sides[1][name]) for name in sorted(sides[0].keys() & sides[1].keys())]
    for some in (pictures, pairs):
        rng.shuffle(some)
    results = []
    for trial in trials(options.trials, options.model, options.seed, pictures, pairs):
        results += [run(trial, method, options.model) for method in options.methods]
        if options.json:
            options.json.write_text(json.dumps(results))
    print(table.markdown(rows(results), {"trials of each kind": str(options.trials), "model": options.model}))


if __name__ == "__main__":
    main()
