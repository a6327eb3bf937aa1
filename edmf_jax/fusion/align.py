"""Registers shots to one of them and writes them to files, without fusing them (`edmf align`)."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion.alignment_file import alignment_json, known_alignment
from edmf_jax.fusion.shot_files import ShotFiles
from edmf_jax.fusion.stack import PhotoOptions, align_photos
from edmf_jax.fusion.stack.alignment import Alignment, log_left_out
from edmf_jax.fusion.stack.sketches import Sketch
from edmf_jax.io.atomic import check_new, disk_errors, replace_file
from edmf_jax.io.images import ALPHA_SUFFIXES, check_target, write_image
from edmf_jax.io.metadata import check_fits
from edmf_jax.io.outputs import check_alignment_target
from edmf_jax.io.photographs import Page, inspect_all
from edmf_jax.io.shot_list import Log, path_of
from edmf_jax.registration import Registration


def align_files(paths: Sequence[str | os.PathLike | Page], folder: str | os.PathLike, *, align: str | None = None,
                model: str | None = None, on_bad_shot: str | None = None, reference: int | str | None = None,
                suffix: str = ".png", force: bool = False, use_alignment: str | os.PathLike | None = None,
                save_alignment: str | os.PathLike | None = None, left_out: Callable[[str, str], None] | None = None,
                progress: Callable[[str, float], None] | None = None, log: Log = lambda line: None
                ) -> Iterator[tuple[Path, Registration | None]]:
    """Registers shots and writes each of them, warped to the frame of the reference, into `folder`; one at a time.

    A file is named after its shot, with the shot's number in front if two shots have the same name.  Each
    keeps its own EXIF and color profile.  Pixels that a shot does not cover are transparent (black in formats without
    alpha, and in gray pictures).

    Args:
      paths: the shots; see `io.shot_list.expand_shots`.
      folder: created if it does not exist; its parent must exist.
      align, model, on_bad_shot: see `stack.PhotoOptions`; None: its defaults.
      reference: whose frame is kept, see `fuse.fuse`.
      suffix: the format of the files.
      force: overwrite existing files.
      use_alignment, save_alignment, left_out: as for `fuse.fuse_files`.
      progress: called with a few words and the share of the work that is done, in [0, 1].
      log: called with a line for every choice that was made among the files.

    Yields:
      Each file after it is written, and the registration of its shot (None for the reference); the reference's first,
      then as the user gave them.

    Raises:
      UserError: as `fuse_files`; a shot can't be registered with confidence.  Files written before that stay.
      MissingFileError: a shot, or the parent of `folder`, does not exist.
    """
    values = {"align": align, "model": model, "on_bad_shot": on_bad_shot}
    options = PhotoOptions(**{key: value for key, value in values.items() if value is not None})
    options.check()
    given = ShotFiles.find(paths, reference, log)
    if len(given.paths) < 2:
        raise UserError(f"two or more shots are needed to align them, got {len(given.paths)}")
    if save_alignment is not None:
        check_alignment_target(save_alignment, given.sources, "photo", force)
    known = known_alignment(use_alignment, given, align=align, model=model)
    make_folder(folder)
    names = target_names(given.as_given, suffix)
    targets = [Path(folder) / names[number] for number in given.order]
    for target in targets:
        check_target(target)
        check_new(target, given.sources, force)
    metadata = inspect_all(given.paths, allow_duplicates=len(given.paths) > 2)

    def aligned(found: Alignment, sketches: Sequence[Sketch]) -> None:
        if save_alignment is not None:
            replace_file(Path(save_alignment), alignment_json(found, sketches, given).encode())

    for number, image, valid, registration in align_photos(
            given.readers, given.names, options=options, known=known, progress=progress, warn=log, aligned=aligned,
            left_out=left_out or log_left_out(log)):
        check_fits(metadata[number], suffix, image.ndim == 2, str(targets[number]))
        if image.ndim == 3 and suffix in ALPHA_SUFFIXES and not valid.all():
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
        folder.mkdir(exist_ok=True)  # another shard of the batch may have made it by now
