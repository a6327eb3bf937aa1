"""Phase congruency: Kovesi's measure of edges and corners, which does not depend on contrast.

Kovesi 1999, Videre 1(3), and Kovesi 2003 (DICTA); neither has a DOI. The constants are those of his `phasecong3`.
Planes are `[..., H, W]`, gray levels in 0…255; `valid_size` is the true size of padded planes (`core.valid_size`).
"""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize, as_float, is_static, valid_mask, zero_outside
from edmf_jax.metrics import fourier
from edmf_jax.metrics.bands import Planes

SCALES, ORIENTATIONS = 4, 6
SHORTEST_WAVE_PX, WAVE_RATIO = 3.0, 2.1
RADIAL_SIGMA = 0.55  # of the log-Gabor filter, relative to its center frequency
ANGULAR_SIGMA = np.pi / ORIENTATIONS / 1.2
NOISE_DEVIATIONS, NOISE_SCALE = 2.0, 1.7
WIDTH_CUT_OFF, WIDTH_GAIN = 0.5, 10.0  # of the sigmoid that penalizes a narrow spread of frequencies
LOW_PASS, LOW_PASS_ORDER = 0.45, 15  # Butterworth: cut-off [cycles per pixel] and order
_EPSILON = 1e-4


class PhaseFeatures(NamedTuple):
    """Per pixel: phase congruency, and the larger and smaller moment of its covariance over orientations.

    The larger moment is high on edges, the smaller one on corners.
    """

    congruency: jax.Array
    edge: jax.Array
    corner: jax.Array


def phase_congruency(planes: jax.Array, valid_size: ValidSize) -> PhaseFeatures:
    """Kovesi's PC₂ at four scales and six orientations, with noise compensation.

    Outside `jit` and with a valid size of Python integers, only the Fourier transforms are compiled for each size;
    everything else is compiled once per shape of the planes.

    Args:
      planes: planes `[..., H, W]`.
      valid_size: their true size.

    Returns:
      Features of the shape of `planes`.
    """
    shape = planes.shape
    planes = _subtract_offset(planes.reshape(-1, *shape[-2:]), valid_size)
    eager = is_static(valid_size) and not isinstance(planes, jax.core.Tracer)
    loop, map_planes = (_python_loop, _map_in_python) if eager else (jax.lax.fori_loop, _map_traced)
    grid = _frequency_grid(shape[-2:], valid_size, planes.dtype)
    spectra = map_planes(lambda x: fourier.fft2(x, valid_size), planes)
    sums = map_planes(lambda x: (jnp.zeros_like(x),) * 5, planes)

    def add_orientation(index: int | jax.Array, sums: Planes) -> Planes:
        filters, noise_gain = _oriented_filters(grid, index)

        def add_to_plane(spectrum: jax.Array, sums: Planes) -> Planes:
            responses = fourier.ifft2(_filtered(spectrum, filters), valid_size)
            return _add_orientation(sums, responses, noise_gain, index, valid_size)

        return map_planes(add_to_plane, spectra, sums)

    features = map_planes(_features, loop(0, ORIENTATIONS, add_orientation, sums))
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *features) if eager else features
    return jax.tree.map(lambda x: x.reshape(shape), stacked)


def _python_loop(start: int, stop: int, step: Callable, value: list[Planes]) -> list[Planes]:
    """`jax.lax.fori_loop` in Python, for a `step` whose parts are compiled already."""
    for index in range(start, stop):
        value = step(index, value)
    return value


def _map_in_python(function: Callable, *arguments: Iterable) -> list:
    """`function` of each plane; per-plane values are lists."""
    return [function(*one) for one in zip(*arguments)]


def _map_traced(function: Callable, *arguments):
    """`function` of each plane while tracing; per-plane values have the planes on their first axis."""
    return jax.lax.map(lambda one: function(*one), arguments)


