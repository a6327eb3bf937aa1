"""Shots → files in the frame of the first one."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.files import check_new, disk_errors
from edmf_jax.images import check_target, write_image
from edmf_jax.metadata import check_fits
from edmf_jax.photo import PhotoOptions, align_photos
from edmf_jax.photographs import inspect_all, read_shot
from edmf_jax.registration import Registration


def align_files(paths: Sequence[str | os.PathLike], folder: str | os.PathLike, *, align: str | None = None,
                model: str | None = None, suffix: str = ".png", force: bool = False,
                progress: Callable[[str, float], None] | None = None) -> Iterator[tuple[Path, Registration | None]]:
    """Registers shots to the first one and writes each, as it is then seen, into `folder`; one at a time.

    A file is named after its shot; where two shots have one name, after its number too.  Each keeps its own EXIF and
    colour profile.  Pixels that a shot does not have are black.

    Args:
      paths: the reference first.
      folder: made where absent.
      align, model: see `photo.PhotoOptions`; None: its defaults.
      suffix: the format of the files.
      force: overwrite what is there.

    Yields:
      Each file, after it is written, and how its shot was found (None for the reference).

    Raises:
      UserError: as `fuse_files`; a shot that can't be registered with confidence.  What is written by then, stays.
      MissingFileError: a shot, or the folder around `folder`, does not exist.
    """
    options = PhotoOptions(**{key: value for key, value in (("align", align), ("model", model)) if value is not None})
    options.check()
    if len(paths) < 2:
        raise UserError(f"two or more shots are aligned, got {len(paths)}")
    make_folder(folder)
    targets = [Path(folder) / name for name in target_names(paths, suffix)]
    for target in targets:
        check_target(target)
        check_new(target, paths, force)
    metadata = inspect_all(paths)
    shots = [functools.partial(read_shot, path) for path in paths]
    for number, image, _, found in align_photos(shots, [str(path) for path in paths], options=options,
                                                progress=progress):
        check_fits(metadata[number], suffix, image.ndim == 2, str(targets[number]))
        write_image(targets[number], image, metadata[number])
        yield targets[number], found


def target_names(paths: Sequence[str | os.PathLike], suffix: str) -> list[str]:
    """A file name for each shot: its own, or with its number in front where two would be the same."""
    stems = [Path(path).stem for path in paths]
    digits = len(str(len(stems)))
    if len({stem.casefold() for stem in stems}) < len(stems):  # some disks take a.png and A.png for one file
        stems = [f"{number:0{digits}}-{stem}" for number, stem in enumerate(stems, 1)]
    return [stem + suffix for stem in stems]


def make_folder(folder: str | os.PathLike) -> None:
    """Makes a folder to write into, unless it is there.

    Raises:
      MissingFileError: the folder around it does not exist.
      UserError: it is a file, or it can't be made.
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
