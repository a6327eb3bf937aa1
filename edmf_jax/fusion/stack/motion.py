"""What moved between the shots: a leaf, a leg, a person; each shown as one shot has it, not once per shot.

The choice looks at sharpness alone, so a thing would stand wherever a shot that has it is the sharpest.  Here shots are
compared at the reference's exposure, on small copies of 0.1 MP:

1. **Blur explains most differences.**  A shot at every blur of a ladder spans, pixel by pixel, a range of values.
   What the other shot has within it may be the same thing out of focus, near edges of depth as well.  Ranges are made
   both ways; what is outside of both is a residual.  The ladder ends just above the largest blur that is found between
   the two shots, where one correlates well with the other one blurred (`_blur_map`).
2. **So do light and parallax.**  A connected residual as wide as the blur is kept only if, over it and around it,
   neither shot is the other one blurred (no more than the surroundings), times a gain, plus an offset, shifted by 3 px.
3. Where shots conflict they fall into **classes** that agree.  One class provides the whole region, and all regions
   that look as if the same thing were in one of them and then in the other (`motion_regions`): the class of the shot
   that makes them sharpest.  The others are excluded there.

Not told: what is shorter than the blur between the shots, or differs little from what is behind it; what moves by less
than about its own width between any two shots that are neighbors in focus; 10 px of the copy at the frame's edges.
In such places all stays as it is.
"""

import functools

import cv2
import numpy as np

from edmf_jax.fusion.pixels import over_channels
from edmf_jax.fusion.stack import motion_match
from edmf_jax.fusion.stack.motion_blurs import (
    BASES,
    SIGMAS_PX,
    Blurs,
    blur_between,
    channel_mean,
    disc,
    grown,
    inner,
    unexplained,
)

_BEYOND = 2  # steps of the ladder above the largest blur that was found
_MIN_PEAK = 0.04  # of white: the residual over a disc of the base's size
_MIN_RESIDUAL = 0.025  # of white: what belongs to a region
_MIN_DIFFERENCE = 0.06  # of white: may belong to a thing that moved
_MIN_LEFT = 0.018  # of white, and
_WEAK_SHARE, _WEAK_LEFT = 0.22, 0.008  # where something surely moved
_MIN_LEFT_SHARE = 0.45  # of the variance: what blur, gain and offset must leave unexplained
_MAX_SHARE = 0.2  # of the frame; a larger region is no thing
_RIM_PX = 10
_RING_PX, _AROUND_PX = 4, 20
_BLURRED_SHARE = 0.002  # of the picture must have a blur for it to be one of the pair
_MIN_COMMON = 0.5  # of a conflict within the region of others
_MIN_AREA_SHARE = 0.15  # of a region in which others conflict
_QUICK_PEAK = 0.015  # with less residual over the lower part of the ladder no closer look is taken


