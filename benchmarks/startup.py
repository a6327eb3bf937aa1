"""Seconds from the command `edmf train` to its first step: first start, later start, and resumed run."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Row, left_out, measured
from benchmarks.worker import ROOT

NEEDED = ("tensorflow", "tensorflow_datasets", "ml_collections", "orbax")
NAMES = {
    "first": "edmf-jax: command to first training step, nothing compiled before",
    "cached": "edmf-jax: command to first training step, compiled before",
    "resume": "edmf-jax: command to first training step of a resumed run",
}
CONFIG = ("--config", str(ROOT / "configs" / "demo.py"))
OVERRIDES = {"data.dataset": "edmf_synthetic/tiny", "data.patches": 512, "data.patch_px": 64, "train.epochs": 1000,
             "train.log_every_steps": 1, "checkpoint.keep_last": 1}
LIMIT_S = 600
MAX_REPEATS = 3  # each runs three whole processes


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """The three times in seconds, each of a whole process."""
    if reason := why_not():
        return [left_out(name, "s", reason) for name in NAMES.values()]
    seconds = {kind: [] for kind in NAMES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "edmf_jax.cli.main", "data", "build", OVERRIDES["data.dataset"]]
        subprocess.run([*build, "--data-dir", str(folder / "data")], cwd=ROOT, check=True, capture_output=True)
        for repeat in range(1 if quick else min(repeats, MAX_REPEATS)):
            cache = folder / f"compiled-{repeat}"
            for kind, run in (("first", "a"), ("cached", "b"), ("resume", "b")):
                seconds[kind].append(time_to_step(folder / f"{run}{repeat}", folder / "data", cache))
    note = "start, imports, data set, compiling; configs/demo.py with 512 patches of 64²"
    return [measured(NAMES[kind], "s", values, note) for kind, values in seconds.items()]


def why_not() -> str:
    """Why `edmf train` can't run here; empty if it can."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"`edmf train` needs {', '.join(missing)}, not installed here" if missing else ""


def time_to_step(workdir: Path, data: Path, cache: Path) -> float:
    """The seconds from the start of training until it logs a new step; stops it then with Ctrl-C.

    Args:
      workdir: of the run, new or to be resumed.
      data: TFDS's folder.
      cache: folder of compiled programs.

    Raises:
      RuntimeError: training ended by itself, or logged no step within `LIMIT_S`.
    """
    fields = {**OVERRIDES, "data.data_dir": data}
    command = [sys.executable, "-m", "edmf_jax.cli.main", "train", *CONFIG, "--workdir", str(workdir),
               *(f"--config.{name}={value}" for name, value in fields.items())]
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    log, errors = workdir / "metrics.jsonl", workdir.with_suffix(".log")
    before = logged_steps(log)
    with open(errors, "w") as sink:
        began = time.perf_counter()
        training = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sink, stderr=sink)
        try:
            while logged_steps(log) <= before:
                if training.poll() is not None or time.perf_counter() - began > LIMIT_S:
                    raise RuntimeError(f"`edmf train` made no step: {errors.read_text().strip()[-400:]}")
                time.sleep(0.02)
            return time.perf_counter() - began
        finally:
            training.send_signal(signal.SIGINT)
            training.wait()


def logged_steps(log: Path) -> int:
    """The last step in a run's log, without an incomplete last line; 0 if there is none."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return max((json.loads(line).get("step", 0) for line in lines if line.endswith("\n")), default=0)
