"""The commands `edmf fuse` and `edmf align`: they parse, call one library function, and print."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator

# As `photo.PhotoOptions` has them; named here, so that --help need not import it.
ALIGN = ("pso-sift", "sift+ransac", "sift+magsac", "ecc", "none")
MODELS = ("homography", "affine", "similarity")
EXPOSURES = ("reference", "average", "well-exposed")
PIXELS = ("shots", "network")
FORMATS = ("png", "tif", "jpg", "webp")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds both commands; `command(name, run, help)` is `main.make_parser`'s."""
    sub = command("fuse", _fuse, "fuse shots of one scene, focused at different depths, into one picture",
                  epilog="A batch goes on past a bad file and names it (exit code 1); stopped, the same command goes "
                         "on with what is not there yet.")
    sub.add_argument("shots", nargs="*", metavar="SHOT", help="two or more; the result has the first one's frame, "
                     "brightness, EXIF and colour profile")
    sub.add_argument("-o", "--output", required=True, metavar="OUT",
                     help="the picture to write, format by its suffix; of a batch the folder")
    batch = sub.add_mutually_exclusive_group()
    batch.add_argument("--pairs", nargs=2, metavar=("DIR_A", "DIR_B"),
                       help="a batch: the pictures of two folders, paired by the last number in their names where both "
                            "folders have the same numbers, otherwise in the order of their names")
    batch.add_argument("--brackets", metavar="DIR", help="a batch: every sub-folder holds the shots of one picture")
    sub.add_argument("--format", choices=FORMATS, help="of a batch's pictures; default: as the first shot")
    sub.add_argument("--weights", metavar="DIR-or-NAME",
                     help="what `edmf export` or `edmf import-mufusion` wrote (default: the shipped ones), for "
                          "--pixels network")
    sub.add_argument("--preset", default="photo", choices=("photo", "paper"),
                     help="photo (default): hand-held shots, any number; paper: two registered shots of one size, in "
                          "one piece, as published")
    _add_alignment(sub)
    sub.add_argument("--exposure", choices=EXPOSURES, help="where the brightness comes from: the first shot (default), "
                     "the middle between the shots, or the best-exposed ones")
    sub.add_argument("--pixels", choices=PIXELS, help="where the pixels come from: the shots, each where it is sharp "
                     "(default), or the network")
    sub.add_argument("--crop", action="store_true", default=None, help="cut to what all shots show")
    sub.add_argument("--save-map", metavar="FILE", help="a PNG too: which shot each pixel comes from")
    sub.add_argument("--report", metavar="PAGE.html", help="a page too, in one file: shots, result and map under a "
                     "before/after slider, matching points, exposures, settings")
    sub.add_argument("--force", action="store_true", help="overwrite what is there")

    sub = command("align", _align, "register shots to the first one and write them, without fusing")
    sub.add_argument("shots", nargs="+", metavar="SHOT", help="two or more; the first one's frame is kept")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder to write into")
    sub.add_argument("--format", default="png", choices=FORMATS, help="default: png")
    _add_alignment(sub)
    sub.add_argument("--force", action="store_true", help="overwrite what is there")


def _add_alignment(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--align", choices=ALIGN, help="how the shots are registered (default: pso-sift); none: they are")
    sub.add_argument("--model", choices=MODELS, help="what lies between two shots (default: homography)")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar with the time left on standard error where that is a terminal; called with words and a share."""
    from tqdm import tqdm

    with tqdm(total=1.0, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True,
              bar_format="{desc} {percentage:3.0f} %|{bar}| {remaining} left") as bar:
        def show(what: str, share: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(share - bar.n)

        yield show


def _options(args) -> dict:
    return {"preset": args.preset, "align": args.align, "model": args.model, "exposure": args.exposure,
            "crop": args.crop, "pixels": args.pixels}


def _fuse(args) -> int:
    from edmf_jax.errors import UserError
    from edmf_jax.fusion import fuse_files
    from edmf_jax.runtime import keep_compiled_programs

    batch = args.pairs or args.brackets
    if bool(args.shots) == bool(batch):
        what = "neither is given" if not batch else f"{args.shots[0]} is a shot beside a batch"
        raise UserError(f"name SHOTs, or one of --pairs and --brackets: {what}")
    keep_compiled_programs()
    if batch:
        return _fuse_batch(args)
    if args.format:
        raise UserError(f"--format {args.format} is for a batch; the suffix of {args.output} says the format")
    with _progress() as progress:
        fuse_files(args.shots, args.output, weights=args.weights, force=args.force, save_map=args.save_map,
                   report=args.report, progress=progress, **_options(args))
    print(args.output)
    return 0


def _fuse_batch(args) -> int:
    """Fuses every job; 1 where one failed, else 0."""
    import signal

    from edmf_jax.aligning import make_folder
    from edmf_jax.batches import brackets_in, pair_up, run_jobs
    from edmf_jax.errors import UserError
    from edmf_jax.fusion import fuse_files, resolve_weights
    from edmf_jax.interrupt import Interrupted

    if args.report:
        raise UserError(f"--report {args.report}: a batch writes no reports; fuse the shots one by one for them")
    if args.save_map:
        raise UserError(f"--save-map {args.save_map}: a batch writes no maps; fuse the shots one by one for them")
    suffix = f".{args.format}" if args.format else None
    if args.pairs:
        jobs, how = pair_up(*args.pairs, args.output, suffix)
        print(f"{len(jobs)} pairs {how}: {' + '.join(shot.name for shot in jobs[0].shots)}, …")
    else:
        jobs = brackets_in(args.brackets, args.output, suffix)
        print(f"{len(jobs)} brackets")
    weights = args.weights
    if weights or args.preset == "paper" or args.pixels == "network":
        weights = resolve_weights(weights)  # once for all
    make_folder(args.output)

    def fuse(job):
        with _progress() as progress:
            fuse_files(job.shots, job.output, weights=weights, force=args.force, **_options(args),
                       progress=lambda what, share: progress(f"{job.name}: {what}", share))

    def failed(job, error):
        print(f"edmf fuse: {job.name}: {' '.join(str(error).split())}", file=sys.stderr)

    try:
        fused, there, bad = run_jobs(jobs, fuse, force=args.force, done=lambda job: print(job.output, flush=True),
                                     failed=failed)
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; the same command goes on with what is not there yet", signal.SIGINT) from error
    print(f"{fused} fused" + (f", {there} there already (--force fuses them again)" if there else "")
          + (f", {bad} failed" if bad else ""))
    return int(bad > 0)


def _align(args) -> int:
    from edmf_jax.aligning import align_files
    from edmf_jax.runtime import keep_compiled_programs

    keep_compiled_programs()
    with _progress() as progress:
        written = list(align_files(args.shots, args.output, align=args.align, model=args.model,
                                   suffix=f".{args.format}", force=args.force, progress=progress))
    for path, found in written:
        evidence = "" if found is None else (f": {found.inliers} matching points agree, {100 * found.overlap:.0f} % in "
                                             f"common, corners uncertain by {found.deviation_px:.2f} px")
        print(f"{path}{evidence}")
    return 0
