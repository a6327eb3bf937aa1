"""The command `edmf data build`: prepares a TFDS data set from local files, or downloads it."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    data = command("data", None, "prepare data sets")
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    sub = commands.add_parser("build", help="build a TFDS data set from local files, or download it")
    sub.set_defaults(run=_data_build)
    sub.add_argument("name", nargs="?", default="edmf", help="edmf (default), edmf/as_printed, edmf_synthetic")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the published files (also: variable EDMF_DIR)")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data (also: variable TFDS_DATA_DIR)")
    sub.add_argument("--allow-missing", action="store_true", help="use the complete pairs of an incomplete copy")
    sub.add_argument("--force", action="store_true", help="rebuild a data set that is already built")


def _data_build(args: argparse.Namespace) -> None:
    from edmf_jax.data.tfds_reader import open_dataset

    open_dataset(args.name, args.data_dir, source=args.source, allow_missing=args.allow_missing, force=args.force)
