"""Pictures for `configs/chooser.py`: sharp ones to simulate shots of, and real or rendered pairs to validate on.

    python -m studies.chooser_pictures sharp FOLDER --edmf EDMF
    python -m studies.chooser_pictures real FOLDER --edmf EDMF [--every N]
    python -m studies.chooser_pictures validation FOLDER --whu MFI-WHU

`sharp` writes what the shipped parameters are trained on: EDMF's pairs 501…1000 (CC BY 4.0), fused by the hand-made
measure and halved, so that what stayed blurred is sharp, and scenes of `edmf_synthetic` with everything in focus that
are in none of its splits.  `real` writes the same pairs, registered and leveled, not fused.  `validation` writes a
folder for each pair, with shots and truth, from MFI-WHU 1…10 and from rendered scenes.  Nothing of MFI-WHU is ever
trained on.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion import stack
from edmf_jax.fusion.pixels import from_unit
from edmf_jax.io.images import write_image
from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import SIZES, RenderConfig
from tfds_edmf.edmf_synthetic.exposure import Exposure
from tfds_edmf.edmf_synthetic.pair import make_pair

EDMF_NUMBERS = range(501, 1001)  # 1…500 are for testing
WHU_NUMBERS = range(1, 11)  # 61…80 are for the final numbers
SHARP_SCENES, VALIDATION_SCENES = 64, 6
EDGE_PX = 12  # cut off: pairs were registered, and their edges are resampled or black
SAME_EXPOSURE = (Exposure(1.0, 1.0), Exposure(1.0, 1.0))


def read(path: Path) -> np.ndarray | None:
    """RGB `[H, W, 3]`, uint8; None where there is no such picture."""
    if not path.is_file():
        return None
    picture = cv2.imread(str(path))
    return None if picture is None else picture[..., ::-1]


def edmf_pairs(edmf: Path, every: int = 1) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Number and shots of the pairs at hand that have shots of one size, of every so many numbers."""
    for number in EDMF_NUMBERS[::every]:
        shots = [read(edmf / f"Source_{x}" / f"bg-{x}-{number}.jpg") for x in "AB"]
        if all(shot is not None for shot in shots) and shots[0].shape == shots[1].shape:
            yield number, shots


def real_pairs(edmf: Path, every: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Name and shots, uint8, of the pairs at hand: registered, at their mean exposure, what both show."""
    for number, given in edmf_pairs(edmf, every):
        try:
            yield f"edmf-{number}", leveled(given)
        except UserError as error:
            print(f"EDMF {number} is left out: {error}")


def leveled(given: list[np.ndarray]) -> list[np.ndarray]:
    """The shots registered, at their mean exposure, in the frame that all of them cover; uint8.

    Raises:
      UserError: they can't be registered.
    """
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    stack.fuse_photos(given, options=stack.PhotoOptions(exposure="average"),
                      layers=lambda number, picture, valid, weights: layers.append((picture, valid)))
    inside = covered_by_all(np.logical_and.reduce([valid for _, valid in layers]))
    return [from_unit(picture[inside], np.dtype(np.uint8)) for picture, _ in layers]


def covered_by_all(valid: np.ndarray) -> tuple[slice, slice]:
    """A rectangle without pixels that are not `valid` `[H, W]`, and without the outermost `EDGE_PX` of it."""
    top, left, bottom, right = 0, 0, *valid.shape
    while not valid[top:bottom, left:right].all():
        sides = {"top": valid[top, left:right], "bottom": valid[bottom - 1, left:right],
                 "left": valid[top:bottom, left], "right": valid[top:bottom, right - 1]}
        worst = min(sides, key=lambda side: sides[side].mean())
        top, left = top + (worst == "top"), left + (worst == "left")
        bottom, right = bottom - (worst == "bottom"), right - (worst == "right")
    return slice(top + EDGE_PX, bottom - EDGE_PX), slice(left + EDGE_PX, right - EDGE_PX)


def sharp_photographs(edmf: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and picture, uint8 `[H, W, 3]`, of every pair at hand: fused, and half as large."""
    for number, shots in edmf_pairs(edmf):
        options = stack.PhotoOptions(align="none", exposure="average")
        try:
            fused = stack.fuse_photos(shots, options=options).image[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]
        except UserError as error:
            print(f"EDMF {number} is left out: {error}")
            continue
        size = fused.shape[1] // 2, fused.shape[0] // 2
        yield f"edmf-{number}", cv2.resize(fused, size, interpolation=cv2.INTER_AREA)


def rendered(split: str, count: int) -> Iterator[tuple[str, dict]]:
    """Name and features of scenes of `edmf_synthetic` of a `split` that the data set does not have; no black edges."""
    seed, number, found = RenderConfig(name="default").seed, 0, 0
    while found < count:
        pair = make_pair(seed, split, number, SIZES[number % len(SIZES)], SAME_EXPOSURE)
        if not (pair["border_a"].any() or pair["border_b"].any()):
            found += 1
            yield f"rendered-{number}", pair
        number += 1


def validation_pairs(whu: Path | None) -> Iterator[tuple[str, list[np.ndarray], np.ndarray]]:
    """Name, shots and truth of every pair for validation."""
    for number in WHU_NUMBERS if whu else ():
        pictures = [read(whu / part / f"{number}.jpg") for part in ("source_1", "source_2", "full_clear")]
        if any(picture is None for picture in pictures):
            continue
        height, width = (min(picture.shape[axis] for picture in pictures) for axis in (0, 1))
        *shots, truth = (picture[:height, :width] for picture in pictures)
        yield f"whu-{number}", shots, truth
    for name, pair in rendered("validation", VALIDATION_SCENES):
        yield name, [pair["source_a"], pair["source_b"]], pair["truth"]


def main(argv: list[str] | None = None) -> None:
    """Writes one of the two folders."""
    parser = argparse.ArgumentParser(prog="python -m studies.chooser_pictures", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("sharp", "real", "validation"))
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--edmf", type=Path, metavar="DIR", help="holds Source_A and Source_B; for sharp and real")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="for real: every Nth pair only")
    parser.add_argument("--whu", type=Path, metavar="DIR", help="MFI-WHU, holds source_1 …; for validation")
    given = parser.parse_args(argv)
    cv2.setNumThreads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.what == "sharp":
        for name, pair in rendered("sharp", SHARP_SCENES):
            write_image(given.folder / f"{name}.png", pair["truth"])
        for name, picture in sharp_photographs(given.edmf) if given.edmf else ():
            write_image(given.folder / f"{name}.png", picture)
        return
    if given.what == "real":
        if not given.edmf:
            parser.error("real needs --edmf DIR")
        for name, shots in real_pairs(given.edmf, given.every):
            write_shots(given.folder / name, shots)
        return
    for name, shots, truth in validation_pairs(given.whu):
        write_shots(given.folder / name, shots)
        write_image(given.folder / name / "truth.png", truth)


def write_shots(folder: Path, shots: list[np.ndarray]) -> None:
    """Writes `shot-0.png`, … into a folder."""
    folder.mkdir(exist_ok=True)
    for number, shot in enumerate(shots):
        write_image(folder / f"shot-{number}.png", shot)


if __name__ == "__main__":
    main()
