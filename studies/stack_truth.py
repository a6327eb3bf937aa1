"""Scores the alignment of a rendered stack: how far each shot is from where it belongs, and what was left out rightly.

    python -m studies.stack_truth FOLDER ALIGNMENT.json

FOLDER is what `studies.stack_scenes` wrote.  ALIGNMENT.json is what `edmf align --save-alignment` writes, or has the
form that all programs' alignments are brought to:

    {"reference": NAME, "shots": [{"name": …, "matrix": 3×3, reference px → shot px, "flow": None or {…}}, …],
     "left_out": [{"name": …, "reason": …}, …]}
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from edmf_jax.io.images import write_image
from edmf_jax.registration import Flow
from edmf_jax.registration.transforms import corners, project
from studies.stack_scenes import Stack
from studies.stack_settings import WRONG

WRONG_PX = 3.0  # a larger mean error is wrong, as in `studies.registration`
IN_FOCUS_PX = 1.5  # content that is blurred by no more counts as what a shot contributes to the picture
CONTENT_STEP_PX, MIN_CONTENT = 4, 50  # its pixels are taken on this grid, and are at least so many
TRUTH_FILE, VERGENCE_FILE = "truth.json", "vergence.npy"


def write_stack(stack: Stack, folder: Path, suffix: str = ".png") -> list[Path]:
    """Writes the shots as `shot-00.png`, … in their order, and the truth; returns the paths of the shots.

    `truth.json` has for each shot its size, `change`, `twins` (other shots of the same view), exposure, `focus` [1/mm],
    `fixed` and `slope` of its `View`, and `matrix`: the first shot's px → this one's px for what is in focus in this
    one (None for a wrong shot).  `vergence.npy`: 1/distance of what the first shot shows.
    """
    paths = [folder / f"shot-{number:02d}{suffix}" for number in range(len(stack.shots))]
    entries, first = [], stack.shots[0].view
    for path, shot in zip(paths, stack.shots):
        write_image(path, shot.image)
        focus = 1 / shot.view.focus_mm
        matrix = shot.view.at(focus) @ np.linalg.inv(first.at(focus))
        twins = [p.name for p, other in zip(paths, stack.shots) if other.plan.view == shot.plan.view and p != path]
        entries.append({"name": path.name, "width": shot.image.shape[1], "height": shot.image.shape[0],
                        "change": shot.plan.change, "twins": twins, "stops": shot.plan.stops, "focus": focus,
                        "matrix": None if shot.plan.view == WRONG else (matrix / matrix[2, 2]).tolist(),
                        "fixed": shot.view.fixed.tolist(), "slope": shot.view.slope.tolist()})
    np.save(folder / VERGENCE_FILE, stack.vergence)
    (folder / TRUTH_FILE).write_text(json.dumps({"blur_px": stack.blur_px, "shots": entries}, indent=1))
    return paths


@dataclasses.dataclass(frozen=True)
class Truth:
    """What `write_stack` wrote: for each shot's name its entry, the first shot's vergences, the blur per vergence."""

    shots: dict[str, dict]
    vergence: np.ndarray
    blur_px: float

    def matrix(self, base: str, name: str, vergence: float) -> np.ndarray:
        """3×3: px of shot `base` → px of shot `name`, for the plane at a vergence."""
        here, there = (np.array(self.shots[n]["fixed"]) + vergence * np.array(self.shots[n]["slope"])
                       for n in (base, name))
        return there @ np.linalg.inv(here)

    def targets(self, name: str, points: np.ndarray) -> np.ndarray:
        """Where what the first shot shows at `points` `[N, 2]`, px, lies in shot `name`."""
        first = next(iter(self.shots))
        column, row = np.clip(np.rint(points), 0, np.array(self.vergence.shape[::-1]) - 1).astype(int).T
        vergences, found = self.vergence[row, column], np.empty(points.shape)
        for vergence in np.unique(vergences):
            same = vergences == vergence
            found[same] = project(self.matrix(first, name, float(vergence)), points[same])
        return found


def read_truth(folder: Path) -> Truth:
    """What `write_stack` wrote into a folder."""
    truth = json.loads((folder / TRUTH_FILE).read_text())
    return Truth({shot["name"]: shot for shot in truth["shots"]}, np.load(folder / VERGENCE_FILE), truth["blur_px"])


def read_alignment(path: Path) -> dict:
    """An alignment from a file, in the form that all programs' alignments are brought to."""
    found = json.loads(path.read_text())
    if "left_out" in found:
        return found
    left_out = [{"name": shot["name"], "reason": shot["left_out"]} for shot in found["shots"] if "left_out" in shot]
    return {"reference": found["shots"][found["reference"] - 1]["name"],
            "shots": [shot for shot in found["shots"] if "left_out" not in shot], "left_out": left_out}


