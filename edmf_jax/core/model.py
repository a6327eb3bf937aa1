"""The autoencoder of Fig. 5b: MUFusion's graph at half width, in flax.linen.

Input `[B, H, W, 2]`, the two Y planes in [0, 1]; output `[B, H, W]`, the fused Y in (−1, 1) from tanh, not clipped.
Every convolution is 3×3 with bias over a reflected border of one pixel.  Height and width may be any from
`MIN_SIDE_PX` on.  docs/paper.md, "The network", has the table of layers.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import reflect_pad

MIN_SIDE_PX = 16
CPU_CHANNEL_GROUP = 32
"""Input channels of one convolution on the CPU.

XLA's CPU backend runs a convolution of more input channels on a slow path; a sum of convolutions over groups of
channels is several times faster there.  On other backends one convolution over all channels is faster.
"""
_CUBIC_A = -0.75  # PyTorch's, which MUFusion's weights need


def _cubic_weights(phase: float) -> np.ndarray:
    """Four taps of the cubic convolution kernel (a = −0.75) for a position `phase` samples after the second tap."""
    d = np.abs(phase - np.array([-1.0, 0.0, 1.0, 2.0]))
    near = (_CUBIC_A + 2) * d**3 - (_CUBIC_A + 3) * d**2 + 1
    far = _CUBIC_A * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, far)


def upsample2(x: jax.Array) -> jax.Array:
    """Bicubic upsampling ×2 of `[B, H, W, C]`: a = −0.75, half-pixel centers, clamped edges (PyTorch's "bicubic").

    `jax.image.resize` differs: it has a = −0.5 and renormalizes the weights at the edges.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        pads = [(2, 2) if a == axis else (0, 0) for a in range(x.ndim)]
        padded = jnp.pad(x, pads, mode="edge")
        # Output 2i is at source position i − ¼, which is ¾ after sample i−1; output 2i+1 is at i + ¼.
        phases = []
        for start, phase in ((0, 0.75), (1, 0.25)):
            taps = [float(w) * jax.lax.slice_in_dim(padded, start + t, start + t + size, axis=axis)
                    for t, w in enumerate(_cubic_weights(phase))]
            phases.append(sum(taps[1:], taps[0]))
        shape = list(x.shape)
        shape[axis] = 2 * size
        x = jnp.stack(phases, axis + 1).reshape(shape)
    return x


def _convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_parts(parts: Sequence[jax.Array], kernel: jax.Array, stride: int, group: int) -> jax.Array:
    """Convolution of the concatenation of `parts` along channels.

    With a `group` > 0 it is a sum of convolutions over at most `group` channels each, and the concatenation is never
    built; with 0 it is one convolution.
    """
    if not group:
        return _convolve(parts[0] if len(parts) == 1 else jnp.concatenate(parts, -1), kernel, stride)
    total, start = None, 0
    for part in parts:
        for first in range(0, part.shape[-1], group):
            piece = part[..., first : first + group]
            term = _convolve(piece, kernel[:, :, start : start + piece.shape[-1]], stride)
            total = term if total is None else total + term
            start += piece.shape[-1]
    return total


class Conv(nn.Module):
    """3×3 convolution with bias over `parts` `[B, H, W, C_i]` (concatenated along channels), reflected border."""

    features: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    channel_group: int = 0

    @nn.compact
    def __call__(self, *parts: jax.Array) -> jax.Array:
        channels = sum(p.shape[-1] for p in parts)
        # He initialization: every layer but the last is followed by a ReLU.
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        padded = [reflect_pad(p.astype(self.dtype), 1, axes=(1, 2)) for p in parts]
        out = _convolve_parts(padded, kernel.astype(self.dtype), self.stride, self.channel_group)
        return out + bias.astype(self.dtype)[None, None, None, :]


class FusionNet(nn.Module):
    """Encoder and decoder of Fig. 5b.

    Attributes:
      width: channels of the layers at full resolution; those at half resolution have twice as many.  16 is the
        paper's network, 32 is MUFusion's.
      dtype: computation dtype of the convolutions; parameters and output stay float32.
      channel_group: most input channels of one convolution, see `CPU_CHANNEL_GROUP`; 0: no limit.
    """

    width: int = 16
    dtype: jnp.dtype = jnp.float32
    channel_group: int = 0

    def setup(self):
        def conv(features, stride=1):
            return Conv(features, stride, self.dtype, self.channel_group)

        outer, inner = self.width, 2 * self.width
        self.conv1, self.conv2, self.conv3 = conv(outer), conv(outer), conv(inner, 2)
        self.conv4, self.conv5, self.conv6 = conv(inner), conv(inner), conv(inner)
        self.conv66, self.conv55, self.conv44 = conv(inner), conv(inner), conv(inner)
        self.conv33, self.conv22, self.conv11 = conv(inner), conv(outer), conv(1)

    def encode(self, sources: jax.Array) -> tuple[jax.Array, ...]:
        """Feature maps conv1…conv6 of sources `[B, H, W, 2]`; from conv3 on at half size, rounded up."""
        g1 = nn.relu(self.conv1(sources))
        g2 = nn.relu(self.conv2(g1))
        g3 = nn.relu(self.conv3(g1, g2))
        g4 = nn.relu(self.conv4(g3))
        g5 = nn.relu(self.conv5(g3, g4))
        g6 = nn.relu(self.conv6(g3, g4, g5))
        return g1, g2, g3, g4, g5, g6

    def decode(self, features: Sequence[jax.Array]) -> jax.Array:
        """The fused Y `[B, H, W]`, float32, from the six feature maps."""
        g1, g2, g3, g4, g5, g6 = features
        d6 = nn.relu(self.conv66(g6))
        d5 = nn.relu(self.conv55(g5, d6))
        d4 = nn.relu(self.conv44(g4, d5))
        d3 = nn.relu(self.conv33(g3, d4))
        # The stride rounded an odd side up: the surplus row or column is cut off.
        up = upsample2(d3)[:, : g2.shape[1], : g2.shape[2]]
        d2 = nn.relu(self.conv22(g2, up))
        return jnp.tanh(self.conv11(g1, d2).astype(jnp.promote_types(jnp.float32, self.dtype)))[..., 0]

    def __call__(self, sources: jax.Array) -> jax.Array:
        return self.decode(self.encode(sources))


def make_model(width: int, dtype: str = "float32", platform: str | None = None) -> FusionNet:
    """The network of `width` channels.

    Args:
      width: channels at full resolution, at least 1.
      dtype: in which convolutions are computed: "float32", "bfloat16" or "float64".
      platform: "cpu", "gpu" or "tpu", for which convolutions are written; None: the default backend.

    Raises:
      ValueError: `width` is not positive, or another `dtype`.
    """
    if dtype not in ("float32", "bfloat16", "float64"):
        raise ValueError(f'model.dtype must be "float32", "bfloat16" or "float64", got {dtype!r}')
    if width < 1:
        raise ValueError(f"model.width must be at least 1, got {width}")
    group = CPU_CHANNEL_GROUP if (platform or jax.default_backend()) == "cpu" else 0
    return FusionNet(width, jnp.dtype(dtype), group)


def init_params(model: FusionNet, key: jax.Array) -> dict:
    """Random initial parameters: `{"conv1": {"kernel": HWIO, "bias": [O]}, …}`, float32."""
    return model.init(key, jnp.zeros((1, MIN_SIDE_PX, MIN_SIDE_PX, 2)))["params"]


def fuse_luma(model: FusionNet, params: dict, luma_a: jax.Array, luma_b: jax.Array) -> jax.Array:
    """The network applied to two planes `[B, H, W]` in [0, 1] → the fused plane `[B, H, W]` in (−1, 1).

    Raises:
      ValueError: shapes differ, or a side is shorter than `MIN_SIDE_PX`.
    """
    if luma_a.shape != luma_b.shape:
        raise ValueError(f"the sources differ in size: {luma_a.shape[-2:]} and {luma_b.shape[-2:]} (height, width)")
    if min(luma_a.shape[-2:]) < MIN_SIDE_PX:
        raise ValueError(f"the network takes pictures of at least {MIN_SIDE_PX}×{MIN_SIDE_PX} px, got "
                         f"{luma_a.shape[-2]}×{luma_a.shape[-1]} (height × width)")
    return model.apply({"params": params}, jnp.stack([luma_a, luma_b], axis=-1))
