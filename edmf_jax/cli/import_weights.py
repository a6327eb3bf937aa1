"""The commands `edmf import` and `edmf import-mufusion`: weights that other authors publish, for use here."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds both commands to the parser; `command` is described in `main.make_parser`."""
    sub = command("import", _import, "import a method's weights from its authors' file, for evaluate --method")
    sub.add_argument("method", metavar="METHOD", help="a name that `edmf methods` lists, such as gacn")
    sub.add_argument("file", metavar="FILE",
                     help="as its authors publish it: PyTorch (.pkl, .pth, .model), MATLAB (.mat), or a TensorFlow "
                          "checkpoint (its folder, its prefix or one of its files)")
    sub = command("import-mufusion", _import_mufusion, "convert MUFusion's published file to weights for fuse")
    sub.add_argument("file", metavar="FILE.model",
                     help="multi-focus/models/Final.model of the repository AWCXV/MUFusion")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="the weights folder to write")
    sub.add_argument("--force", action="store_true", help="replace a weights folder that is there")


def _import(args: argparse.Namespace) -> None:
    from edmf_jax.methods.imported import import_weights
    from edmf_jax.methods.registry import module_of
    from edmf_jax.runtime.devices import use_cpu_only

    use_cpu_only()
    method = module_of(args.method)
    path = import_weights(method, args.file)
    print(f"{args.method}: weights imported (license: {method.INFO.license}): {path}")


def _import_mufusion(args: argparse.Namespace) -> None:
    from edmf_jax.weights.mufusion import import_mufusion
    from edmf_jax.weights.store import save_weights

    weights = import_mufusion(args.file)
    save_weights(args.output, weights.params, weights.config, provenance=weights.provenance,
                 force=args.force)
    print(f"weights: {args.output}")
