"""The result's pixels from the shots themselves (`pixels="shots"`): their mean, weighted by local sharpness.

A shot's weight is proportional to blend weight · focus measure⁸ (`sharpness.focus_measure`).  Where one shot is clearly
the sharpest, the result has that shot's very pixel.  The transition from one shot to another is as wide as the focus
measure's window, and where all shots are equally flat they are averaged, which reduces noise.  Edges need no
guided filter: it was tried and gained nothing (docs/exposure.md).
"""

import numpy as np

from edmf_jax.fusion.stack import composite, sharpness

POWER = 8  # 4 to 12 differ by less than 0.1 dB; twice as sharp counts 256 times
REACH_PX = composite.FILL_REACH_PX + sharpness.FOCUS_REACH_PX
"""A pixel can change what `blend_pair` returns up to this far away."""
_MAX_EXPONENT = 80.0  # exp of it is finite in float32


def tile_focus_measure(pixels: np.ndarray) -> np.ndarray:
    """`sharpness.focus_measure` of the luma of pixels `[h, w, C]`."""
    return sharpness.focus_measure(sharpness.luma_of(pixels))


def blend_pair(first: composite.Tile, second: composite.Tile, inside: tuple[slice, slice],
               log_weights: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """Blends the reference with the other shot or with the composite of all others.

    Args:
      first, second: the reference's tile, and that of the other shot or composite, with `REACH_PX` more on each side
        than what is returned.
      inside: rows and columns of the tiles that are returned.
      log_weights: `Composite.log_weights` of that part; None: `second` is a single shot.

    Returns:
      The weighted mean `[h, w, C]`, and bool `[h, w]`: True where the reference has the largest weight of all shots.
    """
    a, b = composite.fill_missing(first, second), composite.fill_missing(second, first)
    log_a = composite.log_weight(tile_focus_measure(a), first.channel_weight.max(-1), POWER)[inside]
    if log_weights is None:
        total_b = largest_b = composite.log_weight(tile_focus_measure(b), second.channel_weight.max(-1), POWER)[inside]
    else:
        total_b, largest_b = log_weights
    share = 1 / (1 + np.exp(np.clip(total_b - log_a, -_MAX_EXPONENT, _MAX_EXPONENT)))[..., None]
    a, b = a[inside], b[inside]
    return b + share * (a - b), log_a >= largest_b
