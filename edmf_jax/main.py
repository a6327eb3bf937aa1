"""The command line, nothing else: it parses, calls one library function, and prints.

Everything heavy is imported by the command that needs it: `edmf --help` imports no jax.
Exit codes: 0 done, 1 a part of a batch failed, 2 a mistake that the user can mend (one line says which),
130 and 143 stopped by a signal.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from edmf_jax.commands_evaluate import add_commands
from edmf_jax.commands_experiment import add_command as add_experiment
from edmf_jax.commands_fuse import add_commands as add_fuse
from edmf_jax.commands_report import add_command as add_report


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors, like all our others."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (try {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version; looked up only then, it takes a fifth of the time that --help may."""

    def __call__(self, parser, *_):
        from importlib import metadata

        print(metadata.version("edmf-jax"))
        parser.exit()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def _train(args, rest):
    from edmf_jax import distributed
    from edmf_jax.config import load_config
    from edmf_jax.runtime import keep_compiled_programs

    config = load_config(args.config, rest)
    keep_compiled_programs()
    with distributed.session(args.distributed, args.coordinator, args.processes, args.process):
        from edmf_jax.train import train

        train(config, args.workdir, profile_steps=args.profile, tensorboard=args.tensorboard)
        if distributed.is_first():
            print(f"trained; export the parameters with: edmf export --workdir {args.workdir} -o DIR")


def _export(args):
    from edmf_jax.errors import UserError
    from edmf_jax.export import export_run, export_weights
    from edmf_jax.exporting import LAYOUT, MODEL_FORMATS

    if args.weights and args.step:
        raise UserError(f"--step={args.step}: weights have no steps; give --workdir, or leave --step out")
    if args.weights:
        export_weights(args.weights, args.output, format=args.format)
        what = f"weights {args.weights}"
    else:
        step = export_run(args.workdir, args.output, step=args.step or "last", format=args.format)
        what = f"parameters of step {step}"
    print(f"{what}: {args.output}" + (f" ({LAYOUT})" if args.format in MODEL_FORMATS else ""))


def _import_mufusion(args):
    from edmf_jax.mufusion import import_mufusion
    from edmf_jax.weights import save_weights

    weights = import_mufusion(args.file)
    save_weights(args.output, weights.params, weights.config, provenance=weights.provenance)
    print(f"weights: {args.output}")


def _data_build(args):
    from edmf_jax.data import open_dataset

    open_dataset(args.name, args.data_dir, source=args.source, allow_missing=args.allow_missing, force=args.force)


def _demo(args):
    from edmf_jax.demo import demo

    demo(args.workdir, source=args.source, allow_missing=args.allow_missing)


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(prog="edmf", description="Multi-focus image fusion under exposure differences.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, help, **options):
        sub = commands.add_parser(name, help=help, description=help, **options)
        sub.set_defaults(run=run)
        return sub

    add_fuse(command)

    _add_train_command(command)

    _add_export_command(command)

    sub = command("import-mufusion", _import_mufusion, "turn MUFusion's published file into weights for fuse")
    sub.add_argument("file", metavar="FILE.model")
    sub.add_argument("-o", "--output", required=True, metavar="DIR")

    _add_data_commands(command("data", None, "prepare data sets"))
    add_commands(command)
    add_report(command)
    add_experiment(command)

    sub = command("demo", _demo, "see all of it in a few minutes: data, training, a fused picture, scores")
    sub.add_argument("--workdir", default="work/demo", metavar="DIR")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="real EDMF pairs instead of the embedded data set")
    sub.add_argument("--allow-missing", action="store_true", help="go on with the whole pairs of an incomplete copy")
    return parser


def _add_train_command(command) -> None:
    sub = command("train", _train, "train, or go on training, a run",
                  epilog="Any field of the configuration is set by --config.field=value.")
    sub.add_argument("--config", required=True, metavar="FILE", help="for example configs/edmf.py")
    sub.add_argument("--workdir", required=True, metavar="DIR", help="the run's folder; made where absent")
    sub.add_argument("--profile", type=_positive, default=0, metavar="STEPS",
                     help="trace so many steps into DIR/profile, for xprof or Perfetto")
    sub.add_argument("--tensorboard", action="store_true", help="write the log for TensorBoard too")
    several = sub.add_argument_group("several processes", "the same command for each; DIR is on a disk that all share")
    several.add_argument("--distributed", action="store_true",
                         help="one of several processes, as Slurm, Kubernetes, MPI or a TPU pod started it")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where nothing tells: process 0's address …")
    several.add_argument("--processes", type=_positive, metavar="N", help="… how many processes there are …")
    several.add_argument("--process", type=int, metavar="I", help="… and which this is, 0 to N − 1")


def _add_export_command(command) -> None:
    sub = command("export", _export, "write a run's parameters alone, or the network as one file for other programs")
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", metavar="DIR", help="the run's folder …")
    source.add_argument("--weights", metavar="DIR-or-NAME", help="… or what export or import-mufusion wrote")
    sub.add_argument("--step", help="of a run: a number, best or last (default)")
    sub.add_argument("--format", default="numpy", choices=("numpy", "orbax", "stablehlo", "onnx", "tflite"),
                     help="numpy (default), orbax: a folder of weights; the others: the network as one file")
    sub.add_argument("-o", "--output", required=True, metavar="OUT", help="the folder or file to write")


def _add_data_commands(data: argparse.ArgumentParser) -> None:
    data = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    sub = data.add_parser("build", help="build a TFDS data set from local files, or download it")
    sub.set_defaults(run=_data_build)
    sub.add_argument("name", nargs="?", default="edmf", help="edmf (default), edmf/as_printed, edmf_synthetic")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the published files (also: EDMF_DIR)")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data (also: TFDS_DATA_DIR)")
    sub.add_argument("--allow-missing", action="store_true", help="go on with the whole pairs of an incomplete copy")
    sub.add_argument("--force", action="store_true", help="build again what is there")


_WITH_FIELDS = ("train", "experiment")  # the commands that take --config.field=value


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    parser = make_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.command not in _WITH_FIELDS:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return _run(args, rest)


def _run(args, rest) -> int:
    from edmf_jax.errors import UserError
    from edmf_jax.interrupt import Interrupted

    if args.command != "data":
        from edmf_jax.runtime import tune_allocator

        tune_allocator()
    try:
        return (args.run(args, rest) if args.command in _WITH_FIELDS else args.run(args)) or 0
    except Interrupted as stop:
        print(f"edmf: {stop}", file=sys.stderr)
        return 128 + stop.signal
    except KeyboardInterrupt:
        print("edmf: stopped before there was anything to save", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UserError, FileNotFoundError) as error:
        print(f"edmf {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(f"edmf {args.command}: the disk is full ({error}); free some space and try again", file=sys.stderr)
        return 2


def entry() -> None:
    """The console command: `main`, and out."""
    code = main()
    if code:
        # After an error the line that says so is the last: orbax's threads print tracebacks while Python ends.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    entry()
