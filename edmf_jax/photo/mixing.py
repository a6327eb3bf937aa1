"""The result's pixels from the shots themselves (`pixels="shots"`): their mean, weighted by how sharp each is there.

A shot's weight is say · strength⁸ (`sharpness.strength`), of all shots together 1.  Where one is clearly the sharpest
the result is its very pixel; the passage from one to another is as wide as the window, and where all are equally flat
they are averaged, which takes noise away.  Edges need no guided filter: it was tried and gained nothing
(docs/exposure.md).
"""

import numpy as np

from edmf_jax.photo import layers, sharpness

POWER = 8  # 4 to 12 differ by less than 0.1 dB; twice as sharp counts 256 times
REACH_PX = layers.FILL_REACH_PX + sharpness.STRENGTH_REACH_PX
"""How far away a pixel can change another one's `mixed` value."""
_MOST = 80.0  # exp of it is finite in float32


def strength_of(pixels: np.ndarray) -> np.ndarray:
    """`sharpness.strength` of a tile's luma."""
    return sharpness.strength(sharpness.luma_of(pixels))


def mixed(first: layers.Tile, second: layers.Tile, inside: tuple[slice, slice],
          gathered: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """The reference and the other one, or all others, in one.

    Args:
      first, second: the reference's tile and the other shot's or the composite's, with `REACH_PX` around.
      inside: what is asked for of them, `[h, w]`.
      gathered: `Composite.weights` of it; None: `second` is a shot.

    Returns:
      The mean `[h, w, C]`, and where the reference has the largest weight, bool `[h, w]`.
    """
    a, b = layers.filled(first, second), layers.filled(second, first)
    mine = layers.log_weight(strength_of(a), first.own.max(-1), POWER)[inside]
    if gathered is None:
        total = largest = layers.log_weight(strength_of(b), second.own.max(-1), POWER)[inside]
    else:
        total, largest = gathered
    share = 1 / (1 + np.exp(np.clip(total - mine, -_MOST, _MOST)))[..., None]
    a, b = a[inside], b[inside]
    return b + share * (a - b), mine >= largest
