"""The commands `edmf data build`, which prepares a TFDS data set, and `edmf data pack`, which packs one into a file."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    data = command("data", None, "prepare data sets")
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build a TFDS data set from local files, or download it")
    build.set_defaults(run=_data_build)
    _add_dataset(build)
    build.add_argument("--force", action="store_true", help="rebuild a data set that is already built")
    about = "pack the pairs of a split into one file, which `edmf train --data FILE` reads without TensorFlow"
    pack = commands.add_parser("pack", help=about, description=about)
    pack.set_defaults(run=_data_pack)
    _add_dataset(pack)
    pack.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
    pack.add_argument("--split", default="train", help="as TFDS writes it (default: train)")
    pack.add_argument("--gray", action="store_true", help="the luma planes, losslessly, instead of the files as they "
                      "are: three times as large for EDMF, and the same on every machine, whatever decodes its JPEGs")
    pack.add_argument("--force", action="store_true", help="replace the file if it is there")


def _add_dataset(sub: argparse.ArgumentParser) -> None:
    """Which data set, and where its files are."""
    sub.add_argument("name", nargs="?", default="edmf", help="edmf (default), edmf/as_printed, edmf_synthetic")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the published files (also: variable EDMF_DIR)")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data (also: variable TFDS_DATA_DIR)")
    sub.add_argument("--allow-missing", action="store_true", help="use the complete pairs of an incomplete copy")


def _data_build(args: argparse.Namespace) -> None:
    from edmf_jax.data.tfds_reader import open_dataset

    open_dataset(args.name, args.data_dir, source=args.source, allow_missing=args.allow_missing, force=args.force)


def _data_pack(args: argparse.Namespace) -> None:
    from edmf_jax.data.pack import write_pack
    from edmf_jax.data.tfds_reader import open_dataset
    from edmf_jax.io.atomic import check_new

    check_new(args.output, force=args.force)  # before a data set is built
    builder = open_dataset(args.name, args.data_dir, split=args.split, source=args.source,
                           allow_missing=args.allow_missing)
    write_pack(args.output, builder, args.split, gray=args.gray, force=args.force)
