"""Normalized cross-correlation of tiles: the shift at its peak, and how sharp the peak is."""

import functools

import numpy as np

NOISE_FLOOR = 0.004
"""Standard deviation of a band-passed tile, log units, below which it counts as flat."""


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
    offset, information, peaks = _fit_parabola(at_peak)
    shifts = np.stack([columns - max_shift, rows - max_shift], -1) + offset
    return shifts, information, peaks


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


def _fit_parabola(sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset of the peak from the middle sample, −1…1 px, its information matrix, and its height.

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
    peaks = np.clip(middle, 0, 1)
    # −N/2·log(1 − ρ²), the log-likelihood of a correlation of N samples, has this curvature at its peak, up to N.
    precision = values * (peaks / (1.05 - peaks**2))[:, None]
    return offset, np.einsum("tij,tj,tkj->tik", vectors, precision, vectors), peaks
