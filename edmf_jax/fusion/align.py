"""Registers shots to the first one and writes them to files, without fusing them (`edmf align`)."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.stack import PhotoOptions, align_photos
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.io.atomic import check_new, disk_errors
from edmf_jax.io.images import ALPHA_SUFFIXES, check_target, write_image
from edmf_jax.io.metadata import check_fits
from edmf_jax.io.photographs import Page, inspect_all, read_shot_with_mask
from edmf_jax.io.shot_list import Log, expand_shots, path_of
from edmf_jax.registration import Registration


def align_files(paths: Sequence[str | os.PathLike | Page], folder: str | os.PathLike, *, align: str | None = None,
                model: str | None = None, suffix: str = ".png", force: bool = False,
                progress: Callable[[str, float], None] | None = None, log: Log = lambda line: None
                ) -> Iterator[tuple[Path, Registration | None]]:
    """Registers shots to the first one and writes each of them, warped to its frame, into `folder`; one at a time.

    A file is named after its shot, with the shot's number in front if two shots have the same name.  Each
    keeps its own EXIF and color profile.  Pixels that a shot does not cover are black; if the shot has transparent
    pixels itself, all of these are transparent (black in formats without alpha, and in gray pictures).

    Args:
      paths: the reference first; see `io.shot_list.expand_shots`.
      folder: created if it does not exist; its parent must exist.
      align, model: see `stack.PhotoOptions`; None: its defaults.
      suffix: the format of the files.
      force: overwrite existing files.
      progress: called with a few words and the share of the work that is done, in [0, 1].
      log: called with a line for every choice that was made among the files.

    Yields:
      Each file after it is written, and the registration of its shot (None for the reference).

    Raises:
      UserError: as `fuse_files`; a shot can't be registered with confidence.  Files written before that stay.
      MissingFileError: a shot, or the parent of `folder`, does not exist.
    """
    options = PhotoOptions(**{key: value for key, value in (("align", align), ("model", model)) if value is not None})
    options.check()
    paths = expand_shots(paths, log)
    if len(paths) < 2:
        raise UserError(f"two or more shots are needed to align them, got {len(paths)}")
    make_folder(folder)
    targets = [Path(folder) / name for name in target_names(paths, suffix)]
    for target in targets:
        check_target(target)
        check_new(target, [path_of(path) for path in paths], force)
    metadata = inspect_all(paths)
    transparent = set()

    def reader(number):
        def read():
            image, mask = read_shot_with_mask(paths[number])
            if mask is not None and not mask.all():
                transparent.add(number)
            return Masked(image, mask)

        return read

    shots = [reader(number) for number in range(len(paths))]
    for number, image, valid, registration in align_photos(shots, [str(path) for path in paths], options=options,
                                                           progress=progress):
        check_fits(metadata[number], suffix, image.ndim == 2, str(targets[number]))
        if number in transparent and image.ndim == 3 and suffix in ALPHA_SUFFIXES:
            image = np.dstack([image, (valid * np.iinfo(image.dtype).max).astype(image.dtype)])
        write_image(targets[number], image, metadata[number])
        yield targets[number], registration


def target_names(paths: Sequence[str | os.PathLike | Page], suffix: str) -> list[str]:
    """A file name for each shot: its own, or all with their numbers in front if two would be the same."""
    stems = [path_of(path).stem for path in paths]
    digits = len(str(len(stems)))
    if len({stem.casefold() for stem in stems}) < len(stems):  # some disks take a.png and A.png for one file
        stems = [f"{number:0{digits}}-{stem}" for number, stem in enumerate(stems, 1)]
    return [stem + suffix for stem in stems]


def make_folder(folder: str | os.PathLike) -> None:
    """Creates a folder to write into, unless it exists.

    Raises:
      MissingFileError: its parent does not exist.
      UserError: it is a file, or it can't be created.
    """
    folder = Path(folder)
    if folder.is_dir():
        return
    if folder.exists():
        raise UserError(f"{folder}: this is a file; name a folder")
    if not folder.absolute().parent.is_dir():
        raise MissingFileError(f"{folder}: the folder {folder.parent} does not exist; create it first")
    with disk_errors(folder):
        folder.mkdir()
