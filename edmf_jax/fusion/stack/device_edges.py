"""Edges of depth, refined on a device (`core.reblurring`), as `reblur` does it on the CPU."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core import blending
from edmf_jax.core.evidence_numbers import CELL_PX
from edmf_jax.fusion.stack import device_steps as steps
from edmf_jax.fusion.stack import reblur
from edmf_jax.fusion.stack.device_pieces import At
from edmf_jax.fusion.stack.tiles import cells_of


class Edges:
    """The weights and the luma of all shots, and the picture's, in whole frames on the device."""

    def __init__(self, count: int, shape: tuple[int, ...], whole: tuple[int, int], piece: tuple[int, int],
                 source_dtype: np.dtype):
        """Of `count` shots of a frame of `shape` (H, W, …), which pieces cover with height and width `whole`."""
        self._count, self._whole, self._piece = count, whole, piece
        self._size = tuple(np.int32(side) for side in shape[:2])
        self._cells = tuple(np.int32(-(-side // CELL_PX)) for side in shape[:2])
        self._weights = jnp.zeros((count, *whole), jnp.float16)
        self._luma, self._own = jnp.zeros((count, *whole), jnp.uint16), jnp.zeros((count, *whole), bool)
        self._picture, self._best = jnp.zeros(whole, jnp.float16), jnp.zeros(whole, source_dtype)

    @staticmethod
    def bytes_of(count: int, whole: tuple[int, int]) -> float:
        """About what it takes, with the pieces of the picture that wait, and the work on one of them."""
        return whole[0] * whole[1] * (5.5 * count + 13) + count * 50e6

    def put(self, at: At, found: blending.Finished, weights: Sequence[jax.Array],
            seen: Sequence[tuple[jax.Array, jax.Array]]) -> None:
        """A piece: of the picture, of all shots' weights, and their luma and where they have pixels."""
        self._put_picture(at, found)
        for index, (weight, (luma, own)) in enumerate(zip(weights, seen)):
            index = np.int32(index)
            self._weights = steps.put(self._weights, weight, at.there, 1, index)
            self._luma = steps.put(self._luma, luma, at.there, 1, index)
            self._own = steps.put(self._own, own, at.there, 1, index)

    def refine(self, made: list[blending.Finished], places: Sequence[At], cap: float,
               fuse: Callable[[At, Sequence[jax.Array]], blending.Finished]) -> None:
        """Makes anew those of the pieces of the picture, `made`, whose weights change.

        Args:
          made: the pieces, by the weights so far; changed in place.
          places: where they lie.
          cap: by how much a weight's logarithm may fall.
          fuse: makes a piece by weights of all shots.
        """
        near, ever = None, None
        for _ in range(reblur.ROUNDS):
            near = near or steps.near(self._best, count=self._count, size=self._size)
            model = self._modeled(near, places)
            now = steps.changed(model.gate)
            ever = now if ever is None else ever | now
            changed = np.asarray(ever)
            if not changed.any():
                return
            anew = [i for i, at in enumerate(places) if changed[cells_of(at.kept, CELL_PX)].any()]
            for i in anew:
                at = places[i]
                weights = steps.refined(self._weights, self._luma, self._picture, near, model, np.float32(cap),
                                        at.there, shape=self._piece)
                made[i] = fuse(at, list(weights))
            for i in anew:
                self._put_picture(places[i], made[i])

    def _put_picture(self, at: At, found: blending.Finished) -> None:
        self._picture = steps.put(self._picture, steps.picture_luma(found.image), at.there, 1)
        self._best = steps.put(self._best, found.source, at.there, 1)

    def _modeled(self, near, places: Sequence[At]):
        found = jnp.zeros((self._count, 1 + len(reblur.BLURS_PX), *(side // CELL_PX for side in self._whole)))
        for at in places:
            sharp = steps.blurred(self._picture, at.there, shape=self._piece)
            for index in range(self._count):
                index = np.int32(index)
                some = steps.unlike(sharp, self._picture, self._best, self._luma, self._own, index, at.there)
                found = steps.put(found, some, at.there, CELL_PX, index)
        return steps.model(found, near, self._cells)
