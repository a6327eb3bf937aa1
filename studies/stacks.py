"""How well, how fast and in how much memory whole stacks are aligned: ours, align_image_stack and openfocus.

    python -m studies.stacks --stacks 8 --programs edmf-inside hugin --json FILE.jsonl
    python -m studies.stacks --folders ../shared/cases/stacks/* --pictures OUT --json FILE.jsonl

The first form renders stacks with a known truth (`stack_scenes`; `stack_settings` says what happens in them) and
measures the errors of every shot (`stack_truth`).  The second takes real stacks, without truth, and fuses them too.
With --json a stopped run goes on where it stopped, and another program is added to the results in the file.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from studies import stack_programs
from studies.registration import read_log
from studies.stack_scenes import SIZE, make_stack
from studies.stack_settings import SETTINGS, Setting
from studies.stack_truth import read_truth, score, write_stack

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
IDENTITY = ("setting", "number", "seed", "size", "program")
RENDERED_HEAD = ("setting", "program", "stacks", "shots", "failed", "median px", "95 % px", "corners within 1 px",
                 "as seen", "content px", "content within 1 px", "left out in error", "placed and wrong", "s/stack",
                 "s/shot", "MB")


def run_rendered(settings: Iterable[Setting], count: int, programs: Sequence[str], given: argparse.Namespace
                 ) -> list[dict]:
    """The results of `count` stacks of each setting by each program; a stack is rendered only if one is missing."""
    def results_of(setting: Setting, number: int, missing: list[str]) -> Iterable[dict]:
        with tempfile.TemporaryDirectory(dir=given.folder) as made:
            paths = write_stack(make_stack(setting, given.seed, number, tuple(given.size), given.shots), Path(made),
                                given.format)
            truth = read_truth(Path(made))
            for program in missing:
                outcome, load = _run(program, paths, given)
                # A program that fails has placed nothing.
                shots = score(truth, outcome.found or {"reference": paths[0].name, "shots": [], "left_out": []})
                yield {"program": program, "seconds": outcome.seconds, "peak_mb": outcome.peak_mb, "load": load,
                       "failed": outcome.failure, "shots": shots}

    plans = [({"setting": setting.name, "number": number, "seed": given.seed, "size": list(given.size)},
              lambda missing, setting=setting, number=number: results_of(setting, number, missing))
             for number in range(count) for setting in settings]
    return run_missing(plans, programs, given.json)


def run_folders(folders: Iterable[Path], programs: Sequence[str], given: argparse.Namespace) -> list[dict]:
    """Seconds, refusals and left-out shots of real stacks, and with `given.pictures` the fused pictures."""
    def results_of(folder: Path, missing: list[str]) -> Iterable[dict]:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
        for program in missing:
            outcome, load = _run(program, paths, given)
            left_out = (outcome.found or {}).get("left_out", [])
            result = {"program": program, "seconds": outcome.seconds, "peak_mb": outcome.peak_mb, "load": load,
                      "failed": outcome.failure, "count": len(paths), "left_out": left_out}
            if given.pictures and program in ("edmf", "hugin"):
                with tempfile.TemporaryDirectory() as work:
                    out = given.pictures / f"{folder.name}-{program}.tif"
                    fused = stack_programs.fuse(program, paths, Path(work), out)
                result |= {"fuse_seconds": fused.seconds, "fuse_mb": fused.peak_mb, "fuse_failed": fused.failure}
            yield result

    plans = [({"setting": str(folder), "number": 0, "seed": 0, "size": []},
              lambda missing, folder=folder: results_of(folder, missing)) for folder in folders]
    return run_missing(plans, programs, given.json)


def _run(program: str, paths: list[Path], given: argparse.Namespace) -> tuple[stack_programs.Outcome, float]:
    """What a program does with a stack, and the load average when it began."""
    load = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as work:
        return stack_programs.PROGRAMS[program](paths, Path(work), given), load


def run_missing(plans: Iterable[tuple[dict, Callable[[list[str]], Iterable[dict]]]], programs: Sequence[str],
                log: Path | None) -> list[dict]:
    """The results of all plans by all programs, in order; those in the log are taken from there, others are added.

    Args:
      plans: what identifies each, but for the program; and what runs the programs that are missing for it.
      log: a file of JSON lines.
    """
    results = {identity(result): result for result in read_log(log)}
    wanted = []
    for name, run in plans:
        keys = [identity(name | {"program": program}) for program in programs]
        wanted += keys
        missing = [program for program, key in zip(programs, keys) if key not in results]
        for result in run(missing) if missing else ():
            result = name | result
            results[identity(result)] = result
            if log:
                with log.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(result) + "\n")
    return [results[key] for key in wanted]


def identity(result: dict) -> tuple:
    """What makes a result unique."""
    return tuple(str(result[key]) for key in IDENTITY)


def rendered_table(results: Sequence[dict]) -> str:
    """A row for each setting and program, and for each program over all settings."""
    programs, settings = (list(dict.fromkeys(r[key] for r in results)) for key in ("program", "setting"))
    rows = []
    for setting in [*settings, "all"]:
        for program in programs:
            some = [r for r in results if r["program"] == program and setting in (r["setting"], "all")]
            rows += [(setting, program, *summary(some))] if some else []
    return markdown(RENDERED_HEAD, rows)


def summary(results: Sequence[dict]) -> tuple[str, ...]:
    """The cells of a row of `RENDERED_HEAD` after the program.

    Errors are means of four corners over all shots that were placed; the shares of corners within 1 px, by the plane in
    focus and by what is seen there, count those of needed shots that were not placed as outside.  "Left out in error"
    are needed shots, failed stacks' too.
    """
    shots = [shot for result in results for shot in result["shots"]]
    errors = [np.mean(shot["corners"]) for shot in shots if "corners" in shot]
    content, within = ([shot[key] for shot in shots if shot.get(key) is not None]
                       for key in ("content", "content_within"))
    missing = [shot for shot in shots if shot["needed"] and not shot["placed"]]
    corners, seen = ([error for shot in shots if shot.get(key) for error in shot[key]] + [np.inf] * 4 * len(missing)
                     for key in ("corners", "seen"))
    seconds = [r["seconds"] for r in results if not r["failed"]]
    per_shot = [r["seconds"] / len(r["shots"]) for r in results if not r["failed"]]
    peaks = [r["peak_mb"] for r in results if r["peak_mb"] and not r["failed"]]
    return (str(len(results)), str(len(shots)), str(sum(bool(r["failed"]) for r in results)),
            _number(errors, np.median), _number(errors, lambda x: np.percentile(x, 95, method="higher")),
            _share(np.array(corners) <= 1), _share(np.array(seen) <= 1), _number(content, np.median), _share(within),
            str(len(missing)), str(sum(shot["wrong"] for shot in shots)), _number(seconds, np.median),
            _number(per_shot, np.median), _number(peaks, np.max, ".0f"))


def folders_table(results: Sequence[dict]) -> str:
    """A row for each folder and program."""
    head = ("stack", "program", "shots", "failed", "left out", "s", "MB", "fused, s", "fused, MB", "load")
    rows = []
    for r in results:
        left = "; ".join(f"{entry['name']}: {entry['reason']}" for entry in r["left_out"])
        rows.append((Path(r["setting"]).name, r["program"], str(r["count"]), r["failed"], left, f"{r['seconds']:.2f}",
                     _number([r["peak_mb"] or 0], max, ".0f"), r.get("fuse_failed") or str(r.get("fuse_seconds", "")),
                     str(r.get("fuse_mb", "")), str(r["load"])))
    return markdown(head, rows)


def _share(values: Sequence[float]) -> str:
    return _number(values, lambda x: 100 * np.mean(x), ".1f", " %")


def _number(values: Sequence[float], how: Callable, form: str = ".2f", unit: str = "") -> str:
    value = how(values) if len(values) else None
    if value is None:
        return ""
    return "> 9999" if value > 9999 else f"{value:{form}}{unit}"  # a map may throw corners as far as it likes


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    lines += [" | ".join(cell.replace("|", "/") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main(argv: list[str] | None = None) -> None:
    """Runs the programs on the stacks and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m studies.stacks", description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", type=int, default=2, metavar="N", help="of each setting (default: %(default)s)")
    parser.add_argument("--settings", nargs="+", choices=[s.name for s in SETTINGS], metavar="NAME",
                        help="of the stacks: %(choices)s (default: all)")
    parser.add_argument("--shots", type=int, metavar="N", help="of each stack (default: 3 to 30, drawn)")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("H", "W"), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--format", choices=[".png", ".jpg"], default=".png", help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where stacks are rendered, each for as long as it is needed")
    parser.add_argument("--folders", type=Path, nargs="+", metavar="DIR", help="real stacks instead")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="where fused pictures of real stacks go")
    parser.add_argument("--programs", nargs="+", choices=stack_programs.PROGRAMS, default=["edmf", "hugin"],
                        metavar="NAME", help="%(choices)s (default: edmf hugin)")
    parser.add_argument("--openfocus", metavar="PYTHON", help="the Python that openfocus is installed for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every stack's numbers, a line each; goes on there")
    given = parser.parse_args(argv)
    if given.folders:
        print(folders_table(run_folders(given.folders, given.programs, given)))
        return
    settings = [s for s in SETTINGS if s.name in (given.settings or [s.name])]
    print(rendered_table(run_rendered(settings, given.stacks, given.programs, given)))


if __name__ == "__main__":
    main()
