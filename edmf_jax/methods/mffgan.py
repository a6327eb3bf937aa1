"""MFF-GAN: two branches that exchange features, on the luminance of both pictures.

Zhang et al. 2021, DOI 10.1016/j.inffus.2020.08.022.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods.base import MethodInfo, check_images, check_tensors
from edmf_jax.methods.imported import weights_of
from edmf_jax.methods.layers import convolve, leaky_relu, pointwise, zero_beyond
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.luma_fusion import FULL_RANGE, STUDIO_RANGE, luma_levels, recolor
from edmf_jax.methods.pieces import LARGEST_PX, run_in_pieces
from edmf_jax.methods.planes import levels_rounded_up, levels_stretched
from edmf_jax.weights.tensorflow_checkpoint import read_checkpoint

WIDTH = 16
REACH_PX = 2 + 1 + 1 + 1
_SOURCE = ("checkpoint/Lytro_model/CGAN.model-19 (.index and .data-00000-of-00001) of the repository "
           "HaoZhang1018/MFF-GAN; the one of checkpoint/MFI-WHU_model is read, too")

# Layer → side of the kernel, input and output channels.  All but the last are there for the near and the far picture.
_LAYERS = {"1": (5, 1, WIDTH), "2": (3, WIDTH, WIDTH), "2_3": (1, 2 * WIDTH, WIDTH), "3": (3, 3 * WIDTH, WIDTH),
           "3_4": (1, 2 * WIDTH, WIDTH), "4": (3, 4 * WIDTH, WIDTH)}


def _tensors() -> dict[str, tuple[int, ...]]:
    tensors = {"layer5.w5": (1, 1, 8 * WIDTH, 1), "layer5.b5": (1,)}
    for layer, (side, inputs, outputs) in _LAYERS.items():
        for branch in ("", "_far"):
            tensors[f"layer{layer}{branch}.w{layer}{branch}"] = (side, side, inputs, outputs)
            tensors[f"layer{layer}{branch}.b{layer}{branch}"] = (outputs,)
    return tensors


INFO = MethodInfo(
    name="mffgan", title="MFF-GAN", paper="Zhang et al., Information Fusion 66", year=2021,
    doi="10.1016/j.inffus.2020.08.022", license="MIT", source=_SOURCE, tensors=_tensors(),
    verified="the authors' program on the luminance of Lytro 1: within 1e-4 of 255 levels; their MATLAB coloring from "
             "its formulas",
    is_local=True, reach_px=REACH_PX)


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The generator's arrays from the authors' TensorFlow checkpoint; `fusion_model/layer1/w1` is `layer1.w1`."""
    table = read_checkpoint(path, hint=f"the published one is {_SOURCE}")
    names = {name: f"fusion_model/{name.replace('.', '/')}" for name in INFO.tensors}
    check_tensors(table, {names[name]: shape for name, shape in INFO.tensors.items()}, str(path),
                  hint=f"{INFO.title} needs {_SOURCE}")
    return {name: table[published] for name, published in names.items()}


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> "MffGan":
    """The method, ready to fuse; the first picture is the near one.

    Args:
      weights: arrays as from `read_weights`; None: the imported ones.
      as_published: luminance in studio range, rounded to levels; the fused one stretched to 0…255 on saving; as in the
        authors' scripts.  Their JPEG files in between are left out (`edmf evaluate --store jpeg75` makes the last).
        Otherwise luminance is full-range and neither rounded nor stretched.
    """
    return MffGan(weights_of(INFO, weights), as_published)


@dataclasses.dataclass(frozen=True)
class MffGan:
    """A `methods.base.Fuser` of two pictures."""

    params: dict[str, np.ndarray]
    as_published: bool = False
    largest_px: int = LARGEST_PX

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        check_images(images, INFO.name)
        space = STUDIO_RANGE if self.as_published else FULL_RANGE
        luma = np.stack([luma_levels(x, space) for x in images])
        if self.as_published:
            luma = levels_rounded_up(luma)
        fused = fuse_luma(self.params, luma.astype(np.float32), self.largest_px).astype(np.float64)
        if self.as_published:
            fused = levels_stretched(fused).astype(np.float64)
        return to_levels(recolor(fused, *images, space))


def fuse_luma(params: dict[str, np.ndarray], luma: np.ndarray, largest_px: int = LARGEST_PX) -> np.ndarray:
    """The network on Y in levels, `[2, H, W]`: the fused Y in levels, float32 `[H, W]`."""
    return run_in_pieces(functools.partial(_fuse, params), luma[..., None], reach_px=REACH_PX, largest_px=largest_px)


@jax.jit
def _fuse(params: dict[str, jax.Array], luma: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    size = ValidSize(height, width)

    def layer(name, branch, *parts):
        weights = params[f"layer{name}{branch}.w{name}{branch}"], params[f"layer{name}{branch}.b{name}{branch}"]
        x = jnp.concatenate(parts, -1)
        x = pointwise(x, *weights) if weights[0].shape[0] == 1 else convolve(x, *weights)
        return zero_beyond(leaky_relu(x), size)

    levels = zero_beyond((luma - 127.5) / 127.5, size)
    sources = {"": levels[:1], "_far": levels[1:]}
    features: dict[str, list[jax.Array]] = {"": [], "_far": []}
    outputs = []
    exchanged: dict[str, list[jax.Array]] = {"": [], "_far": []}
    for name in "1234":
        for branch, found in features.items():
            found.append(layer(name, branch, *(found + exchanged[branch] or [sources[branch]])))
        outputs += [features[""][-1], features["_far"][-1]]
        if name in "23":
            both = features[""][-1], features["_far"][-1]
            exchanged = {branch: [layer(f"{name}_{int(name) + 1}", branch, *both)] for branch in features}
    fused = jnp.tanh(pointwise(jnp.concatenate(outputs, -1), params["layer5.w5"], params["layer5.b5"]))
    return 127.5 * fused[0, ..., 0] + 127.5
