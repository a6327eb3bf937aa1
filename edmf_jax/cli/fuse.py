"""The command `edmf fuse`: parses arguments, calls one library function, prints its result."""

import argparse
import sys
from collections.abc import Callable

from edmf_jax.cli.options import FORMATS, add_alignment, progress_bar, say

# Equal to the choices of `fusion.stack.PhotoOptions`; repeated here, so that --help need not import it.
EXPOSURES = ("reference", "average", "well-exposed")
PIXELS = ("shots", "network")


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds `edmf fuse` to the parser; `command(name, run, help)` is that of `main.make_parser`."""
    sub = command("fuse", _fuse, "fuse shots of one scene, focused at different depths, into one picture",
                  epilog="A batch names a file that fails and goes on (exit code 1).  If it is stopped, the same "
                         "command continues with the results that are missing.")
    sub.add_argument("shots", nargs="*", metavar="SHOT", help="two or more, or a folder or a file of several "
                     "pages; the result has the frame, brightness, EXIF and color profile of the first one")
    sub.add_argument("-o", "--output", required=True, metavar="OUT",
                     help="the picture to write, its suffix is the format; for a batch the folder")
    batch = sub.add_mutually_exclusive_group()
    batch.add_argument("--pairs", nargs=2, metavar=("DIR_A", "DIR_B"),
                       help="a batch: the pictures of two folders, paired by the last number in their names if both "
                            "folders have the same numbers, otherwise in the order of their names")
    batch.add_argument("--stacks", metavar="DIR", help="a batch: every sub-folder holds the shots of one picture")
    batch.add_argument("--brackets", metavar="DIR", help=argparse.SUPPRESS)  # the former name of --stacks
    sub.add_argument("--format", choices=FORMATS, help="format of a batch's results (default: as the first shot)")
    sub.add_argument("--weights", metavar="DIR-or-NAME",
                     help="written by `edmf export` or `edmf import-mufusion` (default: the shipped ones), for "
                          "--pixels network")
    sub.add_argument("--preset", default="photo", choices=("photo", "paper"),
                     help="photo (default): any number of hand-held shots; paper: two registered shots of one size, by "
                          "the published method")
    add_alignment(sub)
    sub.add_argument("--exposure", choices=EXPOSURES, help="brightness of the result: that of the first shot "
                     "(default), the middle of all shots, or near the best-exposed ones")
    sub.add_argument("--pixels", choices=PIXELS, help="where pixels come from: the shots, each where it is sharp "
                     "(default), or the network")
    sub.add_argument("--crop", action="store_true", default=None, help="cut to the area that all shots cover")
    sub.add_argument("--save-map", metavar="FILE", help="write a PNG too: which shot each pixel comes from")
    sub.add_argument("--report", metavar="PAGE.html", help="write a page too, in one file: shots, result and map "
                     "under a before/after slider, matching points, exposures, settings")
    sub.add_argument("--force", action="store_true", help="overwrite existing files")


def _options(args) -> dict:
    return {"preset": args.preset, "align": args.align, "model": args.model, "exposure": args.exposure,
            "crop": args.crop, "pixels": args.pixels}


def _fuse(args) -> int:
    from edmf_jax.errors import UserError
    from edmf_jax.fusion.fuse import fuse_files
    from edmf_jax.runtime.process import enable_compilation_cache, use_cpu_only

    if args.brackets:
        print("edmf fuse: --brackets is now called --stacks", file=sys.stderr)
        args.stacks = args.brackets
    batch = args.pairs or args.stacks
    if bool(args.shots) == bool(batch):
        what = "neither is given" if not batch else f"{args.shots[0]} is a shot beside a batch"
        raise UserError(f"give SHOTs, or one of --pairs and --stacks: {what}")
    if not (args.weights or args.preset == "paper" or args.pixels == "network"):
        use_cpu_only()
    enable_compilation_cache()
    if batch:
        return _fuse_batch(args)
    if args.format:
        raise UserError(f"--format {args.format} is for a batch; the format follows from the suffix of {args.output}")
    make_page = None
    if args.report:
        from edmf_jax.reports.fusion_page import make_page
    with progress_bar() as progress:
        fuse_files(args.shots, args.output, weights=args.weights, force=args.force, save_map=args.save_map,
                   report=args.report, make_page=make_page, progress=progress, log=say("fuse"), **_options(args))
    print(args.output)
    return 0


def _fuse_batch(args) -> int:
    """Fuses every job of a batch; returns 1 if one failed, else 0."""
    import signal

    from edmf_jax.errors import UserError
    from edmf_jax.fusion.align import make_folder
    from edmf_jax.fusion.batch import run_jobs
    from edmf_jax.fusion.fuse import fuse_files, resolve_weights
    from edmf_jax.runtime.interrupt import Interrupted

    if args.report:
        raise UserError(f"--report {args.report}: a batch writes no reports; fuse the shots one by one for them")
    if args.save_map:
        raise UserError(f"--save-map {args.save_map}: a batch writes no maps; fuse the shots one by one for them")
    jobs = _find_jobs(args)
    weights = args.weights
    if weights or args.preset == "paper" or args.pixels == "network":
        weights = resolve_weights(weights)  # once for all jobs
    make_folder(args.output)

    def fuse(job):
        with progress_bar() as progress:
            fuse_files(job.shots, job.output, weights=weights, force=args.force, **_options(args),
                       log=lambda line: say("fuse")(f"{job.name}: {line}"),
                       progress=lambda what, share: progress(f"{job.name}: {what}", share))

    def failed(job, error):
        print(f"edmf fuse: {job.name}: {' '.join(str(error).split())}", file=sys.stderr)

    try:
        fused, existing, failures = run_jobs(jobs, fuse, force=args.force, failed=failed,
                                             done=lambda job: print(job.output, flush=True))
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; the same command continues with what is missing", signal.SIGINT) from error
    print(f"{fused} fused" + (f", {existing} exist already (--force fuses them again)" if existing else "")
          + (f", {failures} failed" if failures else ""))
    return int(failures > 0)


def _find_jobs(args) -> list:
    """The jobs of a batch; prints how many there are."""
    from edmf_jax.fusion.batch import pair_up, stacks_in
    from edmf_jax.io.shot_list import path_of

    suffix = f".{args.format}" if args.format else None
    if args.pairs:
        jobs, how = pair_up(*args.pairs, args.output, suffix, say("fuse"))
        print(f"{len(jobs)} pairs {how}: {' + '.join(path_of(shot).name for shot in jobs[0].shots)}, …")
    else:
        jobs = stacks_in(args.stacks, args.output, suffix, say("fuse"))
        print(f"{len(jobs)} stacks")
    return jobs
