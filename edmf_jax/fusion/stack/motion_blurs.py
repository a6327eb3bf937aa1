"""Small copies of shots at every blur, and what explains one shot by another: what motion is told by (`motion`)."""

import dataclasses
import functools

import cv2
import numpy as np

from edmf_jax.fusion.pixels import over_channels
from edmf_jax.fusion.stack import leveling
from edmf_jax.fusion.stack.analysis import StackAnalysis
from edmf_jax.registration.planes import reduce_picture

COPY_PX = 1e5
SIGMAS_PX = (1.0, 1.5, 2.2, 3.2, 4.6, 6.6, 9.5, 13.6, 19.5, 28.0)  # of the ladder; the last is 6 % of the diagonal
_HALVED = 4, 6  # the steps from which on half as many pixels a side are enough
BASES = (1, 3)  # the blurs at which shots are compared, as steps of the ladder
_LEAST_GAIN = 0.7  # and 1 / 0.7
_SHIFTS_PX = (0, -3, 3)
_WINDOW_PX = 21  # in which shots are correlated
_MIN_CORRELATION = 0.85  # share of the variance that a blur must explain
_MIN_STRUCTURE = 0.02  # of white, deviation in that window
_CLIPPED = 0.985
_EDGE_PX = 8
_MOST_SAMPLES = 1000
_QUICK_LAST = 6  # the step up to which `low` and `high` go


def channel_mean(planes: np.ndarray) -> np.ndarray:
    """`planes.mean(-1)` of float32 `[h, w, C]`."""
    return over_channels(np.add, planes) / np.float32(planes.shape[-1])


def disc(radius: int) -> np.ndarray:
    """A disc as a structuring element, uint8."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)


def grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """A bool mask `[h, w]` with all pixels within `radius`."""
    return cv2.dilate(mask.astype(np.uint8), disc(radius)) > 0


def inner(mask: np.ndarray, radius: int) -> np.ndarray:
    """A bool mask without what is within `radius` of its edge or the frame's."""
    padded = np.pad(mask, 1).astype(np.uint8)
    return cv2.erode(padded, np.ones((2 * radius + 1,) * 2, np.uint8))[1:-1, 1:-1] > 0


@dataclasses.dataclass(frozen=True)
class Blurs:
    """One shot's small copy at every blur of the ladder, blurred in light, encoded by its root.

    Attributes:
      steps: uint8 `[h, w, C]`, from the fifth on at half the size, from the seventh on at a quarter.
      low, high: the range that it spans from the first base on up to a middle blur, uint8 `[h, w, C]`.
      valid: bool `[h, w]`: the shot has these pixels.
      clipped: bool `[h, w]`: lamps, whose blur may be brighter than it seems to be possible.
      detail: how sharp it is, `[h, w]`.
    """

    steps: list[np.ndarray]
    low: np.ndarray
    high: np.ndarray
    valid: np.ndarray
    clipped: np.ndarray
    detail: np.ndarray

    def planes(self) -> np.ndarray:
        """All steps at one size, float32 `[len(SIGMAS_PX), h, w, C]` in [0, 1]."""
        return np.divide([_enlarged(step, self.valid.shape) for step in self.steps], np.float32(255), dtype=np.float32)


def blurs(small: np.ndarray, usable: np.ndarray) -> Blurs:
    """The ladder of a leveled copy `[h, w, C]` of at most `COPY_PX`, whose `usable` pixels (bool `[h, w]`) count."""
    small = np.clip(small, 0, 1)
    light, weight, steps, before, scale = np.square(small) * usable[..., None], usable.astype(np.float32), [], 0.0, 1
    for step, sigma in enumerate(SIGMAS_PX):
        if step in _HALVED:  # what is so blurred needs no more pixels
            scale *= 2
            light, weight = (cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for x in (light, weight))
        more = float(np.sqrt(sigma**2 - before**2)) / scale
        light, weight = (cv2.GaussianBlur(x, (0, 0), more, borderType=cv2.BORDER_REFLECT_101) for x in (light, weight))
        light = light.reshape(*weight.shape, small.shape[2])
        root = cv2.sqrt(np.maximum(light, 0) / np.maximum(weight, np.float32(1e-3))[..., None])
        steps.append(np.rint(255 * np.minimum(root, 1)).astype(np.uint8).reshape(light.shape))
        before = sigma
    spanned = [_enlarged(step, usable.shape) for step in steps[BASES[0] : _QUICK_LAST + 1]]
    detail = channel_mean(np.square(cv2.subtract(steps[0], steps[2], dtype=cv2.CV_32F)).reshape(small.shape))
    # At full size black edges reach a little further (`borders`), and where a shot ends it must not be the only one.
    pad = _EDGE_PX + 1
    valid = inner(np.pad(usable, pad, mode="edge"), _EDGE_PX)[pad:-pad, pad:-pad]
    return Blurs(steps, *(functools.reduce(f, spanned).reshape(small.shape) for f in (cv2.min, cv2.max)), valid,
                 over_channels(np.logical_or, small >= _CLIPPED), cv2.sqrt(cv2.blur(detail, (5, 5))))


