"""The command `edmf fuse`: parses arguments, calls one library function, prints its result."""

import argparse
import os
import sys
from collections.abc import Callable

from edmf_jax.cli.options import (
    FORMATS,
    LEFT_OUT,
    LeftOut,
    add_alignment,
    add_device,
    network_on,
    print_line,
    progress_bar,
    say,
    two_numbers,
)

# Equal to the choices of `fusion.stack.PhotoOptions`; repeated here, so that --help need not import it.
EXPOSURES = ("reference", "average", "well-exposed")
PIXELS = ("shots", "network")
HOT_PIXELS = ("replace", "keep")
MOVING = ("once", "as-found")


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds `edmf fuse` to the parser; `command(name, run, help)` is that of `main.make_parser`."""
    sub = command("fuse", _fuse, "fuse shots of one scene, focused at different depths, into one picture",
                  epilog="A batch names a file that fails and goes on (exit code 1).  If it is stopped, the same "
                         "command continues with the results that are missing.  Exit code 3: done, but without shots "
                         "that could not be used or placed; a copy of another shot is not missed.")
    sub.add_argument("shots", nargs="*", metavar="SHOT",
                     help="two or more, or a folder or a file of several pages; see --reference")
    sub.add_argument("-o", "--output", required=True, metavar="OUT",
                     help="the picture to write, its suffix is the format; for a batch or slabs the folder")
    batch = sub.add_mutually_exclusive_group()
    batch.add_argument("--pairs", nargs=2, metavar=("DIR_A", "DIR_B"),
                       help="a batch: the pictures of two folders, paired by the last number in their names if both "
                            "folders have the same numbers, otherwise in the order of their names")
    batch.add_argument("--stacks", metavar="DIR", help="a batch: every sub-folder holds the shots of one picture")
    batch.add_argument("--brackets", metavar="DIR", help=argparse.SUPPRESS)  # the former name of --stacks
    sub.add_argument("--shard", type=two_numbers("/"), metavar="K/N", help="of a batch only every Nth picture, "
                     "beginning with the Kth, so that N machines share the work")
    sub.add_argument("--slab", type=two_numbers(":"), metavar="SIZE:OVERLAP", help="fuse the stack in runs of SIZE "
                     "shots, of which OVERLAP are in the next one too: OUT/slab-01.tif, … for retouching")
    sub.add_argument("--format", choices=FORMATS, help="format of the results of a batch or slabs (default: as the "
                     "first shot)")
    sub.add_argument("--weights", metavar="NAME-or-DIR",
                     help="chooser (default), or a file of your training: a network chooses among the shots; none: a "
                          "hand-made measure does, faster; or, for --pixels network, what `edmf export` or `edmf "
                          "import-mufusion` wrote (default: edmf)")
    sub.add_argument("--preset", default="photo", choices=("photo", "paper"),
                     help="photo (default): any number of hand-held shots; paper: two registered shots of one size, by "
                          "the published method")
    add_alignment(sub)
    sub.add_argument("--exposure", choices=EXPOSURES, help="brightness of the result: that of the first shot "
                     "(default), the middle of all shots, or near the best-exposed ones")
    sub.add_argument("--pixels", choices=PIXELS, help="where pixels come from: the shots, each where it is sharp "
                     "(default), or the network")
    sub.add_argument("--hot-pixels", choices=HOT_PIXELS, help="those that show in several shots: replace (default) or "
                     "keep them")
    sub.add_argument("--moving", choices=MOVING, help="what moved between the shots: once, as one shot has it "
                     "(default), or as it is found, wherever it is sharp")
    sub.add_argument("--dark", metavar="FRAME", help="a shot with the cap on: what stands out in it is replaced in all "
                     "shots")
    tie = sub.add_mutually_exclusive_group()
    tie.add_argument("--near-first", dest="tie", action="store_const", const="near", help="where two shots are "
                     "equally sharp, take more of the near one, which is the one given earlier")
    tie.add_argument("--far-first", dest="tie", action="store_const", const="far", help="take more of the far "
                     "one there")
    sub.add_argument("--crop", action="store_true", default=None, help="cut to the area that all shots cover")
    sub.add_argument("--save-map", metavar="FILE", help="write a PNG too: which shot each pixel comes from")
    sub.add_argument("--save-depth", metavar="FILE", help="write the depth too, near white and far black, a PNG or "
                     "TIFF of 16 bits, and beside it FILE-confidence")
    sub.add_argument("--layers", metavar="DIR-or-FILE.tif", help="write the aligned, leveled shots and their masks "
                     "too, for retouching")
    sub.add_argument("--use-masks", metavar="DIR", help="take the masks that --layers wrote, and you edited, as the "
                     "shots' weights")
    sub.add_argument("--report", metavar="PAGE.html", help="write a page too, in one file: shots, result and map "
                     "under a before/after slider, matching points, exposures, settings")
    add_device(sub, "where networks run, and where shots are blended, if they are large enough for a GPU to pay")
    sub.add_argument("--force", action="store_true", help="overwrite existing files")


def _options(args) -> dict:
    """The arguments of `fuse_files` and `fuse_slabs` that are the same for one picture, slabs and a batch."""
    return {"align": args.align, "model": args.model, "exposure": args.exposure, "pixels": args.pixels,
            "on_bad_shot": args.on_bad_shot, "reference": args.reference, "use_alignment": args.use_alignment,
            "hot_pixels": args.hot_pixels, "moving": args.moving, "tie": args.tie, "dark": args.dark,
            "device": args.device,
            "force": args.force}


def _fuse(args) -> int:
    from edmf_jax.runtime import devices, process

    process.one_blas_thread()
    if args.brackets:
        print("edmf fuse: --brackets is now called --stacks", file=sys.stderr)
        args.stacks = args.brackets
    batch = bool(args.pairs or args.stacks)
    _check_together(args, batch)
    process.end_of_imports()
    run = _fuse_batch if batch else _fuse_slabs if args.slab else _fuse_one
    own_weights = args.weights not in (None, "none", "chooser")
    if own_weights or _needs_weights(args) or devices.may_take_gpu(args.device):  # JAX may compile something
        process.enable_compilation_cache()
    if _needs_weights(args):
        with network_on(args.device, say("fuse")):
            return run(args)
    devices.use(args.device, networks=False)  # says at once if there is no GPU, but one was asked for
    return run(args)


def _needs_weights(args) -> bool:
    """Whether a network fuses luma."""
    from edmf_jax.fusion.settings import fuses_luma

    return args.preset == "paper" or args.pixels == "network" or fuses_luma(args.weights)


def _check_together(args, batch: bool) -> None:
    """Raises UserError if options were given that exclude each other."""
    from edmf_jax.errors import UserError
    from edmf_jax.fusion.settings import check_weights

    check_weights(args.weights, args.preset, args.pixels)
    if bool(args.shots) == batch:
        what = "neither is given" if not batch else f"{args.shots[0]} is a shot beside a batch"
        raise UserError(f"give SHOTs, or one of --pairs and --stacks: {what}")
    if args.format and not (batch or args.slab):
        raise UserError(f"--format {args.format} is for a batch; the format follows from the suffix of {args.output}")
    if args.shard and not batch:
        raise UserError(f"--shard {args.shard[0]}/{args.shard[1]} is for a batch, --pairs or --stacks; leave it out")
    if args.slab and batch:
        raise UserError(f"--slab {args.slab[0]}:{args.slab[1]} is for one stack; name its SHOTs instead of a batch")
    writes_no = "a batch writes no {}; fuse the shots one by one for them"
    writes_no = writes_no if batch else "--slab writes no {}; leave it out"
    for option, value, what in (("--report", args.report, "reports"), ("--save-map", args.save_map, "maps"),
                                ("--save-depth", args.save_depth, "depth maps"), ("--layers", args.layers, "layers"),
                                ("--save-alignment", batch and args.save_alignment, "alignments")):
        if value and (batch or args.slab):
            raise UserError(f"{option} {value}: {writes_no.format(what)}")
    if args.use_masks and (batch or args.slab):
        raise UserError(f"--use-masks {args.use_masks}: masks belong to one result; fuse its shots alone")
    if args.slab and args.crop:
        raise UserError("--crop: all slabs have the reference's frame; leave it out")
    if args.slab and args.preset != "photo":
        raise UserError(f"--preset {args.preset}: --slab is for the preset photo; leave out one of them")


def _fuse_one(args) -> int:
    from edmf_jax.fusion.fuse import fuse_files

    make_page = None
    if args.report:
        from edmf_jax.reports.fusion_page import make_page
    left_out = LeftOut("fuse")
    with progress_bar() as progress:
        fuse_files(args.shots, args.output, weights=args.weights, preset=args.preset, crop=args.crop,
                   save_map=args.save_map, save_depth=args.save_depth, layers=args.layers, use_masks=args.use_masks,
                   save_alignment=args.save_alignment, report=args.report, make_page=make_page,
                   progress=progress, log=say("fuse"), left_out=left_out, **_options(args))
    print(args.output)
    return left_out.exit_code


def _fuse_slabs(args) -> int:
    from edmf_jax.fusion.slabs import fuse_slabs

    left_out, existing = LeftOut("fuse"), 0
    with progress_bar() as progress:
        for slab in fuse_slabs(args.shots, args.output, *args.slab, weights=args.weights, left_out=left_out,
                               suffix=args.format and f".{args.format}", save_alignment=args.save_alignment,
                               progress=progress, log=say("fuse"), **_options(args)):
            existing += slab.existed
            if not slab.existed:
                print_line(f"{slab.path}: shots {', '.join(map(str, slab.numbers))}")
    if existing:
        print(f"{existing} exist already (--force fuses them again)")
    return left_out.exit_code


def _fuse_batch(args) -> int:
    """Fuses every job of a batch; returns 1 if one failed, `LEFT_OUT` if one is without a shot, else 0."""
    import signal

    from edmf_jax.fusion.align import make_folder
    from edmf_jax.fusion.batch import run_jobs
    from edmf_jax.fusion.fuse import fuse_files
    from edmf_jax.fusion.settings import is_chooser, resolve_weights
    from edmf_jax.runtime.interrupt import Interrupted

    jobs = _find_jobs(args)
    weights = args.weights
    if _needs_weights(args) or is_chooser(weights):
        weights = resolve_weights(weights, say("fuse"))  # once for all jobs
    make_folder(args.output)
    without: dict[str, list[str]] = {}  # job → shots that were left out

    def fuse(job):
        left_out = LeftOut("fuse", f"{job.name}: ")
        with progress_bar() as progress:
            fuse_files(job.shots, job.output, weights=weights, preset=args.preset, crop=args.crop, left_out=left_out,
                       log=lambda line: say("fuse")(f"{job.name}: {line}"),
                       progress=lambda what, share: progress(f"{job.name}: {what}", share), **_options(args))
        if left_out.names:
            without[job.name] = left_out.names

    def done(job):
        names = ", ".join(os.path.basename(shot) for shot in without.get(job.name, ()))
        print(f"{job.output}{f': without {names}' if names else ''}", flush=True)

    def failed(job, error):
        print(f"edmf fuse: {job.name}: {' '.join(str(error).split())}", file=sys.stderr)

    try:
        fused, existing, failures = run_jobs(jobs, fuse, force=args.force, failed=failed, done=done)
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; the same command continues with what is missing", signal.SIGINT) from error
    print(f"{fused} fused" + (f", {len(without)} of them without some shots" if without else "")
          + (f", {existing} exist already (--force fuses them again)" if existing else "")
          + (f", {failures} failed" if failures else ""))
    return 1 if failures else LEFT_OUT if without else 0


def _find_jobs(args) -> list:
    """The jobs of a batch; prints how many there are."""
    from edmf_jax.fusion.batch import pair_up, shard_of, stacks_in
    from edmf_jax.io.shot_list import path_of

    suffix = f".{args.format}" if args.format else None
    shard = shard_of(*args.shard) if args.shard else slice(None)
    of_all = f" in shard {args.shard[0]}/{args.shard[1]}" if args.shard else ""
    if args.pairs:
        jobs, how = pair_up(*args.pairs, args.output, suffix, say("fuse"), shard=shard)
        example = f": {' + '.join(path_of(shot).name for shot in jobs[0].shots)}, …" if jobs else ""
        print(f"{len(jobs)} pairs{of_all} {how}{example}")
    else:
        jobs = stacks_in(args.stacks, args.output, suffix, say("fuse"), shard=shard)
        print(f"{len(jobs)} stacks{of_all}")
    return jobs
