"""A split of pairs in one file, which needs no TensorFlow: `edmf data pack` writes it, `edmf train --data` reads it.

The file is a ZIP archive (pictures are stored, not compressed again):

    pack.json              data set, split, and for each pair its number, size and the names of its pictures
    501/source_a.jpg, …    the files of the data set as they are; or with `gray` their luma planes as PNG

Both give the planes that training takes (`core.color.luma_levels`) to the last bit: PNG on any machine, the files as
they are where the same libjpeg decodes them (a run's `pixels` in `run.json` tells).  EDMF's training pairs at hand
(360 of 450) take 56 MiB as they are, and three times as much as planes: a JPEG is small because it leaves out what the
decoded plane then has.
"""

import functools
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from edmf_jax.core.color import luma_levels
from edmf_jax.data.tfds_reader import dataset_name, decode_files, read_rows, stored_ranges
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import check_new, replace_file
from edmf_jax.io.containers import kind_of
from edmf_jax.io.json_text import to_json

SOURCES = ("source_a", "source_b")
_INDEX, _FORMAT = "pack.json", 1
_SUFFIXES = {"JPEG": "jpg", "PNG": "png"}
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 6)
_SPLIT = re.compile(r"(\w+)(?:\[(-?\d*\.?\d*%?):(-?\d*\.?\d*%?)\])?")


class PackedPair(NamedTuple):
    """A pair's published number, its size (height, width) [px] and the names of its two pictures in the archive."""

    id: int
    size: tuple[int, int]
    files: tuple[str, str]


class Pack(NamedTuple):
    """An opened pack.

    Attributes:
      path: the file.
      dataset: name and config of the data set, "edmf/table2".
      split: the split that was packed, as TFDS writes it.
      pairs: in the data set's order.
    """

    path: Path
    dataset: str
    split: str
    pairs: tuple[PackedPair, ...]

    def rows(self, split: str) -> list[int]:
        """Positions in `pairs` of the pairs of a split: the packed one, or parts of it like "train[:95%]+train[97%:]".

        The parts are those that TFDS gives: percentages are rounded to the nearest pair.

        Raises:
          UserError: the pack does not hold this split, or it is not understood.
        """
        if split == self.split:
            return list(range(len(self.pairs)))
        parts = [_SPLIT.fullmatch(part) for part in split.split("+")]
        if not all(part and part[1] == self.split for part in parts):
            part = f" or a part of it like '{self.split}[:90%]'" if re.fullmatch(r"\w+", self.split) else ""
            raise UserError(f"data.split={split!r}: {self.path} holds the split {self.split!r}; take it{part}")
        return [row for part in parts for row in range(len(self.pairs))[_bounds(part, split, len(self.pairs))]]

    def read(self, wanted: list[int]) -> list[np.ndarray]:
        """Luma planes uint8 `[2, H, W]` of the pairs at these positions, decoded on all cores.

        Raises:
          UserError: the file was changed meanwhile, or is damaged.
        """
        def planes(row: int) -> np.ndarray:
            pair = self.pairs[row]
            # An archive of its own for each pair: ZipFile's reading from several threads takes a lock for each block.
            with zipfile.ZipFile(self.path) as archive:
                files = {source: archive.read(name) for source, name in zip(SOURCES, pair.files)}
            images = decode_files(files, str(self.path), pair.id)
            levels = np.stack([luma_levels(images[source]) for source in SOURCES])
            if levels.shape[1:] != pair.size:
                raise ValueError(f"pair {pair.id} is {levels.shape[1:]}, and {_INDEX} says {pair.size}")
            return levels

        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(pool.map(planes, wanted))
        except UserError:
            raise
        except (OSError, zipfile.BadZipFile, KeyError, ValueError, zlib.error) as error:
            raise _damaged(self.path, error) from error


