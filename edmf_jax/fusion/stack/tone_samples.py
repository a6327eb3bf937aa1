"""Where two registered shots can be compared, and what both show there: small copies, blurred alike.

The comparison must not depend on focus.  Defocus is a blur, so both copies are blurred equally, and much more than by
it.  A lens blurs light; pictures that were blurred by a program are often means of encoded values, which makes what is
blurred a little darker.  So samples can be blurred in either.
"""

import copy
from typing import NamedTuple

import cv2
import numpy as np

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.fusion.stack import gain_field
from edmf_jax.fusion.stack.tone import CLIPPED, GRID
from edmf_jax.registration.lazy import Lazy
from edmf_jax.registration.planes import gaussian_blur

DARK = 0.005  # encoded; darker values are mostly noise and rounding
_LARGE_PX = 0.15e6  # copies of more are halved first
_MOST_POSITIONS = 1000  # on a grid over the picture
_MIN_SAMPLES = 200  # for each channel; with fewer, samples beside missing pixels are taken too
_LEVELS = np.linspace(0, 1, 2**14)
_TO_LIGHT = srgb_to_linear(_LEVELS).astype(np.float32)
_LEAST_CONTRAST = 0.05  # relative deviation from the local mean below which all samples count alike


class Copy(NamedTuple):
    """What is compared of one shot.

    Attributes:
      encoded: `[h, w, C]` float32 in [0, 1].
      light: the same as linear light.
      usable: where it is neither dark nor clipped, bool `[h, w, C]`.
    """

    encoded: np.ndarray
    light: np.ndarray
    usable: np.ndarray


def small_copy(picture: np.ndarray) -> Copy:
    """A picture `[h, w, C]`, encoded, halved if it is large."""
    light, usable = _through(_TO_LIGHT, picture), (picture > DARK) & (picture < CLIPPED)
    if not _is_large(picture):
        return Copy(picture, light, usable)
    light = _halved(light)  # averaged as light: much finer still than the blur that follows
    return Copy(linear_to_srgb(light).astype(np.float32), light, _all_of(usable))


class Copies(NamedTuple):
    """The copies that are compared.

    Attributes:
      encoded: of the reference and of the other shot, `[h, w, C]` float32 in [0, 1] each.
      light: the same as linear light.
      usable: where neither is dark or clipped, bool `[h, w, C]`.
    """

    encoded: tuple[np.ndarray, np.ndarray]
    light: tuple[np.ndarray, np.ndarray]
    usable: np.ndarray


def small_copies(reference: np.ndarray | Copy, moving: np.ndarray, valid: np.ndarray) -> Copies:
    """Both copies, and where they can be compared.

    Args:
      reference: `[h, w, C]`, encoded, or its `small_copy`.
      moving: `[h, w, C]`, encoded.
      valid: bool `[h, w]`, True where both have pixels.
    """
    first, second = reference if isinstance(reference, Copy) else small_copy(reference), small_copy(moving)
    valid = _all_of(valid[..., None]) if _is_large(valid) else valid[..., None]
    return Copies((first.encoded, second.encoded), (first.light, second.light), first.usable & second.usable & valid)


def _is_large(picture: np.ndarray) -> bool:
    return picture.shape[0] * picture.shape[1] > _LARGE_PX


def _all_of(mask: np.ndarray) -> np.ndarray:
    """Where all four pixels of the copy of half the size are True."""
    return _halved(mask) > 1 - 1e-6


