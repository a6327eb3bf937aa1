"""The command `edmf train`: trains a run, alone or as one of several processes."""

import argparse
from collections.abc import Callable, Sequence

from edmf_jax.cli.options import positive


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("train", _train, "train a run, or continue it",
                  epilog="Any field of the configuration is set by --config.field=value.")
    sub.add_argument("--config", required=True, metavar="FILE", help="for example configs/edmf.py")
    sub.add_argument("--workdir", required=True, metavar="DIR",
                     help="the run's folder; created if absent, continued if not")
    sub.add_argument("--data", metavar="FILE", help="read the pairs from this file of `edmf data pack`, without "
                     "TensorFlow (the same as --config.data.file=FILE)")
    sub.add_argument("--profile", type=positive, default=0, metavar="STEPS",
                     help="trace this many steps into DIR/profile, for xprof or Perfetto")
    sub.add_argument("--tensorboard", action="store_true", help="also write the log for TensorBoard")
    several = sub.add_argument_group(
        "several processes", "start the same command in each; DIR must be on a disk that all of them share")
    several.add_argument("--distributed", action="store_true",
                         help="this is one of several processes that Slurm, Kubernetes, MPI or a TPU pod started")
    several.add_argument("--coordinator", metavar="HOST:PORT",
                         help="without such a cluster: the address of process 0 …")
    several.add_argument("--processes", type=positive, metavar="N", help="… the number of processes …")
    several.add_argument("--process", type=int, metavar="I", help="… and the number of this one, 0 to N − 1")


def _train(args: argparse.Namespace, fields: Sequence[str]) -> None:
    from edmf_jax.runtime import distributed
    from edmf_jax.runtime.process import enable_compilation_cache
    from edmf_jax.training.config import load_config

    if args.data is not None:
        fields = [*fields, f"--config.data.file={args.data}"]
    config = load_config(args.config, fields)
    enable_compilation_cache()
    if "task" in config and config.task == "chooser":
        from edmf_jax.training.chooser import train_chooser

        train_chooser(config, args.workdir)
        return
    with distributed.session(args.distributed, args.coordinator, args.processes, args.process):
        from edmf_jax.training.train import train

        train(config, args.workdir, profile_steps=args.profile, tensorboard=args.tensorboard)
        if distributed.is_first():
            print(f"trained; export the parameters with: edmf export --workdir {args.workdir} -o DIR")