class Pair:
    """Two shots, and where they conflict."""

    def __init__(self, a: Blurs, b: Blurs):
        """Of two ladders of one shape."""
        self._both, self._valid = (a, b), a.valid & b.valid
        self._blur: np.ndarray | None = None  # between the two: a step of the ladder, 0 where it is not known
        self._last = 0  # the step at which the ladder ends
        self._planes: tuple[np.ndarray, np.ndarray] | None = None
        self._residuals: dict[int, np.ndarray] = {}
        self.conflicts: list[np.ndarray] = []
        """Connected regions that neither blur nor light explains, bool `[h, w]` each; from `compare`."""

    def compare(self) -> "Pair":
        """Finds the conflicts."""
        a, b = (shot.steps[BASES[0]] for shot in self._both)
        beyond = [cv2.max(cv2.subtract(x, shot.high), cv2.subtract(shot.low, x)).reshape(x.shape)
                  for x, shot in zip((b, a), self._both)]
        quick = np.minimum(*(over_channels(np.maximum, x) for x in beyond)) * np.float32(1 / 255)
        if self._peaks(quick, BASES[0], _QUICK_PEAK).any():
            found = [one for base in self._bases() for one in self._candidates(base)]
            # Where one thing surely moved, what is less sure is its other place.
            least = _WEAK_SHARE if any(share > _MIN_LEFT_SHARE for _, share in found) else _MIN_LEFT_SHARE
            self.conflicts = [region for region, share in found if share > least]
        self.forget()
        return self

    def conflicts_in(self, region: np.ndarray) -> bool:
        """Whether the two conflict within a region that others conflict in: with less strict limits."""
        if any(region[core].mean() > _MIN_COMMON for core in self.conflicts):
            return True
        for base in self._bases():
            if (self._residual(base)[region] > _MIN_RESIDUAL).mean() > _MIN_AREA_SHARE:
                share, deviation = self._left(region & self._valid, base)
                if share > _WEAK_SHARE and deviation > _WEAK_LEFT:
                    return True
        return False

    def difference(self, region: np.ndarray) -> float:
        """How much the two differ in a region, at the larger base."""
        a, b = (shot.steps[BASES[1]][region].astype(np.float32) for shot in self._both)
        return float(np.square(a - b).mean())

    def differs(self) -> np.ndarray:
        """Where the two differ, be it by blur alone: bool `[h, w]`."""
        a, b = (shot.steps[BASES[0]].astype(np.float32) for shot in self._both)
        return (np.square(a - b).mean(-1) > (255 * _MIN_DIFFERENCE) ** 2) & self._valid

    def elsewhere(self, region: np.ndarray) -> list[np.ndarray]:
        """Where one of the two shows what the other has in a region, both ways: `motion_match.elsewhere`."""
        self._open()
        a, b = self._planes
        found = [motion_match.elsewhere(p, q, self._valid, region) for p, q in ((a, b), (b, a))]
        return [there for there in found if there is not None]

    def forget(self) -> None:
        """Frees what takes much memory; it is made again if need be."""
        self._planes, self._residuals = None, {}

    def _open(self) -> None:
        if self._planes is None:
            self._planes = tuple(shot.planes() for shot in self._both)
        if self._blur is None:
            self._blur = blur_between(*self._planes) * self._valid
            least = max(60, _BLURRED_SHARE * self._valid.sum())
            steps = [step for step in range(1, len(SIGMAS_PX)) if (self._blur >= step).sum() > least]
            self._last = max(steps, default=1) + _BEYOND
            if self._last == len(SIGMAS_PX):
                self._last -= 1

    def _bases(self) -> list[int]:
        """The blurs to compare at; none if the blur between the shots may be larger than the ladder."""
        self._open()
        return [base for base in BASES if base < self._last < len(SIGMAS_PX)]

    def _candidates(self, base: int) -> list[tuple[np.ndarray, float]]:
        """Connected residuals that may be conflicts, and the share of variance that is left there."""
        residual = self._residual(base)
        peaks = self._peaks(residual, base)
        if not peaks.any():
            return []
        _, labels, stats, _ = cv2.connectedComponentsWithStats((residual > _MIN_RESIDUAL).astype(np.uint8),
                                                               connectivity=4)
        found = []
        for label in np.unique(labels[peaks]):
            if stats[label, cv2.CC_STAT_AREA] <= _MAX_SHARE * self._valid.sum():
                share, deviation = self._left(labels == label, base)
                if deviation > _MIN_LEFT:
                    found.append((labels == label, share))
        return found

    def _residual(self, base: int) -> np.ndarray:
        """How far each of the two is outside the other one's range, the smaller of both ways: `[h, w]`."""
        if base not in self._residuals:
            a, b = self._planes
            beyond = [_outside(q[base], *self._range(p, shot, base)) for p, q, shot in zip((a, b), (b, a), self._both)]
            self._residuals[base] = np.minimum(*beyond) * self._valid
        return self._residuals[base]

    def _range(self, planes: np.ndarray, shot: Blurs, base: int) -> tuple[np.ndarray, np.ndarray]:
        steps = planes[base : self._last + 1]
        low, high = functools.reduce(np.minimum, steps), functools.reduce(np.maximum, steps)
        if shot.clipped.any():
            reach = int(2 * SIGMAS_PX[self._last])
            near = cv2.dilate(shot.clipped.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
            high = np.where(near[..., None], np.float32(2), high)
        return low, high

    def _peaks(self, residual: np.ndarray, base: int, least: float = _MIN_PEAK) -> np.ndarray:
        """Where a whole disc of the base's size has a residual, bool `[h, w]`."""
        window = disc(max(1, round(SIGMAS_PX[base])))
        return (cv2.erode(residual, window) >= least) & inner(self._valid, _RIM_PX)

    def _left(self, region: np.ndarray, base: int) -> tuple[float, float]:
        """What blur, gain, offset and shift leave around a region: share of the variance, and deviation."""
        left, top, width, height = cv2.boundingRect(region.astype(np.uint8))
        part = tuple(slice(max(start - _AROUND_PX, 0), start + side + _AROUND_PX)
                     for start, side in ((top, height), (left, width)))
        ring = grown(region[part], _RING_PX) & self._valid[part]
        around = (cv2.dilate(region[part].astype(np.uint8), np.ones((2 * _AROUND_PX + 1,) * 2, np.uint8)) > 0)
        around &= ~ring & self._valid[part]
        known = self._blur[part][around]
        known = known[known > 0]
        last = self._last
        if len(known) >= around.sum() / 4:  # what is around tells the blur
            last = min(last, int(np.quantile(known, 0.95)) + 1)
        return unexplained(*(planes[:, *part] for planes in self._planes), ring, base, max(last, base))


def _outside(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far values `[h, w, C]` are outside a range: root mean square over channels, `[h, w]`."""
    beyond = np.maximum(np.maximum(values - high, low - values), 0)
    return np.sqrt(channel_mean(np.square(beyond)))
