"""Exposure differences for pairs that have none: named, documented conditions, pure NumPy.

A picture of 8-bit sRGB levels v, channel by channel, as a camera would have written it that
exposes by `stops` more and bends its tone curve by the exponent `gamma`:

    light   = srgb⁻¹(v / 255)                  linear light, IEC 61966-2-1
    exposed = srgb(min(2^stops · light, 1))^gamma
    level   = round(255 · exposed)

`gamma` bends the encoded value, as in `edmf_synthetic`: below 1 it lifts the shadows.  Light
beyond white clips as on a sensor.  What the published picture has clipped, or rounded away,
does not come back.

Source A takes the first exposure of a condition, source B the second.  The truth is the sharp
picture at the exposure in the middle: the mean of its two exposures, in encoded values before
they are rounded, rounded once.  Encoded, because that is what every method here averages or
chooses from: the plain average has the truth's exposure.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edmf_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Exposures:
    """A condition: how the two sources of every pair are exposed.

    Attributes:
      name: as `--exposures` names it.
      stops: of A and B; +1 doubles the light.
      gamma: exponents of A's and B's encoded values, > 0.
    """

    name: str
    stops: tuple[float, float] = (0.0, 0.0)
    gamma: tuple[float, float] = (1.0, 1.0)

    def apply(self, a: np.ndarray, b: np.ndarray, truth: np.ndarray | None = None
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """A and B at their exposures and the truth at the mean of both; uint8, any shape, as they came.

        Raises:
          ValueError: a picture is not uint8.
        """
        first, second = (curve(*setting) for setting in zip(self.stops, self.gamma))
        return (_look_up(first, a), _look_up(second, b),
                None if truth is None else _look_up((first + second) / 2, truth))

    def describe(self) -> str:
        """Both settings in words."""
        if self.is_identity:
            return "both sources as published"
        return "; ".join(f"{source} {stops:+g} stops, gamma {gamma:g}".replace("-", "−")
                         for source, stops, gamma in zip("AB", self.stops, self.gamma))

    @property
    def is_identity(self) -> bool:
        """Whether pictures stay as they are."""
        return self.stops == (0, 0) and self.gamma == (1, 1)

    def to_record(self) -> dict[str, Any]:
        """As `evaluation.json` has it: the numbers too, so that a name never stands for other ones."""
        return {"name": self.name, "stops": list(self.stops), "gamma": list(self.gamma)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Exposures":
        """The inverse of `to_record`."""
        return cls(record["name"], tuple(record["stops"]), tuple(record["gamma"]))


CONDITIONS = {condition.name: condition for condition in (
    Exposures("published"),
    Exposures("quarter-stop", stops=(0.25, -0.25)),
    Exposures("half-stop-gamma", stops=(0.5, -0.5), gamma=(0.9, 1.1)),
)}
"""`--exposures` → condition."""


def find_condition(name: str | None) -> Exposures | None:
    """The condition of a name; None for None.

    Raises:
      UserError: an unknown name.
    """
    if name is not None and name not in CONDITIONS:
        raise UserError(f"--exposures={name} is unknown; use one of {', '.join(CONDITIONS)}")
    return None if name is None else CONDITIONS[name]


def curve(stops: float, gamma: float) -> np.ndarray:
    """What every 8-bit level becomes: float64 [256] in [0, 1], never falling, not rounded."""
    light = to_linear(np.arange(256) / 255)
    return to_srgb(np.minimum(2.0**stops * light, 1)) ** gamma


def to_linear(encoded: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """The inverse of `to_linear`."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _look_up(values: np.ndarray, picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8:
        raise ValueError(f"Exposures.apply: 8-bit pictures (uint8) are needed, got {picture.dtype}")
    return np.rint(255 * values).astype(np.uint8)[picture]
