"""The entry point of `edmf`: builds the parser, runs one command and turns exceptions into exit codes.

    0         done
    1         part of a batch failed, or the reader of the output closed the pipe
    2         a mistake that the user can correct; one line on standard error names it
    3         done, but without shots that could not be used or placed
    130, 143  stopped by SIGINT or SIGTERM

Each command imports what it needs when it runs, so `edmf --help` imports no jax; and the parser of one command is made
without those of the others.
"""

import argparse
import atexit
import errno
import gc
import importlib
import io
import os
import sys
from collections.abc import Sequence

_COMMANDS = {"fuse": "fuse", "align": "align", "train": "train", "export": "export", "import": "import_weights",
             "import-mufusion": "import_weights", "methods": "methods", "data": "data", "metrics": "metrics",
             "evaluate": "evaluate", "report": "report", "experiment": "experiment", "demo": "demo"}
"""Each command, and the module of `edmf_jax.cli` that adds it to the parser; in the order of --help."""
_WITH_FIELDS = ("train", "experiment")  # these take --config.field=value


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors, like all other errors of the commands."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (try {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version. It is looked up on demand, because that takes a fifth of the time limit of --help."""

    def __call__(self, parser, *_):
        from importlib import metadata

        print(metadata.version("edmf-jax"))
        parser.exit()


def make_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or with `only` that of one, which is made sooner.

    Each command module has `add_command(command)`, which calls `command(name, run, help, **options)` to create its
    subparser; `run` is the function that executes the command.
    """
    parser = _Parser(prog="edmf", description="Multi-focus image fusion under exposure differences.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name, run, help, **options):
        sub = commands.add_parser(name, help=help, description=help, **options)
        sub.set_defaults(run=run)
        return sub

    names = _COMMANDS.values() if only is None else [_COMMANDS[only]]
    for name in dict.fromkeys(names):
        importlib.import_module(f"edmf_jax.cli.{name}").add_command(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: the words after `edmf`; None: those of this process.

    Returns:
      The exit code, see the module's docstring.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = make_parser(words[0] if words and words[0] in _COMMANDS else None)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name that is no UTF-8 is printed as the bytes that it is
        sys.stdout.reconfigure(errors="surrogateescape")
    args, fields = parser.parse_known_args(words)
    if fields and args.command not in _WITH_FIELDS:
        parser.error(f"unrecognized arguments: {' '.join(fields)}")
    return _run(args, fields)


def _run(args: argparse.Namespace, fields: Sequence[str]) -> int:
    """Runs the parsed command and returns its exit code; `fields` are its `--config.field=value` arguments."""
    from edmf_jax.errors import UserError
    from edmf_jax.runtime.interrupt import Interrupted

    if args.command != "fuse":  # which does so when it has imported what it needs
        gc.enable()
    if args.command != "data":
        from edmf_jax.runtime.process import tune_allocator

        tune_allocator()
    try:
        return (args.run(args, fields) if args.command in _WITH_FIELDS else args.run(args)) or 0
    except Interrupted as stop:
        print(f"edmf: {stop}", file=sys.stderr)
        return 128 + stop.signal
    except KeyboardInterrupt:
        print("edmf: stopped before there was anything to save", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UserError as error:
        print(f"edmf {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(f"edmf {args.command}: the disk is full ({error}); free some space and try again", file=sys.stderr)
        return 2


def entry() -> None:
    """The console command: exits with the code of `main`."""
    gc.disable()  # no import makes garbage, and looking for some among what they make takes 30 ms; see `_run`
    code = main()
    if code or "jax" not in sys.modules:
        # os._exit keeps our error line the last one: on a normal exit, orbax's threads print tracebacks after it.
        # Without JAX only what is registered is left to do, and taking all modules apart takes 40 ms.
        if not code:
            atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            code = 1
        os._exit(code)


if __name__ == "__main__":
    entry()