def _bounds(part: re.Match, split: str, count: int) -> slice:
    """The rows of a part like "train[:95%]", as TFDS's `ReadInstruction` rounds them."""
    first, last = part[2] or "", part[3] or ""
    if part[2] is not None and not first and not last:
        raise UserError(f"data.split={split!r}: a part has a beginning or an end, like '{part[1]}[:90%]'")
    percent = "%" in first + last
    try:
        from_, to = ((float(x.rstrip("%")) if percent else int(x)) if x else None for x in (first, last))
    except ValueError as error:
        raise UserError(f"data.split={split!r} is not understood; write it like '{part[1]}[:90%]' or "
                        f"'{part[1]}[:100]'") from error
    rows = [round(x * count / 100.0) if percent and x is not None else x for x in (from_, to)]
    if any(row is not None and abs(row) > count for row in rows):
        raise UserError(f"data.split={split!r}: there are {count} pairs in {part[1]!r}")
    return slice(*rows)


def write_pack(path: str | Path, builder, split: str, *, gray: bool = False, force: bool = False,
               log: Callable[[str], None] = print) -> None:
    """Packs a split of a prepared data set of pairs into one file.

    Args:
      path: the file to write.
      builder: a prepared TFDS builder.
      split: as TFDS writes it: "train", "train[:95%]".
      gray: luma planes as PNG instead of the files as they are.
      force: replace the file if it is there.
      log: receives one line that says what was written.

    Raises:
      UserError: no such split, scenes that are not pairs, a damaged picture; the file is there already or can't be
        written.
    """
    check_new(path, force=force)
    dataset = dataset_name(builder)
    if not set(SOURCES) <= set(builder.info.features):
        raise UserError(f"{dataset}: its scenes are not pairs; only pairs are packed")
    stored_ranges(builder, split, f"--split={split}")
    buffer, pairs = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive, ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = read_rows(builder, split)
        for number, size, files in pool.map(functools.partial(_packed, dataset=dataset, gray=gray), rows):
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # dated 1980: equal pictures give an equal file
            pairs.append({"id": number, "size": size, "files": list(files)})
        index = {"format": _FORMAT, "dataset": dataset, "split": split, "gray": gray, "pairs": pairs}
        archive.writestr(zipfile.ZipInfo(_INDEX), to_json(index, indent=None))
    if not pairs:
        raise UserError(f"--split={split}: {dataset} holds no pairs there")
    replace_file(Path(path), buffer.getbuffer())
    log(f"{path}: {len(pairs)} pairs of {dataset}, {split}, {'luma planes' if gray else 'files as they are'}, "
        f"{buffer.tell() / 2**20:.1f} MiB")


def _packed(row: dict[str, Any], dataset: str, gray: bool) -> tuple[int, tuple[int, int], dict[str, bytes]]:
    """Number, size and files (name in the archive → bytes) of a stored pair; decoding it finds what is damaged."""
    number = int(row["id"])
    images = decode_files({source: row[source] for source in SOURCES}, dataset, number)
    files = {}
    for source, image in images.items():
        data = cv2.imencode(".png", luma_levels(image), _PNG)[1].tobytes() if gray else row[source]
        files[f"{number}/{source}.{_SUFFIXES.get(kind_of(data), 'bin')}"] = data
    return number, image.shape[:2], files


def open_pack(path: str | Path, dataset: str) -> Pack:
    """Opens a pack.

    Args:
      path: the file.
      dataset: name of the data set that is expected in it; a name without a config ("edmf") takes any config.

    Raises:
      MissingFileError: there is no such file.
      UserError: not a pack, damaged, written by a newer version, or of another data set.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"data.file={path}: there is no such file; write one with: edmf data pack -o {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read(_INDEX))
        if index["format"] > _FORMAT:
            raise UserError(f"data.file={path}: written by a newer edmf-jax; upgrade this one")
        pairs = tuple(PackedPair(int(p["id"]), tuple(map(int, p["size"])), tuple(p["files"])) for p in index["pairs"])
        pack = Pack(path, str(index["dataset"]), str(index["split"]), pairs)
    except UserError:
        raise
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    if dataset not in (pack.dataset, pack.dataset.partition("/")[0]):
        raise UserError(f"data.file={path} holds pairs of {pack.dataset}, and data.dataset={dataset} is asked for; set "
                        f"--config.data.dataset={pack.dataset}")
    return pack


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"data.file={path} is damaged, or was not written by `edmf data pack` ({type(error).__name__}: "
                     f"{error}); pack it again")
