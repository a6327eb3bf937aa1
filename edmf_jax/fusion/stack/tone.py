"""Tone curves relative to the reference: what they are defined on, and the exposure that they amount to.

A shot's curve says which value it shows where the reference shows r, channel by channel (which includes white balance):

    value = srgb(gain · light)^gamma + bend,   light = srgb⁻¹(r)

r is the reference's encoded value, continued beyond white: r = 1.18 is half a stop more light than the reference
can show.  `core.exposures` and the data set `edmf_synthetic` apply `gain` and `gamma` in this way; `bend` is a smooth
remainder for the tone curves of real cameras.  `tone_estimate` finds the curves.
"""

import numpy as np

from edmf_jax.core.color import srgb_to_linear

STOPS = 5.0  # the curves end so far beyond the reference's white, and gain is within ±STOPS
GRID = np.linspace(0.0, 1.055 * 2 ** (STOPS / 2.4) - 0.055, 8192)
"""The reference's encoded values r at which curves are sampled, from black to `STOPS` beyond white."""
CLIPPED = 0.985  # values from here on count as clipped; JPEG does not keep 1 exactly
_DARK = 0.02
_MEDIAN_SAMPLES = 30_000  # pixels at most


def reference_curve(channels: int) -> np.ndarray:
    """The reference's own curve, the identity up to white: `[channels, len(GRID)]`."""
    return np.tile(np.minimum(GRID, 1.0), (channels, 1))


def stops_between(curves: np.ndarray, reference: np.ndarray, valid: np.ndarray) -> float:
    """The exposure that `curves` `[C, len(GRID)]` amount to: median over the picture of log2 of the ratio of light.

    `reference` and `valid` are as in `tone_estimate.compare`.  Only pixels count that neither clip nor are dark; 0 if
    there are none.
    """
    places = np.flatnonzero(valid)
    places = places[:: len(places) // _MEDIAN_SAMPLES + 1]
    values = reference.reshape(-1, reference.shape[2])[places].astype(np.float64)
    seen = np.stack([np.interp(values[:, c], GRID, curve) for c, curve in enumerate(curves)], -1)
    middle = ((values > _DARK) & (values < CLIPPED) & (seen > _DARK) & (seen < CLIPPED)).all(-1)
    if not middle.any():
        return 0.0
    return float(np.median(np.log2(srgb_to_linear(seen[middle]) / srgb_to_linear(values[middle]))))
