"""Shots whose pieces lie on a GPU, as far as there is room (`device_blend`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.leveled import Leveling
from edmf_jax.core.measuring import MARGIN_PX
from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack import borders
from edmf_jax.fusion.stack import device_pieces as pieces
from edmf_jax.fusion.stack import device_steps as steps
from edmf_jax.fusion.stack.aligned import AlignedShot


class Piece(NamedTuple):
    """What the device has of a piece of a shot: see `measuring.measure` and `Measured`."""

    raw: jax.Array
    valid: jax.Array
    fine: jax.Array
    weight: jax.Array


class Shot:
    """A shot as the device sees it, piece by piece."""

    def __init__(self, number: int, shot: AlignedShot, noise: float, kept: "Kept", excluded: np.ndarray | None):
        """`excluded`: see `excluding.Excluding`, or None."""
        self.number, self.shot, self.noise = number, shot, np.float32(noise)
        dtype = shot.image.dtype
        self.leveling: Leveling = steps.on_device(shot.leveling, dtype)
        self.dtype = dtype if dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
        self._kept, self._excluded, self._edge_region = kept, excluded, shot.edge_region
        self._valid = _valid_of(shot.image, shot.valid, shot.edge_region)

    def noise_of_view(self, factor: int) -> np.float32:
        """The energy of the noise in the shot reduced by `factor`, as `reduced.view` has it."""
        return np.float32(self.noise / factor**2)

    def without_black(self, own: jax.Array, valid: jax.Array, size: tuple[int, int]) -> jax.Array:
        """`valid` of the shot reduced, `[h, w]`, without its black edges, which are found anew there.

        `own` is `[C, h, w]`, and `size` the true height and width.
        """
        if self._edge_region is None:
            return valid
        part = slice(0, int(size[0])), slice(0, int(size[1]))
        image, found = np.moveaxis(np.asarray(own), 0, -1)[part], np.array(valid)
        found[part] = _valid_of(image, found[part], self._edge_region)
        return jnp.asarray(found)

    def sent(self, at: pieces.At) -> tuple[jax.Array, jax.Array]:
        """The raw pixels of a piece and which of them the shot has, on their way to the device."""
        raw = pieces.cut(self.shot.image, at.place, self._kept.piece).astype(self.dtype, copy=False)
        valid = self._kept.all_valid
        if self._valid is not None:
            some = pieces.cut(self._valid, at.place, self._kept.piece)
            rows, columns = (slice(0, p.stop - p.start + 2 * MARGIN_PX) for p in at.kept)
            valid = valid if some[rows, columns].all() else jax.device_put(some, valid.device)
        return jax.device_put(raw, valid.device), valid

    def measured(self, at: pieces.At, sent: tuple[jax.Array, jax.Array]) -> tuple[Piece, jax.Array, jax.Array]:
        """A piece, and its cells and their cover as `measuring.measure` finds them."""
        found = steps.measure(*sent, self.leveling, self.noise, at.there)
        weight = found.weight
        if self._excluded is not None:
            weight = steps.without(weight, pieces.excluded_piece(self._excluded, at.place, weight.shape))
        piece = Piece(*sent, found.fine, weight)
        self._kept.keep((self.number, *at.place[:2]), piece)
        return piece, found.cells, found.covered

    def piece(self, at: pieces.At) -> Piece:
        """A piece that was measured, if need be again."""
        return self._kept.get((self.number, *at.place[:2])) or self.measured(at, self.sent(at))[0]


class Kept:
    """Pieces that stay on the device, as far as there is room."""

    def __init__(self, piece: tuple[int, int], room: float):
        """Pieces of this shape, in `room` bytes."""
        self.piece, self._room = piece, room
        self.all_valid = jnp.ones(tuple(side + 2 * MARGIN_PX for side in piece), bool)
        self._pieces: dict[tuple[int, int, int], Piece] = {}
        self.is_all = True

    def keep(self, key: tuple[int, int, int], piece: Piece) -> None:
        """Keeps a piece if there is room."""
        size = sum(0 if x is self.all_valid else x.nbytes for x in piece)
        if key in self._pieces or size > self._room:
            self.is_all &= key in self._pieces
            return
        self._room -= size
        self._pieces[key] = piece

    def reserve(self, size: float) -> bool:
        """Takes so many bytes of the room for something else, if there are so many."""
        fits = size <= self._room
        self._room -= size * fits
        return fits

    def get(self, key: tuple[int, int, int]) -> Piece | None:
        """A piece, if it was kept."""
        return self._pieces.get(key)


def _valid_of(image, valid: np.ndarray | None, edge_region: np.ndarray | None) -> np.ndarray | None:
    """Which pixels of `image` `[H, W, C]` a shot has, without black edges, bool `[H, W]`; None: all."""
    if edge_region is None:
        return valid
    image = image[:]
    valid = np.ones(image.shape[:2], bool) if valid is None else valid[:]
    whole = slice(0, image.shape[0]), slice(0, image.shape[1])
    region = borders.enlarged_part(edge_region, *whole, image.shape)
    return borders.without_black_edges(image, full_scale(image.dtype), valid, region)
