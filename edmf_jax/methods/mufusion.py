"""MUFusion: one network for luma, in its authors' tiles of 128 px; chroma by its distance from neutral."""

import os
from collections.abc import Mapping

import numpy as np

from edmf_jax.core.model import make_model
from edmf_jax.fusion.tiling import TILE_PX, fuse_levels, fuse_mufusion
from edmf_jax.methods.base import MethodInfo, PlainFuser, check_images
from edmf_jax.methods.imported import weights_of
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.luma_fusion import merge_chroma
from edmf_jax.methods.planes import levels_stretched
from edmf_jax.weights.mufusion import MUFUSION_WIDTH, import_mufusion
from edmf_jax.weights.params import flatten, unflatten

# Layer → channels in and out; all kernels are 3×3.
_CHANNELS = {"conv1": (2, 32), "conv2": (32, 32), "conv3": (64, 64), "conv4": (64, 64), "conv5": (128, 64),
             "conv6": (192, 64), "conv66": (64, 64), "conv55": (128, 64), "conv44": (128, 64), "conv33": (128, 64),
             "conv22": (96, 32), "conv11": (64, 1)}
INFO = MethodInfo(
    name="mufusion", title="MUFusion", paper="Cheng, Xu, Wu, Information Fusion 92", year=2023,
    doi="10.1016/j.inffus.2022.11.010",
    verified="--as-published against the authors' program before its JPEG, on 256×320 px: 2 of 245,760 "
             "samples differ, by one level (float32 here, float64 there)",
    license="MIT", source="multi-focus/models/Final.model of the repository AWCXV/MUFusion",
    tensors={f"{layer}/{leaf}": shape for layer, (a, b) in _CHANNELS.items()
             for leaf, shape in (("kernel", (3, 3, a, b)), ("bias", (b,)))})


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of `INFO.tensors` from the authors' file; raises as `weights.mufusion.import_mufusion`."""
    return flatten(import_mufusion(path).params)


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> PlainFuser:
    """The method, ready to fuse pictures of at least 128 px a side.

    `as_published` takes their scripts' ways: colors with chroma of three digits and without the offset of 128 that the
    rule for merging chroma assumes (test_image_rgb.py); gray pictures stretched to 0…255 (test_image_y.py, whose SciPy
    does so on saving).  It leaves out their JPEG (`edmf evaluate --store jpeg75`).
    """
    params = unflatten(weights_of(INFO, weights))
    model = make_model(MUFUSION_WIDTH)

    def fuse(a, b):
        if not as_published:
            return fuse_levels(model, params, a, b, "mufusion")
        check_images([a, b], INFO.name, smallest_px=TILE_PX)
        return (_fuse_colors if a.ndim == 3 else _fuse_gray)(model, params, a, b)

    return PlainFuser(INFO.name, fuse)


def _fuse_gray(model, params: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Gray pictures with the stretched levels of the authors' test_image_y.py."""
    return levels_stretched(fuse_mufusion(model, params, *(x.astype(np.float32) / 255 for x in (a, b))))


def _fuse_colors(model, params: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """RGB pictures with the colors of the authors' test_image_rgb.py, whose chroma planes lie about 0, not 128."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lumas = [(x @ (0.299, 0.587, 0.114) / 255).clip(0, 1).astype(np.float32) for x in (a, b)]
    y = 255 * fuse_mufusion(model, params, *lumas).astype(np.float64)
    cb = merge_chroma(*(x @ (-0.169, -0.331, 0.5) for x in (a, b)))
    cr = merge_chroma(*(x @ (0.5, -0.419, -0.081) for x in (a, b)))
    return to_levels(np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1))
