"""Exposure and tone: from linear scene light to the 8-bit picture that a camera writes.

Linear light is float32 [..., 3]; 1.0 is where the reference exposure saturates, and lamps and
highlights exceed it. An encoded picture is float32 in [0, 1], or uint8 in [0, 255] once quantized.

A camera with exposure `gain` and tone-curve exponent `gamma` writes

    picture = srgb(min(gain · light, 1)) ^ gamma

So `gain` acts on light (one stop is a factor of 2) and clips like a sensor, and `gamma` changes
the tone curve: below 1 it lifts the shadows, above 1 it darkens them. The ground truth is written
at the reference exposure, gain = gamma = 1.
"""

import dataclasses

import numpy as np

# Share of pairs whose shots have the same exposure; the differences of the others follow a Laplace
# distribution in stops. Both numbers and the limit are modeled on 123 pairs of EDMF, where the
# quantiles of |difference| are 0.21 (50 %), 0.53 (75 %), 0.92 (90 %) and 1.29 stops (97 %).
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
    """Clips linear light to [0, 1] and applies the sRGB curve (IEC 61966-2-1): float32 in [0, 1]."""
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


def quantize(encoded: np.ndarray) -> np.ndarray:
    """Rounds floats in [0, 1] to the nearest of 256 levels, uint8."""
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

    `reexpose(pair["truth"], pair["gain_a"], pair["gamma_a"])` is the all-in-focus picture at source
    A's exposure. It starts from the 8-bit truth, with two consequences:

    - Quantization: the result is within 1 level of the exact one, and within 2 in the deepest
      shadows of a shot much brighter than the reference.
    - Highlights: where the truth is 255, the light may have exceeded what the reference can
      represent; a darker shot shows more there (up to 1 % of a picture).

    Args:
        truth: uint8, any shape, written at the reference exposure.
        gain: factor on light, > 0.
        gamma: exponent of the encoded picture, > 0.
    """
    return quantize(expose(decode(truth / np.float32(255)), gain, gamma))


def sample_exposures(rng: np.random.Generator) -> tuple[Exposure, Exposure]:
    """Two exposures on either side of the reference: the product of the gains, and of the gammas, is 1.

    A phone meters the spot that it focuses on, so the shots differ in gain. Its tone mapping
    adapts too, so they differ slightly in gamma.
    """
    stops = np.clip(rng.laplace(0, STOPS_SCALE), -STOPS_LIMIT, STOPS_LIMIT)
    log_gamma_ratio = np.clip(rng.normal(0, GAMMA_SCALE), -GAMMA_LIMIT, GAMMA_LIMIT)
    if rng.random() < SAME_EXPOSURE:
        return Exposure(), Exposure()
    gain, gamma = 2 ** (stops / 2), np.exp(log_gamma_ratio / 2)
    return Exposure(gain, gamma), Exposure(1 / gain, 1 / gamma)
