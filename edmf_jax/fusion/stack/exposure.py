"""The exposure of the result, and the tables that bring every shot to it before fusion.

Every shot has a curve f for each channel (`tone`): the value it shows where the reference's encoded value is r.  The
result has such a curve too, the target, and a shot's value v becomes target(f⁻¹(v)).  So all shots show the scene at
the same exposure when they are fused.  A table depends on the value alone, not on the position, so it makes no seams.

    reference     target = f₀, the exposure of the reference.
    average       target = mean of all f: the middle of the shots in encoded values, which is how
                  `edmf_jax.core.exposures` defines the middle of two exposures.
    well-exposed  near the exposure of the shots with most pixels in the middle tones; above these a
                  shoulder makes room for highlights that only darker shots show.

The last one starts from Σ wₖ fₖ, wₖ ∝ (mean over the scene of exp(−(fₖ − ½)² / (2 · 0.2²)))⁴ plus a
twentieth shared by all: the well-exposedness of Mertens, Kautz and Van Reeth 2009
(DOI 10.1111/j.1467-8659.2008.01171.x), but of a whole shot instead of a pixel.  Where a shot clips, its share of the
*slope* goes to the shots that do not, so the curve rises on beyond 1, up to the brightest value of the scene; the
shoulder compresses everything above the middle tones to end at 1.  Where nothing clips, neither changes anything.
"""

import cv2
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.fusion.stack import sharpness, tone

_MIDDLE, _WIDTH = 0.5, 0.2  # Mertens's mean and standard deviation
_POWER, _LEAST_WEIGHT = 4, 0.05
_TABLE_SIZE = 65536
_FULL_LOSS = 0.02  # of the target's range: a shot whose clipping hides this much or more has a loss of 1
_SOFT = 0.03  # so far below `tone.CLIPPED` the confidence in a value begins to fall
_FADE = 0.1  # so far below white a shot's share of the slope begins to go over to the others
_KNEE = 0.5  # encoded value below which the shoulder changes nothing
_BRIGHTEST = 0.998  # quantile of the scene: brighter values may clip


def target_curve(curves: list[np.ndarray], scene: np.ndarray, exposure: str) -> np.ndarray:
    """The target curve of each channel, `[C, len(GRID)]`.

    Args:
      curves: of every shot, `[C, len(GRID)]`; for "reference" the reference's first.
      scene: samples of the scene as encoded values r, `[N, C]`; see `scene_values`.
      exposure: "reference", "average" or "well-exposed".
    """
    if exposure == "reference":
        return curves[0]
    if exposure == "average":
        return np.mean(curves, axis=0)
    quality = np.array([_well_exposed(curve, scene) for curve in curves]) ** _POWER
    weights = quality / max(quality.sum(), 1e-12) + _LEAST_WEIGHT / len(curves)
    return _shoulder(_extended_mean(np.stack(curves), weights / weights.sum()), scene)


