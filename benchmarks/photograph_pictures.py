"""The pictures of docs/exposure.md, from rendered scenes only: `python -m benchmarks.photograph_pictures docs`."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from benchmarks.photograph_scenes import SETTINGS, rendered
from edmf_jax import photo
from edmf_jax.baselines import guided_filter

PICTURES = {"exposure-bright-first.jpg": 10, "exposure-dark-first.jpg": 1}  # file: number of the test pair
EXPOSURES = ("reference", "average", "well-exposed")
GAP_PX, QUALITY = 6, 82


def labelled(picture: np.ndarray, words: str) -> np.ndarray:
    """`picture` uint8 `[H, W, 3]` under a line of text."""
    line = np.full((18, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(line, words, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.concatenate([line, picture]), ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)


def sheet(number: int) -> np.ndarray:
    """The two shots and what a method without levelling makes of them; below, the three choices."""
    scene = list(rendered(SETTINGS[-1], number + 1))[-1]
    above = [(scene.a, "reference"), (scene.b, "the other shot"),
             (guided_filter(scene.a, scene.b), "guided filter, for comparison")]
    below = []
    for how in EXPOSURES:
        options = photo.PhotoOptions(align="none", exposure=how)
        below.append((photo.fuse_photos([scene.a, scene.b], options=options).image, f"--exposure {how}"))
    return np.concatenate([np.concatenate([labelled(*panel) for panel in row], 1) for row in (above, below)])


def main() -> None:
    """Writes them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photograph_pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, number in PICTURES.items():
        settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        cv2.imwrite(str(folder / name), sheet(number)[..., ::-1], settings)


if __name__ == "__main__":
    main()
