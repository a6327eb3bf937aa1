"""A map of where a fused picture comes from, as a PNG with a palette."""

import colorsys
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax.containers import PNG_SIGNATURE, png_chunk
from edmf_jax.errors import UserError
from edmf_jax.files import replace_file

_MOST_SHOTS = 256
# Okabe and Ito's, which people who don't see all colours can tell apart: blue, vermilion, green, yellow, light blue,
# purple, orange, black.
_FIRST = ("0072b2", "d55e00", "009e73", "f0e442", "56b4e9", "cc79a7", "e69f00", "000000")
_GOLDEN = 0.618034  # steps around the colour circle by it come near no earlier colour


def shot_colours(count: int) -> np.ndarray:
    """A colour for each shot, RGB: uint8 `[count, 3]`, no two alike."""
    colours = [tuple(bytes.fromhex(text)) for text in _FIRST]
    for number in range(len(_FIRST), count):
        # Every third is lighter and every third paler, so that neighbours on the circle differ in more than hue.
        tone = colorsys.hsv_to_rgb(number * _GOLDEN % 1, (0.9, 0.5, 0.9)[number % 3], (0.9, 0.95, 0.55)[number % 3])
        colours.append(tuple(round(255 * part) for part in tone))
    return np.array(colours[:count], np.uint8)


def write_map(path: str | os.PathLike, sources: np.ndarray, names: Sequence[str]) -> None:
    """Writes the number of the shot that each pixel comes from: a PNG whose pixels are these numbers.

    A palette shows them in colours; the file's Description says which colour is which shot.

    Args:
      sources: whole numbers `[H, W]` from 0 to `len(names) − 1`.
      names: the shots', for the description.

    Raises:
      UserError: more shots than a palette holds; the file can't be written.
    """
    if len(names) > _MOST_SHOTS:
        raise UserError(f"{path}: a map shows {_MOST_SHOTS} shots, and there are {len(names)}; leave it out")
    colours = shot_colours(len(names))
    height, width = sources.shape
    rows = np.zeros((height, 1 + width), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = sources
    legend = "; ".join(f"{i} #{bytes(colour).hex()} {Path(name).name}" for i, (colour, name)
                       in enumerate(zip(colours, names)))
    text = b"Description\0\0\0\0\0" + legend.encode()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", colours.tobytes()),
              (b"iTXt", text), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    replace_file(Path(path), PNG_SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks))
