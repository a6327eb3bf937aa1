"""Photographs of one scene, focused at different depths → one that is sharp at all of them.

Preset "photo", the default, is `edmf_jax.fusion.stack`: any number of hand-held shots are registered, brought to one
exposure and fused tile by tile.

Preset "paper" is the published method for two registered shots (docs/paper.md, Color): the network fuses the two Y
planes, chroma is fused by its distance from neutral, and the result has the size and dtype of the sources.  The
network runs in pieces of at most 1036 px a side (`fusion.tiling`), which give what one run on the whole picture gives
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

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion import stack
from edmf_jax.fusion.pixels import stretch
from edmf_jax.fusion.published import fuse_as_published
from edmf_jax.fusion.record import FusionRecord
from edmf_jax.fusion.stack.shots import Masked, as_masked, find_white, read_masked
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.images import ALPHA_SUFFIXES, check_target, write_image
from edmf_jax.io.metadata import Metadata, check_fits
from edmf_jax.io.outputs import check_outputs
from edmf_jax.io.palette_png import write_map
from edmf_jax.io.photographs import Page, inspect_all, read_shot_with_mask
from edmf_jax.io.shot_list import Log, expand_shots, path_of
from edmf_jax.weights.store import HOW_TO_GET_WEIGHTS, Weights, load_pretrained, load_weights

PRESETS = ("photo", "paper")
PageMaker = Callable[..., bytes]
SHIPPED = "edmf"  # the weights that are used where none are named


def fuse(images: Sequence[np.ndarray | str | os.PathLike | Page],
         weights: Weights | str | os.PathLike | None = None, preset: str = "photo", *,
         align: str | None = None, model: str | None = None, exposure: str | None = None,
         crop: bool | None = None, pixels: str | None = None,
         progress: Callable[[str, float], None] | None = None, log: Log | None = None) -> np.ndarray:
    """Fuses photographs of one scene, focused at different depths.

    Args:
      images: the reference first.  Arrays: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB; uint8 or uint16, or floating point
        in [0, 1].  At least 16 × 16 px.  With preset "paper" two of one shape and dtype.  uint16 may use 10, 12 or 14
        bits only, 0…1023 for example, and so does the result then.  Or paths, which may be mixed with arrays: of files,
        folders and patterns (see `io.shot_list.expand_shots`), read as by `fuse_files`.
      weights: `Weights`, or a folder or name for `load_weights`; None: if a network is used, the weights that ship
        with the package.  Pass `Weights` to read them once for many pictures.
      preset: "photo", or "paper": the published method for two registered pictures.
      align, model, exposure, crop, pixels: preset "photo" only, see `stack.PhotoOptions`; None: its default, except
        that `pixels` is "network" if weights are given.
      progress: preset "photo" only: called with a few words and the share of the work that is done, in [0, 1].
      log: called with a line for every choice that was made among the files; None: these are warnings.

    Returns:
      An array of the first image's dtype and channels, and of its size unless cropped.  Floating-point images are
      computed in float32, whatever their dtype (preset "paper" with a float64 network: in float64).  Where all files
      are transparent it is 0.

    Raises:
      UserError: `images` are not such arrays or files, or can't be registered with confidence; no weights given and
        none ship; an unknown preset, or an option that it does not have; weights with `pixels="shots"`; too little
        memory.
      MissingFileError: `weights` or a path name nothing that exists.
    """
    images = [images] if isinstance(images, (str, os.PathLike)) else images
    lines: list[str] = []
    images = expand_shots(images, log or lines.append)
    options = _options(preset, len(images), weights, align=align, model=model, exposure=exposure, crop=crop,
                       pixels=pixels)
    paths = [image for image in images if _is_path(image)]
    inspect_all(paths, allow_duplicates=options is None)
    names = [str(image) if _is_path(image) else f"images[{number}]" for number, image in enumerate(images)]
    shots = [_reader(image) if _is_path(image) else np.asarray(image) for image in images]
    weights = resolve_weights(weights) if needs_network(options) else None
    if options is None:
        fused, covered = fuse_as_published([as_masked(shot) for shot in shots], names, weights)
    else:
        result = stack.fuse_photos(shots, names, weights=weights, options=options, progress=progress)
        fused, covered = result.image, result.covered
    if covered is not None:
        (log or lines.append)(f"{_percent_missing(covered)} of the result is transparent in all files; it is 0 there")
    for line in lines:
        warnings.warn(line, stacklevel=2)
    return fused


def _is_path(image) -> bool:
    return isinstance(image, (str, os.PathLike, Page))


def _reader(path: str | os.PathLike | Page) -> Callable[[], Masked]:
    return lambda: Masked(*read_shot_with_mask(path))


def fuse_files(paths: Sequence[str | os.PathLike | Page], out: str | os.PathLike, *,
               weights: Weights | str | os.PathLike | None = None, preset: str = "photo", align: str | None = None,
               model: str | None = None, exposure: str | None = None, crop: bool | None = None,
               pixels: str | None = None, force: bool = False, save_map: str | os.PathLike | None = None,
               report: str | os.PathLike | None = None, make_page: PageMaker | None = None,
               progress: Callable[[str, float], None] | None = None, log: Log = lambda line: None) -> np.ndarray:
    """`fuse` from files to a file (see `read_shot_with_mask`, `write_image`); returns what was written.

    Transparent pixels are pixels that a shot does not have.  Where no shot has any the result is transparent too
    (`[H, W, 4]`), or black if the format of `out` has no alpha.

    The result carries the reference's EXIF, color profile and resolution.  Errors in the files are found before the
    work starts, and nothing is written on failure.  With preset "photo" each shot is read when its turn
    comes, so a long stack need not fit into memory.

    Args:
      paths, out: the sources, the reference first (see `io.shot_list.expand_shots`), and the file to write.
      weights, preset, align, model, exposure, crop, pixels, progress: see `fuse`.
      force: overwrite `out`, `save_map` and `report`.
      save_map: preset "photo" only: a PNG to write with the number of the shot that each pixel comes from.
      report: an HTML file to write, complete in itself, as `make_page` makes it.
      make_page: needed with `report`: makes the page's bytes from the record of the fusion and the shots, as
        `reports.fusion_page.make_page` does; called before anything is written.
      log: called with a line for every choice that was made among the files, and for what the format can't hold.

    Raises:
      UserError: as `fuse`, `read_shot_with_mask` and `write_image`; a file to write exists already or is a source;
        two shots are the same file, or their color profiles differ.
      MissingFileError: a source, the weights or the folder of `out` do not exist.
    """
    began = time.monotonic()
    paths = expand_shots(paths, log)
    options = _options(preset, len(paths), weights, align=align, model=model, exposure=exposure, crop=crop,
                       pixels=pixels)
    names = [str(path) for path in paths]
    if report is not None and make_page is None:
        raise ValueError("fuse_files: report needs make_page, for example reports.fusion_page.make_page")
    check_outputs(out, save_map, report, [path_of(path) for path in paths], preset, force)
    weights = resolve_weights(weights) if needs_network(options) else None
    metadata = inspect_all(paths, allow_duplicates=options is None)[0]
    shots = [_reader(path) for path in paths]
    first = shots[0]()
    check_target(out, first.image.dtype)
    check_fits(metadata, Path(out).suffix.lower(), first.image.ndim == 2, str(out))
    white = find_white([first, *shots[1:]], first) if report is not None else None
    result = None
    if options is None:
        fused, covered = fuse_as_published([first, *(read() for read in shots[1:])], names, weights)
    else:
        result = stack.fuse_photos([first, *shots[1:]], names, weights=weights, options=options,
                                   progress=_part_of(progress, 0, 1 if report is None else 0.9))
        fused, covered = result.image, result.covered
    del first
    if report is not None:
        shown = fused if white is None else stretch(fused, white)
        record = FusionRecord(names, str(out), weights, options, shown, result, time.monotonic() - began)
        page = make_page(record, [functools.partial(_shown, *shot, white) for shot in zip(shots, names)],
                         progress=_part_of(progress, 0.9, 1))
    fused = _with_alpha(fused, covered, out, metadata, log)
    if save_map is not None:
        write_map(save_map, result.sources, names)
    if report is not None:
        replace_file(Path(report), page)
    write_image(out, fused, metadata)
    return fused


def _shown(read: Callable[[], Masked], name: str, white: int | None) -> np.ndarray:
    """A shot for the report: uint16 over its full range, holes black."""
    image, mask = read_masked(read, name, white)
    return image if mask is None else image * mask[..., None]


def _percent_missing(covered: np.ndarray) -> str:
    return f"{100 * (1 - covered.mean()):.2g} %"


def _with_alpha(image: np.ndarray, covered: np.ndarray | None, out: str | os.PathLike, metadata: Metadata, log: Log
                ) -> np.ndarray:
    """RGBA, with alpha 0 where bool `covered` `[H, W]` is False; the image if that is nowhere, or `out` has no alpha.

    A single-channel image becomes RGBA too, unless its color profile is for gray.
    """
    if covered is None:
        return image
    missing = _percent_missing(covered)
    if Path(out).suffix.lower() not in ALPHA_SUFFIXES or (image.ndim == 2 and metadata.icc):
        log(f"{out}: {missing} of it is in no shot and became black; a color picture would be transparent there in "
            f"{', '.join(ALPHA_SUFFIXES)}")
        return image
    log(f"{out}: {missing} of it is in no shot and is transparent")
    alpha = (covered * np.iinfo(image.dtype).max).astype(image.dtype)
    return np.dstack([*([image] * 3 if image.ndim == 2 else [image]), alpha])


def _part_of(progress: Callable[[str, float], None] | None, start: float, end: float
             ) -> Callable[[str, float], None] | None:
    """A callback for a part of the work: its [0, 1] is `start` to `end` of the whole."""
    return progress and (lambda what, share: progress(what, start + share * (end - start)))


def _options(preset: str, count: int, weights, **given) -> stack.PhotoOptions | None:
    """`PhotoOptions` from the arguments that are not None; None for preset "paper".

    Raises:
      UserError: an unknown preset, an option that it does not have, weights that would not be used, or a wrong number
        of pictures.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if preset not in PRESETS:
        raise UserError(f"preset {preset!r} is unknown; use one of {', '.join(PRESETS)}")
    if preset == "photo":
        if count < 2:
            raise UserError(f"two or more pictures are fused, got {count}")
        if weights is not None and given.setdefault("pixels", "network") == "shots":
            raise UserError('weights are given, but pixels="shots" uses no network; leave out one of them')
        options = stack.PhotoOptions(**given)
        options.check()
        return options
    if given:
        name, value = next(iter(given.items()))
        raise UserError(f'{name}={value!r} is for the preset "photo"; leave it out, or leave out the preset "paper"')
    if count != 2:
        raise UserError(f'the preset "paper" fuses two pictures, got {count}; the preset "photo" takes any number')
    return None


def needs_network(options: stack.PhotoOptions | None) -> bool:
    """Whether a fusion with these options (None: preset "paper") needs weights."""
    return options is None or options.pixels == "network"


def resolve_weights(weights: Weights | str | os.PathLike | None) -> Weights:
    """Loads weights given by folder or name; None: the shipped ones.

    Raises:
      UserError: none are given and none ship; they are float64 and JAX is not in its 64-bit mode.
      MissingFileError: no such folder or name.
    """
    if weights is None:
        try:
            weights = load_pretrained(SHIPPED)
        except MissingFileError as error:
            raise UserError("weights: none given, and none ship with this version yet; "
                            f"{HOW_TO_GET_WEIGHTS}") from error
    if not isinstance(weights, Weights):
        weights = load_weights(weights)
    if weights.model.dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise UserError(f'weights {weights.name}: model.dtype="float64" needs JAX\'s 64-bit mode; set JAX_ENABLE_X64=1')
    return weights