def score(truth: Truth, found: dict) -> list[dict]:
    """The result for each shot.

    Errors are measured from the first shot, whatever the program's reference is; from that reference if the first shot
    was left out.  In the frame of that shot, whose own error is not counted:

    - `corners`: distance [px] of each of its corners from where it belongs, by the plane in focus in the other shot;
    - `seen`: the same, by the depth of what the first shot shows at that corner.  Where the camera did not move it is
      the same.  Where it did, no map has all corners of both kinds right, and a flow follows what is seen;
    - `content`: mean distance of what is in focus in the other shot, and `content_within`: the share of it that is
      within a pixel; None if it is too little;
    - `everything`: mean distance of all that the first shot shows, each at its own depth;
    - `wrong`: the shot is of another scene, or its corners' mean error is over `WRONG_PX`.  Where the camera moved, so
      that no single map is right, the error of what is in focus must be too; of everything if nothing is.

    Flows count in all of them.  All but `corners` are None if the first shot was left out.

    `needed`: the shot should be placed: it is of this scene, and no twin stands for it (one placed, or an earlier one).
    """
    placed = {shot["name"]: shot for shot in found["shots"] if shot["name"] in truth.shots}
    reasons = {entry["name"]: entry["reason"] for entry in found["left_out"]}
    base = next(iter(truth.shots))
    base = base if base in placed else found["reference"]
    results = []
    for name, shot in truth.shots.items():
        good = shot["change"] != "wrong"
        replaced = any(twin in placed or twin < name for twin in shot["twins"])
        result = {"name": name, "change": shot["change"], "good": good, "placed": name in placed,
                  "needed": good and (name in placed or not replaced), "base": name == base,
                  "reason": reasons.get(name, "")}
        if name in placed and good and name != base and truth.shots[base]["change"] != "wrong":
            result |= _errors(truth, base, placed[base], placed[name], placed.get(found["reference"], placed[base]))
        result["wrong"] = name in placed and (not good or _is_far(truth, result))
        results.append(result)
    return results


def _is_far(truth: Truth, result: dict) -> bool:
    far = float(np.mean(result.get("corners", 0.0))) > WRONG_PX
    has_parallax = any(np.any(shot["slope"]) for shot in truth.shots.values())
    shown = result.get("everything") if result.get("content") is None else result["content"]
    return far and (not has_parallax or shown is None or shown > WRONG_PX)


def _errors(truth: Truth, base: str, base_shot: dict, shot: dict, frame: dict) -> dict:
    """The errors of `score`; `frame` is the entry of the program's reference."""
    entry = truth.shots[base]
    ends = corners((entry["height"], entry["width"]))

    def apart(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
        at = project(np.linalg.inv(base_shot["matrix"]), points)  # in the program's reference
        return np.linalg.norm(place(shot, frame, at) - targets, axis=-1)

    focused = project(truth.matrix(base, shot["name"], truth.shots[shot["name"]]["focus"]), ends)
    errors = {"corners": apart(ends, focused).round(4).tolist(), "seen": None, "content": None, "content_within": None,
              "everything": None, "deviation": shot.get("deviation_px"), "flow": shot.get("flow") is not None}
    if base != next(iter(truth.shots)):
        return errors
    errors["seen"] = apart(ends, truth.targets(shot["name"], ends)).round(4).tolist()
    errors["everything"] = float(apart(*shown(truth, shot["name"])).mean().round(4))
    points, targets = shown(truth, shot["name"], IN_FOCUS_PX)
    if len(points) >= MIN_CONTENT:
        content = apart(points, targets)
        errors |= {"content": float(content.mean().round(4)), "content_within": float((content <= 1).mean().round(4))}
    return errors


def shown(truth: Truth, name: str, blur_px: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Points of the first shot whose content shot `name` blurs by no more, and where they are there; `[N, 2]` px."""
    shot = truth.shots[name]
    grid = truth.vergence[::CONTENT_STEP_PX, ::CONTENT_STEP_PX]
    rows, columns = np.nonzero(truth.blur_px * np.abs(grid - shot["focus"]) <= blur_px)
    points = CONTENT_STEP_PX * np.stack([columns, rows], -1).astype(float)
    targets = truth.targets(name, points)
    ends = corners((shot["height"], shot["width"]))
    inside = ((targets >= ends[0]) & (targets <= ends[2])).all(-1)
    return points[inside], targets[inside]


def place(shot: dict, base_shot: dict, points: np.ndarray) -> np.ndarray:
    """Where a shot's map and flow put `points` (x, y) `[N, 2]`, px of the program's reference, whose entry is given."""
    mapped = project(np.array(shot["matrix"]), points)
    if shot.get("flow") is None:
        return mapped
    flow = Flow(np.array(shot["flow"]["coefficients"]), (base_shot["height"], base_shot["width"]))
    return mapped + flow.at(points)


def main(argv: list[str] | None = None) -> None:
    """Prints the result for each shot, a line of JSON each."""
    parser = argparse.ArgumentParser(prog="python -m studies.stack_truth", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with the shots and truth.json")
    parser.add_argument("alignment", type=Path, help="written by `edmf align --save-alignment`")
    given = parser.parse_args(argv)
    for result in score(read_truth(given.folder), read_alignment(given.alignment)):
        print(json.dumps(result))


if __name__ == "__main__":
    main()
