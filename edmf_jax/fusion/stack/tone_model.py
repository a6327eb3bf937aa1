"""The model of the difference between two shots' tone, and its fit to samples.

    y = srgb(2^(g + field) · light)^exp(k) + bend(x),    g = gain + balance[channel],  k = gamma + difference[channel]

x and y are the encoded values that the reference and the other shot show, light = srgb⁻¹(x).  Every parameter has a
prior about 0: a difference between channels must be paid for by evidence, a bend even more.  The fit is reweighted
Gauss–Newton with Tukey's biweight; what a model explains is measured on parts of the picture that it was not fitted to.
"""

import dataclasses

import numpy as np

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.fusion.stack import gain_field
from edmf_jax.fusion.stack.tone import GRID, STOPS
from edmf_jax.fusion.stack.tone_samples import Samples

KNOTS = 7
_TUKEY = 4.685  # standard deviations; the usual constant of Tukey's biweight, of 95 % efficiency for normal errors
_LEAST_SCALE = 1e-3  # of the residuals: a quarter of an 8-bit level
_TRIMMED = 0.9  # residuals count up to this quantile: what moved or is missing in one shot is not tone
_PRIOR = {"gain": 5.0, "balance": 0.3, "gamma": 0.2, "differences": 0.03, "bend": 0.03, "field": 0.5}
"""Standard deviations: gain, balance and field in stops, gammas as logarithms, bend in encoded values."""
_BOUNDS = {"gain": STOPS, "balance": 1.0, "gamma": 0.5, "differences": 0.1, "bend": 0.1,
           "field": gain_field.LARGEST_STOPS}
_STEEPEST = 1.5  # the bend makes the model's slope so many times steeper or flatter at most


def knots_of(samples: Samples) -> np.ndarray:
    """Where the bend may bend: `KNOTS` encoded values over the reference's range."""
    low, high = np.quantile(samples.x, [0.02, 0.98])
    return np.linspace(low, max(high, low + 0.05), KNOTS)


