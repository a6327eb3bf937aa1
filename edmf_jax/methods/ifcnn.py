"""IFCNN: features of all pictures, the largest of each, and back to a picture.

Zhang et al. 2020, DOI 10.1016/j.inffus.2019.07.011; the variant that takes the maximum, theirs for multi-focus fusion.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods.base import MethodInfo, check_images
from edmf_jax.methods.imported import weights_of
from edmf_jax.methods.layers import batch_norm, convolve, fill_border, from_torch, pointwise, repeat_edge
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.pieces import LARGEST_PX, run_in_pieces
from edmf_jax.methods.planes import levels_truncated
from edmf_jax.weights.torch_file import read_torch

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of RGB in [0, 1]
WIDTH = 64
REACH_PX = 3 + 1 + 1
BORDER_PX = 4
_SOURCE = "Code/snapshots/IFCNN-MAX.pth of the repository uzeful/IFCNN"
_NORM = ("weight", "bias", "running_mean", "running_var")

INFO = MethodInfo(
    name="ifcnn", title="IFCNN", paper="Zhang et al., Information Fusion 54", year=2020,
    doi="10.1016/j.inffus.2019.07.011", license="none stated", source=_SOURCE,
    tensors={"conv1.weight": (WIDTH, 3, 7, 7)}
    | {f"conv{i}.conv.weight": (WIDTH, WIDTH, 3, 3) for i in (2, 3)}
    | {f"conv{i}.bn.{kind}": (WIDTH,) for i in (2, 3) for kind in _NORM}
    | {"conv4.weight": (3, WIDTH, 1, 1), "conv4.bias": (3,)},
    verified="layers against PyTorch with random weights; the authors' weights were not run, because they may not be "
             "passed on",
    is_local=True, reach_px=REACH_PX)


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of the authors' file, under their names and in PyTorch's layout."""
    return read_torch(path, hint=f"the published one is {_SOURCE}")


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> "Ifcnn":
    """The method, ready to fuse.

    Args:
      weights: arrays as from `read_weights`; None: the imported ones.
      as_published: levels are cut off to integers, as in the authors' script, not rounded.
    """
    return Ifcnn(from_torch(weights_of(INFO, weights)), as_published)


@dataclasses.dataclass(frozen=True)
class Ifcnn:
    """A `methods.base.Fuser` of two or more pictures; gray ones are fused as RGB, and Y is taken of the result."""

    params: dict[str, np.ndarray]
    as_published: bool = False
    largest_px: int = LARGEST_PX

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        check_images(images, INFO.name, most=None)
        stack = np.stack(images)
        rgb = stack if stack.ndim == 4 else np.repeat(stack[..., None], 3, -1)
        fused = fuse_rgb(self.params, rgb, self.largest_px)
        fused = fused if stack.ndim == 4 else luma(fused)
        return levels_truncated(fused) if self.as_published else to_levels(fused)


def fuse_rgb(params: dict[str, np.ndarray], rgb: np.ndarray, largest_px: int = LARGEST_PX) -> np.ndarray:
    """The network on uint8 RGB `[N, H, W, 3]`: levels 0…255, float32 `[H, W, 3]`."""
    return run_in_pieces(functools.partial(_fuse, params), rgb, reach_px=REACH_PX, largest_px=largest_px)


@jax.jit
def _fuse(params: dict[str, jax.Array], rgb: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    size = ValidSize(height, width)
    mean, deviation = (jnp.asarray(x, jnp.float32) for x in (MEAN, DEVIATION))
    x = (rgb / 255 - mean[None, None, None, :]) / deviation[None, None, None, :]
    # The samples around the picture stay in the array to the end: a border of 3 for the first layer, 1 for the others.
    x = repeat_edge(x, size, BORDER_PX)
    features = [_block(params, "conv2", convolve(x[i : i + 1], params["conv1.weight"]), size) for i in range(len(x))]
    x = _block(params, "conv3", functools.reduce(jnp.maximum, features), size)
    x = x[:, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    x = pointwise(x, params["conv4.weight"], params["conv4.bias"])[0]
    return 255 * jnp.clip(x * deviation[None, None, :] + mean[None, None, :], 0, 1)


def _block(params: dict[str, jax.Array], name: str, x: jax.Array, size: ValidSize) -> jax.Array:
    """3×3 convolution over a repeated edge, batch normalization, ReLU."""
    x = convolve(fill_border(x, size, "edge", BORDER_PX), params[f"{name}.conv.weight"])
    return jax.nn.relu(batch_norm(x, *(params[f"{name}.bn.{kind}"] for kind in _NORM)))
