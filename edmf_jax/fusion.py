"""Photographs of one scene, focused at different depths → one that is sharp in all of them.

Preset "photo" is `edmf_jax.photo`: any number of hand-held shots, registered, brought
to one exposure, fused in tiles.

Preset "paper" is NOTES, Method 1, for two registered shots: the network fuses the two
Y channels, chroma is fused by its distance from neutral, the result has the size and the
dtype of the sources.  The whole picture goes through the network in one piece.  That takes
about 1 kB of memory per pixel with the paper's network (`model.width` 16) and 2 kB with
MUFusion's (32), measured on CPU: 10 to 20 GB for 10 megapixels.  Each new size is compiled once, in seconds.
"""

import functools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax import photo
from edmf_jax.color import fuse_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.files import replace_file
from edmf_jax.fusion_pictures import Fusion
from edmf_jax.fusion_report import make_page
from edmf_jax.images import check_target, write_image
from edmf_jax.maps import write_map
from edmf_jax.metadata import check_fits
from edmf_jax.model import MIN_SIDE_PX, FusionNet, fuse_luma
from edmf_jax.outputs import check_outputs
from edmf_jax.photographs import inspect_all, read_shot
from edmf_jax.weights import HOW_TO_GET_SOME, Weights, load_pretrained, load_weights

PRESETS = ("photo", "paper")
SHIPPED = "edmf"  # the weights that are used where none are named


def fuse_planes(model: FusionNet, params: dict, image_a: jax.Array, image_b: jax.Array) -> jax.Array:
    """The paper's fusion of two pictures `[H, W]` or `[H, W, 3]` RGB, floats in [0, 1]; the same out, clipped."""

    def fused_luma(a, b):
        return jnp.clip(fuse_luma(model, params, a[None], b[None])[0], 0, 1)

    if image_a.ndim == 2:
        return fused_luma(image_a, image_b)
    y_a, cb_a, cr_a = rgb_to_ycbcr(image_a)
    y_b, cb_b, cr_b = rgb_to_ycbcr(image_b)
    return jnp.clip(ycbcr_to_rgb(fused_luma(y_a, y_b), fuse_chroma(cb_a, cb_b), fuse_chroma(cr_a, cr_b)), 0, 1)


@functools.partial(jax.jit, static_argnums=0)
def _fuse_samples(model: FusionNet, params: dict, image_a: jax.Array, image_b: jax.Array) -> jax.Array:
    """`fuse_planes` of integers over their full range, rounded half to even, or of floats in [0, 1]."""
    floats = jnp.promote_types(jnp.float32, model.dtype)
    if jnp.issubdtype(image_a.dtype, jnp.floating):
        return fuse_planes(model, params, image_a.astype(floats), image_b.astype(floats))
    full = jnp.iinfo(image_a.dtype).max
    fused = fuse_planes(model, params, image_a.astype(floats) / full, image_b.astype(floats) / full)
    return jnp.round(fused * full).astype(image_a.dtype)


def fuse(images: Sequence[np.ndarray], weights: Weights | str | os.PathLike | None = None, preset: str = "photo", *,
         align: str | None = None, model: str | None = None, exposure: str | None = None,
         crop: bool | None = None, pixels: str | None = None,
         progress: Callable[[str, float], None] | None = None) -> np.ndarray:
    """Fuses photographs of one scene, focused at different depths.

    Args:
      images: arrays, the reference first: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB; uint8 or uint16 over their full
        range, or floating point in [0, 1].  At least 16 × 16 px.  With preset "paper" two of one shape and dtype.
      weights: `Weights`, or a folder or name for `load_weights`; None: where a network is asked, those that ship with
        the package.  Give `Weights` to read them once for many pictures.
      preset: "photo", or "paper": two registered pictures in one piece, as published.
      align, model, exposure, crop, pixels: preset "photo" only, see `photo.PhotoOptions`; None: its defaults, but
        `pixels="network"` where weights are named.
      progress: preset "photo" only: called with a few words and the share that is done, [0, 1].

    Returns:
      An array of the first image's dtype and channels, and of its size unless cropped.  Floating-point images are
      computed in float32, whatever their dtype.

    Raises:
      UserError: `images` are not such arrays, or can't be registered with confidence; no weights given and none ship;
        an unknown preset, or an option that it does not have; weights with `pixels="shots"`; too little memory.
      MissingFileError: `weights` name nothing that exists.
    """
    options = _options(preset, len(images), weights, align=align, model=model, exposure=exposure, crop=crop,
                       pixels=pixels)
    names = [f"images[{number}]" for number in range(len(images))]
    images = [np.asarray(image) for image in images]
    weights = resolve_weights(weights) if asks_a_network(options) else None
    if options is None:
        return _fuse_checked(images, names, weights)
    return photo.fuse_photos(images, names, weights=weights, options=options, progress=progress).image


