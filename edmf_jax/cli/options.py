"""Shared by several commands: options of registration and scoring, a progress bar, checks of numbers."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

# Equal to the choices of `fusion.stack.PhotoOptions`; repeated here, so that --help need not import it.
ALIGN = ("pso-sift", "sift+ransac", "sift+magsac", "ecc", "best-effort", "none")
MODELS = ("auto", "homography", "affine", "similarity")
ON_BAD_SHOT = ("skip", "stop")
LEFT_OUT = 3
"""Exit code: done, but without shots that could not be used or placed; one that was given twice is not missed."""
FORMATS = ("png", "tif", "jpg", "webp")
# Equal to the names in `evaluation.scoring.GROUPS` and `metrics.FURTHER`.
FURTHER = ("Q_MI", "Q_Y", "Q_CB", "Q_P", "FMI", "MEF-SSIM", "CC", "SCD", "SD")

_BAR_AFTER_S = 1.0  # what is done by then shows no progress bar


def positive(text: str) -> int:
    """An argument that must be 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def two_numbers(separator: str) -> Callable[[str], tuple[int, int]]:
    """A type for arguments like 5:2 or 3/16; what the numbers may be is for the library to say."""
    def parse(text: str) -> tuple[int, int]:
        parts = text.split(separator)
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            raise argparse.ArgumentTypeError(f"{text!r} is not two whole numbers like 3{separator}2")
        return int(parts[0]), int(parts[1])

    return parse


def add_alignment(sub: argparse.ArgumentParser) -> None:
    """How shots are registered, and the files that keep it."""
    sub.add_argument("--align", choices=ALIGN, help="how the shots are registered (default: pso-sift); best-effort: by "
                     "the best maps there are, even if they can't be trusted; none: they are registered already")
    sub.add_argument("--model", choices=MODELS, help="kind of map between two shots (default: auto, the simplest that "
                     "the pictures allow)")
    sub.add_argument("--on-bad-shot", choices=ON_BAD_SHOT, help="if a shot can't be placed, or is black, transparent "
                     "or damaged: go on without it (default for three shots and more; exit code 3), or stop (default "
                     "for two)")
    sub.add_argument("--reference", metavar="SHOT", help="the shot whose frame, brightness, EXIF and color profile are "
                     "kept: its file name or its number, from 1 on (default: the first)")
    sub.add_argument("--save-alignment", metavar="FILE.json", help="write how the shots lie, for --use-alignment")
    sub.add_argument("--use-alignment", metavar="FILE.json", help="take the shots' places from this file instead of "
                     "registering them: for other exports of the same shots, or for the same rig")


def add_device(sub: argparse.ArgumentParser, what: str = "where networks run") -> None:
    """--device; `what` begins its help."""
    sub.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help=f"{what} (default: on a "
                     "GPU if JAX finds one); on a CPU networks run in ONNX Runtime, if it is installed, otherwise in "
                     "JAX")


@contextlib.contextmanager
def network_on(device: str, log: Callable[[str], None]) -> Iterator[None]:
    """Applies --device; within the block the fastest of what is installed computes the network. `log` says which."""
    from edmf_jax.runtime import devices

    devices.use(device)
    from edmf_jax.fusion import engine  # after the device is chosen: it imports JAX

    with engine.fastest(log):
        yield


class LeftOut:
    """Prints a line for each shot that is not used, and keeps their names; called with its name and the reason."""

    def __init__(self, command: str, prefix: str = ""):
        self.names: list[str] = []
        self._say, self._prefix = say(command), prefix

    def __call__(self, name: str, reason: str) -> None:
        self.names.append(name)
        self._say(f"{self._prefix}{name}: left out, {reason}")

    @property
    def exit_code(self) -> int:
        """0, or `LEFT_OUT` if a shot was left out."""
        return LEFT_OUT if self.names else 0


def add_metrics(sub: argparse.ArgumentParser, last: str = "") -> None:
    """--metrics; `last` is appended to its help."""
    sub.add_argument("--metrics", nargs="+", default=["table2"], metavar="NAME",
                     help=f"table2 (default), all, or any of Table 2's and {', '.join(FURTHER)}; "
                          "seconds for a megapixel on one CPU core: Q_P 2, FMI 0.9, Q_CB 0.5, any other 0.2 at most; "
                          f"metrics against a truth are always computed if there is one{last}")


def say(command: str) -> Callable[[str], None]:
    """A function that prints a line to standard error, above a progress bar if there is one."""
    return lambda line: _write(f"edmf {command}: {line}", sys.stderr)


def print_line(line: str) -> None:
    """Prints a line to standard output at once, above a progress bar if there is one."""
    _write(line, sys.stdout)
    sys.stdout.flush()


def _write(line: str, file: TextIO) -> None:
    if "tqdm" not in sys.modules:  # so there is no bar; importing it takes 20 ms
        print(line, file=file)
        return
    from tqdm import tqdm

    tqdm.write(line, file=file)


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Yields a function of a few words and the share done; it draws a bar on standard error if that is a terminal.

    What is done within a second shows none.
    """
    began, bar = time.monotonic(), None

    def show(what: str, share: float) -> None:
        nonlocal bar
        if bar is None and sys.stderr.isatty() and time.monotonic() - began >= _BAR_AFTER_S:
            from tqdm import tqdm

            bar = tqdm(desc=what, total=1.0, initial=share, file=sys.stderr, leave=False, dynamic_ncols=True,
                       bar_format="{desc} {percentage:3.0f} %|{bar}| {remaining} left")
        if bar is not None:
            bar.set_description_str(what, refresh=False)
            bar.update(share - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