def _enlarged(step: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if step.shape[:2] == shape:
        return step
    return cv2.resize(step, shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(*shape, step.shape[2])


def leveled_blurs(analysis: StackAnalysis, number: int) -> Blurs:
    """The ladder of a shot of a stack, at the reference's exposure."""
    shot, curve = analysis.shot_analyses[number], analysis.curves[number]
    small = reduce_picture(shot.copy, COPY_PX)
    level = leveling.level(curve, analysis.fields[number], [curve], analysis.curves[0], small.shape,
                           analysis.local_lights[number])
    usable = reduce_picture(shot.usable.astype(np.float32), COPY_PX) > 0.99
    return blurs(level.apply(small, *(slice(0, side) for side in small.shape[:2])), usable)


def blur_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The blur that makes one of two shots the other, as a step of the ladder: uint8 `[h, w]`; 0: not known.

    Args:
      a, b: as `Blurs.planes`.
    """
    small = [[cv2.resize(step, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for step in planes[1:]]
             for planes in (a, b)]
    grays = [[step if step.ndim == 2 else channel_mean(step) for step in planes] for planes in small]
    found = np.maximum(_blur_map(*grays), _blur_map(*grays[::-1])).astype(np.uint8)
    return cv2.resize(found, a.shape[2:0:-1], interpolation=cv2.INTER_NEAREST)


def _blur_map(a: list[np.ndarray], b: list[np.ndarray]) -> np.ndarray:
    """The step of `a`'s ladder, from 1, that is `b`, where there is enough to tell: int `[h, w]`; 0 elsewhere."""
    box = lambda plane: cv2.blur(plane, (_WINDOW_PX // 2 | 1,) * 2)
    target = b[0]
    mean = box(target)
    variance = box(target * target) - mean * mean
    most, best, first = np.zeros_like(mean), np.zeros(mean.shape, int), None
    for step, plane in enumerate(a, 1):
        own = box(plane)
        own_variance = np.maximum(box(plane * plane) - own * own, np.float32(1e-6))
        common = box(plane * target) - own * mean
        gain = np.clip(common / own_variance, 0.8, 1.25)
        explained = (2 * gain * common - gain * gain * own_variance) / np.maximum(variance, np.float32(1e-6))
        first = explained if first is None else first
        better = explained > most
        most[better], best[better] = explained[better], step
    told = (variance > _MIN_STRUCTURE**2) & (most > _MIN_CORRELATION)
    # More blur than the least must explain clearly more.
    return best * (told & ((best == 1) | (1 - most < 0.6 * (1 - first))))


def unexplained(a: np.ndarray, b: np.ndarray, region: np.ndarray, base: int, last: int) -> tuple[float, float]:
    """What the best of all blurs, gains, offsets and shifts leaves: share of the variance, and deviation."""
    margin = max(_SHIFTS_PX)
    y, x = np.nonzero(region[margin:-margin, margin:-margin])
    best = 0.0, 0.0
    if len(y) < 10:
        return best
    some = slice(None, None, -(-len(y) // _MOST_SAMPLES))  # the copies are smooth
    y, x, least = y[some] + margin, x[some] + margin, np.inf
    down, right = (np.ravel(shift) for shift in np.meshgrid(_SHIFTS_PX, _SHIFTS_PX))
    for p, q in ((a, b), (b, a)):
        target = q[base][y, x]
        target = target - target.mean(0)
        variance = np.square(target).mean()
        for step in range(base, last + 1):
            own = p[step][y[:, None] + down, x[:, None] + right]  # [samples, shifts, C]
            own = own - own.mean(0)
            own_variance = np.square(own).mean((0, 2))
            common = np.einsum("nsc,nc->s", own, target) / target.size
            gain = np.clip(common / np.maximum(own_variance, 1e-9), _LEAST_GAIN, 1 / _LEAST_GAIN)
            left = np.maximum(variance - 2 * gain * common + gain * gain * own_variance, 0)
            share = left / np.maximum(np.maximum(variance, gain * gain * own_variance), 1e-9)
            i = int(np.argmin(share))
            if share[i] < least:
                least, best = share[i], (float(share[i]), float(np.sqrt(left[i])))
    return best
