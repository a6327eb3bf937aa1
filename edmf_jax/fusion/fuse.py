"""Photographs of one scene, focused at different depths → one that is sharp at all of them.

Preset "photo", the default, is `edmf_jax.fusion.stack`: any number of hand-held shots are registered, brought to one
exposure and fused tile by tile.

Preset "paper" is the published method for two registered shots (docs/paper.md, Color): the network fuses the two Y
planes, chroma is fused by its distance from neutral, and the result has the size and dtype of the sources.  The
network runs in pieces of at most 524 px a side (`fusion.tiling`), which give what one run on the whole picture gives
up to float rounding.  On a CPU a piece takes 1.3 GB with the paper's network (`model.width` 16) and 2.2 GB with
MUFusion's (32), however large the picture is; the rest takes about 20 bytes a pixel.  Pieces are padded to a few
shapes, each of which is compiled once, in seconds.
"""

import functools
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edmf_jax.fusion import stack
from edmf_jax.fusion.alignment_file import alignment_json, known_alignment
from edmf_jax.fusion.pixels import stretch
from edmf_jax.fusion.published import fuse_as_published
from edmf_jax.fusion.retouching import Retouching
from edmf_jax.fusion.settings import AnyWeights, make_options, used_weights
from edmf_jax.fusion.shot_files import ShotFiles, reader, reference_first, reference_number
from edmf_jax.fusion.stack.alignment import log_left_out
from edmf_jax.fusion.stack.device_choice import say_where
from edmf_jax.fusion.stack.shots import Masked, as_masked, find_white, read_masked
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.images import check_target, write_image
from edmf_jax.io.metadata import check_fits
from edmf_jax.io.outputs import check_outputs, percent_missing, with_alpha
from edmf_jax.io.palette_png import write_map
from edmf_jax.io.photographs import Page, inspect_all
from edmf_jax.io.shot_list import Log, expand_shots

PageMaker = Callable[..., bytes]


def fuse(images: Sequence[np.ndarray | str | os.PathLike | Page],
         weights: AnyWeights = None, preset: str = "photo", *,
         align: str | None = None, model: str | None = None, exposure: str | None = None,
         crop: bool | None = None, pixels: str | None = None, on_bad_shot: str | None = None,
         hot_pixels: str | None = None, moving: str | None = None, tie: str | None = None, device: str = "auto",
         reference: int | str | None = None, progress: Callable[[str, float], None] | None = None,
         log: Log | None = None) -> np.ndarray:
    """Fuses photographs of one scene, focused at different depths.

    Args:
      images: two or more.  Arrays: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB; uint8 or uint16, or floating point
        in [0, 1].  At least 16 × 16 px.  With preset "paper" two of one shape and dtype.  uint16 may use 10, 12 or 14
        bits only, 0…1023 for example, and so does the result then.  Or paths, which may be mixed with arrays: of files,
        folders and patterns (see `io.shot_list.expand_shots`), read as by `fuse_files`.
      weights: "chooser", or a file that `edmf train --config configs/chooser.py` wrote: a network chooses among the
        shots (docs/chooser.md).  "none": a hand-made measure does.  `Weights`, or a folder or name for `load_weights`:
        of the network that fuses luma; pass `Weights` to read them once for many pictures.  None: those that ship with
        the package: "chooser", or those of the network that fuses luma if it is used.
      preset: "photo", or "paper": the published method for two registered pictures.
      align, model, exposure, crop, pixels, on_bad_shot, hot_pixels, moving, tie: preset "photo" only, see
        `stack.PhotoOptions`; None: its default, except that `pixels` is "network" if weights of a network that fuses
        luma are given.
      device: preset "photo" only: where shots are blended, "cpu", "gpu" or "auto", see `stack.PhotoOptions`.  Networks
        that fuse luma run on JAX's default device.
      reference: whose frame, brightness and dtype the result has: a number, from 1 on, or the name of a file; None: the
        first.
      progress: preset "photo" only: called with a few words and the share of the work that is done, in [0, 1].
      log: called with a line for every choice that was made among the files; None: these are warnings.

    Returns:
      An array of the reference's dtype and channels, and of its size unless cropped.  Floating-point images are
      computed in float32, whatever their dtype (preset "paper" with a float64 network: in float64).  Where all files
      are transparent it is 0.

    Raises:
      UserError: `images` are not such arrays or files, or can't be registered with confidence; no weights given and
        none ship; an unknown preset, or an option that it does not have; weights of another kind than
        `preset` and `pixels` use; too little memory.
      MissingFileError: `weights` or a path name nothing that exists.
    """
    images = [images] if isinstance(images, (str, os.PathLike)) else images
    lines: list[str] = []
    images = expand_shots(images, log or lines.append)
    options = make_options(preset, len(images), weights, align=align, model=model, exposure=exposure, crop=crop,
                           pixels=pixels, on_bad_shot=on_bad_shot, hot_pixels=hot_pixels, moving=moving, tie=tie,
                           device=device if preset == "photo" else None)
    order = reference_first(len(images), reference_number(reference, images))
    names = [str(images[number]) if _is_path(images[number]) else f"images[{number}]" for number in order]
    images = [images[number] for number in order]
    inspect_all([image for image in images if _is_path(image)], allow_duplicates=options is None or len(images) > 2)
    shots = [reader(image) if _is_path(image) else np.asarray(image) for image in images]
    weights = used_weights(options, weights, log or (lambda line: None))
    if options is None:
        fused, covered = fuse_as_published([as_masked(shot) for shot in shots], names, weights)
    else:
        tell = log or lines.append
        result = stack.fuse_photos(shots, names, weights=weights, options=options, progress=progress, warn=tell,
                                   left_out=log_left_out(tell), order=order)
        say_where(result, options, log or (lambda line: None))
        fused, covered = result.image, result.covered
    if covered is not None:
        (log or lines.append)(f"{percent_missing(covered)} of the result is transparent in all files; it is 0 there")
    for line in lines:
        warnings.warn(line, stacklevel=2)
    return fused


