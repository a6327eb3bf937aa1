"""A shot's tone curve relative to the reference: a monotone curve for each channel, from registered small copies.

A shot is modeled as the reference under another exposure, channel by channel (which includes white balance):

    value = srgb(gain · light)^gamma + bend,   light = srgb⁻¹(r)

r is the reference's encoded value, continued beyond white: r = 1.18 is half a stop more light than the reference
can show.  `core.exposures` and the data set `edmf_synthetic` apply `gain` and `gamma` in this way; `bend` is a smooth
remainder for the tone curves of real cameras.

The estimate must not depend on focus.  Defocus is a blur of light, and gain commutes with blur.  So both copies are
blurred equally in linear light, much more than by defocus, where neither clips; and samples of high local variance are
down-weighted.
"""

import cv2
import numpy as np

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.registration.planes import gaussian_blur

STOPS = 5.0  # the curves end so far beyond the reference's white, and gain is within ±STOPS
GRID = np.linspace(0.0, 1.055 * 2 ** (STOPS / 2.4) - 0.055, 8192)
"""The reference's encoded values r at which curves are sampled, from black to `STOPS` beyond white."""
CLIPPED = 0.985  # values from here on count as clipped; JPEG does not keep 1 exactly
_DARK = 0.02
_BLUR_SHARE = 0.02  # σ of the blur, as a share of the copy's diagonal; more defocus than this is rare
_LARGE_PX = 0.15e6  # copies of more are halved first
_MIN_SAMPLES = 200
_MEDIAN_SAMPLES = 30_000  # pixels at most
_TUKEY = 4.685  # standard deviations; the usual constant of Tukey's biweight, of 95 % efficiency for normal errors
_ROUNDS = 3
_GAMMA_PRIOR = 0.01  # weight relative to the samples': keeps gamma at 1 where the values do not determine it
_BEND_KNOTS = 8
_BEND_SHRINKAGE = 0.02  # a knot supported by this share of the samples' weight gets half its measured height


def reference_curve(channels: int) -> np.ndarray:
    """The reference's own curve, the identity up to white: `[channels, len(GRID)]`."""
    return np.tile(np.minimum(GRID, 1.0), (channels, 1))


