"""Preset "paper" on two pictures: checked, with what one lacks taken from the other, through the network.

The published method knows no missing pixels and takes 16 bits to be used in full; both are dealt with around it.
"""

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pieces import out_of_memory_as
from edmf_jax.fusion.pixels import check_image, shrink_back, size_text, stretch
from edmf_jax.fusion.stack.shots import Masked, find_white, read_masked
from edmf_jax.weights.store import Weights


def fuse_as_published(given: list[Masked], names: list[str], weights: Weights
                      ) -> tuple[np.ndarray, np.ndarray | None]:
    """Fuses two pictures by preset "paper"; `names` are what messages call them.

    Returns:
      The result, and bool `[H, W]`: False where both lack pixels and it is 0; None: nowhere.

    Raises:
      UserError: the images are not accepted, or differ in shape or dtype; too little memory.
    """
    from edmf_jax.fusion.tiling import fuse_pair  # imports JAX, which preset "photo" needs not

    images = [shot.image for shot in given]
    for image, name in zip(images, names, strict=True):
        check_image(image, name)
    _check_pair(images, names)
    white = find_white(given, given[0])
    covered = None
    if any(shot.mask is not None for shot in given):
        images, covered = _completed(given, names, white)
    elif white is not None:
        images = [stretch(image, white) for image in images]
    planes = [image[..., 0] if image.shape[-1] == 1 and image.ndim == 3 else image for image in images]
    with out_of_memory_as(f"{names[0]}: {size_text(images[0])} take more memory than there is; close other programs or "
                          "fuse smaller pictures"):
        fused = fuse_pair(weights.model, weights.params, *planes).reshape(given[0].image.shape)
    if covered is not None:
        fused[~covered] = 0
    return (fused if white is None else shrink_back(fused, white)), covered


def _completed(given: list[Masked], names: list[str], white: int | None) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Two pictures `[H, W, C]` at full range, each with what it lacks from the other; and where one of them has pixels.

    The latter is bool `[H, W]`; None: everywhere.
    """
    (a, mask_a), (b, mask_b) = (read_masked(shot, name, white) for shot, name in zip(given, names))
    has_a, has_b = (np.ones(a.shape[:2], bool) if mask is None else mask for mask in (mask_a, mask_b))
    only_a, only_b = has_a & ~has_b, has_b & ~has_a
    images = [np.where(only_b[..., None], b, a), np.where(only_a[..., None], a, b)]
    covered = has_a | has_b
    return images, None if covered.all() else covered


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
