"""How one shot's levels answer to another's: a monotone curve per channel, found from registered small copies.

A shot is taken for the reference under another exposure, channel by channel (which is white balance):

    value = srgb(gain · light)^gamma + bend,   light = srgb⁻¹(r)

with r the reference's encoded value, carried on beyond white: r = 1.18 is light that is
half a stop more than the reference can show.  `gain` and `gamma` are what `exposures`
and `edmf_synthetic` apply; `bend` is a smooth remainder for real cameras' tone curves.

Differing focus must not disturb this.  Defocus is a blur of light, and gain commutes with
it: so both copies are blurred alike in linear light, well beyond defocus, where neither
clips; and what changes quickly about a place counts for less there.
"""

import cv2
import numpy as np

from edmf_jax.exposures import to_linear

STOPS = 5.0  # how far beyond the reference's white the curves go, and what gain may be
GRID = np.linspace(0.0, 1.055 * 2 ** (STOPS / 2.4) - 0.055, 8192)
"""The reference's encoded values r at which curves are kept, from black to `STOPS` beyond white."""
CLIPPED = 0.985  # from here on a value may be anything brighter; JPEG does not keep 1 exactly
_DARK = 0.02
_BLUR_SHARE = 0.02  # of the copy's diagonal: defocus beyond it is rare
_LEAST_SAMPLES = 200
_TUKEY = 4.685
_ROUNDS = 3
_GAMMA_PRIOR = 0.01  # of the samples' number: gamma stays 1 where the levels do not tell
_BENDS, _BEND_DOUBT = 8, 0.02  # knots of the remainder; share of the samples at which a knot is half believed


def encode(light: np.ndarray) -> np.ndarray:
    """sRGB (IEC 61966-2-1) of linear light ≥ 0, its formula carried on beyond 1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def own_curve(channels: int) -> np.ndarray:
    """The reference's own: `[channels, len(GRID)]`."""
    return np.tile(np.minimum(GRID, 1.0), (channels, 1))


def estimate(reference: np.ndarray, moving: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The curves of `moving`, from small copies of both in one frame.

    Args:
      reference, moving: float32 `[h, w, C]` in [0, 1], encoded.
      real: bool `[h, w]`: where both have pixels.

    Returns:
      `[C, len(GRID)]` float64: what `moving` shows where the reference shows `GRID`; rising, then 1.
    """
    sigma = _BLUR_SHARE * float(np.hypot(*real.shape))
    return np.minimum([_estimate(reference[..., c], moving[..., c], real, sigma)
                       for c in range(reference.shape[2])], 1.0)


def _estimate(first: np.ndarray, second: np.ndarray, real: np.ndarray, sigma: float) -> np.ndarray:
    """One channel's curve, not cut at white."""
    good = real & (np.minimum(first, second) > _DARK / 4) & (np.maximum(first, second) < CLIPPED)
    curve = GRID
    for _ in range(_ROUNDS):
        # Gain commutes with blur, gamma does not: it is measured again on what is harmonised as far as it is known.
        harmonised = np.interp(second, curve, GRID).astype(np.float32)
        curve = np.interp(_fit(*_samples(first, harmonised, good, sigma)), GRID, curve)
        curve = np.maximum.accumulate(curve) + 1e-9 * GRID  # rising, so that it can be inverted
    return curve


def stops_between(curves: np.ndarray, reference: np.ndarray, real: np.ndarray) -> float:
    """The exposure that `curves` `[C, len(GRID)]` stand for: log2 of the ratio of light, median over the picture.

    `reference` and `real` as in `estimate`; middle tones count, where nothing clips.
    """
    values = reference[real].astype(np.float64)
    seen = np.stack([np.interp(values[:, c], GRID, curve) for c, curve in enumerate(curves)], -1)
    good = ((values > _DARK) & (values < CLIPPED) & (seen > _DARK) & (seen < CLIPPED)).all(-1)
    if not good.any():
        return 0.0
    return float(np.median(np.log2(to_linear(seen[good]) / to_linear(values[good]))))


def _samples(first: np.ndarray, second: np.ndarray, good: np.ndarray, sigma: float) -> tuple[np.ndarray, ...]:
    """Encoded levels of both where they can be compared, and their weights, `[N]` each."""
    share = _blur(good.astype(np.float32), sigma)
    lights = [to_linear(plane).astype(np.float32) * good for plane in (first, second)]
    means = [_blur(light, sigma) / np.maximum(share, 1e-6) for light in lights]
    squares = _blur(lights[0] ** 2, sigma) / np.maximum(share, 1e-6)
    scatter = np.sqrt(np.maximum(squares - means[0] ** 2, 0)) / (means[0] + 1e-3)
    step = max(1, int(sigma / 3))
    # A place next to missing or clipped pixels compares two different neighbourhoods once one is defocused.
    chosen = (share > 0.9)[::step, ::step]
    if chosen.sum() < _LEAST_SAMPLES:
        chosen = (share > 0.5)[::step, ::step]
    x, y, doubt = (plane[::step, ::step][chosen].astype(np.float64) for plane in (*means, scatter))
    return encode(x), encode(y), 1 / (0.05 + doubt) ** 2


def _blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def _model(r: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    """Not clipped.  `gain` in stops, `gamma` as its natural logarithm."""
    return encode(2.0**gain * to_linear(r)) ** np.exp(gamma)


def _fit(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One channel's curve through samples (x, y), by iteratively reweighted Gauss–Newton, then the bend."""
    if len(x) < 8:
        return GRID  # nothing to compare: taken as equal
    found = np.array([np.median(np.log2(to_linear(y) / to_linear(x))), 0.0])
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
    """The remainder on `GRID`: weighted means about knots in the data's range, shrunk where few samples say so."""
    low, high = np.quantile(x, [0.02, 0.98])
    if high - low < 0.05:
        return np.zeros_like(GRID)
    knots = np.linspace(low, high, _BENDS)
    width = knots[1] - knots[0]
    near = np.maximum(0, 1 - np.abs(x[None] - knots[:, None]) / width) * weights[None]
    doubt = _BEND_DOUBT * weights.sum()
    heights = (near @ rest) / (near.sum(1) + doubt)
    # Nothing is known beyond the data: the bend ends a knot further out, black stays black.
    places = np.concatenate([[min(0.0, low - width)], [max(low - width, 0.0)], knots, [high + width]])
    return np.interp(GRID, places, np.concatenate([[0.0, 0.0], heights, [0.0]]))
