"""The programs whose alignment of a stack is compared: ours, Hugin's align_image_stack, openfocus.

    python -m studies.stack_programs PROGRAM SHOT SHOT… [--openfocus PYTHON]

prints the alignment as JSON in the form of `edmf align --save-alignment`, with seconds and peak memory.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.cli.main import main as edmf
from edmf_jax.registration.transforms import corners
from studies.stack_truth import read_alignment

SECONDS = 1800  # after which a program counts as failed
EDMF = [sys.executable, "-c", "import sys; from edmf_jax.cli.main import entry; sys.exit(entry())"]
ENFUSE = ["enfuse", "--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1", "--hard-mask"]
# A child's peak is at least its parent's size, so a small process is put between: it runs the command and writes its
# peak [KiB] and exit status into the file named first.
_BETWEEN = ("import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code, file=open(sys.argv[1], 'w'))")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a program did with a stack.

    Attributes:
      seconds: wall clock, start of the program included.
      peak_mb: its largest resident set; None if it ran in this process.
      found: the alignment; None if it failed.
      failure: the last lines that it printed if it failed, else "".
    """

    seconds: float
    peak_mb: float | None
    found: dict | None
    failure: str = ""


def run_child(command: Sequence[str | Path], seconds: float = SECONDS) -> Outcome:
    """Runs a command; `found` is {} if its exit status is 0."""
    with tempfile.TemporaryDirectory() as folder:
        usage, printed = Path(folder, "usage"), Path(folder, "printed")
        began = time.perf_counter()
        with printed.open("wb") as out:
            child = subprocess.Popen([sys.executable, "-I", "-S", "-c", _BETWEEN, str(usage), *map(str, command)],
                                     stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                     start_new_session=True)
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # the session that was started above
                child.wait()
                return Outcome(seconds, None, None, f"not done after {seconds:g} s")
        took = round(time.perf_counter() - began, 3)
        text = usage.read_text().split() if usage.exists() else ["0", "not started"]
        lines = printed.read_text(errors="replace").strip().splitlines() or [f"exit status {text[1]}"]
    ok = text[1] == "0"
    return Outcome(took, round(int(text[0]) / 1024, 1), {} if ok else None, "" if ok else "; ".join(lines[-4:])[-300:])


def with_maps(outcome: Outcome, read: Callable[[], dict]) -> Outcome:
    """The outcome with what `read` returns as the alignment, unless it failed or that file is not there."""
    if outcome.found is None:
        return outcome
    try:
        return dataclasses.replace(outcome, found=read())
    except FileNotFoundError as error:
        return dataclasses.replace(outcome, found=None, failure=f"{Path(error.filename).name} was not written")


def edmf_align(paths: Sequence[Path], folder: Path) -> list[str]:
    """The arguments of `edmf` that write the aligned shots and `alignment.json` into a folder."""
    return ["align", *map(str, paths), "-o", str(folder / "aligned"), "--format", "tif",
            "--save-alignment", str(folder / "alignment.json")]


def run_edmf(paths: Sequence[Path], folder: Path, options: argparse.Namespace) -> Outcome:
    """Ours, as a user runs it."""
    outcome = run_child([*EDMF, *edmf_align(paths, folder)])
    if outcome.found is None and (folder / "alignment.json").exists():
        outcome = dataclasses.replace(outcome, found={})  # shots were left out: an exit status, and a result
    return with_maps(outcome, lambda: read_alignment(folder / "alignment.json"))


def run_ours(paths: Sequence[Path], folder: Path, options: argparse.Namespace) -> Outcome:
    """The same command in this process: without the seconds that start and compilation take each time."""
    began, printed = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = edmf(edmf_align(paths, folder))
        except SystemExit as error:
            code = error.code
    took = round(time.perf_counter() - began, 3)
    lines = [line for line in re.split(r"[\r\n]+", printed.getvalue()) if line.strip()] or [f"exit status {code}"]
    written = folder / "alignment.json"
    found = read_alignment(written) if written.exists() else None
    return Outcome(took, None, found, "" if found else lines[-1][-300:])


