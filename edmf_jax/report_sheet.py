"""An evaluation's telling cut-outs, enlarged, as one picture to look at (`edmf report --sheet`)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.images import check_target, write_image
from edmf_jax.report_data import Evaluation, choose_pairs, open_sources, read
from edmf_jax.report_images import make_pictures
from edmf_jax.sheet import contact_sheet, to_rgb

SIDE_PX = 120
ZOOM = 2


def write_sheet(workdir: str | Path, output: str | Path, *, images: int = 10, source: str | None = None,
                data_dir: str | None = None, log: Callable[[str], None] = print) -> Path:
    """Writes a contact sheet of an evaluation; returns its path.

    Each pair (`report_data.choose_pairs`) has a row for each of its cut-outs
    (`report_crops.choose_crops`: where methods differ most, the edge of focus, an even area), with
    source A, source B and every method side by side, `SIDE_PX` px enlarged `ZOOM` times.

    Args:
      workdir: the folder of an `edmf evaluate`.
      output: a picture file; a JPEG stays small.
      images: how many pairs.
      source, data_dir: of the data set, if it has moved.
      log: takes the lines meant for the user.

    Raises:
      UserError: nothing to show; what `report` raises.
    """
    target = check_target(output)
    evaluation = read(workdir)
    tiles = _tiles(evaluation, images, open_sources(evaluation, source=source, data_dir=data_dir, log=log))
    if not tiles:
        raise UserError(f"--images={images}: there is no cut-out to show; take more pairs, or larger pictures than "
                        f"{SIDE_PX} px")
    write_image(target, contact_sheet(tiles, 2 + len(evaluation.methods)))
    log(f"sheet: {target} ({target.stat().st_size / 1e6:.1f} MB)")
    return target


def _tiles(evaluation: Evaluation, images: int, pairs) -> list[tuple[str, np.ndarray]]:
    """Labelled cut-outs, a row after the other."""
    wanted = {pair.id for pair in choose_pairs(evaluation, images)}
    columns = ["source A", "source B", *evaluation.methods]
    tiles = []
    for record in pairs.records():
        if record.id not in wanted:
            continue
        pictures = make_pictures(pairs.decode(record), evaluation.methods,
                                 lambda method, pair=record.id: evaluation.fused(method, pair))
        keys = ["a", "b", *(f"m{i}" for i in range(len(evaluation.methods)))]
        for number, crop in enumerate(pictures.crops):
            for key, column in zip(keys, columns):
                cut = pictures.layers[key].crops[number] if key in pictures.layers else None
                label = f"{record.id} {crop.label}" if key == "a" else column
                tiles.append((label, _enlarged(cut, (crop.height, crop.width))))
    return tiles


def _enlarged(picture: np.ndarray | None, shape: Sequence[int]) -> np.ndarray:
    """The middle of a cut-out, RGB, `ZOOM` · `SIDE_PX` px a side, padded with white; white where there is none."""
    result = np.full((ZOOM * SIDE_PX, ZOOM * SIDE_PX, 3), 255, np.uint8)
    if picture is not None:
        high, wide = (min(side, SIDE_PX) for side in shape)
        top, left = (shape[0] - high) // 2, (shape[1] - wide) // 2
        cut = cv2.resize(to_rgb(picture)[top : top + high, left : left + wide], (ZOOM * wide, ZOOM * high),
                         interpolation=cv2.INTER_NEAREST)
        result[: ZOOM * high, : ZOOM * wide] = cut
    return result
