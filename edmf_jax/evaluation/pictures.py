"""Finds the pictures of a `folder:` method, which another program fused, by the pairs they belong to."""

import re
from collections.abc import Sequence
from pathlib import Path

from edmf_jax.errors import UserError

JPEG_SUFFIXES = (".jpg", ".jpeg")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".webp", *JPEG_SUFFIXES)


def find_pictures(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """Finds the pictures of a folder by id: the file whose name (without suffix) is the id, or whose last number is it.

    Numbers are compared by value, so fuse007.png and bg-7.jpg both belong to id 7.

    Returns:
      Id → path; ids without a picture are absent.

    Raises:
      UserError: two files match an id equally well.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    by_name, by_number = {}, {}
    for path in files:
        by_name.setdefault(path.stem, []).append(path)
        numbers = re.findall(r"\d+", path.stem)
        if numbers:
            by_number.setdefault(int(numbers[-1]), []).append(path)
    found = {}
    for pair_id in ids:
        is_number = pair_id.isascii() and pair_id.isdigit()
        matches = by_name.get(pair_id) or (by_number.get(int(pair_id)) if is_number else None) or []
        if len(matches) > 1:
            raise UserError(f"{folder}: {matches[0].name} and {matches[1].name} could both be the picture of pair "
                            f"{pair_id}; name it {pair_id}{matches[0].suffix}")
        if matches:
            found[pair_id] = matches[0]
    return found
