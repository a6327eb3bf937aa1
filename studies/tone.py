"""How true to the reference's tone fused real pairs are: the share of the picture that is more than 8 levels off.

    python -m studies.tone --pairs EDMF --json FILE.jsonl [--every 5] [--worst 20 --pictures OUT]

EDMF and its test pairs are those of `studies.pairs`; A is the reference.  Of every pair, fused by the defaults of
`edmf fuse`, luma is blurred by σ = 12 px, the result's and the reference's.  Where defocus can't tell them apart they
should be alike, because whatever the result took from B was leveled.  That is where nine tenths of what is blurred are
A's, and where both are plain far around; not near the black frame that many of these pictures have.  Recorded is the
share of the picture where they differ by more than 8 levels (0.5 % was the aim), and the difference that 99.5 % of the
compared places keep.

With --json a stopped run goes on where it stopped.  --pictures draws the worst ones: A, B, the result, and what is off
in red.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import PhotoOptions, fuse_photos
from edmf_jax.io.images import read_image, write_image
from studies.pairs import find_pairs, run_all, split_numbers

SIGMA_PX = 12.0
MOST_LEVELS = 8.0
_MOSTLY = 0.9
_BLACK = 12  # levels
_AROUND_PX = 24.0  # σ
_PLAIN_LEVELS = 6.0  # of deviation around


def differences(result: np.ndarray, reference: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """How much brighter the result is, in 8-bit levels at σ = 12 px, `[H, W]`; NaN where defocus may be the reason.

    Args:
      result: `[H, W, 3]` or `[H, W]`, 8 bits.
      reference: likewise.
      chosen: bool `[H, W]`: where the result is mostly the reference.
    """
    low, plain = [], []
    for picture in (result, reference):
        plane = picture.astype(np.float32)
        plane = plane if plane.ndim == 2 else luma(plane)
        around = lambda x: cv2.GaussianBlur(x, (0, 0), _AROUND_PX)
        low.append(cv2.GaussianBlur(plane, (0, 0), SIGMA_PX))
        plain.append(around(plane * plane) - around(plane) ** 2 < _PLAIN_LEVELS**2)
    mostly = cv2.GaussianBlur(chosen.astype(np.float32), (0, 0), SIGMA_PX) > _MOSTLY
    return np.where((mostly | plain[0] & plain[1]) & ~near_frame(reference), low[0] - low[1], np.nan)


def near_frame(picture: np.ndarray) -> np.ndarray:
    """bool `[H, W]`: within 3 σ of what is black and touches the picture's edge."""
    black = (picture.reshape(*picture.shape[:2], -1).max(-1) < _BLACK).astype(np.uint8)
    _, labels = cv2.connectedComponents(np.pad(black, 1, constant_values=1))
    window = 2 * int(3 * SIGMA_PX) + 1
    frame = (labels == labels[0, 0])[1:-1, 1:-1].astype(np.uint8)
    return cv2.dilate(frame, np.ones((window, window), np.uint8)) > 0


def measure_pair(paths: tuple[Path, Path]) -> dict:
    """`refused`: why, or ""; `off`: share of the picture; `levels`: what 99.5 % of the compared places keep."""
    shots = [read_image(path) for path in paths]
    try:
        found = fuse_photos(shots, [path.name for path in paths], options=PhotoOptions())
    except UserError as error:
        return {"refused": str(error)}
    off = np.abs(differences(found.image, shots[0], found.sources == 0))
    known = off[~np.isnan(off)]
    return {"refused": "", "off": round(float((off > MOST_LEVELS).mean()), 5),
            "levels": round(float(np.quantile(known, 0.995)), 2) if known.size else 0.0}


def markdown(results: Sequence[dict], worst: int) -> str:
    """How many pairs reach the aim, and the worst ones."""
    fused = sorted((r for r in results if not r["refused"]), key=lambda r: -r["off"])
    good = sum(r["off"] <= 0.005 for r in fused)
    lines = [f"{good} of {len(fused)} fused pairs are within {MOST_LEVELS:g} levels on 99.5 % of the picture.", "",
             "| pair | off, % | 99.5 % within, levels |", "| ---: | ---: | ---: |"]
    return "\n".join(lines + [f"| {r['pair']} | {100 * r['off']:.1f} | {r['levels']:.1f} |" for r in fused[:worst]])


def draw(paths: tuple[Path, Path], out: Path) -> None:
    """Writes A, B, the result, and the result with what is off in red, side by side."""
    shots = [read_image(path) for path in paths]
    found = fuse_photos(shots, options=PhotoOptions())
    result, marked = found.image, found.image.copy()
    marked[np.abs(differences(result, shots[0], found.sources == 0)) > MOST_LEVELS] = (255, 0, 0)
    size = result.shape[1::-1]
    write_image(out, np.hstack([*(cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in shots), result, marked]))


def main(argv: list[str] | None = None) -> None:
    """Fuses the pairs and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m studies.tone", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="a folder with Source_A and Source_B")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="every K-th pair only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every pair's numbers, a line each; goes on there")
    parser.add_argument("--worst", type=int, default=20, metavar="N", help="how many are listed and drawn")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw the worst into this folder")
    given = parser.parse_args(argv)
    pairs = dict(list(find_pairs(given.pairs, split_numbers()).items())[:: given.every])
    results = run_all(pairs, given.json, measure_pair)
    print(markdown(results, given.worst))
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
        for result in sorted((r for r in results if not r["refused"]), key=lambda r: -r["off"])[: given.worst]:
            draw(pairs[result["pair"]], given.pictures / f"{result['pair']}.png")


if __name__ == "__main__":
    main()
