"""The command `edmf experiment`: trains and scores the arms of an ablation."""

import argparse
from collections.abc import Callable, Sequence

# Equal to the keys of `workflows.experiment.EXPERIMENTS`; repeated here, so that --help need not import it.
EXPERIMENTS = ("table3", "search")


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("experiment", _experiment, "train and score every arm of an ablation on the same budget",
                  epilog="Any field of the configuration is set by --config.field=value.  If it is stopped, the same "
                         "command continues.")
    sub.add_argument("name", choices=EXPERIMENTS, help="table3: the paper's Table 3 and Fig. 14; search: choices "
                                                       "that the paper leaves open (with --config configs/edmf_cpu.py)")
    sub.add_argument("--workdir", required=True, metavar="W",
                     help="folder for runs, scores and table; created if absent")
    sub.add_argument("--config", default="configs/ablation.py", metavar="FILE",
                     help="the configuration that all arms share (default: configs/ablation.py)")
    sub.add_argument("--budget", type=float, metavar="MINUTES",
                     help="training time for each arm and seed; sets the number of patches by this machine's speed "
                          "(default: the configuration's number of patches)")
    sub.add_argument("--seeds", type=int, default=1, metavar="N",
                     help="train every arm with N different seeds (default: 1)")
    sub.add_argument("--test-split", default="train[95%:]", metavar="SPLIT",
                     help="split to score; must not overlap data.split (default: train[95%%:])")


def _experiment(args: argparse.Namespace, fields: Sequence[str]) -> None:
    from edmf_jax.training.config import load_config
    from edmf_jax.workflows.experiment import run_experiment

    table = run_experiment(args.name, load_config(args.config, fields), args.workdir, budget_minutes=args.budget,
                           seeds=args.seeds, test_split=args.test_split)
    print(table.read_text(encoding="utf-8"), end="")
