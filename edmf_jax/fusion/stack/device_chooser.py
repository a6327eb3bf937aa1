"""The network that chooses (`chooser`) on shots whose pieces lie on a device: one correction for each."""

from collections.abc import Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core import chooser as core
from edmf_jax.core.chooser import Params
from edmf_jax.core.leveled import Leveling
from edmf_jax.fusion.stack import device_steps as steps
from edmf_jax.fusion.stack import reduced
from edmf_jax.fusion.stack.chooser import MARGIN_PX
from edmf_jax.fusion.stack.device_pieces import At


class Shot(Protocol):
    """What is needed of a shot: see `device_blend.Shot`."""

    leveling: Leveling
    dtype: np.dtype

    def piece(self, at: At): ...

    def noise_of_view(self, factor: int) -> np.float32: ...

    def without_black(self, own: jax.Array, valid: jax.Array, size: tuple[int, int]) -> jax.Array: ...


def corrections(shots: Sequence[Shot], params: Params, shape: tuple[int, int, int], whole: tuple[int, int],
                places: Sequence[At]) -> tuple[int, list[jax.Array]]:
    """By how much the network sees shots reduced, and for each its `chooser_pieces.correction`.

    Args:
      shots: all of a group.
      params: the network's.
      shape: of the frame, (H, W, C).
      whole: height and width that all pieces have together.
      places: of the pieces.
    """
    factor = reduced.factor_of(shape, len(shots))
    sizes = tuple(np.int32(side) for side in reduced.reduced_shape(shape, factor))
    unit = core.factor(params)
    sides = tuple(-(-(int(size) + 2 * MARGIN_PX) // unit) * unit for size in sizes)
    small = tuple(side // factor for side in whole)
    params = jax.tree.map(jnp.asarray, dict(params))
    views, pooled = [], None

    def seen(index: int) -> core.Shots:
        one = shots[index]
        return steps.seen(*views[index], one.leveling, one.noise_of_view(factor), sizes, sides=sides, margin=MARGIN_PX)

    for index, one in enumerate(shots):
        own, clipped, valid = _view(one, shape[2], small, places, factor)
        views.append((own, clipped, valid if factor == 1 else one.without_black(own, valid, sizes)))
        pooled = steps.pooled(params, seen(index), pooled)
    most = np.float32(core.most_change(len(shots)))
    return factor, [steps.correction(params, seen(index), pooled, sizes, shape=small, margin=MARGIN_PX, factor=factor,
                                     most=most) for index in range(len(shots))]


def _view(one: Shot, channels: int, small: tuple[int, int], places: Sequence[At], factor: int) -> list[jax.Array]:
    """Pixels, clipping and validity of a shot, reduced: see `chooser_pieces.reduced`."""
    found = [jnp.zeros((channels, *small), one.dtype),
             jnp.zeros(small, jnp.uint8), jnp.zeros(small, bool)]
    for at in places:
        piece = one.piece(at)
        some = steps.reduced(piece.raw, piece.valid, at.there, factor=factor)
        found = [steps.put(x, y, at.there, factor) for x, y in zip(found, some)]
    return found
