"""The command `edmf import-mufusion`: converts MUFusion's published PyTorch file to a weights folder."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("import-mufusion", _import_mufusion, "convert MUFusion's published file to weights for fuse")
    sub.add_argument("file", metavar="FILE.model",
                     help="multi-focus/models/Final.model of the repository AWCXV/MUFusion")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="the weights folder to write")
    sub.add_argument("--force", action="store_true", help="replace a weights folder that is there")


def _import_mufusion(args: argparse.Namespace) -> None:
    from edmf_jax.weights.mufusion import import_mufusion
    from edmf_jax.weights.store import save_weights

    weights = import_mufusion(args.file)
    save_weights(args.output, weights.params, weights.config, provenance=weights.provenance,
                 force=args.force)
    print(f"weights: {args.output}")
