"""The command `edmf evaluate`: fuses and scores a data set by several methods."""

import argparse
from collections.abc import Callable

from edmf_jax.cli.options import add_device, add_metrics, network_on, say
from edmf_jax.evaluation.benchmark_pairs import BENCHMARKS

_SET_BY = {"--exposures": "the exposures", "--split": "the pairs", "--truth-at": "the truth", "--rim-px": "the rim"}


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command to the parser; `command` is described in `main.make_parser`."""
    sub = command("evaluate", _evaluate, "fuse and score a data set by several methods, and compare them",
                  epilog="If it is stopped, the same command continues; methods and pairs can be added to a folder.")
    sub.add_argument("--dataset", metavar="NAME", help="edmf, lytro, edmf_synthetic, …")
    sub.add_argument("--benchmark", metavar="NAME",
                     help="instead of --dataset: certain pairs of a data set under certain exposures, in sub-folders "
                          f"of W: {', '.join(BENCHMARKS)} (docs/evaluation.md)")
    sub.add_argument("--method", required=True, nargs="+", action="extend", metavar="[NAME=]METHOD",
                     help="a name that `edmf methods` lists, or all of those that can run; edmf-fuse, which is "
                          "`edmf fuse`; a folder or name of weights; openfocus:METHOD, which calls that program; or "
                          "folder:DIR with pictures fused by another program, named by pair")
    sub.add_argument("--workdir", required=True, metavar="W", help="folder for pictures, scores and summary")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the data set's published files")
    sub.add_argument("--split", help="default: test")
    sub.add_argument("--tiling", default="whole", choices=("whole", "mufusion"),
                     help="how weights process a picture: whole (default), or in MUFusion's tiles, as in Table 2")
    sub.add_argument("--as-published", action="store_true",
                     help="methods color and save as their authors' scripts do (stretched ranges, truncated levels, "
                          "other color spaces), instead of all in one way")
    sub.add_argument("--store", default="png", choices=("png", "jpeg75"),
                     help="score the pictures as stored losslessly (default), or as JPEG of quality 75, as in Table 2")
    sub.add_argument("--gray", action="store_true", help="convert pictures to gray before fusing, as in Table 2")
    add_device(sub)
    add_metrics(sub)
    sub.add_argument("--limit", type=int, metavar="N", help="use only the first N pairs, for a quick test")
    sub.add_argument("--every", type=int, default=1, metavar="N",
                     help="use only every Nth pair, spread over the whole set")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data (also: TFDS_DATA_DIR)")
    sub.add_argument("--exposures", metavar="NAME",
                     help="change the exposure of the sources, in linear light, and take the truth at the mean of "
                          "both: quarter-stop is A +1/4, B −1/4 stop; half-stop-gamma A +1/2 stop, gamma 0.9, B −1/2 "
                          "stop, gamma 1.1; published changes nothing")
    sub.add_argument("--truth-at", metavar="NAME",
                     help="the exposure of the truth where the sources' differ by --exposures, or in edmf_synthetic: "
                          "average is the mean of both (default of --exposures); reference that of A, which `edmf "
                          "fuse` gives")
    sub.add_argument("--rim-px", type=int, default=0, metavar="N", help="do not score N px at each edge")
    sub.add_argument("--pattern-a", metavar="P",
                     help="for image_pairs: file names of the first sources, like 'near/{id}.jpg'")
    sub.add_argument("--pattern-b", metavar="P", help="the same for the second sources")
    sub.add_argument("--pattern-truth", metavar="P", help="the same for the ground truths, if there are any")
    sub.add_argument("--csv", metavar="FILE",
                     help="also write all rows, with the SHA-256 of each stored picture, to this file")
    sub.add_argument("--allow-missing", action="store_true",
                     help="leave out pairs that are missing from the data set's copy or from a folder: method")


def _evaluate(args: argparse.Namespace) -> None:
    from edmf_jax.errors import UserError
    from edmf_jax.evaluation.tables import markdown_table

    if (args.dataset is None) == (args.benchmark is None):
        given = f"--dataset {args.dataset} and --benchmark {args.benchmark}" if args.dataset else "neither is given"
        raise UserError(f"give either --dataset or --benchmark, to say what is evaluated: {given}")
    for option, value in (("--exposures", args.exposures), ("--split", args.split), ("--truth-at", args.truth_at),
                          ("--rim-px", args.rim_px)):
        if args.benchmark and value:
            raise UserError(f"{option} {value}: --benchmark {args.benchmark} sets {_SET_BY[option]} itself; leave "
                            f"{option} out, or give a --dataset instead")
    patterns = {"a": args.pattern_a, "b": args.pattern_b, "truth": args.pattern_truth}
    options = {"source": args.source, "tiling": args.tiling, "store": args.store,
               "gray": args.gray, "metrics": args.metrics, "limit": args.limit, "every": args.every,
               "data_dir": args.data_dir, "patterns": patterns if any(patterns.values()) else None,
               "allow_missing": args.allow_missing, "as_published": args.as_published}
    with network_on(args.device, say("evaluate")):
        print(markdown_table(_table(args, options)))


def _table(args: argparse.Namespace, options: dict):
    """The means of what is evaluated, a table of `evaluation.tables`."""
    from edmf_jax.errors import UserError
    from edmf_jax.evaluation.benchmark import run_benchmark
    from edmf_jax.evaluation.evaluate import evaluate
    from edmf_jax.evaluation.tables import means_table

    if args.benchmark:
        if args.csv:
            raise UserError(f"--csv {args.csv}: --benchmark {args.benchmark} has several evaluations; leave --csv out, "
                            "and give it to an evaluation of one of its sub-folders")
        return run_benchmark(args.benchmark, args.method, args.workdir, **options)
    return means_table(evaluate(args.dataset, args.method, args.workdir, split=args.split or "test",
                                exposures=args.exposures, truth_at=args.truth_at, rim_px=args.rim_px, csv=args.csv,
                                **options))
