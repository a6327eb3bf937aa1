"""The commands `edmf metrics` and `edmf evaluate`: they parse, call one library function, and print."""

import argparse
from collections.abc import Callable

# As `scoring.GROUPS` and `metrics.FURTHER` have them; named here, so that --help need not import them.
FURTHER = ("Q_MI", "Q_Y", "Q_CB", "Q_P", "FMI", "MEF-SSIM", "CC", "SCD", "SD")
# As `exposures.CONDITIONS` and `benchmark.BENCHMARKS` have them.
EXPOSURES = ("published", "quarter-stop", "half-stop-gamma")
BENCHMARKS = ("mfi-whu-exposure",)


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds both commands; `command(name, run, help)` is `main.make_parser`'s."""
    sub = command("metrics", _metrics, "score one fused picture: the eight metrics of the paper's Table 2, or others")
    sub.add_argument("a", metavar="A", help="first source")
    sub.add_argument("b", metavar="B", help="second source")
    sub.add_argument("fused", metavar="FUSED", help="the fused picture; all of one size")
    sub.add_argument("--truth", metavar="T", help="a picture that is sharp everywhere; adds the fidelity to it")
    _add_metrics(sub, "; give it after the files")
    sub.add_argument("--json", action="store_true", help="one JSON object, null for infinite or undefined")

    sub = command("evaluate", _evaluate, "fuse and score a data set by several methods, and compare them",
                  epilog="Stopped, the same command goes on; methods and pairs can be added to a folder.")
    sub.add_argument("--dataset", metavar="NAME", help="edmf, lytro, edmf_synthetic, …")
    sub.add_argument("--benchmark", metavar="NAME",
                     help=f"instead of --dataset, one under several conditions: {', '.join(BENCHMARKS)}, MFI-WHU at "
                          "each of --exposures, in sub-folders of W")
    sub.add_argument("--method", required=True, nargs="+", action="extend", metavar="[NAME=]METHOD",
                     help="a folder or name of weights; average, max-sf, max-sf-pixelwise, laplacian-pyramid, "
                          "guided-filter; or folder:DIR with fused pictures of another program, named by pair")
    sub.add_argument("--workdir", required=True, metavar="W", help="folder of pictures, scores and summary")
    sub.add_argument("--source", metavar="DIR-or-ZIP", help="the data set's published files")
    sub.add_argument("--split", default="test", help="default: test")
    sub.add_argument("--tiling", default="whole", choices=("whole", "mufusion"),
                     help="how weights see a picture: whole (default), or in MUFusion's tiles, as in Table 2")
    sub.add_argument("--store", default="png", choices=("png", "jpeg75"),
                     help="score the pictures as stored losslessly (default), or as JPEG of quality 75, as in Table 2")
    sub.add_argument("--gray", action="store_true", help="fuse the grey pictures, as in Table 2, not the colour ones")
    _add_metrics(sub)
    sub.add_argument("--limit", type=int, metavar="N", help="only the first N pairs, for a quick look")
    sub.add_argument("--data-dir", metavar="DIR", help="where TFDS keeps prepared data (also: TFDS_DATA_DIR)")
    sub.add_argument("--exposures", choices=EXPOSURES,
                     help="re-expose the sources, in linear light, and the truth at the mean of both: quarter-stop is "
                          "A +1/4, B −1/4 stop; half-stop-gamma A +1/2 stop, gamma 0.9, B −1/2 stop, gamma 1.1")
    sub.add_argument("--pattern-a", metavar="P", help="for image_pairs: the sources' file names, like 'near/{id}.jpg'")
    sub.add_argument("--pattern-b", metavar="P")
    sub.add_argument("--pattern-truth", metavar="P")
    sub.add_argument("--allow-missing", action="store_true",
                     help="go on without the pairs that the data set's copy or a folder: method lacks")


def _add_metrics(sub: argparse.ArgumentParser, last: str = "") -> None:
    sub.add_argument("--metrics", nargs="+", default=["table2"], metavar="NAME",
                     help=f"table2 (default), all, or any of Table 2's and {', '.join(FURTHER)}; "
                          "seconds for a megapixel on one CPU core: Q_P 2, FMI 0.9, Q_CB 0.5, any other 0.2 at most; "
                          f"those to a truth always come with one{last}")


def _metrics(args):
    from edmf_jax.scores import to_json
    from edmf_jax.scoring import score_files, score_table

    values = score_files(args.a, args.b, args.fused, args.truth, args.metrics)
    print(to_json(values) if args.json else score_table(values) + "\n", end="")


def _evaluate(args):
    from edmf_jax.benchmark import run_benchmark
    from edmf_jax.errors import UserError
    from edmf_jax.evaluate import evaluate
    from edmf_jax.tables import markdown_table, means_table

    if (args.dataset is None) == (args.benchmark is None):
        given = f"--dataset {args.dataset} and --benchmark {args.benchmark}" if args.dataset else "neither is given"
        raise UserError(f"--dataset or --benchmark, one of them says what is evaluated: {given}")
    if args.benchmark and args.exposures:
        raise UserError(f"--exposures {args.exposures}: --benchmark {args.benchmark} has all of its own; leave it out, "
                        "or name a --dataset")
    patterns = {"a": args.pattern_a, "b": args.pattern_b, "truth": args.pattern_truth}
    options = {"source": args.source, "split": args.split, "tiling": args.tiling, "store": args.store,
               "gray": args.gray, "metrics": args.metrics, "limit": args.limit, "data_dir": args.data_dir,
               "patterns": patterns if any(patterns.values()) else None, "allow_missing": args.allow_missing}
    if args.benchmark:
        table = run_benchmark(args.benchmark, args.method, args.workdir, **options)
    else:
        table = means_table(evaluate(args.dataset, args.method, args.workdir, exposures=args.exposures, **options))
    print(markdown_table(table))