def estimate(reference: np.ndarray, moving: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The curves of `moving`, from small copies of both in one frame.

    Args:
      reference, moving: float32 `[h, w, C]` in [0, 1], encoded.
      valid: bool `[h, w]`: True where both have pixels.

    Returns:
      `[C, len(GRID)]` float64: the values of `moving` where the reference has the values `GRID`; rising, then 1.
    """
    curves = []
    for c in range(reference.shape[2]):
        first, second = reference[..., c], moving[..., c]
        usable = valid & (np.minimum(first, second) > _DARK / 4) & (np.maximum(first, second) < CLIPPED)
        if valid.size > _LARGE_PX:
            first, second, usable = _halved(first), _halved(second), _share(usable) > 1 - 1e-6
        curves.append(_estimate_channel(first, second, usable, _BLUR_SHARE * float(np.hypot(*usable.shape))))
    return np.minimum(curves, 1.0)


def _halved(plane: np.ndarray) -> np.ndarray:
    """An encoded plane at half the size, averaged as light: much finer still than the blur that follows."""
    return linear_to_srgb(_share(srgb_to_linear(plane))).astype(np.float32)


def _share(plane: np.ndarray) -> np.ndarray:
    """The mean of each 2 × 2 pixels; a last odd row or column goes into the one before it."""
    height, width = plane.shape
    return cv2.resize(plane.astype(np.float32), (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def _estimate_channel(first: np.ndarray, second: np.ndarray, usable: np.ndarray, sigma: float) -> np.ndarray:
    """One channel's curve, not clipped at white."""
    samples, curve = _Samples(first, usable, sigma), GRID
    for _ in range(_ROUNDS):
        # Gain commutes with blur, gamma does not.  So each round brings `second` to the reference's exposure by the
        # curve so far, and measures what remains.
        harmonized = np.interp(second, curve, GRID).astype(np.float32)
        curve = np.interp(_fit(samples.x, samples.of(harmonized), samples.weights), GRID, curve)
        curve = np.maximum.accumulate(curve) + 1e-9 * GRID  # rising, so that it can be inverted
    return curve


def stops_between(curves: np.ndarray, reference: np.ndarray, valid: np.ndarray) -> float:
    """The exposure that `curves` `[C, len(GRID)]` amount to: median over the picture of log2 of the ratio of light.

    `reference` and `valid` are as in `estimate`.  Only pixels count that neither clip nor are dark; 0 if there are
    none.
    """
    values = reference[valid]
    values = values[:: len(values) // _MEDIAN_SAMPLES + 1].astype(np.float64)
    seen = np.stack([np.interp(values[:, c], GRID, curve) for c, curve in enumerate(curves)], -1)
    middle = ((values > _DARK) & (values < CLIPPED) & (seen > _DARK) & (seen < CLIPPED)).all(-1)
    if not middle.any():
        return 0.0
    return float(np.median(np.log2(srgb_to_linear(seen[middle]) / srgb_to_linear(values[middle]))))


class _Samples:
    """Where two planes can be compared, and the first one's values there.

    Attributes:
      x: encoded values of the first plane, blurred in linear light, `[N]`.
      weights: `[N]`.
    """

    def __init__(self, first: np.ndarray, usable: np.ndarray, sigma: float):
        """Blurs `first` by `sigma` px, where `usable`."""
        self._usable, self._sigma = usable, sigma
        share = gaussian_blur(usable.astype(np.float32), sigma)
        self._share = np.maximum(share, 1e-6)
        step = max(1, int(sigma / 3))
        self._grid = slice(None, None, step), slice(None, None, step)
        # Next to missing or clipped pixels, once one shot is defocused, the two means cover different parts of the
        # scene.
        self._chosen = share[self._grid] > 0.9
        if self._chosen.sum() < _MIN_SAMPLES:
            self._chosen = share[self._grid] > 0.5
        light = self._light(first)
        mean = self._blurred(light)
        deviation = np.sqrt(np.maximum(self._blurred(light**2) - mean**2, 0)) / (mean + 1e-3)
        self.x, self.weights = linear_to_srgb(mean), 1 / (0.05 + deviation) ** 2

    def of(self, plane: np.ndarray) -> np.ndarray:
        """The encoded values of another plane, blurred alike, `[N]`."""
        return linear_to_srgb(self._blurred(self._light(plane)))

    def _light(self, plane: np.ndarray) -> np.ndarray:
        return srgb_to_linear(plane).astype(np.float32) * self._usable

    def _blurred(self, light: np.ndarray) -> np.ndarray:
        mean = gaussian_blur(light, self._sigma)[self._grid] / self._share[self._grid]
        return mean[self._chosen].astype(np.float64)


def _model(r: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    """The model without `bend`, not clipped; `gain` in stops, `gamma` as its natural logarithm."""
    return linear_to_srgb(2.0**gain * srgb_to_linear(r)) ** np.exp(gamma)


def _fit(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One channel's curve through samples (x, y): gain and gamma by reweighted Gauss–Newton, then the bend."""
    if len(x) < 8:
        return GRID  # nothing to compare: the exposures are taken as equal
    found = np.array([np.median(np.log2(srgb_to_linear(y) / srgb_to_linear(x))), 0.0])
    robust = weights
    for _ in range(25):
        predicted = _model(x, *found)
        slopes = np.stack([(_model(x, *(found + step)) - predicted) / 1e-5 for step in 1e-5 * np.eye(2)], -1)
        rest = y - predicted
        scale = max(1.4826 * float(np.median(np.abs(rest))), 1e-3)
        robust = weights * np.maximum(0, 1 - (rest / (_TUKEY * scale)) ** 2) ** 2
        prior = np.diag([1e-9, _GAMMA_PRIOR * robust.sum() * 0.01])
        step = np.linalg.solve((slopes * robust[:, None]).T @ slopes + prior,
                               slopes.T @ (robust * rest) - prior @ [0.0, found[1]])
        found = np.clip(found + step, [-STOPS, -1.0], [STOPS, 1.0])
        if np.abs(step).max() < 1e-6:
            break
    curve = _model(GRID, *found)
    return np.maximum(curve + _bend(x, y - _model(x, *found), robust), 0.0)


def _bend(x: np.ndarray, rest: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The remainder on `GRID`: weighted means around knots in the data's range, shrunk where samples are few."""
    low, high = np.quantile(x, [0.02, 0.98])
    if high - low < 0.05:
        return np.zeros_like(GRID)
    knots = np.linspace(low, high, _BEND_KNOTS)
    width = knots[1] - knots[0]
    near = np.maximum(0, 1 - np.abs(x[None] - knots[:, None]) / width) * weights[None]
    shrinkage = _BEND_SHRINKAGE * weights.sum()
    heights = (near @ rest) / (near.sum(1) + shrinkage)
    # Nothing is known outside the data: the bend falls to 0 within one knot's distance, and black stays black.
    positions = np.concatenate([[min(0.0, low - width)], [max(low - width, 0.0)], knots, [high + width]])
    return np.interp(GRID, positions, np.concatenate([[0.0, 0.0], heights, [0.0]]))