def _is_path(image) -> bool:
    return isinstance(image, (str, os.PathLike, Page))


def fuse_files(paths: Sequence[str | os.PathLike | Page], out: str | os.PathLike, *,
               weights: AnyWeights = None, preset: str = "photo", align: str | None = None,
               model: str | None = None, exposure: str | None = None, crop: bool | None = None,
               pixels: str | None = None, on_bad_shot: str | None = None, hot_pixels: str | None = None,
               moving: str | None = None, tie: str | None = None, reference: int | str | None = None,
               dark: str | os.PathLike | None = None, device: str = "auto", force: bool = False,
               use_alignment: str | os.PathLike | None = None, save_alignment: str | os.PathLike | None = None,
               left_out: Callable[[str, str], None] | None = None,
               save_map: str | os.PathLike | None = None, save_depth: str | os.PathLike | None = None,
               layers: str | os.PathLike | None = None, use_masks: str | os.PathLike | None = None,
               report: str | os.PathLike | None = None, make_page: PageMaker | None = None,
               progress: Callable[[str, float], None] | None = None, log: Log = lambda line: None) -> np.ndarray:
    """`fuse` from files to a file (see `read_shot_with_mask`, `write_image`); returns what was written.

    Transparent pixels are pixels that a shot does not have.  Where no shot has any the result is transparent too
    (`[H, W, 4]`), or black if the format of `out` has no alpha.

    The result carries the reference's EXIF, color profile and resolution.  Errors in the files are found before the
    work starts, and nothing is written on failure.  With preset "photo" each shot is read when its turn
    comes, so a long stack need not fit into memory.

    Args:
      paths, out: the sources (see `io.shot_list.expand_shots`), and the file to write.
      weights, preset, align, model, exposure, crop, pixels, on_bad_shot, hot_pixels, moving, tie, reference, device,
        progress: see `fuse`.
      dark: a dark frame, whose hot pixels are replaced in all shots; see `ShotFiles.find`.
      force: overwrite `out`, `save_map`, `save_depth`, `layers`, `save_alignment` and `report`.
      use_alignment: a file written by `save_alignment`; the shots lie as it says, and are not registered.
      save_alignment: a JSON file to write, with the map of every shot (see `alignment_file`).
      left_out: called with the name and the reason of each shot that is not used, before the long work; None: `log` is
        called with a line.
      save_map: preset "photo" only: a PNG to write with the number of the shot that each pixel comes from.
      save_depth, layers, use_masks: preset "photo" only: see `retouching.Retouching.checked`.
      report: an HTML file to write, complete in itself, as `make_page` makes it.
      make_page: needed with `report`: makes the page's bytes from the record of the fusion and the shots, as
        `reports.fusion_page.make_page` does; called before anything is written.
      log: called with a line for every choice that was made among the files, and for what the format can't hold.

    Raises:
      UserError: as `fuse`, `read_shot_with_mask` and `write_image`; a file to write exists already or is a source;
        two shots are the same file, or their color profiles differ; `use_alignment` is no alignment of these shots.
      MissingFileError: a source, the weights or the folder of `out` do not exist.
    """
    began = time.monotonic()
    given = ShotFiles.find(paths, reference, log, dark=dark)
    options = make_options(preset, len(given.paths), weights, align=align, model=model, exposure=exposure, crop=crop,
                           pixels=pixels, on_bad_shot=on_bad_shot, hot_pixels=hot_pixels, moving=moving, tie=tie,
                           device=device if preset == "photo" else None)
    if report is not None and make_page is None:
        raise ValueError("fuse_files: report needs make_page, for example reports.fusion_page.make_page")
    check_outputs(out, save_map, report, given.sources, preset, force, save_alignment, given.read_only)
    retouching = Retouching.checked(given, options, force, (out, save_map, save_alignment, report),
                                    save_depth=save_depth, layers=layers, use_masks=use_masks)
    known = known_alignment(use_alignment, given, preset, align=align, model=model)
    weights = used_weights(options, weights, log)
    metadata = inspect_all(given.paths, allow_duplicates=options is None or len(given.paths) > 2)
    first = given.readers[0]()
    check_target(out, first.image.dtype)
    check_fits(metadata[0], Path(out).suffix.lower(), first.image.ndim == 2, str(out))
    shots = [first, *given.readers[1:]]
    white = find_white(shots, first) if report is not None else None
    result, used, alignment_text = None, range(len(shots)), ""

    def aligned(found, sketches):
        nonlocal alignment_text
        alignment_text = alignment_json(found, sketches, given)
        retouching.check_frame(sketches[found.used[0]].shape, given.names[found.used[0]])

    if options is None:
        fused, covered = fuse_as_published([first, *(read() for read in shots[1:])], given.names, weights)
    else:
        with retouching.hooks(first.image, metadata[0]) as hooks:
            result = stack.fuse_photos(shots, given.names, weights=weights, options=options, known=known, warn=log,
                                       progress=_part_of(progress, 0, 1 if report is None else 0.9), aligned=aligned,
                                       left_out=left_out or log_left_out(log), order=given.order, **hooks)
        say_where(result, options, log)
        fused, covered, used = result.image, result.covered, result.used
    del first, shots
    names = [given.names[number] for number in used]
    if report is not None:
        from edmf_jax.fusion.record import FusionRecord

        shown = fused if white is None else stretch(fused, white)
        record = FusionRecord(names, str(out), weights, options, shown, result, time.monotonic() - began,
                              {given.names[i]: reason for i, reason in (result.left_out if result else {}).items()},
                              use_alignment and str(use_alignment))
        page = make_page(record, [functools.partial(_shown, given.readers[number], name, white)
                                  for number, name in zip(used, names)], progress=_part_of(progress, 0.9, 1))
    depth = retouching.depth(result)
    fused = with_alpha(fused, covered, out, metadata[used[0]], log)
    if save_map is not None:
        write_map(save_map, result.sources, names)
    retouching.write_depth(depth)
    if save_alignment is not None:
        replace_file(Path(save_alignment), alignment_text.encode())
    if report is not None:
        replace_file(Path(report), page)
    write_image(out, fused, metadata[used[0]])
    return fused


def _shown(read: Callable[[], Masked], name: str, white: int | None) -> np.ndarray:
    """A shot for the report: uint16 over its full range, holes black."""
    image, mask = read_masked(read, name, white)
    return image if mask is None else image * mask[..., None]


def _part_of(progress: Callable[[str, float], None] | None, start: float, end: float
             ) -> Callable[[str, float], None] | None:
    """A callback for a part of the work: its [0, 1] is `start` to `end` of the whole."""
    return progress and (lambda what, share: progress(what, start + share * (end - start)))
