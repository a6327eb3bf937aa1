"""Enlarged cut-outs of an evaluation's pairs side by side, as one picture (`edmf report --sheet`)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.data.pairs import Pairs
from edmf_jax.errors import UserError
from edmf_jax.io.atomic import check_new
from edmf_jax.io.images import check_target, write_image
from edmf_jax.reports.contact_sheet import contact_sheet, to_rgb
from edmf_jax.reports.evaluation_data import Evaluation, choose_pairs, load_evaluation, open_source_pairs
from edmf_jax.reports.evaluation_pictures import make_pictures

SIDE_PX = 120
ZOOM = 2


def write_sheet(workdir: str | Path, output: str | Path, *, images: int = 10, source: str | None = None,
                data_dir: str | None = None, force: bool = False, log: Callable[[str], None] = print) -> Path:
    """Writes a contact sheet of an evaluation; returns its path.

    It has a row for each cut-out (`crops.choose_crops`: where methods differ most, the edge of focus, an even area) of
    each pair (`evaluation_data.choose_pairs`): source A, source B and every method, the middle `SIDE_PX` px enlarged
    `ZOOM` times.

    Args:
      workdir: the folder of an `edmf evaluate`.
      output: a picture file; as a JPEG it is small.
      images: how many pairs.
      source, data_dir: of the data set, if it has moved.
      force: replace a file that is there.
      log: takes the lines meant for the user.

    Raises:
      UserError: the output is there already; no cut-out to show; a mistake in the arguments; the data set can't be
        found; a damaged picture.
    """
    target = check_target(output)
    check_new(target, force=force)
    evaluation = load_evaluation(workdir)
    tiles = _tiles(evaluation, images, open_source_pairs(evaluation, source=source, data_dir=data_dir, log=log))
    if not tiles:
        raise UserError(f"--images={images}: there is no cut-out to show; take more pairs, or larger pictures than "
                        f"{SIDE_PX} px")
    write_image(target, contact_sheet(tiles, 2 + len(evaluation.methods)))
    log(f"sheet: {target} ({target.stat().st_size / 1e6:.1f} MB)")
    return target


def _tiles(evaluation: Evaluation, images: int, pairs: Pairs) -> list[tuple[str, np.ndarray]]:
    """Labeled cut-outs, row by row."""
    wanted = {pair.id for pair in choose_pairs(evaluation, images)}
    columns = ["source A", "source B", *evaluation.methods]
    keys = ["a", "b", *(f"m{i}" for i in range(len(evaluation.methods)))]
    tiles = []
    for record in pairs.records():
        if record.id not in wanted:
            continue
        pictures = make_pictures(pairs.decode(record), evaluation.methods,
                                 lambda method, pair=record.id: evaluation.read_fused(method, pair))
        for number, crop in enumerate(pictures.crops):
            for key, column in zip(keys, columns):
                cut = pictures.layers[key].crops[number] if key in pictures.layers else None
                label = f"{record.id} {crop.label}" if key == "a" else column
                tiles.append((label, _enlarge(cut, (crop.height, crop.width))))
    return tiles


def _enlarge(cut: np.ndarray | None, shape: Sequence[int]) -> np.ndarray:
    """The middle of a cut-out of `shape` enlarged: RGB, `ZOOM` · `SIDE_PX` px a side, padded with white.

    An absent picture, None, is white all over.
    """
    tile = np.full((ZOOM * SIDE_PX, ZOOM * SIDE_PX, 3), 255, np.uint8)
    if cut is not None:
        height, width = (min(side, SIDE_PX) for side in shape)
        top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
        middle = to_rgb(cut)[top : top + height, left : left + width]
        tile[: ZOOM * height, : ZOOM * width] = cv2.resize(middle, (ZOOM * width, ZOOM * height),
                                                           interpolation=cv2.INTER_NEAREST)
    return tile
