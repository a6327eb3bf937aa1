"""The three coefficients of the loss compared: short runs that differ in nothing else, scored beside MUFusion.

    python -m studies.device.sweep --data EDMF.pack --mufusion multi-focus.model -o OUT --config configs/edmf_cpu.py \\
        --arms 5 --config.data.patches=300 --config.train.epochs=4

An arm is PIXEL-GRADIENT-SSIM.  Adam's steps do not change with a common factor of the three, so only their ratios
count, and no two arms have the same.  Trained on `data.split` of the pack, scored on `--validation`: the middle of each
pair, gray, MUFusion's tiles, stored losslessly.  After each arm OUT/sweep.md, OUT/sweep.json and OUT/arms.npz (its
parameters) are written anew; the same command goes on where it was stopped.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from edmf_jax.data.pack import open_pack
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.json_text import to_json
from edmf_jax.runtime.process import enable_compilation_cache, tune_allocator
from edmf_jax.training.config import as_stored, load_config
from edmf_jax.training.train import train
from edmf_jax.weights.mufusion import MUFUSION_WIDTH, import_mufusion
from edmf_jax.weights.params import flatten
from studies.device.keep import KeepWeights
from studies.device.paper import affordable_patches
from studies.device.scores import PAPER, Network, differences, distance, mean_scores, middle

ARMS = ((1, 10, 10), (1, 10, 1), (1, 100, 10), (10, 10, 10), (1, 10, 100), (1, 1, 10), (100, 10, 10), (10, 100, 1),
        (100, 100, 10), (1, 100, 100))
"""Weights of the pixel, gradient and SSIM loss, each 1, 10 or 100; the first is what configs/edmf.py has."""
ARM_S = 15.0
"""Seconds of an arm besides its steps: compiling (the weights are constants of the program) and scoring."""


def arm_name(arm: tuple[int, int, int]) -> str:
    """"1-10-10"."""
    return "-".join(map(str, arm))


def train_arm(arm: tuple[int, int, int], config: ConfigDict, work: Path, log: Callable[[str], None]) -> Network:
    """Trains an arm; its last parameters, which are in WORK/ARM/weights too."""
    config = config.copy_and_resolve_references()
    config.loss.pixel_weight, config.loss.grad_weight, config.loss.ssim_weight = map(float, arm)
    keep = KeepWeights(work / arm_name(arm), config, {"sweep": arm_name(arm)})
    train(config, work / arm_name(arm) / "run", checkpoints=keep, log=log)
    return Network(keep.params, config.model.width)


def add_params(path: Path, arm: str, params: dict) -> None:
    """Adds an arm's parameters to a file of arrays "ARM/conv1/kernel", …"""
    arrays = dict(np.load(path)) if path.is_file() else {}
    arrays.update({f"{arm}/{name}": value for name, value in flatten(params).items()})
    data = io.BytesIO()
    np.savez(data, **arrays)
    replace_file(path, data.getbuffer())


def table(record: dict) -> str:
    """The sweep's table, nearest arm first: differences to MUFusion, and the distance from the paper's."""
    names = list(PAPER)
    rows = {name: differences(scores, record["mufusion"]) for name, scores in record["arms"].items()}
    lines = ["| pixel-gradient-SSIM | " + " | ".join(names) + " | distance |",
             "| --- |" + " ---: |" * (len(names) + 1),
             "| the paper | " + " | ".join(f"{PAPER[name]:+.3f}" for name in names) + " | 0 |"]
    for arm in sorted(rows, key=lambda name: distance(rows[name])):
        cells = " | ".join(f"{rows[arm][name]:+.3f}" for name in names)
        lines.append(f"| {arm} | {cells} | {distance(rows[arm]):.3f} |")
    base = ", ".join(f"{name} {record['mufusion'][name]:.3f}" for name in names)
    return "\n".join([*lines, "", f"MUFusion: {base}; {record['pairs']} pairs, the middle {record['crop'][1]}×"
                      f"{record['crop'][0]} px of each; {record['steps']} steps an arm"]) + "\n"


