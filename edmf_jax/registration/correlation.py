"""Normalized cross-correlation of tiles: the shift at its peak, and how sharp the peak is.

Where tiles hold only broad structures, two things other than the content move the peak.  The window, which is the same
for both tiles, pulls it toward 0, by its share in the peak's curvature.  And if contrast falls off across one tile and
not across the other, as it does where a slanted surface gets out of focus, then the product of both leans to one side.
A factor exp(g·x) on a tile moves a peak of curvature K by K⁻¹g/2: nothing to a sharp structure, but half a pixel along
the grain of wood.  Both are known, and taken off.
"""

import functools
from typing import NamedTuple

import numpy as np

NOISE_FLOOR = 0.004
"""Standard deviation of a band-passed tile, log units, below which it counts as flat."""
_MOST_GROWTH = 3.0  # of a shift that the window has made smaller
_MOST_LEAN_PX = 2.0  # that is taken off for contrast that falls off
_LOWEST_PEAK = 0.1

def hann_profile(size: int) -> np.ndarray:
    """The Hann window `[size]`, float32, scaled to a sum of 1."""
    hann = np.hanning(size + 2)[1:-1]
    return (hann / hann.sum()).astype(np.float32)


def hann_window(size: int) -> np.ndarray:
    """The two-dimensional Hann window `[size, size]`, float32, scaled to a sum of 1."""
    return np.outer(hann_profile(size), hann_profile(size))


