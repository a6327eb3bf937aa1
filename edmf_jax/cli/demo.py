"""The command `edmf demo`: data, training, fusion and scores in a few minutes."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("demo", _demo, "try everything in a few minutes: data, training, a fused picture, scores")
    sub.add_argument("--workdir", default="work/demo", metavar="DIR", help="everything is written here (work/demo)")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="use these published EDMF pairs, not the synthetic ones")
    sub.add_argument("--allow-missing", action="store_true", help="use the complete pairs of an incomplete copy")


def _demo(args: argparse.Namespace) -> None:
    from edmf_jax.workflows.demo import demo

    demo(args.workdir, source=args.source, allow_missing=args.allow_missing)
