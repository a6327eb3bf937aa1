"""The encoder and decoder with skip connections that ZMFF fits to a pair (after the deep image prior, Ulyanov 2018).

Parameters have PyTorch's names, without ".1.weight" for kernels.  Convolutions have no bias and a reflected border, and
are normalized by the statistics of the picture itself.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import reflect_pad
from edmf_jax.methods.layers import BATCH_NORM_EPSILON, leaky_relu, pointwise

WIDTH, SKIP_WIDTH = 128, 16
SOURCES = 2


def smallest_side_px(levels: int) -> int:
    """The smallest side of a picture: the border of the deepest level reflects at least one pixel."""
    return 2**levels + 1


@functools.partial(jax.jit, static_argnums=1)
def init_skip_network(key: jax.Array, levels: int) -> dict[str, jax.Array]:
    """Random parameters, as PyTorch's: kernels uniform within ±1/√(inputs), normalization 1 and 0."""
    both = SKIP_WIDTH + WIDTH
    kernels, norms = {"tail.0": (1, 1, WIDTH, 1)}, {"skip_bn": SKIP_WIDTH}
    for i in range(levels):
        kernels |= {f"down_conv1.{i}": (3, 3, WIDTH if i else SOURCES, WIDTH), f"down_conv2.{i}": (3, 3, WIDTH, WIDTH),
                    f"skip_conv.{i}": (1, 1, WIDTH, SKIP_WIDTH), f"up_conv.{i}": (3, 3, both, WIDTH)}
        norms |= {f"down_bn.{i}": WIDTH, f"up_bn1.{i}": both, f"up_bn2.{i}": WIDTH}
    # One draw for all: every other one is a program of its own to compile.
    sizes = [math.prod(shape) for shape in kernels.values()]
    drawn = jnp.split(jax.random.uniform(key, (sum(sizes),), minval=-1), np.cumsum(sizes)[:-1])
    params = {name: values.reshape(shape) * math.prod(shape[:3]) ** -0.5
              for (name, shape), values in zip(kernels.items(), drawn)}
    for name, width in norms.items():
        params |= {f"{name}.weight": jnp.ones(width), f"{name}.bias": jnp.zeros(width)}
    return params


def skip_network(params: dict[str, jax.Array], x: jax.Array, levels: int) -> jax.Array:
    """`[1, H, W, 2]` → `[H, W]` in (0, 1)."""
    shape = x.shape[1:3]
    down = []
    for i in range(levels):
        # Both convolutions of a level share one normalization.
        x = _norm_act(params, f"down_bn.{i}", _conv(x, params[f"down_conv1.{i}"], stride=2))
        x = _norm_act(params, f"down_bn.{i}", _conv(x, params[f"down_conv2.{i}"]))
        down.append(x)
    for i in reversed(range(levels)):
        skip = _norm_act(params, "skip_bn", pointwise(down[i], params[f"skip_conv.{i}"]))
        x = jnp.concatenate([skip, _crop(x, skip.shape)], -1)
        x = _upsample2(_norm(params, f"up_bn1.{i}", x))
        x = _norm_act(params, f"up_bn2.{i}", _conv(x, params[f"up_conv.{i}"]))
    out = jax.nn.sigmoid(pointwise(x, params["tail.0"]))[0, ..., 0]
    return out if out.shape == shape else jax.image.resize(out, shape, "linear", antialias=False)


def _conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(reflect_pad(x, 1, axes=(1, 2)), kernel, (stride, stride), "VALID",
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _norm(params: dict[str, jax.Array], name: str, x: jax.Array) -> jax.Array:
    mean = jnp.mean(x, (0, 1, 2), keepdims=True)
    centered = x - mean
    scaled = centered * jax.lax.rsqrt(jnp.mean(centered**2, (0, 1, 2), keepdims=True) + BATCH_NORM_EPSILON)
    return scaled * params[f"{name}.weight"][None, None, None, :] + params[f"{name}.bias"][None, None, None, :]


def _norm_act(params: dict[str, jax.Array], name: str, x: jax.Array) -> jax.Array:
    return leaky_relu(_norm(params, name, x))


def _crop(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The middle of `x` in the size of `shape`, which an odd side below made smaller."""
    top, left = ((x.shape[axis] - shape[axis]) // 2 for axis in (1, 2))
    return x[:, top : top + shape[1], left : left + shape[2]]


def _upsample2(x: jax.Array) -> jax.Array:
    """Bilinear upsampling ×2 with half-pixel centers and repeated edges."""
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)], mode="edge")
        before, here, after = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3))
        pair = jnp.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], axis + 1)
        x = pair.reshape([2 * n if a == axis else n for a, n in enumerate(x.shape)])
    return x