def _through(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`table`, of values from 0 to 1, at `values`: float32; a few times faster than a power or `np.interp`."""
    return table.take((values * np.float32(len(table) - 1) + np.float32(0.5)).astype(np.intp))


def _halved(planes: np.ndarray) -> np.ndarray:
    height, width, channels = planes.shape
    half = cv2.resize(planes.astype(np.float32), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return half.reshape(height // 2, width // 2, channels)


class Samples:
    """Two shots' values, blurred alike, on a grid over the picture; all channels one after the other, `[N]` each.

    Attributes:
      x, y: encoded values of the reference and of the other shot.
      light: `x` as linear light.
      weights: lower where the local contrast is high; their mean is 1.
      channel: of each sample.
      position: y and x in [−1, 1], `[2, N]`.
      independent: the share of the samples that is independent of the others: blur makes neighbors alike.
    """

    def __init__(self, copies: Copies, share: float, in_light: bool):
        """Blurs `copies` by `share` of their diagonal, as linear light or as encoded values."""
        self._copies, self._in_light = copies, in_light
        self._hats: tuple[np.ndarray, np.ndarray] | None = None
        height, width, self.channels = copies.usable.shape
        self._sigma = share * float(np.hypot(height, width))
        step = max(1, int(0.75 * self._sigma), int(np.sqrt(height * width / _MOST_POSITIONS)))
        self._grid = slice(step // 2, None, step), slice(step // 2, None, step)
        self.independent = min(1.0, step**2 / (4 * np.pi * self._sigma**2))
        covered = self._blurred(np.ones(copies.usable.shape, np.float32))
        # Next to missing or clipped pixels, once one shot is defocused, the two means cover different parts of the
        # scene.
        self._chosen = covered > 0.9
        if self._chosen.sum() < _MIN_SAMPLES * self.channels:
            self._chosen = covered > 0.5
        self._covered = covered[self._chosen]
        y, x = np.meshgrid(*((2 * np.arange(side)[part] + 1) / side - 1
                             for side, part in zip((height, width), self._grid)), indexing="ij")
        self.position = np.stack([np.repeat(v[..., None], self.channels, -1)[self._chosen] for v in (y, x)])
        self.channel = np.broadcast_to(np.arange(self.channels), self._chosen.shape)[self._chosen]
        planes = copies.light if in_light else copies.encoded
        (self.x, first), (self.y, second) = (self._measured(values) for values in planes)
        self.light = srgb_to_linear(self.x)
        weights = 1 / (_LEAST_CONTRAST + np.maximum(first, second)) ** 2
        self.weights = weights / weights.mean() if len(weights) else weights

    def __len__(self) -> int:
        return len(self.x)

    def blocks(self, count: int) -> np.ndarray:
        """The number of each sample's block, `[N]`, if the picture is cut into `count` × `count`."""
        row, column = np.minimum((self.position + 1) / 2 * count, count - 1).astype(int)
        return row * count + column

    @Lazy
    def fields(self) -> np.ndarray:
        """`gain_field.basis` at the samples, `[N, TERM_COUNT]`."""
        return gain_field.basis(*self.position)

    @Lazy
    def own(self) -> np.ndarray:
        """1 in the column of each sample's channel, `[N, C]`."""
        return np.eye(self.channels)[self.channel]

    def hats(self, knots: np.ndarray) -> np.ndarray:
        """`hats` of x about knots, which are the same at each step of a fit."""
        kept = self._hats
        if kept is None or kept[0] is not knots:
            self._hats = kept = knots, hats(self.x, knots)
        return kept[1]

    def harmonized(self, curves: np.ndarray) -> "Samples":
        """The same samples with `y` as the other shot would show it if it were blurred at the reference's exposure.

        Gain commutes with blur, other tone curves do not.  `curves` `[C, len(GRID)]`, rising, are of the other shot.
        """
        tables = [np.interp(_LEVELS, curve, GRID) for curve in curves]
        tables = [(srgb_to_linear(table) if self._in_light else table).astype(np.float32) for table in tables]
        mean = self._mean(np.stack([_through(table, self._copies.encoded[1][..., c])
                                    for c, table in enumerate(tables)], -1))
        found = copy.copy(self)
        found.y = along(self.channel, self._encoded(mean), GRID, curves)
        return found

    def _measured(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encoded local means of `values` `[h, w, C]`, and the relative deviation around them, `[N]` each."""
        mean = self._mean(values)
        deviation = np.sqrt(np.maximum(self._mean(values * values) - mean * mean, 0)) / (mean + 1e-3)
        return self._encoded(mean), deviation

    def _encoded(self, values: np.ndarray) -> np.ndarray:
        return linear_to_srgb(values) if self._in_light else values

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return self._blurred(values)[self._chosen].astype(np.float64) / self._covered

    def _blurred(self, values: np.ndarray) -> np.ndarray:
        """`values` `[h, w, C]`, 0 where they are not usable, blurred, on the grid."""
        planes = cv2.split(values * self._copies.usable)
        return np.stack([gaussian_blur(plane, self._sigma)[self._grid] for plane in planes], -1)


def hats(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Triangles about the knots, `[N, len(knots)]`: nothing is known outside them, so a bend falls to 0."""
    return np.maximum(0, 1 - np.abs(values[:, None] - knots) / (knots[1] - knots[0]))


def along(channel: np.ndarray, at: np.ndarray, grid: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Each sample's own channel of `curves` `[C, len(grid)]` at `at` `[N]`."""
    found = np.empty_like(at)
    for c, curve in enumerate(curves):
        own = channel == c
        found[own] = np.interp(at[own], grid, curve)
    return found
