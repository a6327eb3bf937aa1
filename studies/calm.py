"""How calm, how sharp and how true to the shots fused pictures of real stacks are: ours, enfuse and OpenFocus.

    python -m studies.calm ../shared/cases/damselfly-mottle … [--programs edmf edmf-hand-made enfuse openfocus:METHOD]
        [--pictures OUT]

Every folder is a stack, without truth.  It is registered and leveled by us, and cut to what all shots cover; the other
programs get these shots, so what is compared is how pictures are made from them alone.  In 8-bit levels of luma:

    uneven     deviation, between 1.5 and 24 px, of what is smooth in every shot, divided by that of the calmest shot
    new        mean excess of the picture's gradient (at σ = 2 px) over the largest of all shots' within 2 px: halos,
               lines, seams; in hundredths of a level
    sharp      strength of fine detail divided by that of the sharpest shot there, in the fifth with most detail
    drift      largest difference, at σ = 12 px, from the range of the shots, of 99.5 % of the picture
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.fusion.pixels import from_unit, to_unit
from edmf_jax.fusion.shot_files import ShotFiles
from edmf_jax.fusion.stack import PhotoOptions, chooser_engine, fuse_photos
from edmf_jax.io.images import read_image, write_image
from edmf_jax.methods.openfocus import PREFIX, OpenFocus
from studies.stack_programs import ENFUSE

HEAD = ("uneven", "new", "sharp", "drift")
_SMOOTH_LEVELS = 1.6  # of deviation between 1 and 4 px, or what the smoothest tenth has
_MIN_SMOOTH_PX = 400
_TOLERANCE = 0.25  # levels a pixel, of the gradient


def deviation(plane: np.ndarray, fine_px: float, coarse_px: float) -> np.ndarray:
    """The plane between two Gaussians."""
    return cv2.GaussianBlur(plane, (0, 0), fine_px) - cv2.GaussianBlur(plane, (0, 0), coarse_px)


def smooth_everywhere(planes: Sequence[np.ndarray]) -> np.ndarray:
    """bool `[H, W]`: where no shot shows detail."""
    detail = np.max([np.sqrt(cv2.GaussianBlur(deviation(plane, 1, 4) ** 2, (0, 0), 8)) for plane in planes], 0)
    smooth = detail < max(_SMOOTH_LEVELS, np.quantile(detail, 0.1))
    return cv2.erode(smooth.astype(np.uint8), np.ones((9, 9))) > 0


def unevenness(plane: np.ndarray, smooth: np.ndarray) -> float:
    """Deviation of the smooth part, levels."""
    return float(np.sqrt(np.mean(deviation(plane, 1.5, 24)[smooth] ** 2)))


def gradient(plane: np.ndarray) -> np.ndarray:
    """Its magnitude at σ = 2 px, levels a pixel."""
    soft = cv2.GaussianBlur(plane, (0, 0), 2.0)
    return np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=1 / 8))


def strength(plane: np.ndarray) -> np.ndarray:
    """Root of the mean squared Laplacian around each pixel."""
    return np.sqrt(np.maximum(cv2.GaussianBlur(cv2.Laplacian(cv2.GaussianBlur(plane, (0, 0), 0.8), cv2.CV_32F) ** 2,
                                               (0, 0), 3.5), 0))


def qualities(picture: np.ndarray, shots: Sequence[np.ndarray]) -> tuple[float, ...]:
    """The numbers of `HEAD` of a picture, from it and all shots as planes of luma in levels, `[H, W]` each.

    The first is NaN where too little is smooth.
    """
    smooth = smooth_everywhere(shots)
    uneven = np.nan
    if smooth.sum() >= _MIN_SMOOTH_PX:
        uneven = unevenness(picture, smooth) / min(unevenness(shot, smooth) for shot in shots)
    steepest = np.max([cv2.dilate(gradient(shot), np.ones((5, 5))) for shot in shots], 0)
    new = 100 * float(np.maximum(gradient(picture) - steepest - _TOLERANCE, 0).mean())
    most = np.max([strength(shot) for shot in shots], 0)
    detailed = most > np.quantile(most, 0.8)
    sharp = float((strength(picture)[detailed] / most[detailed]).mean())
    soft = [cv2.GaussianBlur(shot, (0, 0), 12) for shot in shots]
    low = cv2.GaussianBlur(picture, (0, 0), 12)
    outside = np.maximum(np.min(soft, 0) - low, low - np.max(soft, 0))
    return float(uneven), new, sharp, float(max(np.quantile(outside, 0.995), 0))


def leveled_stack(folder: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    """Our hand-made picture of a stack, and the registered and leveled shots; uint8, cut to what all shots cover."""
    given = ShotFiles.find([folder], None, lambda line: None)
    shots, whole = [], []

    def collect(number: int, picture: np.ndarray, valid: np.ndarray, weight: np.ndarray) -> None:
        shots.append(picture)
        whole.append(valid)

    result = fuse_photos(given.readers, given.names, options=PhotoOptions(crop=True), layers=collect)
    top, left, height, width = result.frame
    part = slice(top, top + height), slice(left, left + width)
    return (from_unit(to_unit(result.image), np.dtype(np.uint8)),
            [from_unit(shot[part], np.dtype(np.uint8)) for shot in shots])


def chosen_picture(folder: Path) -> np.ndarray:
    """Our picture of a stack as `edmf fuse` makes it, chosen by the shipped network."""
    given = ShotFiles.find([folder], None, lambda line: None)
    result = fuse_photos(given.readers, given.names, weights=chooser_engine.load("chooser"),
                         options=PhotoOptions(crop=True))
    return from_unit(to_unit(result.image), np.dtype(np.uint8))


def enfuse(shots: Sequence[np.ndarray]) -> np.ndarray:
    """The picture of enfuse with hard masks, as focus stacks are made with it."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number:03}.tif") for number in range(len(shots))]
        for path, shot in zip(paths, shots):
            write_image(path, shot)
        out = Path(folder, "out.tif")
        subprocess.run([*ENFUSE, "-o", out, *paths], check=True, capture_output=True)
        return read_image(out)


def fuser(program: str) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """What fuses registered shots by a program's name."""
    return OpenFocus(program.removeprefix(PREFIX)) if program.startswith(PREFIX) else enfuse


def main(argv: list[str] | None = None) -> None:
    """Fuses the stacks and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m studies.calm", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a stack each")
    parser.add_argument("--programs", nargs="+", default=["edmf", "enfuse"], metavar="PROGRAM",
                        help="edmf, edmf-hand-made (with --weights none), enfuse or openfocus:METHOD (default: edmf "
                        "enfuse)")
    parser.add_argument("--pictures", type=Path, metavar="OUT", help="a folder for the pictures")
    given = parser.parse_args(argv)
    print("| stack | program | " + " | ".join(HEAD) + " |\n| --- | --- |" + " ---: |" * len(HEAD))
    for folder in given.folders:
        ours, shots = leveled_stack(folder)
        levels = [luma(shot.astype(np.float32)) for shot in shots]
        for program in given.programs:
            picture = (ours if program == "edmf-hand-made" else chosen_picture(folder) if program == "edmf"
                       else fuser(program)(shots))
            numbers = qualities(luma(picture[..., :3].astype(np.float32)), levels)
            print(f"| {folder.name} | {program} | " + " | ".join(f"{x:.2f}" for x in numbers) + " |", flush=True)
            if given.pictures:
                given.pictures.mkdir(parents=True, exist_ok=True)
                write_image(given.pictures / f"{folder.name}-{program.replace(':', '-')}.png", picture)


if __name__ == "__main__":
    main()
