"""The command `edmf experiment`: it parses, calls one library function, and prints."""

import argparse
from collections.abc import Callable

# As `experiment.EXPERIMENTS` has them; named here, so that --help need not import them.
EXPERIMENTS = ("table3", "search")


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds it; `command(name, run, help)` is `main.make_parser`'s."""
    sub = command("experiment", _experiment, "train and score every arm of an ablation on the same budget",
                  epilog="Any field of the configuration is set by --config.field=value.  Stopped, the same command "
                         "goes on.")
    sub.add_argument("name", choices=EXPERIMENTS, help="table3: the paper's Table 3 and Fig. 14; search: what the "
                                                       "paper leaves open (with --config configs/edmf_cpu.py)")
    sub.add_argument("--workdir", required=True, metavar="W", help="folder of runs, scores, table; made where absent")
    sub.add_argument("--config", default="configs/ablation.py", metavar="FILE",
                     help="what the arms share (default: configs/ablation.py)")
    sub.add_argument("--budget", type=float, metavar="MINUTES",
                     help="of training, for each arm and seed: sets the number of patches by this machine's speed "
                          "(default: the configuration's number)")
    sub.add_argument("--seeds", type=int, default=1, metavar="N", help="train every arm so many times (default: 1)")
    sub.add_argument("--test-split", default="train[95%:]", metavar="SPLIT",
                     help="what is scored; must not overlap data.split (default: train[95%%:])")


def _experiment(args, overrides):
    from edmf_jax.config import load_config
    from edmf_jax.experiment import run_experiment

    table = run_experiment(args.name, load_config(args.config, overrides), args.workdir, budget_minutes=args.budget,
                           seeds=args.seeds, test_split=args.test_split)
    print(table.read_text(encoding="utf-8"), end="")
