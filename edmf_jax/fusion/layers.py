"""The aligned, leveled shots of a fusion with their masks, for retouching by hand, and edited masks taken back.

**A folder** gets two files a shot: `03-NAME.tif`, the shot in the frame of the result and at its exposure, transparent
where it has nothing, and `03-NAME-mask.png`, its weight, 16-bit gray.  The weights of all shots add up to white.  3 is
the shot's number as the user gave it.  Photoshop's "Load Files into Stack" and GIMP's "Open as Layers" take the shots.

**A TIFF** gets one page a shot, RGBA, named after it; GIMP opens the pages as layers (Photoshop only the first page).
Layers cover each other, so the alpha of page k is wₖ ÷ (w₁ + … + wₖ): all pages over each other show the result as a
weighted mean.

`--use-masks` reads such a folder: the weights are then its masks, divided by their sum; a shot whose mask was deleted
has none, and where all masks are black the automatic choice stays.
"""

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.pixels import from_unit
from edmf_jax.io.atomic import added_to_directory, check_new, disk_errors, written_in_parts
from edmf_jax.io.images import WRITTEN_SUFFIXES, read_image, write_image
from edmf_jax.io.metadata import Metadata
from edmf_jax.io.outputs import with_alpha

_TIFF_SUFFIXES = (".tif", ".tiff")
_PICTURE_SUFFIXES = (*WRITTEN_SUFFIXES, ".psd", ".psb", ".xcf", ".ora", ".kra")  # not meant as the name of a folder
_MASK = re.compile(r"(\d+)-(.*)-mask\.(png|tiff?)", re.IGNORECASE)
_PAGE_NAME = 285
_MAX_CLASSIC_BYTES = 2**32 - 2**25
_DEFLATE_LEVEL = 3  # layers are large and for a while


def names_of_layers(file_names: Sequence[str], order: Sequence[int]) -> list[str]:
    """What the layers of the shots are called, without suffixes: "03-IMG_7".

    Args:
      file_names: of the shots.
      order: for each its number, from 0, as the user gave them.
    """
    digits = max(2, len(str(len(order))))
    return [f"{number + 1:0{digits}}-{Path(name).stem}" for name, number in zip(file_names, order)]


class LayerFiles:
    """Writes the layers of one fusion; a context, which is called once for every shot."""

    def __init__(self, target: str | os.PathLike, names: Sequence[str], metadata: Metadata, dtype: np.dtype):
        """Layers at `target`, a folder or a TIFF.

        Args:
          target: checked by `check_target`.
          names: of the layers, `names_of_layers`.
          metadata: of the reference; the color profile is every layer's.
          dtype: of the layers, uint8 or uint16.
        """
        self._target, self._names, self._metadata, self._dtype = Path(target), names, metadata, dtype
        self._context, self._total = contextlib.ExitStack(), None
        self._tiff = None  # a tifffile.TiffWriter
        self._folder: Path | None = None  # a temporary one: half of the layers would be taken for all

    @staticmethod
    def check_target(target: str | os.PathLike, names: Sequence[str], sources: Sequence[Path], force: bool) -> None:
        """Checks that the layers, called `names`, can be written there.

        Raises:
          UserError: a file that is no TIFF or exists, a folder that is not empty, without `force`; a source.
          MissingFileError: the folder that it would lie in does not exist.
        """
        path = Path(target)
        if path.suffix.lower() in _TIFF_SUFFIXES:
            if path.is_dir():
                raise UserError(f"{path}: this is a folder; name the TIFF to write, or a folder without this suffix")
            check_new(path, sources, force)
        elif path.is_file() or (not path.is_dir() and path.suffix.lower() in _PICTURE_SUFFIXES):
            raise UserError(f"{path}: layers go into a folder, or into a TIFF of several pages; name one of these")
        elif path.is_dir() and not force and any(path.iterdir()):
            raise UserError(f"{path}: there are files in this folder; name a new one for the layers, or use --force")
        if not path.absolute().parent.is_dir():
            raise MissingFileError(f"{path}: the folder {path.parent} does not exist; create it first")
        for name in names if path.is_dir() else ():
            for file in _files_of(path, name):
                check_new(file, sources, force)

    def __enter__(self) -> "LayerFiles":
        if self._target.suffix.lower() not in _TIFF_SUFFIXES:
            self._folder = self._context.enter_context(added_to_directory(self._target))
        return self

    def __exit__(self, *error) -> bool | None:
        return self._context.__exit__(*error)

    def __call__(self, number: int, picture: np.ndarray, valid: np.ndarray | None, weight: np.ndarray) -> None:
        """Writes the layer of a shot.

        Args:
          number: of the shot, as in `names`.
          picture: float32 `[H, W, C]` in [0, 1], aligned and leveled.
          valid: bool `[H, W]`, where the shot has something; None: everywhere.
          weight: float32 `[H, W]` in [0, 1]; those of all shots add up to 1.
        """
        pixels = from_unit(picture, self._dtype)
        if self._folder is None:
            self._add_page(self._names[number], pixels, weight)
            return
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        valid = None if valid is None or valid.all() else valid
        pixels = pixels if valid is None else pixels * valid.reshape(valid.shape + (1,) * (pixels.ndim - 2))
        path, mask = _files_of(self._folder, self._names[number])
        plain = Metadata(icc=self._metadata.icc, dpi=self._metadata.dpi)
        write_image(path, with_alpha(pixels, valid, path, plain, lambda line: None), plain)
        write_image(mask, from_unit(weight, np.dtype(np.uint16)))

    def _add_page(self, name: str, pixels: np.ndarray, weight: np.ndarray) -> None:
        """Appends a page whose alpha, over the pages before it, gives the weighted mean."""
        if self._tiff is None:
            file = self._context.enter_context(written_in_parts(self._target))
            most = 2 * 4 * pixels[..., 0].nbytes * len(self._names)  # with what DEFLATE may add
            import tifffile  # takes 25 ms

            self._tiff = self._context.enter_context(tifffile.TiffWriter(file, bigtiff=most > _MAX_CLASSIC_BYTES))
            self._total = np.zeros(weight.shape, np.float32)
        self._total += weight
        alpha = from_unit(np.divide(weight, self._total, out=np.zeros_like(self._total), where=self._total > 0),
                          self._dtype)
        rgb = pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, -1)
        icc = self._metadata.icc if pixels.shape[2] == 3 else b""  # a profile for gray does not fit RGB
        with disk_errors(self._target):
            self._tiff.write(np.dstack([rgb, alpha]), photometric="rgb", extrasamples=("unassalpha",),
                             compression="zlib", compressionargs={"level": _DEFLATE_LEVEL}, predictor=True,
                             iccprofile=icc or None, metadata=None, software=False,
                             extratags=[(_PAGE_NAME, "s", 0, name.encode(errors="surrogateescape"), True)])


