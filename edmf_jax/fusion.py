"""Two photographs of one scene, focused at different depths → one that is sharp in both (preset "paper").

NOTES, Method 1: the network fuses the two Y channels, chroma is fused by its
distance from neutral, the result has the size and the dtype of the sources.

The whole picture goes through the network in one piece.  That takes about 1 kB of
memory per pixel with the paper's network (`model.width` 16) and 2 kB with MUFusion's
(32), measured on CPU: 10 to 20 GB for 10 megapixels.  Each new size is compiled once, in seconds.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.color import fuse_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from edmf_jax.errors import UserError
from edmf_jax.images import check_target, read_image, write_image
from edmf_jax.model import MIN_SIDE_PX, FusionNet, fuse_luma
from edmf_jax.weights import HOW_TO_GET_SOME, Weights, load_weights

PRESETS = ("paper",)


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


def fuse(images: Sequence[np.ndarray], *, weights: Weights | str | os.PathLike | None = None,
         preset: str = "paper") -> np.ndarray:
    """Fuses two pictures of the same size, registered to each other.

    Args:
      images: two arrays of one shape and dtype, order A, B: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB; uint8 or
        uint16 over their full range, or floating point in [0, 1].  At least 16 × 16 px.
      weights: `Weights`, or a folder or name for `load_weights`.  Give `Weights` to read them once for many pairs.
      preset: "paper", the only one so far.

    Returns:
      An array of the sources' shape and dtype; of one channel where they have one (the network's Y, rounded).
      Floating-point sources are computed in float32, whatever their dtype.

    Raises:
      UserError: `images` are not two such arrays; no weights given; an unknown preset; too little memory.
      MissingFileError: `weights` name nothing that exists.
    """
    _check_preset(preset)
    _check_count(len(images))
    return _fuse_checked([np.asarray(image) for image in images], ["images[0]", "images[1]"], _resolve(weights))


def fuse_files(paths: Sequence[str | os.PathLike], out: str | os.PathLike, *,
               weights: Weights | str | os.PathLike | None = None, preset: str = "paper") -> np.ndarray:
    """`fuse` from two files, order A, B, to a third (see `read_image`, `write_image`); returns what was written.

    What is wrong with `out` is found before the work is done, and nothing is written on failure.

    Raises:
      UserError: as `fuse`, `read_image` and `write_image`; `out` is one of the sources.
      MissingFileError: a source, the weights or the folder of `out` do not exist.
    """
    _check_preset(preset)
    _check_count(len(paths))
    check_target(out)
    weights = _resolve(weights)
    images = [read_image(path) for path in paths]
    for source in paths:
        if Path(out).exists() and os.path.samefile(out, source):
            raise UserError(f"{out}: this is one of the sources, which would be overwritten; name another file")
    check_target(out, images[0].dtype)
    fused = _fuse_checked(images, [str(path) for path in paths], weights)
    write_image(out, fused)
    return fused


def _check_preset(preset: str) -> None:
    if preset not in PRESETS:
        raise UserError(f"preset {preset!r} is unknown; use one of {', '.join(PRESETS)}")


def _check_count(count: int) -> None:
    if count != 2:
        raise UserError(f"two pictures are fused, got {count}; more than two come with a later version")


def _resolve(weights: Weights | str | os.PathLike | None) -> Weights:
    if weights is None:
        raise UserError(f"weights: none given, and none ship with this version yet; {HOW_TO_GET_SOME}")
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