@dataclasses.dataclass
class Fit:
    """A model of some groups of parameters, fitted to samples.

    Attributes:
      parts: each group's place in `values`.
      values: of all parameters.
      knots: of the bend.
      channels: number of channels.
      scale: robust standard deviation of the residuals, encoded.
    """

    parts: dict[str, slice]
    values: np.ndarray
    knots: np.ndarray
    channels: int
    scale: float = _LEAST_SCALE

    def part(self, name: str, otherwise: float = 0.0) -> np.ndarray | float:
        """The values of a group, or `otherwise` if the model does not have it."""
        return self.values[self.parts[name]] if name in self.parts else otherwise

    def exponents(self) -> tuple[np.ndarray, np.ndarray]:
        """g in stops and k for each channel, `[C]` each."""
        nothing = np.zeros(self.channels)
        return (self.part("gain") + self.part("balance") + nothing,
                self.part("gamma") + self.part("differences") + nothing)

    def predicted(self, samples: Samples) -> np.ndarray:
        """y at samples, `[N]`."""
        return self._with_slopes(samples)[0]

    def residuals(self, samples: Samples) -> np.ndarray:
        """What remains of y, `[N]`."""
        return samples.y - self.predicted(samples)

    def curves(self) -> np.ndarray:
        """Tone curves without the field, rising and of bounded slope, not clipped: `[C, len(GRID)]`."""
        gains, exponents = self.exponents()
        light = srgb_to_linear(GRID)
        found = []
        for gain, exponent in zip(gains, exponents):
            curve = linear_to_srgb(2.0**gain * light) ** np.exp(exponent)
            if "bend" in self.parts:
                slopes = np.diff(curve)
                bent = np.diff(curve + _hats(GRID, self.knots) @ self.part("bend"))
                bent = np.clip(bent, slopes / _STEEPEST, slopes * _STEEPEST)
                curve = curve[0] + np.concatenate([[0.0], np.cumsum(bent)])
            found.append(np.maximum.accumulate(curve) + 1e-9 * GRID)
        return np.array(found)

    def field_stops(self, samples: Samples) -> np.ndarray:
        """The field at the samples, `[N]`, in stops."""
        return samples.fields @ self.part("field")

    def held_out(self, samples: Samples, block_count: int) -> np.ndarray:
        """Residuals `[N]` in each of `block_count`² blocks of the picture, by a fit to the others.

        One Gauss–Newton step from the fit to all of them, with the same robust weights.
        """
        predicted, slopes = self._with_slopes(samples)
        found = samples.y - predicted
        weighted = slopes * self._robust(samples, found)[:, None]
        normal = weighted.T @ slopes + self._precision()
        blocks, out = samples.blocks(block_count), found.copy()
        order = np.argsort(blocks, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1):
            inside = weighted[own].T
            out[own] += slopes[own] @ np.linalg.solve(normal - inside @ slopes[own], inside @ found[own])
        return out

    def _precision(self) -> np.ndarray:
        diagonal = np.empty(len(self.values))
        for name, part in self.parts.items():
            diagonal[part] = _PRIOR[name] ** -2
        return np.diag(diagonal)

    def _robust(self, samples: Samples, rest: np.ndarray) -> np.ndarray:
        robust = np.maximum(0, 1 - (rest / (_TUKEY * self.scale)) ** 2) ** 2
        return samples.weights * robust * samples.independent / self.scale**2

    def _with_slopes(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        """y `[N]`, and its derivatives by the parameters, `[N, P]`."""
        gains, exponents = (values[samples.channel] for values in self.exponents())
        slopes, own = np.zeros((len(samples), len(self.values))), np.eye(self.channels)[samples.channel]
        if "field" in self.parts:
            gains = gains + self.field_stops(samples)
        light = np.exp2(gains) * samples.light
        encoded = np.maximum(linear_to_srgb(light), 1e-6)
        y = encoded ** np.exp(exponents)
        steep = np.where(light <= 0.0031308, 12.92 * light, 1.055 / 2.4 * np.maximum(light, 0.0031308) ** (1 / 2.4))
        by_gain = np.exp(exponents) * y / encoded * steep * np.log(2)
        by_gamma = y * np.log(encoded) * np.exp(exponents)
        columns = {"gain": lambda: by_gain[:, None], "balance": lambda: by_gain[:, None] * own,
                   "gamma": lambda: by_gamma[:, None], "differences": lambda: by_gamma[:, None] * own,
                   "bend": lambda: _hats(samples.x, self.knots), "field": lambda: by_gain[:, None] * samples.fields}
        for name, part in self.parts.items():
            slopes[:, part] = columns[name]()
        return (y + slopes[:, self.parts["bend"]] @ self.part("bend") if "bend" in self.parts else y), slopes


def fit(samples: Samples, groups: tuple[str, ...], knots: np.ndarray, start: Fit | None = None, rounds: int = 12
        ) -> Fit:
    """Fits a model of the parameter groups ("gain", "balance", …) to samples.

    `start` is another model's fit to begin with; None: the median gain.
    """
    sizes = {"balance": samples.channels, "differences": samples.channels, "bend": KNOTS,
             "field": gain_field.TERM_COUNT}
    parts, count = {}, 0
    for name in groups:
        if samples.channels > 1 or name not in ("balance", "differences"):
            parts[name] = slice(count, count + sizes.get(name, 1))
            count = parts[name].stop
    found = Fit(parts, np.zeros(count), knots, samples.channels)
    if start is None:
        found.values[0] = np.median(np.log2(np.maximum(srgb_to_linear(samples.y), 1e-5) / samples.light))
    for name in parts.keys() & (start.parts.keys() if start else ()):
        found.values[parts[name]] = start.part(name)
    bounds = np.concatenate([np.full(part.stop - part.start, _BOUNDS[name]) for name, part in parts.items()])
    precision = found._precision()
    for _ in range(rounds):
        predicted, slopes = found._with_slopes(samples)
        rest = samples.y - predicted
        found.scale = max(1.4826 * float(np.median(np.abs(rest))), _LEAST_SCALE)
        weights = found._robust(samples, rest)
        step = np.linalg.solve((slopes * weights[:, None]).T @ slopes + precision,
                               slopes.T @ (weights * rest) - precision @ found.values)
        found.values = np.clip(found.values + np.clip(step, -1, 1), -bounds, bounds)
        if np.abs(step).max() < 1e-3:
            break
    return found


def spread(samples: Samples, residuals: np.ndarray) -> float:
    """Root mean square of the smaller residuals: the weighted mean ends at the quantile `_TRIMMED`."""
    order = np.argsort(np.abs(residuals), kind="stable")
    total = np.cumsum(samples.weights[order])
    kept = order[total <= max(_TRIMMED * total[-1], total[0])]
    return float(np.sqrt(np.average(residuals[kept] ** 2, weights=samples.weights[kept])))


def _hats(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Triangles about the knots, `[N, KNOTS]`: nothing is known outside them, so the bend falls to 0."""
    return np.maximum(0, 1 - np.abs(values[:, None] - knots) / (knots[1] - knots[0]))
