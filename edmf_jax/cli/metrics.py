"""The command `edmf metrics`: scores one fused picture."""

import argparse
from collections.abc import Callable

from edmf_jax.cli.options import add_metrics


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("metrics", _metrics, "score one fused picture: the eight metrics of the paper's Table 2, or others")
    sub.add_argument("a", metavar="A", help="first source")
    sub.add_argument("b", metavar="B", help="second source")
    sub.add_argument("fused", metavar="FUSED", help="the fused picture; all pictures must have one size")
    sub.add_argument("--truth", metavar="T", help="ground truth, sharp everywhere; adds metrics against it")
    add_metrics(sub, "; give it after the files")
    sub.add_argument("--json", action="store_true",
                     help="print one JSON object, with null for infinite or undefined values")


def _metrics(args: argparse.Namespace) -> None:
    from edmf_jax.evaluation.scoring import score_files, score_table
    from edmf_jax.io.json_text import to_json

    values = score_files(args.a, args.b, args.fused, args.truth, args.metrics)
    print(to_json(values) if args.json else score_table(values) + "\n", end="")