def sweep(config: ConfigDict, base: Network, pairs: list[np.ndarray], out: Path, work: Path, *,
          arms: Sequence[tuple[int, int, int]] = ARMS, seconds: float = np.inf, log: Callable[[str], None] = print
          ) -> dict:
    """Trains and scores those of `arms` that are not scored yet, as long as another one fits.

    Args:
      config: what all arms share.
      base: MUFusion's network.
      pairs: to score, uint8 `[2, h, w]` of one size.
      out: the folder of the results.
      work: the folder of the runs.
      arms: in this order.
      seconds: an arm that would not end by then, by the longest so far, is not begun.
      log: takes the lines for a person.

    Returns:
      The content of OUT/sweep.json.
    """
    began, longest, path = time.perf_counter(), 0.0, out / "sweep.json"
    steps = config.train.epochs * -(-config.data.patches // config.train.batch)
    about = {"config": as_stored(config), "pairs": len(pairs), "crop": list(pairs[0].shape[1:]), "steps": steps}
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if {name: record.get(name) for name in about} != about:
        record = {**about, "mufusion": mean_scores(base, pairs), "arms": {}}
        log(f"MUFusion scored on {len(pairs)} pairs after {time.perf_counter() - began:.0f} s")
    for arm in arms:
        start = time.perf_counter()
        if arm_name(arm) in record["arms"] or start - began + longest > seconds:
            continue
        network = train_arm(arm, config, work, log)
        add_params(out / "arms.npz", arm_name(arm), network.params)
        record["arms"][arm_name(arm)] = mean_scores(network, pairs)
        longest = max(longest, time.perf_counter() - start)
        replace_file(path, to_json(record).encode())
        replace_file(out / "sweep.md", table(record).encode())
        log(f"arm {arm_name(arm)} after {time.perf_counter() - began:.0f} s\n{table(record)}")
    return record


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.device.sweep", description=__doc__.splitlines()[0],
                                     epilog="Any field of the configuration is set by --config.field=value.")
    parser.add_argument("--data", required=True, metavar="FILE", help="of `edmf data pack`")
    parser.add_argument("--mufusion", required=True, metavar="FILE", help="the weights that MUFusion's authors publish")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder of the results")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder of the runs (default: OUT/runs)")
    parser.add_argument("--config", default="edmf.py", metavar="FILE", help="what all arms share (default: edmf.py)")
    parser.add_argument("--validation", default="train[95%:]", metavar="SPLIT", help="pairs to score")
    parser.add_argument("--crop", type=int, nargs=2, default=(512, 512), metavar=("H", "W"),
                        help="the middle of each pair that is scored (default: 512 512)")
    parser.add_argument("--pairs", type=int, metavar="N", help="score the first N pairs only")
    parser.add_argument("--arms", type=int, default=len(ARMS), metavar="N", help="the first N arms (default: all)")
    parser.add_argument("--only", nargs="+", choices=[arm_name(arm) for arm in ARMS], metavar="ARM", help="these arms "
                        "only; several processes can share the arms, each with its own -o")
    parser.add_argument("--seconds", type=float, default=np.inf, help="begin no arm that would not end by then")
    parser.add_argument("--rate", type=float, metavar="R", help="patches a second; sets data.patches so that all arms "
                        "have the same part of --seconds")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Runs the sweep and prints its table."""
    args, fields = make_parser().parse_known_args(argv)
    tune_allocator()
    enable_compilation_cache()
    config = load_config(args.config, [*fields, f"--config.data.file={args.data}"])
    if args.rate and np.isfinite(args.seconds):
        config.data.patches = affordable_patches(config, args.rate, args.seconds / args.arms - ARM_S)
    pack = open_pack(args.data, config.data.dataset)
    pairs = [middle(planes, tuple(args.crop)) for planes in pack.read(pack.rows(args.validation)[: args.pairs])]
    base = Network(import_mufusion(args.mufusion).params, MUFUSION_WIDTH)
    args.output.mkdir(parents=True, exist_ok=True)
    arms = [arm for arm in ARMS[: args.arms] if not args.only or arm_name(arm) in args.only]
    sweep(config, base, pairs, args.output, args.work or args.output / "runs", arms=arms, seconds=args.seconds,
          log=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