def correlate(a: np.ndarray, b: np.ndarray, max_shift: int, spacing: int = 1
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The shift from each tile of `a` to its counterpart in `b`.

    The sub-pixel peak is that of the parabola through its nine neighbors, which is biased a little toward whole
    pixels.  Warping with the result and correlating again brings the remaining shift, and with it the bias, to zero.

    Args:
      a, b: tiles `[T, S, S]`, `spacing`·S ≥ 4·`max_shift`.
      max_shift: the largest shift searched for in each direction, px.
      spacing: px between neighboring samples.  The correlation between them is that of the band-limited tiles.

    Returns:
      Shifts (x, y) `[T, 2]`, px; information matrices `[T, 2, 2]`, 1/px² (the inverse of the shift's covariance, up to
      one factor for all tiles); the correlation at the peak `[T]`, 0…1.
    """
    size = a.shape[-1]
    weight = hann_window(size)
    root = np.sqrt(weight)
    centered = [(x - (x.reshape(len(x), -1) @ weight.ravel())[:, None, None]) * root for x in (a, b)]
    energies = [np.einsum("tij,tij->t", x, x) + NOISE_FLOOR**2 for x in centered]
    surface = _circular_correlation(*centered, max_shift + 1, spacing)
    surface /= np.sqrt(energies[0] * energies[1])[:, None, None]
    inner = surface[:, 1:-1, 1:-1].reshape(len(a), -1)
    rows, columns = np.divmod(inner.argmax(1), 2 * max_shift + 1)
    tiles = np.arange(len(a))
    at_peak = lambda dy, dx: surface[tiles, rows + 1 + dy, columns + 1 + dx]
    peak = _fit_parabola(at_peak)
    shifts = np.stack([columns - max_shift, rows - max_shift], -1) + peak.offset
    lever = ((np.arange(size) - (size - 1) / 2) * spacing).astype(np.float32)
    leans = (_energy_centers(centered[1], energies[1], lever) - _energy_centers(centered[0], energies[0], lever)) / (
        2 * float(hann_profile(size) @ lever**2))  # a factor exp(g·x) moves the center of x² by 2g times its variance
    # The product of the roots of two Hann windows falls off like this when they are moved.
    return _without_window(shifts, leans, peak, (np.pi / ((size + 1) * spacing)) ** 2), peak.information, peak.height


def _energy_centers(tiles: np.ndarray, energies: np.ndarray, lever: np.ndarray) -> np.ndarray:
    """Where the energy of each of `[T, S, S]` lies, (x, y) `[T, 2]`; `lever` `[S]` are the positions."""
    squares = tiles * tiles
    return np.stack([squares.sum(1) @ lever, squares.sum(2) @ lever], -1) / energies[:, None]


def _without_window(shifts: np.ndarray, leans: np.ndarray, peak: "_Peak", window: float) -> np.ndarray:
    """The shifts of the content alone, `[T, 2]`, px.

    Args:
      shifts: of the peaks.
      leans: by how much faster contrast grows across the second tile than across the first, `[T, 2]`, 1/px.
      window: the curvature of the correlation of two windows, 1/px².
    """
    along = lambda vectors: np.einsum("tji,tj->ti", peak.axes, vectors)
    whole = np.maximum(peak.curvatures / np.maximum(peak.height, _LOWEST_PEAK)[:, None], window)
    own = np.maximum(whole - window, whole / _MOST_GROWTH)
    lean = np.clip(along(leans) / (2 * own), -_MOST_LEAN_PX, _MOST_LEAN_PX)
    return np.einsum("tij,tj->ti", peak.axes, along(shifts) * whole / own - lean)


def _circular_correlation(a: np.ndarray, b: np.ndarray, most: int, spacing: int) -> np.ndarray:
    """The circular correlation of each two tiles `[T, S, S]` at lags of −`most`…`most` px, `[T, L, L]` (y, x).

    By the discrete Fourier transform, written as matrix products over all tiles: of so small ones they take a third of
    the time of fast transforms, tile by tile, and give the correlation between samples as well.
    """
    size = a.shape[-1]
    highest = (size - 1) // 2  # all frequencies but Nyquist's, whose phase is open
    of_rows, of_columns = _transform(size, 0, highest), _transform(size, -highest, highest)
    spectra = []
    for tiles in (a, b):
        rows = (tiles.reshape(-1, size) @ of_rows.view(np.float32)).view(np.complex64).reshape(len(a), size, -1)
        spectra.append(rows.swapaxes(1, 2).reshape(-1, size) @ of_columns)
    product = spectra[1] * spectra[0].conj()
    lags = np.arange(-most, most + 1) / spacing
    across_y = np.exp(2j * np.pi / size * np.outer(np.arange(-highest, highest + 1), lags)).astype(np.complex64)
    along_x = np.exp(-2j * np.pi / size * np.outer(np.arange(highest + 1), lags))
    along_x[1:] *= 2  # the negative frequencies are their conjugates
    # The real part of the product with the conjugate: real and imaginary parts, next to each other, are one sum.
    parts = np.stack([along_x.real, along_x.imag], 1).reshape(-1, len(lags)).astype(np.float32) / np.float32(size**2)
    columns = (product @ across_y).reshape(len(a), -1, len(lags)).swapaxes(1, 2)
    flat = np.ascontiguousarray(columns).view(np.float32).reshape(-1, 2 * (highest + 1))
    return (flat @ parts).reshape(len(a), len(lags), len(lags))


@functools.lru_cache(maxsize=8)
def _transform(size: int, lowest: int, highest: int) -> np.ndarray:
    """The matrix `[size, frequencies]`, complex64, of the discrete Fourier transform at frequencies from … to …."""
    return np.exp(-2j * np.pi / size * np.outer(np.arange(size), np.arange(lowest, highest + 1))).astype(np.complex64)


class _Peak(NamedTuple):
    """A parabola through a peak: its top's distance from the middle sample `[T, 2]`, px, and height `[T]`, 0…1.

    `curvatures` `[T, 2]`, 1/px², are those along its `axes` `[T, 2, 2]`, in columns.
    """

    offset: np.ndarray
    height: np.ndarray
    curvatures: np.ndarray
    axes: np.ndarray

    @property
    def information(self) -> np.ndarray:
        """−N/2·log(1 − ρ²), the log-likelihood of a correlation of N samples, has this curvature, up to N."""
        precision = self.curvatures * (self.height / (1.05 - self.height**2))[:, None]
        return np.einsum("tij,tj,tkj->tik", self.axes, precision, self.axes)


def _fit_parabola(sample) -> _Peak:
    """The parabola through nine samples; its top is at most 1 px from the middle in each direction.

    `sample(dy, dx)` is the correlation `[T]` at that distance, −1…1 px, from the highest sample.
    """
    middle = sample(0, 0)
    x, y = (sample(0, 1) - sample(0, -1)) / 2, (sample(1, 0) - sample(-1, 0)) / 2
    xx, yy = sample(0, 1) + sample(0, -1) - 2 * middle, sample(1, 0) + sample(-1, 0) - 2 * middle
    xy = (sample(1, 1) + sample(-1, -1) - sample(1, -1) - sample(-1, 1)) / 4
    curvature = -np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, 1e-4)  # flat in a direction, or a saddle at the border of the search range
    along = np.einsum("tji,tj->ti", vectors, np.stack([x, y], -1)) / values
    offset = np.einsum("tij,tj->ti", vectors, np.clip(along, -1, 1))
    return _Peak(offset, np.clip(middle, 0, 1), values, vectors)
