"""The map of which shot each pixel of a fused picture comes from, as a PNG with a palette."""

import colorsys
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.containers import PNG_SIGNATURE, png_chunk

MAX_SHOTS = 256  # colors of a palette
# The first shots take Okabe and Ito's colors, which can be told apart with color blindness: blue, vermilion, green,
# yellow, light blue, purple, orange, black.
_OKABE_ITO = ("0072b2", "d55e00", "009e73", "f0e442", "56b4e9", "cc79a7", "e69f00", "000000")
_GOLDEN_RATIO = 0.618034  # of the color circle from hue to hue, which stays far from all earlier hues


def shot_colors(count: int) -> np.ndarray:
    """A different color for each shot, RGB: uint8 `[count, 3]`."""
    colors = [tuple(bytes.fromhex(text)) for text in _OKABE_ITO]
    for number in range(len(_OKABE_ITO), count):
        # Saturation and value cycle with period 3, so that similar hues differ in these too.
        saturation, value = (0.9, 0.5, 0.9)[number % 3], (0.9, 0.95, 0.55)[number % 3]
        color = colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, saturation, value)
        colors.append(tuple(round(255 * channel) for channel in color))
    return np.array(colors[:count], np.uint8)


def write_map(path: str | os.PathLike, sources: np.ndarray, names: Sequence[str]) -> None:
    """Writes a PNG whose pixel values are the numbers of the shots that the pixels come from.

    A palette shows the numbers as colors; the file's Description tells which color is which shot.

    Args:
      sources: integers `[H, W]` from 0 to `len(names) − 1`.
      names: of the shots, for the Description.

    Raises:
      UserError: more than 256 shots; the file cannot be written.
    """
    if len(names) > MAX_SHOTS:
        raise UserError(f"{path}: a map shows {MAX_SHOTS} shots, and there are {len(names)}; leave it out")
    colors = shot_colors(len(names))
    height, width = sources.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # each row begins with its filter type, 0: none
    rows[:, 1:] = sources
    legend = "; ".join(f"{i} #{bytes(color).hex()} {Path(name).name}" for i, (color, name)
                       in enumerate(zip(colors, names)))
    text = b"Description\0\0\0\0\0" + legend.encode(errors="replace")
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", colors.tobytes()),
              (b"iTXt", text), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    replace_file(Path(path), PNG_SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks))
