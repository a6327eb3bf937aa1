"""U2Fusion: a dense network on the luminance of both pictures.

Xu et al. 2022, DOI 10.1109/TPAMI.2020.3012548.
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
from edmf_jax.methods.layers import convolve, fill_border, leaky_relu
from edmf_jax.methods.levels import to_levels
from edmf_jax.methods.luma_fusion import FULL_RANGE, STUDIO_RANGE, luma_levels, recolor
from edmf_jax.methods.pieces import run_in_pieces
from edmf_jax.methods.planes import levels_rounded_up
from edmf_jax.weights.tensorflow_checkpoint import read_checkpoint

WIDTH, DENSE_LAYERS = 44, 5
LARGEST_PX = 768  # 264 channels: a piece takes 1.7 GB
REACH_PX = 1 + DENSE_LAYERS + 4
_DECODER_WIDTHS = (WIDTH * (DENSE_LAYERS + 1), 128, 64, 32, 1)
_SOURCE = "model/model.ckpt (.index and .data-00000-of-00001) of the repository hanna-xu/U2Fusion"


def _layers() -> dict[str, tuple[int, int]]:
    """Layer → input and output channels, in order."""
    encoder = {"encoder/conv1_1": (2, WIDTH)}
    encoder |= {f"encoder/dense_block_conv{i}": (i * WIDTH, WIDTH) for i in range(1, DENSE_LAYERS + 1)}
    return encoder | {f"decoder/conv2_{i}": _DECODER_WIDTHS[i - 1 : i + 1] for i in range(1, len(_DECODER_WIDTHS))}


LAYERS = _layers()
INFO = MethodInfo(
    name="u2fusion", title="U2Fusion", paper="Xu et al., IEEE Trans. PAMI 44", year=2022,
    doi="10.1109/TPAMI.2020.3012548", license="none stated", source=_SOURCE,
    tensors={f"{layer}/{kind}": shape for layer, channels in LAYERS.items()
             for kind, shape in (("kernel", (3, 3, *channels)), ("bias", channels[1:]))},
    verified="layers against PyTorch with random weights; the authors' weights were not run, because they may not be "
             "passed on",
    is_local=True, reach_px=REACH_PX)


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of `INFO.tensors` from the authors' TensorFlow checkpoint."""
    table = read_checkpoint(path, hint=f"the published one is {_SOURCE}")
    names = {name: _published_name(name) for name in INFO.tensors}
    check_tensors(table, {names[name]: shape for name, shape in INFO.tensors.items()}, str(path),
                  hint=f"{INFO.title} needs {_SOURCE}")
    return {name: table[published] for name, published in names.items()}


def _published_name(name: str) -> str:
    return f"Generator/{name}" if name.startswith("encoder") else f"Generator_1/{name}"


def load(weights: Mapping[str, np.ndarray] | None = None, *, as_published: bool = False) -> "U2Fusion":
    """The method, ready to fuse.

    Args:
      weights: arrays as from `read_weights`; None: the imported ones.
      as_published: the fused luminance is scaled so that its largest value becomes 255, as in the authors' Python
        script, and colored in studio range, as in their MATLAB script.  Otherwise it is not scaled, and colors are
        full-range.
    """
    return U2Fusion(weights_of(INFO, weights), as_published)


@dataclasses.dataclass(frozen=True)
class U2Fusion:
    """A `methods.base.Fuser` of two pictures of at least 2×2 px."""

    params: dict[str, np.ndarray]
    as_published: bool = False
    largest_px: int = LARGEST_PX

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The fused picture."""
        check_images(images, INFO.name, smallest_px=2)
        luma = np.stack([luma_levels(x, FULL_RANGE) for x in images]) / 255
        fused = fuse_luma(self.params, luma.astype(np.float32), self.largest_px).astype(np.float64)
        if self.as_published:
            return to_levels(recolor(scaled_by_largest(fused).astype(np.float64), *images, STUDIO_RANGE))
        return to_levels(recolor(255 * fused, *images, FULL_RANGE))


def fuse_luma(params: dict[str, np.ndarray], luma: np.ndarray, largest_px: int = LARGEST_PX) -> np.ndarray:
    """The network on Y in [0, 1], `[2, H, W]`: the fused Y in (0, 1), float32 `[H, W]`."""
    return run_in_pieces(functools.partial(_fuse, params), luma[..., None], reach_px=REACH_PX, largest_px=largest_px)


def scaled_by_largest(luma: np.ndarray) -> np.ndarray:
    """The luminance file that the authors' script writes: levels, the largest value as 255; uint8."""
    return levels_rounded_up(luma * (255 / luma.max()))


@jax.jit
def _fuse(params: dict[str, jax.Array], luma: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    size = ValidSize(height, width)

    x = jnp.stack([luma[0, ..., 0], luma[1, ..., 0]], -1)[None]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # a border of one sample, which stays in the array to the end
    for index, name in enumerate(LAYERS):
        kernel, bias = params[f"{name}/kernel"], params[f"{name}/bias"]
        y = convolve(fill_border(x, size, "reflect"), kernel, bias)
        is_dense = 1 <= index <= DENSE_LAYERS
        x = jnp.concatenate([leaky_relu(y), x], -1) if is_dense else leaky_relu(y)
    return jnp.tanh(y)[0, 1:-1, 1:-1, 0] / 2 + 0.5
