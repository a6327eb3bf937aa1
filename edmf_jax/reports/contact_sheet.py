"""Contact sheets: labeled pictures side by side in one picture."""

from collections.abc import Sequence

import cv2
import numpy as np

LABEL_PX = 28  # height of a label
GAP_PX = 8
_TEXT_RGB, _BACKGROUND = (40, 40, 40), 255
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.6


def to_rgb(image: np.ndarray) -> np.ndarray:
    """uint8 `[H, W]` or `[H, W, 3]` → uint8 `[H, W, 3]`."""
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def contact_sheet(tiles: Sequence[tuple[str, np.ndarray]], columns: int) -> np.ndarray:
    """Pictures of one size with a line of text above each, `columns` to a row: uint8 RGB.

    Args:
      tiles: (label, uint8 `[H, W]` or `[H, W, 3]`), all of one height and width, row by row.
      columns: how many to a row.

    Raises:
      ValueError: the pictures' sizes differ.
    """
    height, width = tiles[0][1].shape[:2]
    rows = -(-len(tiles) // columns)
    cell = (height + LABEL_PX + GAP_PX, width + GAP_PX)
    sheet = np.full((rows * cell[0] + GAP_PX, columns * cell[1] + GAP_PX, 3), _BACKGROUND, np.uint8)
    for i, (label, image) in enumerate(tiles):
        if image.shape[:2] != (height, width):
            raise ValueError(f"contact_sheet: {label!r} is {image.shape[:2]}, the first picture {(height, width)}")
        top, left = GAP_PX + i // columns * cell[0], GAP_PX + i % columns * cell[1]
        text_px = cv2.getTextSize(label, _FONT, _FONT_SCALE, 1)[0][0]
        scale = min(_FONT_SCALE, _FONT_SCALE * width / max(1, text_px))
        cv2.putText(sheet, label, (left, top + LABEL_PX - 9), _FONT, scale, _TEXT_RGB, 1, cv2.LINE_AA)
        sheet[top + LABEL_PX : top + LABEL_PX + height, left : left + width] = to_rgb(image)
    return sheet