def run_hugin(paths: Sequence[Path], folder: Path, options: argparse.Namespace) -> Outcome:
    """align_image_stack as Hugin's manual says for focus stacks (-m), writing aligned TIFFs as well."""
    project = folder / "stack.pto"
    outcome = run_child(["align_image_stack", "-m", "-p", project, "-a", folder / "aligned-", *paths])
    return with_maps(outcome, lambda: hugin_maps(project, paths))


def hugin_maps(project: Path, paths: Sequence[Path]) -> dict:
    """The maps in a Hugin project file, from where `pano_trafo -r` puts the corners of the panorama.

    The panorama has the frame of the first picture in the file.  All pictures are rectilinear and align_image_stack -m
    adjusts only angles and field of view, so four corners hold the whole map.
    """
    text = project.read_text()
    names = [Path(name).name for name in re.findall(r'^i .*n"([^"]*)"', text, re.M)]
    width, height = map(int, re.search(r"^p .*?w(\d+) h(\d+)", text, re.M).groups())
    frame = np.float32(corners((height, width)))  # pano_trafo's integers are pixel centers, as ours
    points = "".join(f"{x} {y}\n" for x, y in frame)
    maps = []
    for number in range(len(names)):
        out = subprocess.run(["pano_trafo", "-r", project, str(number)], input=points, capture_output=True, text=True,
                             check=True).stdout
        there = np.array(out.split(), np.float32).reshape(4, 2)
        maps.append(cv2.getPerspectiveTransform(frame, there))
    to_first = np.linalg.inv(maps[0])
    matrices = [matrix @ to_first for matrix in maps]
    shots = [{"name": name, "matrix": (matrix / matrix[2, 2]).tolist()} for name, matrix in zip(names, matrices)]
    left = [{"name": path.name, "reason": "not in the project"} for path in paths if path.name not in names]
    return {"reference": names[0], "shots": shots, "left_out": left}


def run_openfocus(method: str) -> Callable[..., Outcome]:
    """The program for one of openfocus's aligners."""
    def run(paths: Sequence[Path], folder: Path, options: argparse.Namespace) -> Outcome:
        if not options.openfocus:
            return Outcome(0.0, None, None, "needs --openfocus PYTHON")
        out, script = folder / "maps.json", Path(__file__).with_name("openfocus_maps.py")
        outcome = run_child([options.openfocus, script, method, out, *paths])
        return with_maps(outcome, lambda: json.loads(out.read_text()))
    return run


PROGRAMS: dict[str, Callable[[Sequence[Path], Path, argparse.Namespace], Outcome]] = {
    "edmf": run_edmf,
    "edmf-inside": run_ours,
    "hugin": run_hugin,
    **{f"openfocus-{method}": run_openfocus(method) for method in ("homography", "ecc", "openfocus")},
}
"""Name → what runs it; the folder is an empty one for its files."""


def fuse(program: str, paths: Sequence[Path], folder: Path, out: Path) -> Outcome:
    """A fused picture by `edmf fuse`, or by align_image_stack and enfuse; seconds and the larger peak of both steps."""
    if program.startswith("edmf"):
        return run_child([*EDMF, "fuse", *paths, "-o", out, "--force"])
    first = run_child(["align_image_stack", "-m", "-a", folder / "aligned-", *paths])
    if first.found is None:
        return first
    second = run_child([*ENFUSE, "-o", out, *sorted(folder.glob("aligned-*.tif"))])
    return dataclasses.replace(second, seconds=round(first.seconds + second.seconds, 3),
                               peak_mb=max(first.peak_mb, second.peak_mb))


def main(argv: list[str] | None = None) -> None:
    """Aligns shots by one program and prints its result."""
    parser = argparse.ArgumentParser(prog="python -m studies.stack_programs", description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=PROGRAMS, help="%(choices)s", metavar="PROGRAM")
    parser.add_argument("shots", nargs="+", type=Path, metavar="SHOT")
    parser.add_argument("--openfocus", metavar="PYTHON", help="the Python that openfocus is installed for")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(dataclasses.asdict(PROGRAMS[given.program](given.shots, Path(folder), given)), indent=1))


if __name__ == "__main__":
    main()
