"""The figures of docs/exposure.md, from rendered pairs only: `python -m studies.photograph_pictures docs`."""

import argparse
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.fusion import stack
from edmf_jax.methods.guided_filter import guided_filter
from studies.photograph_scenes import EXPOSURES, SETTINGS, rendered_pairs

PICTURES = {"exposure-bright-first.jpg": 10, "exposure-dark-first.jpg": 1}  # file: number of the test pair
LABEL_PX, GAP_PX, QUALITY = 18, 6, 82


def labeled(picture: np.ndarray, text: str) -> np.ndarray:
    """A picture uint8 `[H, W, 3]` below a line of text, with a gap to the right and below."""
    line = np.full((LABEL_PX, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(line, text, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.concatenate([line, picture]), ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)


def figure(number: int) -> np.ndarray:
    """Test pair `number`: above, its shots and a guided filter's result; below, the result of each `--exposure`."""
    pair = list(rendered_pairs(SETTINGS[-1], number + 1))[-1]
    above = [(pair.a, "reference"), (pair.b, "the other shot"),
             (guided_filter(pair.a, pair.b), "guided filter, for comparison")]
    below = []
    for how in EXPOSURES:
        options = stack.PhotoOptions(align="none", exposure=how)
        below.append((stack.fuse_photos([pair.a, pair.b], options=options).image, f"--exposure {how}"))
    return np.concatenate([np.concatenate([labeled(*panel) for panel in row], 1) for row in (above, below)])


def main(argv: list[str] | None = None) -> None:
    """Writes the figures as JPEG."""
    parser = argparse.ArgumentParser(prog="python -m studies.photograph_pictures", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the figures go")
    folder = parser.parse_args(argv).folder
    for name, number in PICTURES.items():
        cv2.imwrite(str(folder / name), figure(number)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main()
