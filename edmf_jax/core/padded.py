"""The network on pictures padded to a shared shape: exact up to their true edges, one program for many sizes.

A picture of any size lies at the top left of a larger array.  Before every layer the samples beyond the picture's
true edge are overwritten by those that the layer's own border rule would take, so the values inside are those of the
picture alone, and the padding has no influence.
"""

import flax.linen as nn
import jax

from edmf_jax.core.model import Conv, FusionNet, fuse_luma

MARGIN_PX = 4
"""Least padding [px] on the lower and right side: two samples at half size, with padded sides that are even."""


def fuse_padded(model: FusionNet, params: dict, luma_a: jax.Array, luma_b: jax.Array, height: jax.Array,
                width: jax.Array) -> jax.Array:
    """`fuse_luma` of the top left `height` × `width` px of planes `[B, H, W]`; the padding may hold any finite values.

    `height` and `width` may be traced, so one program serves every size.  The output beyond them has no meaning,
    but is finite.

    Args:
      model, params: the network.
      luma_a, luma_b: planes `[B, H, W]` in [0, 1]; H and W even.
      height, width: the true size [px], from `MIN_SIDE_PX` to `MARGIN_PX` less than the planes'.
    """
    padded_height = luma_a.shape[-2]
    if model.platform == "gpu":  # whose upsampling pads the array's border, not the picture's
        model = model.clone(platform="tpu")

    def true_size(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (height, width) if x.shape[1] == padded_height else ((height + 1) // 2, (width + 1) // 2)

    def intercept(convolve, parts, options, context):
        if not isinstance(context.module, Conv) or context.method_name != "__call__":
            return convolve(*parts, **options)
        # Convolutions reflect: the first sample beyond the edge is the last but one inside.
        out = convolve(*(_copy_beyond(x, true_size(x), (-2,)) for x in parts), **options)
        # The upsampling that follows conv33 repeats the edge, and the cubic kernel reaches two samples out.
        return _copy_beyond(out, true_size(out), (-1, -1)) if context.module.name == "conv33" else out

    with nn.intercept_methods(intercept):
        return fuse_luma(model, params, luma_a, luma_b)


def _copy_beyond(x: jax.Array, size: tuple[jax.Array, jax.Array], sources: tuple[int, ...]) -> jax.Array:
    """Overwrites rows, then columns, of `[B, H, W, C]` from index `size` on by copies of others.

    The i-th row or column beyond `size` becomes the one at `size + sources[i]`.
    """
    for axis, length in zip((1, 2), size):
        for i, source in enumerate(sources):
            line = jax.lax.dynamic_slice_in_dim(x, length + source, 1, axis)
            x = jax.lax.dynamic_update_slice_in_dim(x, line, length + i, axis)
    return x