def fuse_files(paths: Sequence[str | os.PathLike], out: str | os.PathLike, *,
               weights: Weights | str | os.PathLike | None = None, preset: str = "photo", align: str | None = None,
               model: str | None = None, exposure: str | None = None, crop: bool | None = None,
               pixels: str | None = None, force: bool = False, save_map: str | os.PathLike | None = None,
               report: str | os.PathLike | None = None,
               progress: Callable[[str, float], None] | None = None) -> np.ndarray:
    """`fuse` from files, the reference first, to another (see `read_shot`, `write_image`); returns what was written.

    The result carries the reference's EXIF, colour profile and resolution.  What is wrong with the files is found
    before the work is done, and nothing is written on failure.  With preset "photo" the shots are read when their
    turn comes, so that a long bracket need not fit into memory.

    Args:
      force: overwrite `out`, `save_map` and `report`.
      save_map: preset "photo" only: a PNG to write with the number of the shot that each pixel comes from.
      report: an HTML file to write, complete in itself: shots, result and map to compare, the registrations, exposures
        and settings (`fusion_report`).

    Raises:
      UserError: as `fuse`, `read_shot` and `write_image`; a file to write is there already or is one of the sources;
        shots that are one and the same, or whose colour profiles differ.
      MissingFileError: a source, the weights or the folder of `out` do not exist.
    """
    began = time.monotonic()
    options = _options(preset, len(paths), weights, align=align, model=model, exposure=exposure, crop=crop,
                       pixels=pixels)
    names = [str(path) for path in paths]
    check_outputs(out, save_map, report, paths, preset, force)
    weights = resolve_weights(weights) if asks_a_network(options) else None
    metadata = inspect_all(paths, twins=options is None)[0]
    first = read_shot(paths[0])
    check_target(out, first.dtype)
    check_fits(metadata, Path(out).suffix.lower(), first.ndim == 2, str(out))
    shots = [functools.partial(read_shot, path) for path in paths]
    result = None
    if options is None:
        fused = _fuse_checked([first, *(read() for read in shots[1:])], names, weights)
    else:
        result = photo.fuse_photos([first, *shots[1:]], names, weights=weights, options=options,
                                   progress=_share_of(progress, 0, 1 if report is None else 0.9))
        fused = result.image
    del first
    if report is not None:
        made = Fusion(names, str(out), weights, options, fused, result, time.monotonic() - began)
        page = make_page(made, shots, progress=_share_of(progress, 0.9, 1))
    if save_map is not None:
        write_map(save_map, result.sources, names)
    if report is not None:
        replace_file(Path(report), page)
    write_image(out, fused, metadata)
    return fused


def _share_of(progress: Callable[[str, float], None] | None, start: float, end: float
              ) -> Callable[[str, float], None] | None:
    return progress and (lambda what, share: progress(what, start + share * (end - start)))


