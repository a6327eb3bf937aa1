"""The paper's training on a packed training set until the time is up; its parameters are kept after every epoch.

    python -m studies.device.paper --data EDMF.pack --seconds 300 -o OUT [--rate R] [--config.model.dtype=bfloat16 …]

With `--rate`, patches a second as measured before, `data.patches` is set so that all epochs fit.  OUT/training has the
run's record and log; OUT/weights and OUT/epochs.npz the parameters (`keep`).
"""

import argparse
import os
import signal
import threading
from pathlib import Path

from ml_collections import ConfigDict

from edmf_jax.runtime.interrupt import Interrupted
from edmf_jax.runtime.process import enable_compilation_cache, tune_allocator
from edmf_jax.training.config import load_config
from edmf_jax.training.train import train
from studies.device.keep import KeepWeights

START_S, STOP_S = 30.0, 10.0
"""Seconds until the first step, and those that the last log and parameters may take."""


def affordable_patches(config: ConfigDict, rate: float, seconds: float) -> int:
    """As many patches as all epochs take `seconds` for at `rate` patches a second, up to those asked for."""
    batches = int(rate * seconds / config.train.epochs / config.train.batch)
    return min(config.data.patches, max(batches, 1) * config.train.batch)


def main(argv: list[str] | None = None) -> None:
    """Trains; a run that is out of time ends as one that is done."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.paper", description=__doc__.splitlines()[0],
                                     epilog="Any field of the configuration is set by --config.field=value.")
    parser.add_argument("--data", required=True, metavar="FILE", help="of `edmf data pack`")
    parser.add_argument("--seconds", type=float, required=True, help="the time from now on")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--config", default="edmf.py", metavar="FILE", help="the configuration (default: edmf.py)")
    parser.add_argument("--rate", type=float, metavar="R", help="patches a second; sets data.patches")
    args, fields = parser.parse_known_args(argv)
    config = load_config(args.config, [*fields, f"--config.data.file={args.data}"])
    if args.rate:
        config.data.patches = affordable_patches(config, args.rate, args.seconds - START_S - STOP_S)
    tune_allocator()
    enable_compilation_cache()
    keep = KeepWeights(args.output, config, {"run": "studies.device.paper"})
    timer = threading.Timer(max(args.seconds - STOP_S, 1), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        train(config, args.output / "training", checkpoints=keep, log=lambda line: print(line, flush=True))
    except Interrupted as stop:
        print(f"out of time: {stop}", flush=True)
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
