"""A smooth field of gain in light over a picture: what a lamp, a cloud or vignetting does and a tone curve can't."""

import dataclasses

import numpy as np

_DEGREE = 3  # of the polynomials, in y and x together: a slope, a bowl, a lamp at one side
_TERMS = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1) if 0 < i + j <= _DEGREE]
TERM_COUNT = len(_TERMS)
LARGEST_STOPS = 2.0


def basis(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The Legendre polynomials of the field but the constant one, at positions `[N]` in [−1, 1]: `[N, TERM_COUNT]`."""
    rows, columns = _legendre(y), _legendre(x)
    return np.stack([rows[i] * columns[j] for i, j in _TERMS], -1)


def _legendre(v: np.ndarray) -> list[np.ndarray]:
    """`np.polynomial.legendre.legvander`, whose import takes 6 ms."""
    found = [np.ones_like(v), v]
    for i in range(2, _DEGREE + 1):
        found.append((found[-1] * v * (2 * i - 1) - found[-2] * (i - 1)) / i)
    return found


@dataclasses.dataclass(frozen=True)
class GainField:
    """A smooth field of gain in light over the reference's frame, the same for all channels.

    Attributes:
      coefficients: of Legendre polynomials in y and x, each from −1 at one edge of the frame to 1 at the other,
        `[rows, columns]`, in stops.
      lowest, highest: bounds of the field in stops: what it reaches where the shots could be compared.
    """

    coefficients: np.ndarray
    lowest: float
    highest: float

    def stops(self, rows: slice, columns: slice, frame: tuple[int, ...]) -> np.ndarray:
        """How much more light the shot has than its tone curve says, in stops, in a part of the frame: `[h, w]`.

        `frame` is the frame's shape `(H, W, …)`, at any size; `rows` and `columns` count its pixels.
        """
        y, x = (2 * (np.arange(part.start, part.stop) + 0.5) / side - 1 for part, side in zip((rows, columns), frame))
        found = np.polynomial.legendre.leggrid2d(y, x, self.coefficients)
        return np.clip(found, self.lowest, self.highest).astype(np.float32)


def from_terms(terms: np.ndarray, reached: np.ndarray) -> GainField:
    """The field whose values are `basis(…) @ terms`; `reached` are its values where the shots were compared."""
    coefficients = np.zeros((_DEGREE + 1,) * 2)
    for (i, j), value in zip(_TERMS, terms):
        coefficients[i, j] = value
    low, high = np.clip([reached.min(), reached.max()], -LARGEST_STOPS, LARGEST_STOPS)
    return GainField(coefficients, float(low), float(high))
