"""Where two stacks of tiles agree best: normalised cross-correlation, its peak, and how sharp that is."""

import numpy as np

NOISE = 0.004  # log units after the band-pass: a tile with less in it is flat


def window(size: int) -> np.ndarray:
    """Hann's, of sum 1."""
    hann = np.hanning(size + 2)[1:-1]
    product = np.outer(hann, hann)
    return (product / product.sum()).astype(np.float32)


def correlate(a: np.ndarray, b: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shifts, information, peaks and correlations at no shift of tiles `[T, S, S]`, S ≥ 4·reach.

    The peak is that of the parabola through its nine neighbours, biased a little towards whole
    pixels; by warping again with what was found the remaining shift, and with it the bias, goes to zero.
    """
    size = a.shape[-1]
    weight = window(size)
    centred = [(x - (x * weight).sum((1, 2), keepdims=True)) * np.sqrt(weight) for x in (a, b)]
    energies = [(x * x).sum((1, 2)) + NOISE**2 for x in centred]
    spectrum = np.conj(np.fft.rfft2(centred[0])) * np.fft.rfft2(centred[1])
    span = np.arange(-reach - 1, reach + 2) % size
    surface = np.fft.irfft2(spectrum, s=(size, size))[:, span][:, :, span]
    surface = surface / np.sqrt(energies[0] * energies[1])[:, None, None]
    inner = surface[:, 1:-1, 1:-1].reshape(len(a), -1)
    rows, columns = np.divmod(inner.argmax(1), 2 * reach + 1)
    every = np.arange(len(a))
    near = lambda dy, dx: surface[every, rows + 1 + dy, columns + 1 + dx]
    offset, information, peaks = _parabola(near)
    shifts = np.stack([columns - reach, rows - reach], -1) + offset
    return shifts, information, peaks, surface[:, reach + 1, reach + 1]


def _parabola(near) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offset of the peak from the middle sample, −1…1, its information matrix, and its height."""
    middle = near(0, 0)
    x, y = (near(0, 1) - near(0, -1)) / 2, (near(1, 0) - near(-1, 0)) / 2
    xx, yy = near(0, 1) + near(0, -1) - 2 * middle, near(1, 0) + near(-1, 0) - 2 * middle
    xy = (near(1, 1) + near(-1, -1) - near(1, -1) - near(-1, 1)) / 4
    curvature = -np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(values, 1e-4)  # flat in a direction, or a saddle at the rim of the reach
    along = np.einsum("tji,tj->ti", vectors, np.stack([x, y], -1)) / values
    offset = np.einsum("tij,tj->ti", vectors, np.clip(along, -1, 1))
    peaks = np.clip(middle, 0, 1)
    # −N/2·log(1 − ρ²), the log-likelihood of a correlation of N samples, has this curvature at its peak, up to N.
    strength = values * (peaks / (1.05 - peaks**2))[:, None]
    return offset, np.einsum("tij,tj,tkj->tik", vectors, strength, vectors), peaks
