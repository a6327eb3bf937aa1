"""The prepared run on a machine with a GPU: checks, times, then the training that was prepared, all in one time limit.

    bash .device/run.sh -o OUT [--seconds 540] [--parts checks training …] [--config.field=value …]

Every part is a process with a time limit of its own; what fails or takes too long costs no other part.  The training
gets what is left.  OUT gets at most 24 files of less than 16 MB each, written as the run goes on: it may be killed at
any moment.  OUT/log.txt has what the parts print, OUT/parts.json how each ended.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json

MEASUREMENTS = {"checks": 60.0, "training": 110.0, "kernels": 60.0, "metrics": 40.0, "fusing": 50.0}
"""What is done before the training, in order, and the most seconds it may take."""
STEP_PARTS = {"start": 50.0, "again": 25.0, "torch": 25.0, "candidates": 100.0}
"""Parts of `step`, done only if they are asked for: the network in other ways of writing."""
NO_TRAINING = "none"
TRAININGS = ("paper", "sweep", "chooser", NO_TRAINING)
MARGIN_S, STOP_S = 15.0, 20.0
"""Seconds left at the end, and those that a part has to end after it was told to."""
_LEAST_TRAINING_S, _MOST_BYTES = 20.0, 15_000_000


class Part(NamedTuple):
    """A process: its name, the module with its arguments, the seconds it may take, and files to copy as they change."""

    name: str
    command: list[str]
    limit: float
    followed: tuple[Path, ...] = ()


def measurement(name: str, out: Path, shape: Sequence[str], limit: float) -> Part:
    """A part of `MEASUREMENTS` or `STEP_PARTS`, in at most `limit` seconds."""
    if name in STEP_PARTS:
        dtype = "bfloat16" if name == "candidates" else "float32"
        return Part(name, ["studies.device.step", name, "-o", str(out), "--shape", *shape, "--dtype", dtype,
                           "--seconds", f"{limit - 3:.0f}"], limit)
    if name == "checks":
        return Part(name, ["studies.device.checks", "-o", str(out)], limit)
    return Part(name, ["studies.device.timings", name, "-o", str(out), "--shape", *shape], limit)


def training(what: str, bundle: Path, out: Path, seconds: float, rate: float | None, fields: Sequence[str]) -> Part:
    """The part that trains for `seconds`, at `rate` patches a second if that is known."""
    work = bundle / "work"
    common = ["--data", str(bundle / "edmf.pack"), "--seconds", f"{seconds:.0f}", "-o", str(out),
              *(["--rate", f"{rate:.1f}"] if rate else []), *fields]
    if what == "paper":
        return Part(what, ["studies.device.paper", *common], seconds + STOP_S)
    if what == "sweep":
        return Part(what, ["studies.device.sweep", *common, "--mufusion", str(bundle / "multi-focus.model"), "--work",
                           str(work)], seconds)
    command = ["edmf_jax.cli.main", "train", "--config", "chooser.py", "--workdir", str(work),
               f"--config.data.pictures={bundle / 'pictures'}", "--config.checkpoint.every_minutes=1", *fields]
    if (bundle / "validation").is_dir():
        command.append(f"--config.validation.folder={bundle / 'validation'}")
    names = ("params.npz", "best.npz", "metrics.jsonl", "run.json")
    return Part(what, command, seconds, tuple(work / name for name in names))


def measured_rate(out: Path) -> float | None:
    """Our patches a second by the benchmark's rows of training; None if they were not measured."""
    path = out / "times-training.json"
    if not path.is_file():
        return None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return next((row["median"] for row in rows if row["name"].startswith("edmf-jax: training")
                 and row["unit"] == "patches/s"), None)