def _extended_mean(curves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ wₖ fₖ of `[K, C, len(GRID)]`, extended beyond 1 by the slopes of shots that do not clip: `[C, len(GRID)]`."""
    middles = (curves[..., 1:] + curves[..., :-1]) / 2
    # Clipped shots keep a trace of weight, so that the slope is defined, and 0, where all shots clip.
    slope_weights = weights[:, None, None] * np.clip((1 - middles) / _FADE, 1e-6, 1)
    slopes = (slope_weights * np.diff(curves)).sum(0) / slope_weights.sum(0)
    start = np.einsum("k,kc->c", weights, curves[..., 0])[:, None]
    return np.concatenate([start, start + np.cumsum(slopes, -1)], -1)


def _shoulder(curve: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """`curve` `[C, len(GRID)]`, compressed above the knee if highlights of the scene would be clipped; clipped at 1.

    With a = (top − knee) / (1 − knee) and t = (v − knee) / (top − knee):  knee + (1 − knee) · a t / (1 + (a − 1) t).
    The slope is 1 at the knee, and 1 is reached at the top, which is the same r for all channels: grays stay gray.
    """
    brightest = np.quantile(scene.max(-1), _BRIGHTEST)
    top = np.array([np.interp(brightest, tone.GRID, channel) for channel in curve])[:, None]
    a = np.maximum((top - _KNEE) / (1 - _KNEE), 1.0)
    t = np.maximum((curve - _KNEE) / (1 - _KNEE), 0) / a
    return np.minimum(np.where(curve > _KNEE, _KNEE + (1 - _KNEE) * a * t / (1 + (a - 1) * t), curve), 1.0)


def _well_exposed(curve: np.ndarray, scene: np.ndarray) -> float:
    """Mean well-exposedness of the scene `[N, C]` under a shot's curve, in [0, 1]."""
    seen = np.stack([np.interp(scene[:, c], tone.GRID, channel) for c, channel in enumerate(curve)], -1)
    return float(np.exp(-((seen - _MIDDLE) ** 2) / (2 * _WIDTH**2)).prod(-1).mean())


def scene_values(curves: list[np.ndarray], copies: list[np.ndarray], valid: list[np.ndarray]) -> np.ndarray:
    """The scene as encoded values r, `[N, C]`: at each pixel the value of the sharpest shot that is not clipped there.

    The sharpest, because out of focus small dark and bright objects have become middle tones.  Where all shots
    are clipped, the largest r at which one of them reaches white: a lower bound.

    Args:
      curves: of every shot, `[C, len(GRID)]`.
      copies: the shots' small copies in one frame, `[h, w, C]` float32 in [0, 1].
      valid: bool `[h, w]`, True where the copy has pixels.
    """
    best, values = np.full(valid[0].shape, -1.0, np.float32), np.zeros(copies[0].shape)
    bound = np.zeros(copies[0].shape[2])
    for curve, copy, usable in zip(curves, copies, valid):
        seen = np.stack([invert(channel, copy[..., c]) for c, channel in enumerate(curve)], -1)
        plane = luma(seen) if seen.shape[-1] == 3 else seen[..., 0]
        sharp = sharpness.local_spatial_frequency(plane.astype(np.float32))
        sharp = np.where(usable & ~(copy >= tone.CLIPPED).any(-1), sharp, -1)
        better = sharp > best
        values[better], best = seen[better], np.maximum(best, sharp)
        white = np.array([channel.searchsorted(1.0) for channel in curve])
        bound = np.maximum(bound, tone.GRID[np.minimum(white, len(tone.GRID) - 1)])
    values[best < 0] = bound
    return values.reshape(-1, values.shape[-1])


def invert(curve: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The r at which one channel's curve `[len(GRID)]` takes the values, in [0, 1]; for white the smallest such r."""
    top = int(curve.searchsorted(min(1.0, curve[-1]))) + 1
    return np.interp(values, curve[:top], tone.GRID[:top])


def table(curve: np.ndarray, target: np.ndarray, size: int = _TABLE_SIZE) -> np.ndarray:
    """The values at the target exposure of a shot's values from 0 to 1: float32 `[C, size]`.

    `curve`, of the shot, and `target` are `[C, len(GRID)]`; equal ones give the identity.  Of the sizes, only the
    default can be applied to integers.
    """
    levels = np.linspace(0.0, 1.0, size)
    if np.array_equal(curve, target):
        return np.tile(levels.astype(np.float32), (len(curve), 1))
    return np.stack([np.interp(invert(c, levels), tone.GRID, t) for c, t in zip(curve, target)]).astype(np.float32)


def clipping_loss(curve: np.ndarray, curves: list[np.ndarray], target: np.ndarray) -> np.ndarray:
    """How much a shot's clipping hides that another shot shows, `[C]` in [0, 1].

    It follows from the part of the target's range that lies beyond this shot's white and within another shot's: 1 from
    `_FULL_LOSS` on; 0 if no other shot shows more, or the target does not use it.

    Args:
      curve: of the shot, `[C, len(GRID)]`.
      curves: of all shots.
      target: `target_curve`.
    """
    largest_value = lambda c, t: np.interp(invert(c, np.array(tone.CLIPPED)), tone.GRID, t)
    shown = np.array([largest_value(c, t) for c, t in zip(curve, target)])
    most_shown = np.max([[largest_value(c, t) for c, t in zip(other, target)] for other in curves], axis=0)
    return np.clip((most_shown - shown) / _FULL_LOSS, 0, 1)


def clipping_confidence(values: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Confidence in each channel of a shot's pixels, `[h, w, C]` in [0, 1]: lower near white, by the clipping loss.

    `values` `[h, w, C]` are the shot's own, in [0, 1]; `loss` `[C]` is from `clipping_loss`.
    """
    near_white = np.clip((values - np.float32(tone.CLIPPED - _SOFT)) / np.float32(_SOFT), 0, 1)
    return 1 - near_white * loss.astype(np.float32)


def apply(image: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """A picture `[h, w, C]` of any dtype through `table`: float32.  Floats are interpolated between entries."""
    if image.dtype == np.uint8:
        return cv2.LUT(image, np.ascontiguousarray(tables[:, ::257].T)[None]).reshape(image.shape)
    out = np.empty(image.shape, np.float32)
    for c, values in enumerate(tables):
        if image.dtype == np.uint16:
            out[..., c] = values[image[..., c]]
        else:
            position = image[..., c] * np.float32(len(values) - 1)
            low = np.minimum(position.astype(np.int32), len(values) - 2)
            out[..., c] = values.take(low) + np.diff(values).take(low) * (position - low)
    return out
