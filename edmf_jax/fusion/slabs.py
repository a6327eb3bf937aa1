"""A long stack in slabs: runs of neighboring shots, each fused into a file of its own, for retouching by hand.

Where near and far objects overlap, no fusion of all shots is right everywhere.  So one paints from the slab in which
the near object is whole over the fusion of all shots.  For that every slab lies in the frame of the whole stack's
reference and has the same target exposure; so does the result of `edmf fuse` on the same shots with the same options.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edmf_jax.errors import UserError
from edmf_jax.fusion import stack
from edmf_jax.fusion.align import make_folder
from edmf_jax.fusion.alignment_file import alignment_json, known_alignment
from edmf_jax.fusion.settings import AnyWeights, make_options, used_weights
from edmf_jax.fusion.shot_files import ShotFiles
from edmf_jax.fusion.stack.alignment import Alignment, log_left_out
from edmf_jax.fusion.stack.device_choice import say_where
from edmf_jax.fusion.stack.sketches import Sketch
from edmf_jax.io.atomic import check_new, replace_file
from edmf_jax.io.images import WRITTEN_SUFFIXES, check_target, write_image
from edmf_jax.io.metadata import check_fits
from edmf_jax.io.outputs import check_alignment_target, with_alpha
from edmf_jax.io.photographs import Page, inspect_all
from edmf_jax.io.shot_list import Log


@dataclasses.dataclass(frozen=True)
class Slab:
    """A slab: its file, the names of its shots, their numbers among those given, from 1 on; and if the file existed."""

    path: Path
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    existed: bool


def slab_ranges(count: int, size: int, overlap: int) -> list[range]:
    """Which of `count` shots belong to each slab: `size` in a row, of which `overlap` are in the next one too.

    The last slab has what is left, but two shots at least.

    Raises:
      UserError: no such slabs.
    """
    if not 0 <= overlap < size or size < 2:
        raise UserError(f"slab {size}:{overlap}: give SIZE:OVERLAP with a size of 2 or more and an overlap from 0 to "
                        "the size less 1, for example 5:2")
    starts = range(0, max(count - overlap, 1), size - overlap)
    return [range(max(0, min(start, count - 2)), min(start + size, count)) for start in starts]


def fuse_slabs(paths: Sequence[str | os.PathLike | Page], folder: str | os.PathLike, size: int, overlap: int, *,
               weights: AnyWeights = None, suffix: str | None = None,
               reference: int | str | None = None, dark: str | os.PathLike | None = None, force: bool = False,
               use_alignment: str | os.PathLike | None = None, save_alignment: str | os.PathLike | None = None,
               left_out: Callable[[str, str], None] | None = None,
               progress: Callable[[str, float], None] | None = None, log: Log = lambda line: None,
               **options: str | None) -> Iterator[Slab]:
    """Registers a stack as a whole and fuses its slabs into `folder`: slab-01.tif, slab-02.tif, …

    Shots are counted as the user gave them, without those that are left out.  Files that exist are not made again.

    Args:
      paths: the shots in the order of their focus; see `io.shot_list.expand_shots`.
      folder: created if it does not exist; its parent must exist.
      size, overlap: see `slab_ranges`.
      suffix: the format of the files; None: that of the reference, or TIFF if that can't be written.
      reference: the shot whose frame, brightness and metadata all slabs have, see `fuse.fuse`.
      force: make files again that exist.
      weights, dark, use_alignment, save_alignment, left_out, progress, log: as for `fuse.fuse_files`.
      options: `align`, `model`, `exposure`, `pixels`, `on_bad_shot`, `hot_pixels`, `moving`, `tie` and `device`
        of `stack.PhotoOptions`; None: the default.

    Yields:
      Each slab after it is written, then those that existed.

    Raises:
      UserError: as `fuse_files`; no such slabs.  Files written before that stay.
      MissingFileError: a shot, or the parent of `folder`, does not exist.
    """
    slab_ranges(2, size, overlap)
    given = ShotFiles.find(paths, reference, log, dark=dark)
    photo = make_options("photo", len(given.paths), weights, **options)
    known = known_alignment(use_alignment, given, align=options.get("align"), model=options.get("model"))
    if save_alignment is not None:
        check_alignment_target(save_alignment, given.sources, "photo", force)
    weights = used_weights(photo, weights, log)
    make_folder(folder)
    own = given.sources[0].suffix.lower()
    suffix = suffix or (own if own in WRITTEN_SUFFIXES else ".tif")
    metadata = inspect_all(given.paths, allow_duplicates=len(given.paths) > 2)
    first = given.readers[0]()
    check_fits(metadata[0], suffix, first.image.ndim == 2,
               str(check_target(_path(folder, 1, 1, suffix), first.image.dtype)))
    slabs: list[tuple[Slab, list[int]]] = []
    new = (slab for slab, _ in slabs if not slab.existed)  # goes through the list when it is filled

    def aligned(found: Alignment, sketches: Sequence[Sketch]) -> None:
        if save_alignment is not None:
            replace_file(Path(save_alignment), alignment_json(found, sketches, given).encode())
        slabs.extend(_plan(found.used, given, folder, size, overlap, suffix, force))

    for result in stack.fuse_parts(
            [first, *given.readers[1:]], lambda used: [shots for slab, shots in slabs if not slab.existed],
            given.names, part_count=-(-len(given.paths) // (size - overlap)), weights=weights, options=photo,
            known=known, progress=progress, warn=log, aligned=aligned, order=given.order,
            left_out=left_out or log_left_out(log)):
        say_where(result, photo, log)
        slab, of_reference = next(new), metadata[result.reference]
        write_image(slab.path, with_alpha(result.image, result.covered, slab.path, of_reference, log), of_reference)
        yield slab
    yield from (slab for slab, _ in slabs if slab.existed)


def _path(folder: str | os.PathLike, number: int, count: int, suffix: str) -> Path:
    return Path(folder) / f"slab-{number:0{max(2, len(str(count)))}}{suffix}"


def _plan(used: Sequence[int], given: ShotFiles, folder: str | os.PathLike, size: int, overlap: int, suffix: str,
          force: bool) -> list[tuple[Slab, list[int]]]:
    """Each slab, and its shots' numbers among those of `given`, of which `used` are used.

    Raises:
      UserError: a file to write is one of the sources.
    """
    in_order = sorted(used, key=given.order.__getitem__)
    ranges = slab_ranges(len(in_order), size, overlap)
    planned = []
    for number, positions in enumerate(ranges, 1):
        shots, path = [in_order[i] for i in positions], _path(folder, number, len(ranges), suffix)
        existed = path.exists() and not force
        check_new(path, given.read_only, force=True)
        planned.append((Slab(path, tuple(given.names[i] for i in shots), tuple(given.order[i] + 1 for i in shots),
                             existed), sorted(shots, key=lambda i: i != used[0])))  # the reference first
    return planned