def run_part(part: Part, out: Path) -> dict:
    """Runs a part; its name, seconds, exit code and whether it was out of time.  Its output goes to OUT/log.txt."""
    began, told = time.monotonic(), None
    with (out / "log.txt").open("ab") as log:
        log.write(f"\n=== {part.name}: {' '.join(part.command)} (at most {part.limit:.0f} s)\n".encode())
        log.flush()
        # -P: modules come from PYTHONPATH, whatever lies in the current folder.  A session, to end its processes too.
        process = subprocess.Popen([sys.executable, "-P", "-m", *part.command], stdout=log, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        while not has_ended(process):
            now = time.monotonic() - began
            if told is None and now > part.limit:
                told = now
                process.send_signal(signal.SIGTERM)
            elif told is not None and now > told + STOP_S:
                break
            follow(part.followed, out)
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)  # its session, made above: itself, and workers that it left
        code = process.wait()
    follow(part.followed, out)
    return {"part": part.name, "seconds": round(time.monotonic() - began, 1), "exit_code": code,
            "out_of_time": told is not None}


def has_ended(process: subprocess.Popen) -> bool:
    """Whether a process has ended; it is not reaped, so its number, which is its session's too, stays its own."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def follow(files: Sequence[Path], out: Path) -> None:
    """Copies files that are newer than their copy in `out`, and not too large."""
    for file in files:
        copy = out / file.name
        if file.is_file() and file.stat().st_size < _MOST_BYTES and (
                not copy.exists() or copy.stat().st_mtime_ns < file.stat().st_mtime_ns):
            shutil.copy2(file, copy)


def keep_cache(cache: Path, out: Path) -> None:
    """Packs JAX's compiled programs into OUT/cache.tar, newest first, as far as they fit: the next run starts faster.

    `prepare --cache` takes the file.
    """
    files = sorted((f for f in cache.rglob("*") if f.is_file()), key=lambda f: -f.stat().st_mtime_ns)
    size = 0
    with tarfile.open(out / "cache.tar", "w") as tar:
        for file in files:
            size += file.stat().st_size + 1536
            if size > _MOST_BYTES:
                break
            tar.add(file, file.relative_to(cache))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.run", description=__doc__.splitlines()[0],
                                     epilog="--config.field=value goes to the training.")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="what `prepare` filled")
    parser.add_argument("--seconds", type=float, default=540.0, help="for all of it (default: 540)")
    parser.add_argument("--parts", nargs="*", choices=[*MEASUREMENTS, *STEP_PARTS], default=list(MEASUREMENTS),
                        metavar="PART", help=f"before the training, in this order: {', '.join(MEASUREMENTS)} (default: "
                        f"these), {', '.join(STEP_PARTS)}; none: --parts alone")
    parser.add_argument("--shape", nargs=2, default=("48", "256"), metavar=("B", "P"),
                        help="of the step that is measured: patches and their side (default: 48 256)")
    parser.add_argument("--patience", type=float, default=1.0, metavar="X", help="factor on the parts' time limits, to "
                        "try it on a slower machine (default: 1)")
    parser.add_argument("--rate", type=float, metavar="R", help="patches a second that the training will reach, which "
                        "set its number of patches (default: as measured in the part training)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs all parts; 1 if one failed, else 0.  A training that was stopped in time has not failed."""
    args, fields = make_parser().parse_known_args(argv)
    began, out, bundle = time.monotonic(), args.output.absolute(), args.bundle.absolute()
    what = json.loads((bundle / "prepared.json").read_text(encoding="utf-8"))["what"]
    out.mkdir(parents=True, exist_ok=True)
    ended: list[dict] = []

    def left() -> float:
        return args.seconds - MARGIN_S - (time.monotonic() - began)

    def run(part: Part) -> None:
        ended.append(run_part(part, out))
        replace_file(out / "parts.json", to_json(ended).encode())
        print("{part}: {seconds} s, exit code {exit_code}{}".format(
            ", out of time" if ended[-1]["out_of_time"] else "", **ended[-1]), flush=True)

    limits = MEASUREMENTS | STEP_PARTS
    for name in args.parts:
        if left() > _LEAST_TRAINING_S:
            run(measurement(name, out, args.shape, min(args.patience * limits[name], left() - STOP_S)))
    if what != NO_TRAINING and left() > _LEAST_TRAINING_S:
        run(training(what, bundle, out, left() - STOP_S, args.rate or measured_rate(out), fields))
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        keep_cache(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), out)
    print((out / "checks.md").read_text(encoding="utf-8") if (out / "checks.md").is_file() else "no checks")
    return int(any(part["exit_code"] and not part["out_of_time"] for part in ended))


if __name__ == "__main__":
    sys.exit(main())
