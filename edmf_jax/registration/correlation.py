"""Normalized cross-correlation of tiles: the shift at its peak, and how sharp the peak is."""

import cv2
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


def correlate(a: np.ndarray, b: np.ndarray, max_shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The shift from each tile of `a` to its counterpart in `b`.

    The sub-pixel peak is that of the parabola through its nine neighbors, which is biased a little toward whole
    pixels.  Warping with the result and correlating again brings the remaining shift, and with it the bias, to zero.

    Args:
      a, b: tiles `[T, S, S]`, S ≥ 4·`max_shift`.
      max_shift: the largest shift searched for in each direction, px.

    Returns:
      Shifts (x, y) `[T, 2]`, px; information matrices `[T, 2, 2]`, 1/px² (the inverse of the shift's covariance, up to
      one factor for all tiles); the correlation at the peak `[T]`, 0…1.
    """
    size = a.shape[-1]
    weight = hann_window(size)
    root = np.sqrt(weight)
    centered = [(x - (x.reshape(len(x), -1) @ weight.ravel())[:, None, None]) * root for x in (a, b)]
    energies = [np.einsum("tij,tij->t", x, x) + NOISE_FLOOR**2 for x in centered]
    lags = np.arange(-max_shift - 1, max_shift + 2) % size
    surface = np.stack([_correlate_pair(*pair, lags) for pair in zip(*centered)])
    surface = surface / np.sqrt(energies[0] * energies[1])[:, None, None]
    inner = surface[:, 1:-1, 1:-1].reshape(len(a), -1)
    rows, columns = np.divmod(inner.argmax(1), 2 * max_shift + 1)
    tiles = np.arange(len(a))
    at_peak = lambda dy, dx: surface[tiles, rows + 1 + dy, columns + 1 + dx]
    offset, information, peaks = _fit_parabola(at_peak)
    shifts = np.stack([columns - max_shift, rows - max_shift], -1) + offset
    return shifts, information, peaks


def _correlate_pair(a: np.ndarray, b: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """The circular correlation of two tiles `[S, S]` at `lags` in both directions, `[L, L]`.

    OpenCV's transforms: as fast as SciPy's, of which `scipy.fft` alone takes a fifth of a second to import, and three
    times as fast as NumPy's.
    """
    spectrum = cv2.mulSpectrums(cv2.dft(b), cv2.dft(a), 0, conjB=True)
    return cv2.dft(spectrum, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE | cv2.DFT_REAL_OUTPUT)[lags[:, None], lags]


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
