"""Exposure and tone: from linear scene light to the 8-bit picture a camera writes.

Linear light is float32 [..., 3], 1.0 where the reference exposure saturates, and may
exceed 1 at lamps and glints. An encoded picture is float32 in [0, 1], or uint8 in
[0, 255] once quantised.

A camera with exposure `gain` and tone-curve exponent `gamma` writes

    picture = srgb(min(gain · light, 1)) ^ gamma

so `gain` acts on light (one stop is a factor of 2) and clips as a sensor does, and
`gamma` bends the written curve: below 1 it lifts the shadows, above 1 it deepens them.
The reference exposure, at which the ground truth is written, is gain = gamma = 1.
"""

import dataclasses

import numpy as np

# Share of pairs whose shots have the same exposure; the rest differ by a Laplace
# distribution in stops. Both numbers and the cap were set after 123 pairs of EDMF, whose
# quantiles of |difference| are: 50 % 0.21, 75 % 0.53, 90 % 0.92, 97 % 1.29 stops.
SAME_EXPOSURE = 1 / 6
STOPS_SCALE = 0.38
STOPS_LIMIT = 1.3
GAMMA_SCALE = 0.08  # standard deviation of log(gamma_a / gamma_b)
GAMMA_LIMIT = 0.2


@dataclasses.dataclass(frozen=True)
class Exposure:
    """One shot's exposure: `gain` on linear light, `gamma` on the encoded picture."""

    gain: float = 1.0
    gamma: float = 1.0


def encode(linear: np.ndarray) -> np.ndarray:
    """Linear light, clipped to [0, 1], on the sRGB curve (IEC 61966-2-1): float32 in [0, 1]."""
    linear = np.clip(linear, 0, 1).astype(np.float32)
    return np.where(
        linear <= 0.0031308,
        12.92 * linear,
        1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055,
    ).astype(np.float32)


def decode(encoded: np.ndarray) -> np.ndarray:
    """The inverse of `encode` on [0, 1]: linear light, float32."""
    encoded = np.asarray(encoded, np.float32)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def quantise(encoded: np.ndarray) -> np.ndarray:
    """[0, 1] float to the nearest of 256 levels, uint8."""
    return np.clip(np.rint(encoded * 255), 0, 255).astype(np.uint8)


def expose(linear: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    """The encoded picture, float32 in [0, 1], of linear light at an exposure.

    Args:
        linear: linear light at the reference exposure, any shape, >= 0.
        gain: factor on light, > 0; 2 is one stop brighter.
        gamma: exponent of the encoded picture, > 0.
    """
    return encode(linear * np.float32(gain)) ** np.float32(gamma)


def reexpose(truth: np.ndarray, gain: float, gamma: float) -> np.ndarray:
    """The ground truth as the exposure (gain, gamma) would have written it, uint8.

    `reexpose(pair["truth"], pair["gain_a"], pair["gamma_a"])` is the all-in-focus picture
    at source A's exposure. It starts from the 8-bit truth, so two things are lost:

    - quantisation: the result is within 1 level of the exact one, and within 2 in the
      deepest shadows of a shot much brighter than the reference;
    - highlights: where the truth is 255 the light may have been stronger than the
      reference could write, and a darker shot shows more there (up to 1 % of a picture).

    Args:
        truth: uint8, any shape, written at the reference exposure.
        gain: factor on light, > 0.
        gamma: exponent of the encoded picture, > 0.
    """
    return quantise(expose(decode(truth / np.float32(255)), gain, gamma))


def sample_exposures(rng: np.random.Generator) -> tuple[Exposure, Exposure]:
    """Two exposures on either side of the reference: gains and gammas multiply to 1.

    The light metering of a phone follows the spot that is focused, so the shots differ in
    gain, and the phone's tone mapping follows suit, so they differ a little in gamma.
    """
    stops = np.clip(rng.laplace(0, STOPS_SCALE), -STOPS_LIMIT, STOPS_LIMIT)
    bend = np.clip(rng.normal(0, GAMMA_SCALE), -GAMMA_LIMIT, GAMMA_LIMIT)
    if rng.random() < SAME_EXPOSURE:
        return Exposure(), Exposure()
    gain, gamma = 2 ** (stops / 2), np.exp(bend / 2)
    return Exposure(gain, gamma), Exposure(1 / gain, 1 / gamma)
