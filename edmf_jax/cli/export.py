"""The command `edmf export`: writes the parameters of a run or of weights as a folder or as one model file."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("export", _export, "write a run's parameters as weights, or the network as a file for other programs")
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", metavar="DIR", help="take the parameters of this run's folder …")
    source.add_argument("--weights", metavar="DIR-or-NAME",
                        help="… or of these weights: a folder from export or import-mufusion, or a shipped name")
    sub.add_argument("--step", help="checkpoint of the run: a step number, best or last (default)")
    sub.add_argument("--format", default="numpy", choices=("numpy", "orbax", "stablehlo", "onnx", "tflite"),
                     help="numpy (default) or orbax: a weights folder; the others: the network as one file")
    sub.add_argument("-o", "--output", required=True, metavar="OUT", help="the folder or file to write")
    sub.add_argument("--force", action="store_true", help="replace an earlier export that is there")


def _export(args: argparse.Namespace) -> None:
    from edmf_jax.errors import UserError
    from edmf_jax.training.export_run import export_run, export_weights
    from edmf_jax.weights.exporting import LAYOUT, MODEL_FORMATS

    if args.weights and args.step:
        raise UserError(f"--step={args.step}: weights have no steps; give --workdir, or leave --step out")
    if args.weights:
        export_weights(args.weights, args.output, format=args.format, force=args.force)
        what = f"weights {args.weights}"
    else:
        step = export_run(args.workdir, args.output, step=args.step or "last", format=args.format,
                          force=args.force)
        what = f"parameters of step {step}"
    print(f"{what}: {args.output}" + (f" ({LAYOUT})" if args.format in MODEL_FORMATS else ""))
