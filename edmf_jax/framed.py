"""The network on pictures padded to a shape that many share, exact to their true edges: one compile for many sizes.

A picture of any size lies at the top left of a larger array.  At every layer the
network mirrors what lies beyond the picture's true edge, so that the values inside
are those of the picture alone; what lies further out is never seen.
"""

import flax.linen as nn
import jax

from edmf_jax.model import Conv, FusionNet, fuse_luma

# What a picture needs beyond its lower and right edge: two samples at half size, on even padded sides.
MARGIN_PX = 4


def fuse_framed(model: FusionNet, params: dict, luma_a: jax.Array, luma_b: jax.Array, height: jax.Array,
                width: jax.Array) -> jax.Array:
    """`fuse_luma` of the top left `height` × `width` px of the planes `[B, H, W]`; what lies beyond is arbitrary.

    `height` and `width` may be traced: one compile serves every size.  What comes
    out beyond them is meaningless, and finite.

    Args:
      model, params: the network.
      luma_a, luma_b: planes `[B, H, W]` in [0, 1]; H and W even.
      height, width: the true size, from `MIN_SIDE_PX` to `MARGIN_PX` less than the planes'.
    """
    full = luma_a.shape[-2]

    def true_size(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (height, width) if x.shape[1] == full else ((height + 1) // 2, (width + 1) // 2)

    def intercept(convolve, parts, options, context):
        if not isinstance(context.module, Conv) or context.method_name != "__call__":
            return convolve(*parts, **options)
        out = convolve(*(_copy_beyond(x, true_size(x), (-2,)) for x in parts), **options)
        # What is enlarged next repeats its edge instead; a tap of the cubic kernel reaches two samples out.
        return _copy_beyond(out, true_size(out), (-1, -1)) if context.module.name == "conv33" else out

    with nn.intercept_methods(intercept):
        return fuse_luma(model, params, luma_a, luma_b)


def _copy_beyond(x: jax.Array, size: tuple[jax.Array, jax.Array], sources: tuple[int, ...]) -> jax.Array:
    """Overwrites the rows, then columns, beyond `size` of `[B, H, W, C]` by those at `sources`, counted from `size`."""
    for axis, length in zip((1, 2), size):
        for place, source in enumerate(sources):
            line = jax.lax.dynamic_slice_in_dim(x, length + source, 1, axis)
            x = jax.lax.dynamic_update_slice_in_dim(x, line, length + place, axis)
    return x
