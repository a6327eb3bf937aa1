"""The command `edmf align`: parses arguments, calls one library function, prints its result."""

import argparse
import math
from collections.abc import Callable

from edmf_jax.cli.options import FORMATS, LeftOut, add_alignment, progress_bar, say


def add_command(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds `edmf align` to the parser; `command(name, run, help)` is that of `main.make_parser`."""
    sub = command("align", _align, "register shots to one of them and write them, without fusing")
    sub.add_argument("shots", nargs="+", metavar="SHOT", help="two or more, or a folder or a file of several pages")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="the folder to write into")
    sub.add_argument("--format", default="png", choices=FORMATS, help="default: png")
    add_alignment(sub)
    sub.add_argument("--force", action="store_true", help="overwrite existing files")


def _align(args) -> int:
    from edmf_jax.fusion.align import align_files
    from edmf_jax.runtime.devices import use_cpu_only
    from edmf_jax.runtime.process import enable_compilation_cache

    use_cpu_only()
    enable_compilation_cache()
    left_out = LeftOut("align")
    with progress_bar() as progress:
        written = list(align_files(args.shots, args.output, align=args.align, model=args.model,
                                   on_bad_shot=args.on_bad_shot, reference=args.reference,
                                   use_alignment=args.use_alignment, save_alignment=args.save_alignment,
                                   suffix=f".{args.format}", force=args.force,
                                   progress=progress, log=say("align"), left_out=left_out))
    for path, registration in written:
        print(f"{path}{'' if registration is None else _evidence(registration)}")
    return left_out.exit_code


def _evidence(registration) -> str:
    exact = (f"corners uncertain by {registration.deviation_px:.2f} px" if math.isfinite(registration.deviation_px)
             else "too little content agrees to tell how exact")
    return f": {registration.inliers} matching points agree, {100 * registration.overlap:.0f} % in common, {exact}"
