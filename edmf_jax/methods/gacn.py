"""GACN: a network that decides pixel by pixel, its uncertain boundary smoothed by a guided filter.

Ma et al. 2022, DOI 10.1016/j.neucom.2021.10.115.
"""

import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping, Sequence

import cv2
import jax
import numpy as np

from edmf_jax.core.filters import gaussian_kernel
from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods.base import MethodInfo, check_images
from edmf_jax.methods.imported import weights_of
from edmf_jax.methods.layers import convolve, from_torch, zero_beyond
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.pieces import LARGEST_PX, run_in_pieces
from edmf_jax.methods.planes import LUMA_WEIGHTS, SKIMAGE_WEIGHTS, blend, gray_of, guided_filter
from edmf_jax.methods.squeeze_encoder import (
    BLOCKS,
    REACH_PX,
    SHARPNESS_REACH_PX,
    WIDTH,
    apply_conv_block,
    block_tensors,
    conv_block,
    encode,
    gate_tensors,
    gated_block,
    gates_of,
    sharpness_difference,
)
from edmf_jax.weights.torch_file import read_torch

STEEPNESS = 1000  # of the sigmoids that stand for a step
DECISION_WIDTHS = (64, 48, 32, 16, 1)
REACH_OF_DECISION_PX = REACH_PX + SHARPNESS_REACH_PX + 3 + 4 * (1 + 3)
_SOURCE = "nets/parameters/GACN.pkl of the repository Keep-Passion/GACN"


def _tensors() -> dict[str, tuple[int, ...]]:
    tensors = {}
    for i in range(BLOCKS):
        tensors |= block_tensors(*_names(f"feature_extraction_conv{i}"), i * WIDTH or 1, WIDTH)
        tensors |= gate_tensors(f"se_{i}")
    for i, (inputs, outputs) in enumerate(itertools.pairwise(DECISION_WIDTHS), 1):
        tensors |= block_tensors(*_names(f"decision_path_conv{i}"), inputs, outputs)
    return tensors | {f"se_{4 + i}.fc.0.weight": (1, width, 7, 7) for i, width in enumerate(DECISION_WIDTHS)}


def _names(block: str) -> tuple[str, str]:
    return f"{block}.{block}_Conv2d", f"{block}.{block}_BatchNorm"


INFO = MethodInfo(
    name="gacn", title="GACN", paper="Ma et al., Neurocomputing 470", year=2022,
    doi="10.1016/j.neucom.2021.10.115", license="LGPL-2.1", source=_SOURCE, tensors=_tensors(),
    verified="with --as-published: the authors' program on Lytro 1: decision map equal, fused picture within 1 level")


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of the authors' file, under their names and in PyTorch's layout."""
    return read_torch(path, hint=f"the published one is {_SOURCE}")


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> "Gacn":
    """The method, ready to fuse.

    Args:
      weights: arrays as from `read_weights`; None: the imported ones.
      as_published: gray by scikit-image's weights and levels as the authors' script saves them.  Otherwise gray is
        BT.601 Y, and levels are rounded.
    """
    return Gacn(parameters(weights_of(INFO, weights)), as_published)


def parameters(weights: Mapping[str, np.ndarray]) -> dict:
    """The network's parameters: `encoder`, `decision` and `attention`, in order."""
    weights = from_torch(weights)
    return {
        "encoder": [gated_block(weights, *_names(f"feature_extraction_conv{i}"), f"se_{i}") for i in range(BLOCKS)],
        "decision": [conv_block(weights, *_names(f"decision_path_conv{i}")) for i in range(1, len(DECISION_WIDTHS))],
        "attention": [weights[f"se_{4 + i}.fc.0.weight"] for i in range(len(DECISION_WIDTHS))],
    }


@dataclasses.dataclass(frozen=True)
class Gacn:
    """A `methods.base.Fuser` of two pictures."""

    params: dict
    as_published: bool = False
    largest_px: int = LARGEST_PX

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        share = self.decision_map(images)
        fused = blend(share, *(x.astype(np.float64) / 255 for x in images))
        return _published_levels(fused) if self.as_published else to_levels(255 * fused)

    def decision_map(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The share of the first picture, after the guided filter: float32 `[H, W]`."""
        check_images(images, INFO.name)
        gray = np.stack([gray_of(x, SKIMAGE_WEIGHTS if self.as_published else LUMA_WEIGHTS) for x in images])
        decision = decide(self.params, gray[..., None].astype(np.float32), self.largest_px)
        return smooth_boundary(decision.astype(np.float64), *gray).astype(np.float32)


def decide(params: dict, gray: np.ndarray, largest_px: int = LARGEST_PX) -> np.ndarray:
    """The network's decision in [0, 1], 1 for A: float32 `[H, W]` of gray `[2, H, W, 1]` in [0, 1]."""
    gates = gates_of(params["encoder"], gray, largest_px)
    return run_in_pieces(functools.partial(_decide, params, gates), gray, reach_px=REACH_OF_DECISION_PX,
                         largest_px=largest_px)


@jax.jit
def _decide(params: dict, gates: tuple[jax.Array, ...], gray: jax.Array, height: jax.Array, width: jax.Array
            ) -> jax.Array:
    size = ValidSize(height, width)
    features = encode(params["encoder"], gray, size, gates)
    x = zero_beyond(jax.nn.sigmoid(STEEPNESS * sharpness_difference(features, size)), size)
    x = _attend(params["attention"][0], x)
    for block, kernel in zip(params["decision"], params["attention"][1:]):
        x = _attend(kernel, apply_conv_block(block, x, size))
    return jax.nn.sigmoid(STEEPNESS * x[0, ..., 0])


def _attend(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """Spatial attention: every pixel times the sigmoid of a 7×7 convolution of all channels to one."""
    return x * jax.nn.sigmoid(convolve(x, kernel))


def smooth_boundary(decision: np.ndarray, gray_a: np.ndarray, gray_b: np.ndarray) -> np.ndarray:
    """The decision, filtered where a blurred one is neither clearly A nor clearly B; planes `[H, W]` in [0, 1]."""
    window = gaussian_kernel(9, 8)
    blurred = cv2.sepFilter2D(decision, cv2.CV_64F, window, window, borderType=cv2.BORDER_CONSTANT)
    certain = blurred * (blurred > 0.8) + (1 - blurred) * (blurred < 0.1)
    weight = 1 - np.abs(2 * (blurred * certain + 0.5 * (1 - certain)) - 1)
    filtered = guided_filter(blend(decision, gray_a, gray_b), decision, 3, 0.1)
    return filtered * weight + decision * (1 - weight)


def _published_levels(fused: np.ndarray) -> np.ndarray:
    """[0, 1] → levels; where a value lies outside, the authors' script stretches minimum…maximum to 0…255."""
    low, high = fused.min(), fused.max()
    if low < 0 or high > 1:
        fused = (fused - low) / (high - low)
    return np.floor(255 * fused + 0.499999999).astype(np.uint8)
