"""Where the brightness of the result comes from, and the tables that bring every shot there before fusion.

Every shot has curves f (`tone`): what it shows of the reference's encoded value r.  The
target is such a curve too, and a shot's value v becomes target(f⁻¹(v)).  So all shots
show the same scene at the same exposure when the network sees them, and since a table
knows levels and no places, it can make no seams.

    reference     target = f₀: as the reference is exposed.
    average       target = mean of all f: between the shots, in encoded values, as
                  `edmf_jax.exposures` defines the middle of two exposures.
    well-exposed  as the shots are exposed that have most pixels in the middle tones, and above
                  them, within one shoulder, the highlights that only darker shots still hold.

The last one starts from Σ wₖ fₖ, wₖ ∝ (mean over the scene of exp(−(fₖ − ½)² / (2 · 0.2²)))⁴ plus a
twentieth for all: the well-exposedness of Mertens, Kautz and Van Reeth 2009
(DOI 10.1111/j.1467-8659.2008.01171.x), but of a whole shot, not of a pixel.  Where a shot clips, its part of
the *slope* goes to those that do not, so that the curve rises on beyond 1, to the brightest
that the scene holds; a shoulder from the middle tones up brings that back to 1.  Where nothing clips this changes
nothing.
"""

import numpy as np

from edmf_jax.color import luma
from edmf_jax.photo import sharpness, tone

_MIDDLE, _WIDTH = 0.5, 0.2  # Mertens's
_POWER, _LEAST_WEIGHT = 4, 0.05
_TABLE_SIZE = 65536
_LOSS = 0.02  # of the target's range; what a clipped shot hides counts in full from here on
_SOFT = 0.03  # below `tone.CLIPPED`: where a shot's say begins to end
_FADE = 0.1  # below white: where a shot's part of the slope goes over to the others
_KNEE = 0.5  # encoded: below it the shoulder changes nothing
_BRIGHTEST = 0.998  # quantile of the scene: what is brighter may clip


def target_curve(curves: list[np.ndarray], scene: np.ndarray, exposure: str) -> np.ndarray:
    """The target `[C, len(GRID)]`.

    Args:
      curves: per shot, the reference's first.
      scene: samples of the scene as encoded values r, `[N, C]`.
      exposure: "reference", "average" or "well-exposed".
    """
    if exposure == "reference":
        return curves[0]
    if exposure == "average":
        return np.mean(curves, axis=0)
    quality = np.array([_well_exposed(curve, scene) for curve in curves]) ** _POWER
    weights = quality / max(quality.sum(), 1e-12) + _LEAST_WEIGHT / len(curves)
    return _shoulder(_carried_on(np.stack(curves), weights / weights.sum()), scene)