def _files_of(folder: Path, name: str) -> tuple[Path, Path]:
    """The picture and the mask of a layer."""
    return folder / f"{name}.tif", folder / f"{name}-mask.png"


class EditedMasks:
    """Masks from a folder that `LayerFiles` wrote; called for a part of a shot's mask."""

    def __init__(self, folder: str | os.PathLike, file_names: Sequence[str], order: Sequence[int]):
        """The masks in a folder.

        Args:
          folder: with files `NN-NAME-mask.png`: the mask of the shot NAME; NN, its number as the user gave it, from 1,
            decides between shots of one name, and may be another one otherwise.
          file_names: of the shots.
          order: for each its number, from 0, as the user gave them.

        Raises:
          MissingFileError: the folder does not exist.
          UserError: there are no masks in it, two of one shot, one of a shot that is not there, or of another size than
            the others.
        """
        self._folder, self._paths, self._kept = Path(folder), _find_masks(Path(folder), file_names, order), None
        self._any: np.ndarray | None = None
        for number in self._paths:
            mask = self._mask(number) > 0
            if self._any is not None and mask.shape != self._any.shape:
                raise UserError(f"{self._paths[number]}: {mask.shape[1]}×{mask.shape[0]} px, but other masks have "
                                f"{self._any.shape[1]}×{self._any.shape[0]} px; give masks of one size")
            self._any = mask if self._any is None else self._any | mask

    def check_size(self, shape: tuple[int, ...], name: str) -> None:
        """Raises UserError if the frame, of shape `shape` and called `name`, has another size."""
        if self._any.shape != shape[:2]:
            raise UserError(f"{self._folder}: the masks have {self._any.shape[1]}×{self._any.shape[0]} px, but the "
                            f"reference {name} has {shape[1]}×{shape[0]} px; give the masks of these shots")

    def __call__(self, number: int, rows: slice, columns: slice) -> np.ndarray:
        """The part of a shot's mask, float32 `[h, w]` in [0, 1]; NaN where all masks are black."""
        some = self._any[rows, columns]
        mask = self._mask(number)[rows, columns] if number in self._paths else np.zeros(some.shape, np.float32)
        return np.where(some, mask, np.float32(np.nan))

    def _mask(self, number: int) -> np.ndarray:
        if self._kept is None or self._kept[0] != number:  # the fusion asks for one shot after the other
            mask = read_image(self._paths[number])
            mask = mask if mask.ndim == 2 else mask.max(-1)  # some programs write gray as RGB
            self._kept = number, mask.astype(np.float32) / np.float32(np.iinfo(mask.dtype).max)
        return self._kept[1]


def _find_masks(folder: Path, file_names: Sequence[str], order: Sequence[int]) -> Mapping[int, Path]:
    """Number of the shot → its mask; errors as of `EditedMasks`."""
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: no such folder; name the one that --layers wrote")
    stems = [Path(name).stem for name in file_names]
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if match := _MASK.fullmatch(path.name):
            number = _shot_of(int(match[1]) - 1, match[2], stems, order, path)
            if number in found:
                raise UserError(f"{path}: a second mask of the shot {file_names[number]}, beside {found[number].name}; "
                                "take out one of them")
            found[number] = path
    if not found:
        raise UserError(f"{folder}: no masks in it; they are called 01-NAME-mask.png as --layers writes them")
    return found


def _shot_of(given: int, stem: str, stems: Sequence[str], order: Sequence[int], path: Path) -> int:
    """Which shot the mask `path` is of: the one of its name, and of several such the one of its number."""
    named = [number for number, name in enumerate(stems) if name == stem]
    if len(named) > 1:
        named = [number for number in named if order[number] == given]
    if not named:
        raise UserError(f"{path}: {'none of the shots' if stem not in stems else f'no shot {given + 1}'} is called "
                        f"{stem}; give the shots of these masks, or take this one out")
    return named[0]