def _options(preset: str, count: int, weights, **given) -> photo.PhotoOptions | None:
    """`PhotoOptions` of what is given, or None for preset "paper".

    Raises:
      UserError: an unknown preset, an option that it does not have, weights that nothing would look at, or another
        number of pictures than it takes.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if preset not in PRESETS:
        raise UserError(f"preset {preset!r} is unknown; use one of {', '.join(PRESETS)}")
    if preset == "photo":
        if count < 2:
            raise UserError(f"two or more pictures are fused, got {count}")
        if weights is not None and given.setdefault("pixels", "network") == "shots":
            raise UserError('weights are named, but pixels="shots" asks no network; leave out one of them')
        options = photo.PhotoOptions(**given)
        options.check()
        return options
    if given:
        name, value = next(iter(given.items()))
        raise UserError(f'{name}={value!r} is for the preset "photo"; leave it out, or leave out the preset "paper"')
    if count != 2:
        raise UserError(f'the preset "paper" fuses two pictures, got {count}; the preset "photo" takes any number')
    return None


def asks_a_network(options: photo.PhotoOptions | None) -> bool:
    """Whether a fusion with these options, None for preset "paper", needs weights."""
    return options is None or options.pixels == "network"


def resolve_weights(weights: Weights | str | os.PathLike | None) -> Weights:
    """`weights` themselves, loaded, or the shipped ones.

    Raises:
      UserError: none are given and none ship; they need a mode that JAX is not in.
      MissingFileError: they name nothing that exists.
    """
    if weights is None:
        try:
            weights = load_pretrained(SHIPPED)
        except MissingFileError as error:
            raise UserError("weights: none given, and none ship with this version yet; "
                            f"{HOW_TO_GET_SOME}") from error
    if not isinstance(weights, Weights):
        weights = load_weights(weights)
    if weights.model.dtype == jnp.float64 and not jax.config.jax_enable_x64:
        raise UserError(f'weights {weights.name}: model.dtype="float64" needs JAX\'s 64-bit mode; set JAX_ENABLE_X64=1')
    return weights


def _fuse_checked(images: list[np.ndarray], names: list[str], weights: Weights) -> np.ndarray:
    for image, name in zip(images, names, strict=True):
        _check_image(image, name)
    _check_pair(images, names)
    planes = [image[..., 0] if image.shape[-1] == 1 and image.ndim == 3 else image for image in images]
    try:
        # By default a GPU or TPU multiplies float32 numbers at less than float32 precision.
        with jax.default_matmul_precision("highest"):
            fused = np.asarray(_fuse_samples(weights.model, weights.params, *planes))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"{names[0]}: {_size(images[0])} take more memory than there is (1 to 2 kB per pixel); fuse "
                        "smaller pictures") from error
    return fused.astype(images[0].dtype).reshape(images[0].shape)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}×{image.shape[0]} px"


def _check_image(image: np.ndarray, name: str) -> None:
    """Shape, dtype and range of one source."""
    if image.dtype not in (np.uint8, np.uint16) and not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"{name}: dtype is {image.dtype}; give uint8, uint16, or floats in [0, 1]")
    if image.ndim == 3 and image.shape[2] in (2, 4):
        raise UserError(f"{name}: {image.shape[2]} channels, shape {image.shape}; drop the alpha channel")
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] in (1, 3)):
        raise UserError(f"{name}: shape is {image.shape}; give [H, W], [H, W, 1] or [H, W, 3]")
    if min(image.shape[:2]) < MIN_SIDE_PX:
        raise UserError(f"{name}: {_size(image)}, but the network takes at least {MIN_SIDE_PX}×{MIN_SIDE_PX} px; use "
                        "larger pictures")
    # Written so that NaN fails too.
    if np.issubdtype(image.dtype, np.floating) and not (image.min() >= 0 and image.max() <= 1):
        raise UserError(f"{name}: values from {image.min():g} to {image.max():g}; floats must be in [0, 1], no NaN")


def _check_pair(images: list[np.ndarray], names: list[str]) -> None:
    """Whether the two sources agree."""
    (a, b), (name_a, name_b) = images, names
    if a.shape[:2] != b.shape[:2]:
        raise UserError(f"{name_a} is {_size(a)} and {name_b} is {_size(b)}; give two pictures of one size, registered "
                        "to each other")
    if a.shape != b.shape:
        kinds = ["colour" if image.shape[2:] == (3,) else "single-channel" for image in images]
        raise UserError(f"{name_a} is {kinds[0]} {a.shape} and {name_b} is {kinds[1]} {b.shape}; convert one to be "
                        "like the other")
    if a.dtype != b.dtype:
        raise UserError(f"{name_a} is {a.dtype} and {name_b} is {b.dtype}; convert one to be like the other")