def _carried_on(curves: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ wₖ fₖ of `[K, C, len(GRID)]`, carried on beyond 1 by the slopes of those that do not clip: `[C, len(GRID)]`."""
    middles = (curves[..., 1:] + curves[..., :-1]) / 2
    # A trace for those that clip: where all do, nobody's slope is taken for another's.
    say = weights[:, None, None] * np.clip((1 - middles) / _FADE, 1e-6, 1)
    slopes = (say * np.diff(curves)).sum(0) / say.sum(0)
    start = np.einsum("k,kc->c", weights, curves[..., 0])[:, None]
    return np.concatenate([start, start + np.cumsum(slopes, -1)], -1)


def _shoulder(curve: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """`curve` `[C, len(GRID)]` cut at 1, bent above the knee where the scene's highlights would be lost.

    With a = (top − knee) / (1 − knee) and t = (v − knee) / (top − knee):  knee + (1 − knee) · a t / (1 + (a − 1) t).
    It has the slope 1 at the knee and reaches 1 at the top, which is the same place for all channels: greys stay grey.
    """
    brightest = np.quantile(scene.max(-1), _BRIGHTEST)
    top = np.array([np.interp(brightest, tone.GRID, channel) for channel in curve])[:, None]
    a = np.maximum((top - _KNEE) / (1 - _KNEE), 1.0)
    t = np.maximum((curve - _KNEE) / (1 - _KNEE), 0) / a
    return np.minimum(np.where(curve > _KNEE, _KNEE + (1 - _KNEE) * a * t / (1 + (a - 1) * t), curve), 1.0)


def _well_exposed(curve: np.ndarray, scene: np.ndarray) -> float:
    seen = np.stack([np.interp(scene[:, c], tone.GRID, channel) for c, channel in enumerate(curve)], -1)
    return float(np.exp(-((seen - _MIDDLE) ** 2) / (2 * _WIDTH**2)).prod(-1).mean())


def scene_values(curves: list[np.ndarray], copies: list[np.ndarray], real: list[np.ndarray]) -> np.ndarray:
    """What the scene is, as encoded values r `[N, C]`: per place what the sharpest unclipped shot says.

    The sharpest, as the result has it: where a shot is out of focus, fine dark and bright things have become middle
    tones.  Where all clip, the largest of what they say: a bound from below.
    """
    best, values = np.full(real[0].shape, -1.0, np.float32), np.zeros(copies[0].shape)
    bound = np.zeros(copies[0].shape[2])
    for curve, copy, there in zip(curves, copies, real):
        seen = np.stack([invert(channel, copy[..., c]) for c, channel in enumerate(curve)], -1)
        plane = luma(seen) if seen.shape[-1] == 3 else seen[..., 0]
        sharp = sharpness.local_spatial_frequency(plane.astype(np.float32))
        sharp = np.where(there & ~(copy >= tone.CLIPPED).any(-1), sharp, -1)
        better = sharp > best
        values[better], best = seen[better], np.maximum(best, sharp)
        white = np.array([channel.searchsorted(1.0) for channel in curve])
        bound = np.maximum(bound, tone.GRID[np.minimum(white, len(tone.GRID) - 1)])
    values[best < 0] = bound
    return values.reshape(-1, values.shape[-1])


def invert(curve: np.ndarray, values: np.ndarray) -> np.ndarray:
    """r of values in [0, 1] under one channel's curve `[len(GRID)]`; the smallest such r at white."""
    top = int(curve.searchsorted(min(1.0, curve[-1]))) + 1
    return np.interp(values, curve[:top], tone.GRID[:top])


def table(curve: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What a shot's values become: float32 `[C, 65536]` over [0, 1].

    `curve` and `target` are `[C, len(GRID)]`; equal ones give the identity.
    """
    levels = np.linspace(0.0, 1.0, _TABLE_SIZE)
    if np.array_equal(curve, target):
        return np.tile(levels.astype(np.float32), (len(curve), 1))
    return np.stack([np.interp(invert(c, levels), tone.GRID, t) for c, t in zip(curve, target)]).astype(np.float32)


def hidden(curve: np.ndarray, curves: list[np.ndarray], target: np.ndarray) -> np.ndarray:
    """How much a shot's clipping costs, `[C]` in [0, 1]; 0: no other shot shows more there, or the target does not.

    What counts is the part of the target that lies beyond this shot's white and within another one's.
    """
    reach = lambda c, t: np.interp(invert(c, np.array(tone.CLIPPED)), tone.GRID, t)
    mine = np.array([reach(c, t) for c, t in zip(curve, target)])
    best = np.max([[reach(c, t) for c, t in zip(other, target)] for other in curves], axis=0)
    return np.clip((best - mine) / _LOSS, 0, 1)


def trust(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """How far each channel of a shot is to be believed in view of its own clipping, `[h, w, C]` in [0, 1].

    `values` `[h, w, C]` in [0, 1] as the shot has them; `lost` `[C]` from `hidden`.
    """
    near_white = np.clip((values - np.float32(tone.CLIPPED - _SOFT)) / np.float32(_SOFT), 0, 1)
    return 1 - near_white * lost.astype(np.float32)


def apply(image: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """`[h, w, C]` of any type through `table`: float32.  Floats are looked up to 16 bits, between its places."""
    scale = {1: 257, 2: 1}.get(image.dtype.itemsize)
    out = np.empty(image.shape, np.float32)
    for c, values in enumerate(tables):
        if scale:
            out[..., c] = values[::scale][image[..., c]]
        else:
            place = image[..., c] * np.float32(_TABLE_SIZE - 1)
            low = np.minimum(place.astype(np.int32), _TABLE_SIZE - 2)
            out[..., c] = values[low] + (values[low + 1] - values[low]) * (place - low)
    return out