@jax.jit
def _subtract_offset(planes: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The planes less their first sample, 0 outside the valid part.

    The filters ignore the mean, so any offset may be removed; without it a constant plane gives exactly no response.
    """
    planes = as_float(planes)
    return zero_outside(planes - planes[:, :1, :1], valid_size)


class _FrequencyGrid(NamedTuple):
    """Per frequency, `[W, H]` as spectra are.

    Attributes:
      log_radius: natural logarithm of the radius [cycles per pixel].
      gain: of the low-pass filter; 0 at the mean and outside the valid size.
      angle: direction [rad].
      mirrored_angle: direction of the opposite frequency [rad].
    """

    log_radius: jax.Array
    gain: jax.Array
    angle: jax.Array
    mirrored_angle: jax.Array


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _frequency_grid(shape: tuple[int, int], valid_size: ValidSize, dtype: jnp.dtype) -> _FrequencyGrid:
    cycles = [fourier.frequencies(n, size).astype(dtype) for n, size in zip(shape, valid_size)]
    # In cycles per pixel. As in Kovesi's code, an odd size n is divided by n − 1, except in the low-pass filter.
    y, x = (c / (size - size % 2) for c, size in zip(cycles, valid_size))
    # The opposite of an even size's Nyquist frequency is that frequency itself.
    mirrored_y, mirrored_x = (jnp.where(2 * c == -n, s, -s) for c, s, n in zip(cycles, (y, x), valid_size))
    square = jnp.square(x[:, None]) + jnp.square(y[None, :])
    mean = square == 0
    low_y, low_x = (jnp.square(c / size) for c, size in zip(cycles, valid_size))
    gain = jnp.where(mean, 0, 1 / (1 + ((low_x[:, None] + low_y[None, :]) / LOW_PASS**2) ** LOW_PASS_ORDER))
    angle = jnp.arctan2(-y[None, :], x[:, None])
    mirrored_angle = jnp.arctan2(-mirrored_y[None, :], mirrored_x[:, None])
    gain = zero_outside(gain, ValidSize(valid_size.width, valid_size.height))
    return _FrequencyGrid(jnp.log(jnp.where(mean, 1, square)) / 2, gain, angle, mirrored_angle)


@jax.jit
def _oriented_filters(grid: _FrequencyGrid, index: int | jax.Array) -> tuple[jax.Array, jax.Array]:
    """The log-Gabor filters of one orientation, `[scales, W, H]`, and their noise gain.

    The noise gain is the power of noise in the sum of the even-symmetric filters (by Parseval's theorem), divided by
    its power in the filter of the smallest scale.
    """
    angle = index * (np.pi / ORIENTATIONS)
    waves = SHORTEST_WAVE_PX * WAVE_RATIO ** np.arange(SCALES)
    offsets = [grid.log_radius + float(np.log(wave)) for wave in waves]
    radial = [jnp.exp(-jnp.square(d) / (2 * np.log(RADIAL_SIGMA) ** 2)) * grid.gain for d in offsets]
    spread, mirrored = _angular_gain(grid.angle, angle), _angular_gain(grid.mirrored_angle, angle)
    noise = _total(jnp.square(sum(radial) * (spread + mirrored) / 2)) / _total(jnp.square(radial[0] * spread))
    return jnp.stack([r * spread for r in radial]), noise


@jax.jit
def _filtered(spectrum: jax.Array, filters: jax.Array) -> jax.Array:
    return spectrum[None] * filters


@jax.jit
def _add_orientation(sums: Planes, responses: jax.Array, noise_gain: jax.Array, index: int | jax.Array,
                     valid_size: ValidSize) -> Planes:
    """Adds one orientation to five sums: energy, amplitude, and x², y², x·y of the congruency's vector (x, y)."""
    angle = index * (np.pi / ORIENTATIONS)
    energy, amplitude = _energy(responses, noise_gain, valid_size)
    congruency = jnp.where(amplitude > 0, energy / jnp.where(amplitude > 0, amplitude, 1), 0)
    x, y = congruency * jnp.cos(angle), congruency * jnp.sin(angle)
    new = energy, amplitude, x * x, y * y, x * y
    return tuple(s + t for s, t in zip(sums, new))


@jax.jit
def _features(sums: Planes) -> PhaseFeatures:
    energy, amplitude, xx, yy, xy = sums
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    difference = jnp.sqrt(jnp.square(xy) + jnp.square(xx - yy)) + _EPSILON
    return PhaseFeatures(energy / (amplitude + _EPSILON), (xx + yy + difference) / 2, (xx + yy - difference) / 2)


def _energy(responses: jax.Array, noise_gain: jax.Array, valid_size: ValidSize) -> tuple[jax.Array, jax.Array]:
    """Weighted, noise-compensated local energy of one orientation, and the sum of amplitudes over its scales."""
    parts = [(r.real, r.imag) for r in responses]
    powers = [even * even + odd * odd for even, odd in parts]
    amplitudes = [jnp.sqrt(power) for power in powers]
    even, odd = (sum(part) for part in zip(*parts))
    norm = jnp.sqrt(even * even + odd * odd) + _EPSILON
    even, odd = even / norm, odd / norm
    energy = sum(e * even + o * odd - jnp.abs(e * odd - o * even) for e, o in parts)
    noise = jnp.sqrt(_median(powers[0], valid_size) / np.log(2) * noise_gain)
    threshold = noise * (np.sqrt(np.pi / 2) + NOISE_DEVIATIONS * np.sqrt(2 - np.pi / 2)) / NOISE_SCALE
    energy = jnp.maximum(energy - threshold, 0)
    amplitude = sum(amplitudes)
    width = amplitude / (functools.reduce(jnp.maximum, amplitudes) + _EPSILON) / SCALES
    return energy / (1 + jnp.exp((WIDTH_CUT_OFF - width) * WIDTH_GAIN)), amplitude


def _angular_gain(direction: jax.Array, angle: jax.Array) -> jax.Array:
    """The gain of the filter oriented at `angle` in a `direction` [rad]: Gaussian in the angle between them."""
    difference = jnp.abs((direction - angle + np.pi) % (2 * np.pi) - np.pi)
    return jnp.exp(-difference * difference / (2 * ANGULAR_SIGMA**2))


def _total(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sum(x, axis=-1), axis=-1)


def _median(x: jax.Array, valid_size: ValidSize) -> jax.Array:
    """The median over the valid part of values ≥ 0, one number per plane.

    Found by bisection of the values' bit patterns, which have the same order as the values. On a CPU this takes a
    tenth of the time of sorting.
    """
    integer = jnp.int64 if x.dtype == jnp.float64 else jnp.int32
    bits = jax.lax.bitcast_convert_type(x, integer)
    bits = jnp.where(valid_mask(x, valid_size), bits, jnp.iinfo(integer).max)
    count_up_to = lambda limit: jnp.sum(bits <= limit[..., None, None], axis=(-2, -1))

    def bisect(_, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        enough = count_up_to(middle) > (valid_size.pixels - 1) // 2
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    batch = x.shape[:-2]
    bounds = jnp.zeros(batch, integer), jnp.full(batch, jnp.iinfo(integer).max - 1, integer)
    lower, _ = jax.lax.fori_loop(0, jnp.iinfo(integer).bits, bisect, bounds)
    # The median of an even number of values is the mean of the two in the middle.
    next_larger = jnp.min(jnp.where(bits > lower[..., None, None], bits, jnp.iinfo(integer).max), axis=(-2, -1))
    upper = jnp.where(count_up_to(lower) > valid_size.pixels // 2, lower, next_larger)
    value = lambda pattern: jax.lax.bitcast_convert_type(pattern, x.dtype)
    return (value(lower) + value(upper)) / 2
