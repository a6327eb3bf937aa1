"""The encoder that SESF-Fuse and GACN share: four dense blocks, each with squeeze and excitation, and its sharpness.

A block is a 3×3 convolution over zeros → ReLU → batch normalization → every channel times a gate from its own mean over
the whole picture (Hu et al. 2018, DOI 10.1109/CVPR.2018.00745).  The gates make the encoder global: a picture in one
piece is encoded in one run; for a larger one the gates are computed first, block by block, over all pieces.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize
from edmf_jax.methods.layers import batch_norm, box_sum, convolve, squared_differences, true_mean, zero_beyond
from edmf_jax.methods.pieces import LARGEST_PX, outputs_of_pieces

WIDTH, INNER_WIDTH, BLOCKS = 16, 2, 4
REACH_PX = BLOCKS
SHARPNESS_WINDOW_PX = 11
SHARPNESS_REACH_PX = SHARPNESS_WINDOW_PX // 2 + 1


class ConvBlock(NamedTuple):
    """Convolution, ReLU, batch normalization: kernel HWIO, the others `[O]`."""

    kernel: jax.Array
    bias: jax.Array
    scale: jax.Array
    shift: jax.Array
    mean: jax.Array
    variance: jax.Array


class GatedBlock(NamedTuple):
    """A block and the two linear layers of its gate, `[16, 2]` and `[2, 16]`."""

    conv: ConvBlock
    squeeze: jax.Array
    excite: jax.Array


def block_tensors(conv: str, norm: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and PyTorch's shapes of a `ConvBlock`, in its order."""
    parts = (f"{conv}.weight", (outputs, inputs, 3, 3)), (f"{conv}.bias", (outputs,))
    return dict(parts) | {f"{norm}.{kind}": (outputs,) for kind in ("weight", "bias", "running_mean", "running_var")}


def gate_tensors(gate: str) -> dict[str, tuple[int, ...]]:
    """Names and PyTorch's shapes of the two linear layers of a gate."""
    return {f"{gate}.fc.0.weight": (INNER_WIDTH, WIDTH), f"{gate}.fc.2.weight": (WIDTH, INNER_WIDTH)}


def conv_block(weights: Mapping[str, np.ndarray], conv: str, norm: str) -> ConvBlock:
    """A `ConvBlock` from arrays whose kernels are HWIO."""
    return ConvBlock(*(weights[name] for name in block_tensors(conv, norm, 0, 0)))


def gated_block(weights: Mapping[str, np.ndarray], conv: str, norm: str, gate: str) -> GatedBlock:
    """A `GatedBlock` from arrays whose kernels are HWIO."""
    return GatedBlock(conv_block(weights, conv, norm), *(weights[name].T for name in gate_tensors(gate)))


def apply_conv_block(block: ConvBlock, x: jax.Array, size: ValidSize) -> jax.Array:
    """`[N, H, W, I]`, 0 beyond the true size → `[N, H, W, O]`, the same."""
    x = jax.nn.relu(convolve(x, block.kernel, block.bias))
    return zero_beyond(batch_norm(x, *block[2:]), size)


def encode(blocks: Sequence[GatedBlock], x: jax.Array, size: ValidSize, gates: Sequence[jax.Array] = ()) -> jax.Array:
    """Features `[N, H, W, 64]`, 0 beyond the true size.

    Args:
      blocks: the four of the encoder.
      x: gray `[N, H, W, 1]`, 0 beyond the true size.
      size: the true size.
      gates: `[N, 16]` of the blocks for the whole picture; none: those of `x` alone.
    """
    features = []
    for index, block in enumerate(blocks):
        y = apply_conv_block(block.conv, jnp.concatenate(features, -1) if features else x, size)
        gate = gates[index] if gates else gate_from(block, true_mean(y, size))
        features.append(y * gate[:, None, None, :])
    return jnp.concatenate(features, -1)


def gate_from(block: GatedBlock, means: jax.Array) -> jax.Array:
    """The gate `[N, 16]` in (0, 1) from the means of a block's channels `[N, 16]`."""
    return jax.nn.sigmoid(jax.nn.relu(means @ block.squeeze) @ block.excite)


def gates_of(blocks: Sequence[GatedBlock], gray: np.ndarray, largest_px: int = LARGEST_PX) -> tuple[np.ndarray, ...]:
    """The gates of a picture that is larger than one piece, `[N, 16]` for each block; () for one that is not.

    Args:
      blocks: the four of the encoder.
      gray: `[N, H, W, 1]`.
      largest_px: the largest side of a piece.
    """
    if max(gray.shape[1:3]) <= largest_px:
        return ()
    gates: list[np.ndarray] = []
    for index, block in enumerate(blocks):
        network = functools.partial(_last_block, blocks[: index + 1], tuple(gates))
        total = np.zeros((len(gray), WIDTH))
        for _, piece in outputs_of_pieces(network, gray, reach_px=REACH_PX, largest_px=largest_px):
            total += piece.sum((0, 1), dtype=np.float64)
        means = total / (gray.shape[1] * gray.shape[2])
        gates.append(np.asarray(gate_from(block, means.astype(np.float32))))
    return tuple(gates)


@jax.jit
def _last_block(blocks: Sequence[GatedBlock], gates: Sequence[jax.Array], gray: jax.Array, height: jax.Array,
                width: jax.Array) -> jax.Array:
    """The last of `blocks` without its gate, `[H, W, N, 16]`; `gates` are those of the blocks before it."""
    size = ValidSize(height, width)
    x = encode(blocks[:-1], gray, size, gates) if gates else gray
    return jnp.moveaxis(apply_conv_block(blocks[-1].conv, x, size), 0, 2)


def sharpness_difference(features: jax.Array, size: ValidSize) -> jax.Array:
    """Local spatial frequency (squared differences, summed over 11×11) of A minus that of B: `[2, H, W, C]` → `[1, …]`.

    The sum of the difference, not the difference of the sums: half the work, and less rounding.
    """
    differences = squared_differences(features)
    return box_sum(differences[:1] - differences[1:], SHARPNESS_WINDOW_PX, size)
