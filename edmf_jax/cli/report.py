"""The command `edmf report`: shows an evaluation as one HTML page."""

import argparse
from collections.abc import Callable


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("report", _report, "show an evaluation as one HTML page: tables, plots, pictures to compare")
    sub.add_argument("workdir", metavar="W", help="the --workdir of an `edmf evaluate`")
    sub.add_argument("-o", "--output", metavar="FILE", help="default: W/report.html")
    sub.add_argument("--images", type=int, default=12, metavar="N",
                     help="show the pictures of N pairs, half of them those on which methods differ most (default: 12; "
                          "0: none)")
    sub.add_argument("--sheet", metavar="FILE", help="instead of the page, write enlarged cut-outs as one picture")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the data set's published files, if they have moved")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data, if it has moved")
    sub.add_argument("--force", action="store_true", help="replace a page or sheet that is there")


def _report(args: argparse.Namespace) -> None:
    from edmf_jax.errors import UserError
    from edmf_jax.reports.evaluation_page import write_report
    from edmf_jax.reports.evaluation_sheet import write_sheet

    options = {"images": args.images, "source": args.source, "data_dir": args.data_dir, "force": args.force}
    if args.sheet and args.output:
        raise UserError(f"--sheet {args.sheet} replaces the page; leave out --output {args.output}")
    if args.sheet:
        write_sheet(args.workdir, args.sheet, **options)
    else:
        write_report(args.workdir, args.output, **options)
