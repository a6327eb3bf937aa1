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
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion import stack
from edmf_jax.fusion.pixels import check_image, size_text
from edmf_jax.fusion.record import FusionRecord
from edmf_jax.fusion.tiling import fuse_pair, out_of_memory_as
from edmf_jax.io.atomic import replace_file
from edmf_jax.io.images import check_target, write_image
from edmf_jax.io.metadata import check_fits
from edmf_jax.io.outputs import check_outputs
from edmf_jax.io.palette_png import write_map
from edmf_jax.io.photographs import inspect_all, read_shot
from edmf_jax.weights.store import HOW_TO_GET_WEIGHTS, Weights, load_pretrained, load_weights

PRESETS = ("photo", "paper")
PageMaker = Callable[..., bytes]
SHIPPED = "edmf"  # the weights that are used where none are named


def fuse(images: Sequence[np.ndarray], weights: Weights | str | os.PathLike | None = None, preset: str = "photo", *,
         align: str | None = None, model: str | None = None, exposure: str | None = None,
         crop: bool | None = None, pixels: str | None = None,
         progress: Callable[[str, float], None] | None = None) -> np.ndarray:
    """Fuses photographs of one scene, focused at different depths.

    Args:
      images: arrays, the reference first: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB; uint8 or uint16 over their full
        range, or floating point in [0, 1].  At least 16 × 16 px.  With preset "paper" two of one shape and dtype.
      weights: `Weights`, or a folder or name for `load_weights`; None: if a network is used, the weights that ship
        with the package.  Pass `Weights` to read them once for many pictures.
      preset: "photo", or "paper": the published method for two registered pictures.
      align, model, exposure, crop, pixels: preset "photo" only, see `stack.PhotoOptions`; None: its default, except
        that `pixels` is "network" if weights are given.
      progress: preset "photo" only: called with a few words and the share of the work that is done, in [0, 1].

    Returns:
      An array of the first image's dtype and channels, and of its size unless cropped.  Floating-point images are
      computed in float32, whatever their dtype (preset "paper" with a float64 network: in float64).

    Raises:
      UserError: `images` are not such arrays, or can't be registered with confidence; no weights given and none ship;
        an unknown preset, or an option that it does not have; weights with `pixels="shots"`; too little memory.
      MissingFileError: `weights` name nothing that exists.
    """
    options = _options(preset, len(images), weights, align=align, model=model, exposure=exposure, crop=crop,
                       pixels=pixels)
    names = [f"images[{number}]" for number in range(len(images))]
    images = [np.asarray(image) for image in images]
    weights = resolve_weights(weights) if needs_network(options) else None
    if options is None:
        return _fuse_as_published(images, names, weights)
    return stack.fuse_photos(images, names, weights=weights, options=options, progress=progress).image


def fuse_files(paths: Sequence[str | os.PathLike], out: str | os.PathLike, *,
               weights: Weights | str | os.PathLike | None = None, preset: str = "photo", align: str | None = None,
               model: str | None = None, exposure: str | None = None, crop: bool | None = None,
               pixels: str | None = None, force: bool = False, save_map: str | os.PathLike | None = None,
               report: str | os.PathLike | None = None, make_page: PageMaker | None = None,
               progress: Callable[[str, float], None] | None = None) -> np.ndarray:
    """`fuse` from files to a file (see `read_shot`, `write_image`), the reference first; returns what was written.

    The result carries the reference's EXIF, color profile and resolution.  Errors in the files are found before the
    work starts, and nothing is written on failure.  With preset "photo" each shot is read when its turn
    comes, so a long stack need not fit into memory.

    Args:
      paths, out: the sources, and the file to write.
      weights, preset, align, model, exposure, crop, pixels, progress: see `fuse`.
      force: overwrite `out`, `save_map` and `report`.
      save_map: preset "photo" only: a PNG to write with the number of the shot that each pixel comes from.
      report: an HTML file to write, complete in itself, as `make_page` makes it.
      make_page: needed with `report`: makes the page's bytes from the record of the fusion and the shots, as
        `reports.fusion_page.make_page` does; called before anything is written.

    Raises:
      UserError: as `fuse`, `read_shot` and `write_image`; a file to write exists already or is one of the sources;
        two shots are the same file, or their color profiles differ.
      MissingFileError: a source, the weights or the folder of `out` do not exist.
    """
    began = time.monotonic()
    options = _options(preset, len(paths), weights, align=align, model=model, exposure=exposure, crop=crop,
                       pixels=pixels)
    names = [str(path) for path in paths]
    if report is not None and make_page is None:
        raise ValueError("fuse_files: report needs make_page, for example reports.fusion_page.make_page")
    check_outputs(out, save_map, report, paths, preset, force)
    weights = resolve_weights(weights) if needs_network(options) else None
    metadata = inspect_all(paths, allow_duplicates=options is None)[0]
    first = read_shot(paths[0])
    check_target(out, first.dtype)
    check_fits(metadata, Path(out).suffix.lower(), first.ndim == 2, str(out))
    shots = [functools.partial(read_shot, path) for path in paths]
    result = None
    if options is None:
        fused = _fuse_as_published([first, *(read() for read in shots[1:])], names, weights)
    else:
        result = stack.fuse_photos([first, *shots[1:]], names, weights=weights, options=options,
                                   progress=_part_of(progress, 0, 1 if report is None else 0.9))
        fused = result.image
    del first
    if report is not None:
        record = FusionRecord(names, str(out), weights, options, fused, result, time.monotonic() - began)
        page = make_page(record, shots, progress=_part_of(progress, 0.9, 1))
    if save_map is not None:
        write_map(save_map, result.sources, names)
    if report is not None:
        replace_file(Path(report), page)
    write_image(out, fused, metadata)
    return fused


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


def _fuse_as_published(images: list[np.ndarray], names: list[str], weights: Weights) -> np.ndarray:
    """Preset "paper"; `names` are what messages call the images.

    Raises:
      UserError: the images are not accepted, or differ in shape or dtype; too little memory.
    """
    for image, name in zip(images, names, strict=True):
        check_image(image, name)
    _check_pair(images, names)
    planes = [image[..., 0] if image.shape[-1] == 1 and image.ndim == 3 else image for image in images]
    with out_of_memory_as(f"{names[0]}: {size_text(images[0])} take more memory than there is; close other programs or "
                          "fuse smaller pictures"):
        return fuse_pair(weights.model, weights.params, *planes).reshape(images[0].shape)


def _check_pair(images: list[np.ndarray], names: list[str]) -> None:
    """Raises UserError where two sources differ in size, channels or dtype."""
    (a, b), (name_a, name_b) = images, names
    if a.shape[:2] != b.shape[:2]:
        raise UserError(f"{name_a} is {size_text(a)} and {name_b} is {size_text(b)}; give two pictures of one size, "
                        "registered to each other")
    if a.shape != b.shape:
        kinds = ["color" if image.shape[2:] == (3,) else "single-channel" for image in images]
        raise UserError(f"{name_a} is {kinds[0]} {a.shape} and {name_b} is {kinds[1]} {b.shape}; convert one to be "
                        "like the other")
    if a.dtype != b.dtype:
        raise UserError(f"{name_a} is {a.dtype} and {name_b} is {b.dtype}; convert one to be like the other")
