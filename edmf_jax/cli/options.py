"""Shared by several commands: options of registration and scoring, a progress bar, checks of numbers."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator

# Equal to the choices of `fusion.stack.PhotoOptions`; repeated here, so that --help need not import it.
ALIGN = ("pso-sift", "sift+ransac", "sift+magsac", "ecc", "none")
MODELS = ("homography", "affine", "similarity")
FORMATS = ("png", "tif", "jpg", "webp")
# Equal to the names in `evaluation.scoring.GROUPS` and `metrics.FURTHER`.
FURTHER = ("Q_MI", "Q_Y", "Q_CB", "Q_P", "FMI", "MEF-SSIM", "CC", "SCD", "SD")


def positive(text: str) -> int:
    """An argument that must be 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value


def add_alignment(sub: argparse.ArgumentParser) -> None:
    """--align and --model."""
    sub.add_argument("--align", choices=ALIGN, help="how the shots are registered (default: pso-sift); none: they "
                     "are registered already")
    sub.add_argument("--model", choices=MODELS, help="kind of map between two shots (default: homography)")


def add_metrics(sub: argparse.ArgumentParser, last: str = "") -> None:
    """--metrics; `last` is appended to its help."""
    sub.add_argument("--metrics", nargs="+", default=["table2"], metavar="NAME",
                     help=f"table2 (default), all, or any of Table 2's and {', '.join(FURTHER)}; "
                          "seconds for a megapixel on one CPU core: Q_P 2, FMI 0.9, Q_CB 0.5, any other 0.2 at most; "
                          f"metrics against a truth are always computed if there is one{last}")


def say(command: str) -> Callable[[str], None]:
    """A function that prints a line to standard error, above a progress bar if there is one."""
    def show(line: str) -> None:
        from tqdm import tqdm

        tqdm.write(f"edmf {command}: {line}", file=sys.stderr)

    return show


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Yields a function of a few words and the share done; it draws a bar on standard error if that is a terminal."""
    from tqdm import tqdm

    with tqdm(total=1.0, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True,
              bar_format="{desc} {percentage:3.0f} %|{bar}| {remaining} left") as bar:
        def show(what: str, share: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(share - bar.n)

        yield show
