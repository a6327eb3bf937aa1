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
from edmf_jax.fusion.stack.tone_samples import Samples, hats

KNOTS = 7
_GRID_LIGHT = srgb_to_linear(GRID)
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
        bend = hats(GRID, self.knots) @ self.part("bend") if "bend" in self.parts else None
        found = []
        for gain, exponent in zip(gains, exponents):
            curve = linear_to_srgb(2.0**gain * _GRID_LIGHT) ** np.exp(exponent)
            if bend is not None:
                slopes = np.diff(curve)
                bent = np.diff(curve + bend)
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
        slopes, weighted, rest = slopes[order], weighted[order], found[order]
        ends = np.flatnonzero(np.diff(blocks[order])) + 1
        parts = [slice(start, stop) for start, stop in zip([0, *ends], [*ends, len(order)])]
        lacking = np.stack([normal - weighted[own].T @ slopes[own] for own in parts])
        steps = np.linalg.solve(lacking, np.stack([weighted[own].T @ rest[own] for own in parts])[..., None])[..., 0]
        for own, step in zip(parts, steps):
            out[order[own]] += slopes[own] @ step
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
        gains, exponents = self.exponents()
        if "field" in self.parts:
            gain = np.exp2(gains[samples.channel] + self.field_stops(samples))
        else:
            gain = np.exp2(gains)[samples.channel]
        exponents = np.exp(exponents)[samples.channel]
        light = gain * samples.light
        is_low, low, power = light <= 0.0031308, 12.92 * light, np.maximum(light, 0.0031308) ** (1 / 2.4)
        encoded = np.maximum(np.where(is_low, low, 1.055 * power - 0.055), 1e-6)  # `linear_to_srgb`
        y = encoded**exponents
        by_gain = exponents * y / encoded * np.where(is_low, low, 1.055 / 2.4 * power) * np.log(2)
        by_gamma = y * np.log(encoded) * exponents if "gamma" in self.parts or "differences" in self.parts else None
        columns = {"gain": lambda: by_gain[:, None], "balance": lambda: by_gain[:, None] * samples.own,
                   "gamma": lambda: by_gamma[:, None], "differences": lambda: by_gamma[:, None] * samples.own,
                   "bend": lambda: samples.hats(self.knots), "field": lambda: by_gain[:, None] * samples.fields}
        slopes = np.zeros((len(samples), len(self.values)))
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
        found.scale = max(1.4826 * _median(np.abs(rest)), _LEAST_SCALE)
        weights = found._robust(samples, rest)
        step = np.linalg.solve((slopes * weights[:, None]).T @ slopes + precision,
                               slopes.T @ (weights * rest) - precision @ found.values)
        found.values = np.clip(found.values + np.clip(step, -1, 1), -bounds, bounds)
        if np.abs(step).max() < 1e-3:
            break
    return found


def _median(values: np.ndarray) -> float:
    """`np.median` of `[N]`, which takes three times as long for so few."""
    middle = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, middle)[middle])
    return float(np.partition(values, [middle - 1, middle])[middle - 1 : middle + 1].mean())


def spread(samples: Samples, residuals: np.ndarray) -> float:
    """Root mean square of the smaller residuals: the weighted mean ends at the quantile `_TRIMMED`."""
    order = np.argsort(np.abs(residuals), kind="stable")
    total = np.cumsum(samples.weights[order])
    kept = order[total <= max(_TRIMMED * total[-1], total[0])]
    return float(np.sqrt(np.average(residuals[kept] ** 2, weights=samples.weights[kept])))
