"""The cost of the checkpoint at the end of every epoch, at the size of configs/demo.py.

    python -m benchmarks.saving EPOCHS FOLDER

is the process that trains, with and without saving; it prints its times as JSON.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import startup
from benchmarks.table import Row, left_out, measured
from benchmarks.worker import ROOT

EPOCHS, QUICK_EPOCHS = 5, 3  # of each run; the first one compiles, so it is not counted
NAMES = {
    "wait": ("edmf-jax: training waits for a save at the epoch's end", "% of the epoch"),
    "ratio": ("edmf-jax: epoch with a save ÷ epoch without", "ratio"),
}


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """The share of an epoch that training waits for its save, and the ratio of epochs with and without saving."""
    if reason := startup.why_not():
        return [left_out(name, unit, reason) for name, unit in NAMES.values()]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.saving", str(QUICK_EPOCHS if quick else EPOCHS), folder]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    note = f"configs/demo.py: {found['megabytes']:.0f} MB a save, an epoch of {found['epoch']:.1f} s"
    return [measured(*NAMES["wait"], found["waits"], note),
            measured(*NAMES["ratio"], found["ratios"], f"{note}; epochs of two runs after each other, in pairs")]


def main(epochs: int, folder: Path) -> None:
    """Trains twice for the same number of epochs, with and without saving."""
    from benchmarks import process

    process.prepare()
    import jax

    from edmf_jax.training import loop
    from edmf_jax.training.checkpoint import Checkpoints
    from edmf_jax.training.config import load_config
    from edmf_jax.training.train import train

    config = load_config(str(ROOT / "configs" / "demo.py"))
    config.data.data_dir, config.train.epochs = str(folder / "data"), epochs
    save, write, waits, sizes = loop.TrainingLoop._save, Checkpoints.save, [], []

    def timed(self, state, report=None):
        jax.block_until_ready(state)
        sizes.append(sum(x.nbytes for x in jax.tree.leaves(state)))
        began = time.perf_counter()
        state = jax.block_until_ready(save(self, state, report))
        waits.append(time.perf_counter() - began)
        return state

    loop.TrainingLoop._save = timed
    seconds = {}
    for name, method in (("with", write), ("without", lambda *_: None)):
        Checkpoints.save = method
        train(config, folder / name, log=lambda line: None)
        records = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        seconds[name] = [r["seconds"] for r in records if r.get("event") == "epoch_end"][1:]
    waits = waits[1:epochs]
    whole = [s + w for s, w in zip(seconds["with"], waits, strict=True)]  # an epoch's record is written before its save
    print(json.dumps({
        "waits": [100 * w / s for w, s in zip(waits, whole, strict=True)],
        "ratios": [a / b for a, b in zip(whole, seconds["without"], strict=True)],
        "epoch": statistics.median(whole), "megabytes": sizes[-1] / 1e6}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
