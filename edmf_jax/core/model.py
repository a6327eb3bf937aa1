"""The autoencoder of Fig. 5b: MUFusion's graph at half width, in flax.linen.

Input `[B, H, W, 2]`, the two Y planes in [0, 1]; output `[B, H, W]`, the fused Y in (−1, 1) from tanh, not clipped.
Every convolution is 3×3 with bias over a reflected border of one pixel.  Height and width may be any from
`MIN_SIDE_PX` on.  docs/paper.md, "The network", has the table of layers.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from edmf_jax.core.cpu_convolution import convolve, convolve_few, is_slow
from edmf_jax.core.filters import reflect_pad
from edmf_jax.core.limits import MIN_SIDE_PX
from edmf_jax.core.upsampling import upsample2, upsample2_cpu, upsample2_padded

CPU_CHANNEL_GROUP = 32
"""Input channels of one convolution on the CPU.

XLA's CPU backend runs a convolution of more input channels on a slow path; a sum of convolutions over groups of
channels is several times faster there.  On other backends one convolution over all channels is faster.
"""
PRECISIONS = ("default", "high", "highest")
"""How exactly the products of float32 convolutions are computed, as `jax.lax.Precision` names it.

"default" is TF32 on GPUs (10 bits of mantissa), bfloat16 on TPUs (7 bits) and float32 on CPUs.
"""
_EACH_PART = 1 << 30  # as a channel group: one convolution for each part


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, precision: str, on_cpu: bool) -> jax.Array:
    # None: the default can still be raised from outside, by jax.default_matmul_precision.
    precision = None if precision == "default" else precision
    if on_cpu and stride == 1 and is_slow(x, kernel):
        return convolve_few(x, kernel, precision)
    return convolve(x, kernel, (stride, stride), precision)


def _convolve_parts(parts: Sequence[jax.Array], kernel: jax.Array, stride: int, group: int, precision: str,
                    on_cpu: bool = False) -> jax.Array:
    """Convolution of the concatenation of `parts` along channels.

    With a `group` > 0 it is a sum of convolutions over at most `group` channels each, and the concatenation is never
    built; with 0 it is one convolution.
    """
    if not group:
        x = parts[0] if len(parts) == 1 else jnp.concatenate(parts, -1)
        return _convolve(x, kernel, stride, precision, on_cpu)
    total, start = None, 0
    for part in parts:
        for first in range(0, part.shape[-1], group):
            piece = part[..., first : first + group]
            term = _convolve(piece, kernel[:, :, start : start + piece.shape[-1]], stride, precision, on_cpu)
            total = term if total is None else total + term
            start += piece.shape[-1]
    return total


class Conv(nn.Module):
    """3×3 convolution with bias over `parts` `[B, H, W, C_i]` (concatenated along channels), reflected border.

    After `parts` may come others, `padded` `[B, H + 2, W + 2, C_i]`, that have their border already.
    """

    features: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32
    channel_group: int = 0
    precision: str = "default"
    on_cpu: bool = False  # whether it is written for one, see `cpu_convolution`

    @nn.compact
    def __call__(self, *parts: jax.Array, padded: Sequence[jax.Array] = ()) -> jax.Array:
        channels = sum(p.shape[-1] for p in (*parts, *padded))
        # He initialization: every layer but the last is followed by a ReLU.
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, channels, self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        padded = [*(reflect_pad(p.astype(self.dtype), 1, axes=(1, 2)) for p in parts), *padded]
        out = _convolve_parts(padded, kernel.astype(self.dtype), self.stride, self.channel_group, self.precision,
                              self.on_cpu)
        return out + bias.astype(self.dtype)[None, None, None, :]


class FusionNet(nn.Module):
    """Encoder and decoder of Fig. 5b.

    Attributes:
      width: channels of the layers at full resolution; those at half resolution have twice as many.  16 is the
        paper's network, 32 is MUFusion's.
      dtype: computation dtype of the convolutions; parameters and output stay float32.
      platform: "cpu", "gpu" or "tpu", for which it is written; the numbers are the same but for rounding.
      precision: of the convolutions' products, one of `PRECISIONS`.
    """

    width: int = 16
    dtype: jnp.dtype = jnp.float32
    platform: str = "cpu"
    precision: str = "default"

    def setup(self):
        group = CPU_CHANNEL_GROUP if self.platform == "cpu" else 0
        # A GPU's memory limits it: at full resolution, concatenated inputs cost more than adding parts up.
        large = _EACH_PART if self.platform == "gpu" else group

        def conv(features, stride=1, group=group):
            return Conv(features, stride, self.dtype, group, self.precision, self.platform == "cpu")

        outer, inner = self.width, 2 * self.width
        self.conv1, self.conv2, self.conv3 = conv(outer), conv(outer), conv(inner, 2, large)
        self.conv4, self.conv5, self.conv6 = conv(inner), conv(inner), conv(inner)
        self.conv66, self.conv55, self.conv44 = conv(inner), conv(inner), conv(inner)
        self.conv33, self.conv22, self.conv11 = conv(inner), conv(outer, 1, large), conv(1, 1, large)

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
        if self.platform == "gpu":
            d2 = nn.relu(self.conv22(g2, padded=[upsample2_padded(d3, g2.shape[1:3])]))
        else:
            upsample = upsample2_cpu if self.platform == "cpu" else upsample2
            d2 = nn.relu(self.conv22(g2, upsample(d3)[:, : g2.shape[1], : g2.shape[2]]))
        return jnp.tanh(self.conv11(g1, d2).astype(jnp.promote_types(jnp.float32, self.dtype)))[..., 0]

    def __call__(self, sources: jax.Array) -> jax.Array:
        return self.decode(self.encode(sources))


def make_model(width: int, dtype: str = "float32", platform: str | None = None, precision: str = "default"
               ) -> FusionNet:
    """The network of `width` channels.

    Args:
      width: channels at full resolution, at least 1.
      dtype: in which convolutions are computed: "float32", "bfloat16" or "float64".
      platform: "cpu", "gpu" or "tpu", for which the network is written; None: the default backend.
      precision: one of `PRECISIONS`.

    Raises:
      ValueError: `width` is not positive, or another `dtype` or `precision`.
    """
    if dtype not in ("float32", "bfloat16", "float64"):
        raise ValueError(f'model.dtype must be "float32", "bfloat16" or "float64", got {dtype!r}')
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if width < 1:
        raise ValueError(f"model.width must be at least 1, got {width}")
    return FusionNet(width, jnp.dtype(dtype), platform or jax.default_backend(), precision)


@functools.partial(jax.jit, static_argnums=0)  # else every operation is compiled by itself
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
