"""The command `edmf report`: it parses, calls one library function, and prints."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds it; `command(name, run, help)` is `main.make_parser`'s."""
    sub = command("report", _report, "an evaluation as one HTML page: tables, plots, pictures to look into")
    sub.add_argument("workdir", metavar="W", help="the --workdir of an `edmf evaluate`")
    sub.add_argument("-o", "--output", metavar="FILE", help="default: W/report.html")
    sub.add_argument("--images", type=int, default=12, metavar="N",
                     help="show the pictures of N pairs, half of them the most telling (default: 12; 0: none)")
    sub.add_argument("--sheet", metavar="FILE", help="instead of the page: enlarged cut-outs as one picture")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the data set's published files, if they have moved")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data, if it has moved")


def _report(args):
    from edmf_jax.errors import UserError
    from edmf_jax.report import report
    from edmf_jax.report_sheet import write_sheet

    options = {"images": args.images, "source": args.source, "data_dir": args.data_dir}
    if args.sheet and args.output:
        raise UserError(f"--sheet {args.sheet} is instead of the page; leave out --output {args.output}")
    if args.sheet:
        write_sheet(args.workdir, args.sheet, **options)
    else:
        report(args.workdir, args.output, **options)
