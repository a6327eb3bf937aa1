"""Adds exposure differences to pairs that have none: named conditions of the benchmark, pure NumPy.

A picture of 8-bit sRGB levels v becomes, channel by channel, what a camera would have written with `stops` more
exposure and a tone curve bent by the exponent `gamma`:

    light   = srgb⁻¹(v / 255)                  linear light, IEC 61966-2-1
    exposed = srgb(min(2^stops · light, 1))^gamma
    level   = round(255 · exposed)

`gamma` acts on the encoded value, as in `edmf_synthetic`: below 1 it lifts the shadows.  Light beyond white clips,
as on a sensor.  What the published picture has already lost by clipping or rounding does not come back.

Source A has the first exposure of a condition, source B the second.  The truth is the sharp picture at the exposure
in the middle: the mean of its two exposed versions, averaged as encoded values before rounding, then rounded once.
Encoded values are averaged because every method here averages them or chooses from them: so the plain average of
A and B has the exposure of the truth.  For methods that bring both to the exposure of A, the truth can have that one.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.errors import UserError

TRUTHS = ("average", "reference")
"""The exposures that a truth can have: the mean of both sources', or the first source's."""


@dataclasses.dataclass(frozen=True)
class Exposures:
    """A condition: how the two sources of every pair are exposed.

    Attributes:
      name: what `--exposures` calls it.
      stops: of A and B; +1 doubles the light.
      gamma: exponents of A's and B's encoded values, > 0.
    """

    name: str
    stops: tuple[float, float] = (0.0, 0.0)
    gamma: tuple[float, float] = (1.0, 1.0)

    def apply(self, a: np.ndarray, b: np.ndarray, truth: np.ndarray | None = None, truth_at: str = TRUTHS[0]
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """A and B at their exposures and the truth at the mean of both, or at A's; uint8, each in its own shape.

        Raises:
          ValueError: a picture is not uint8.
        """
        first, second = self._curves()
        return (_apply_curve(first, a), _apply_curve(second, b),
                None if truth is None else _apply_curve(_truth_curve(first, second, truth_at), truth))

    def expose_truth(self, truth: np.ndarray, truth_at: str = TRUTHS[0]) -> np.ndarray:
        """The sharp picture as `apply` exposes it, at one of `TRUTHS`."""
        return _apply_curve(_truth_curve(*self._curves(), truth_at), truth)

    def _curves(self) -> tuple[np.ndarray, np.ndarray]:
        first, second = (tone_curve(*setting) for setting in zip(self.stops, self.gamma))
        return first, second

    def describe(self) -> str:
        """Both settings in words."""
        if self.is_identity:
            return "both sources as published"
        return "; ".join(f"{source} {stops:+g} stops, gamma {gamma:g}".replace("-", "−")
                         for source, stops, gamma in zip("AB", self.stops, self.gamma))

    @property
    def is_identity(self) -> bool:
        """Whether pictures are left unchanged."""
        return self.stops == (0, 0) and self.gamma == (1, 1)

    def to_record(self) -> dict[str, Any]:
        """For `evaluation.json`: name and numbers, so that a record stays true if a name is given other numbers."""
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
"""Condition by its name in `--exposures`."""


def find_condition(name: str | None) -> Exposures | None:
    """The condition called `name`; None for None.

    Raises:
      UserError: an unknown name.
    """
    if name is not None and name not in CONDITIONS:
        raise UserError(f"--exposures={name} is unknown; use one of {', '.join(CONDITIONS)}")
    return None if name is None else CONDITIONS[name]


def tone_curve(stops: float, gamma: float) -> np.ndarray:
    """The new value of every 8-bit level: float64 [256] in [0, 1], non-decreasing, not rounded."""
    light = srgb_to_linear(np.arange(256) / 255)
    return linear_to_srgb(np.minimum(2.0**stops * light, 1)) ** gamma


def _truth_curve(first: np.ndarray, second: np.ndarray, truth_at: str) -> np.ndarray:
    return first if truth_at == "reference" else (first + second) / 2


def _apply_curve(values: np.ndarray, picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8:
        raise ValueError(f"Exposures.apply: 8-bit pictures (uint8) are needed, got {picture.dtype}")
    return np.rint(255 * values).astype(np.uint8)[picture]
