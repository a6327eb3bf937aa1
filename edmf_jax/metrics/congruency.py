"""Phase congruency, Kovesi's measure of edges and corners that contrast does not matter to.

Kovesi 1999, Videre 1(3), and Kovesi 2003 (DICTA), constants of his `phasecong3`.
Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes (`frames`).
"""

import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics import fourier
from edmf_jax.metrics.bands import Planes
from edmf_jax.metrics.frames import Frame, blacken, inside, is_known, real

SCALES, ORIENTATIONS = 4, 6
SHORTEST_WAVE_PX, WAVE_RATIO = 3.0, 2.1
RADIAL_SIGMA = 0.55  # of the log-Gabor filter, relative to its centre frequency
ANGULAR_SIGMA = np.pi / ORIENTATIONS / 1.2
NOISE_DEVIATIONS, NOISE_SCALE = 2.0, 1.7
WIDTH_CUT_OFF, WIDTH_GAIN = 0.5, 10.0
LOW_PASS, LOW_PASS_ORDER = 0.45, 15
_EPSILON = 1e-4


class Features(NamedTuple):
    """Phase congruency of every pixel, and the larger and smaller moment of its covariance over orientations."""

    congruency: jax.Array
    edge: jax.Array
    corner: jax.Array


def phase_congruency(planes: jax.Array, frame: Frame) -> Features:
    """Kovesi's PC₂ at four scales and six orientations, noise compensated, of planes `[..., H, W]`.

    Outside of `jit`, with a frame of Python integers, only the transforms are compiled
    for its size, everything else once for planes of a shape.
    """
    shape = planes.shape
    planes = _without_mean(planes.reshape(-1, *shape[-2:]), frame)
    in_pieces = is_known(frame) and not isinstance(planes, jax.core.Tracer)
    loop, each = (_loop, _each) if in_pieces else (jax.lax.fori_loop, _map)
    grid = _frequency_grid(shape[-2:], frame, planes.dtype)
    spectra = each(lambda x: fourier.fft2(x, frame), planes)
    sums = each(lambda x: (jnp.zeros_like(x),) * 5, planes)

    def add(index: int | jax.Array, sums: Planes) -> Planes:
        filters, noise_gain = _oriented_filters(grid, index)

        def add_to_one(spectrum: jax.Array, sums: Planes) -> Planes:
            responses = fourier.ifft2(_filtered(spectrum, filters), frame)
            return _add_orientation(sums, responses, noise_gain, index, frame)

        return each(add_to_one, spectra, sums)

    features = each(_features, loop(0, ORIENTATIONS, add, sums))
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *features) if in_pieces else features
    return jax.tree.map(lambda x: x.reshape(shape), stacked)


def _loop(start: int, stop: int, step: Callable, value: list[Planes]) -> list[Planes]:
    """`jax.lax.fori_loop` of a function whose parts are compiled already."""
    for index in range(start, stop):
        value = step(index, value)
    return value


def _each(function: Callable, *arguments: Iterable) -> list:
    """The function of every plane; what belongs to the planes is a list."""
    return [function(*one) for one in zip(*arguments)]


def _map(function: Callable, *arguments):
    """The same while tracing; what belongs to the planes has them on its first axis."""
    return jax.lax.map(lambda one: function(*one), arguments)


@jax.jit
def _without_mean(planes: jax.Array, frame: Frame) -> jax.Array:
    """The filters know no mean; without it, a constant picture is exactly silent."""
    planes = real(planes)
    return blacken(planes - planes[:, :1, :1], frame)


class _Grid(NamedTuple):
    """Per frequency of the frame, `[W, H]` as spectra: log radius, low-pass without the mean, angle, mirrored angle."""

    log_radius: jax.Array
    gain: jax.Array
    angle: jax.Array
    mirrored_angle: jax.Array


@functools.partial(jax.jit, static_argnames=("shape", "dtype"))
def _frequency_grid(shape: tuple[int, int], frame: Frame, dtype: jnp.dtype) -> _Grid:
    cycles = [fourier.frequencies(n, size).astype(dtype) for n, size in zip(shape, frame)]
    # Cycles per pixel; of odd sizes over n − 1, as Kovesi's grid, but for the low-pass.
    y, x = (c / (size - size % 2) for c, size in zip(cycles, frame))
    # −k of the Nyquist frequency of an even size is that frequency itself.
    mirrored_y, mirrored_x = (jnp.where(2 * c == -n, s, -s) for c, s, n in zip(cycles, (y, x), frame))
    square = jnp.square(x[:, None]) + jnp.square(y[None, :])
    mean = square == 0
    low_y, low_x = (jnp.square(c / size) for c, size in zip(cycles, frame))
    gain = jnp.where(mean, 0, 1 / (1 + ((low_x[:, None] + low_y[None, :]) / LOW_PASS**2) ** LOW_PASS_ORDER))
    angle = jnp.arctan2(-y[None, :], x[:, None])
    mirrored_angle = jnp.arctan2(-mirrored_y[None, :], mirrored_x[:, None])
    gain = blacken(gain, Frame(frame.width, frame.height))
    return _Grid(jnp.log(jnp.where(mean, 1, square)) / 2, gain, angle, mirrored_angle)


@jax.jit
def _oriented_filters(grid: _Grid, index: int | jax.Array) -> tuple[jax.Array, jax.Array]:
    """The log-Gabor filters of one orientation, `[scales, W, H]`, and what they make of noise.

    That is the power of noise in the sum of the even filters (by Parseval's
    theorem), over its power at the smallest scale.
    """
    angle = index * (np.pi / ORIENTATIONS)
    waves = SHORTEST_WAVE_PX * WAVE_RATIO ** np.arange(SCALES)
    offsets = [grid.log_radius + float(np.log(wave)) for wave in waves]
    radial = [jnp.exp(-jnp.square(d) / (2 * np.log(RADIAL_SIGMA) ** 2)) * grid.gain for d in offsets]
    spread, mirrored = _angular(grid.angle, angle), _angular(grid.mirrored_angle, angle)
    noise = _total(jnp.square(sum(radial) * (spread + mirrored) / 2)) / _total(jnp.square(radial[0] * spread))
    return jnp.stack([r * spread for r in radial]), noise


@jax.jit
def _filtered(spectrum: jax.Array, filters: jax.Array) -> jax.Array:
    return spectrum[None] * filters


@jax.jit
def _add_orientation(sums: Planes, responses: jax.Array, noise_gain: jax.Array, index: int | jax.Array,
                     frame: Frame) -> Planes:
    """One orientation more: energy, amplitude, and the products of the congruency's two components."""
    angle = index * (np.pi / ORIENTATIONS)
    energy, amplitude = _energy(responses, noise_gain, frame)
    congruency = jnp.where(amplitude > 0, energy / jnp.where(amplitude > 0, amplitude, 1), 0)
    along, across = congruency * jnp.cos(angle), congruency * jnp.sin(angle)
    new = energy, amplitude, along * along, across * across, along * across
    return tuple(s + t for s, t in zip(sums, new))


@jax.jit
def _features(sums: Planes) -> Features:
    energy, amplitude, xx, yy, xy = sums
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    difference = jnp.sqrt(jnp.square(xy) + jnp.square(xx - yy)) + _EPSILON
    return Features(energy / (amplitude + _EPSILON), (xx + yy + difference) / 2, (xx + yy - difference) / 2)


def _energy(responses: jax.Array, noise_gain: jax.Array, frame: Frame) -> tuple[jax.Array, jax.Array]:
    """Weighted, noise-compensated local energy of one orientation, and the sum of amplitudes."""
    parts = [(r.real, r.imag) for r in responses]
    powers = [even * even + odd * odd for even, odd in parts]
    amplitudes = [jnp.sqrt(power) for power in powers]
    even, odd = (sum(part) for part in zip(*parts))
    norm = jnp.sqrt(even * even + odd * odd) + _EPSILON
    even, odd = even / norm, odd / norm
    energy = sum(e * even + o * odd - jnp.abs(e * odd - o * even) for e, o in parts)
    noise = jnp.sqrt(_median(powers[0], frame) / np.log(2) * noise_gain)
    threshold = noise * (np.sqrt(np.pi / 2) + NOISE_DEVIATIONS * np.sqrt(2 - np.pi / 2)) / NOISE_SCALE
    energy = jnp.maximum(energy - threshold, 0)
    amplitude = sum(amplitudes)
    width = amplitude / (functools.reduce(jnp.maximum, amplitudes) + _EPSILON) / SCALES
    return energy / (1 + jnp.exp((WIDTH_CUT_OFF - width) * WIDTH_GAIN)), amplitude


def _angular(direction: jax.Array, angle: jax.Array) -> jax.Array:
    """The filters' response to a direction, Gaussian in the angle between."""
    turn = jnp.abs((direction - angle + np.pi) % (2 * np.pi) - np.pi)
    return jnp.exp(-turn * turn / (2 * ANGULAR_SIGMA**2))


def _total(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.sum(x, axis=-1), axis=-1)


def _median(x: jax.Array, frame: Frame) -> jax.Array:
    """The median over the frame of values ≥ 0, one number per plane.

    By bisection of their bit patterns, which are in the order of the values:
    on a CPU a tenth of the time of sorting.
    """
    integer = jnp.int64 if x.dtype == jnp.float64 else jnp.int32
    bits = jax.lax.bitcast_convert_type(x, integer)
    bits = jnp.where(inside(x, frame), bits, jnp.iinfo(integer).max)
    count = lambda limit: jnp.sum(bits <= limit[..., None, None], axis=(-2, -1))

    def narrow(_, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = low + (high - low) // 2
        enough = count(middle) > (frame.pixels - 1) // 2
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    batch = x.shape[:-2]
    bounds = jnp.zeros(batch, integer), jnp.full(batch, jnp.iinfo(integer).max - 1, integer)
    lower, _ = jax.lax.fori_loop(0, jnp.iinfo(integer).bits, narrow, bounds)
    # Of an even number of values, the mean of the two in the middle.
    next_one = jnp.min(jnp.where(bits > lower[..., None, None], bits, jnp.iinfo(integer).max), axis=(-2, -1))
    upper = jnp.where(count(lower) > frame.pixels // 2, lower, next_one)
    value = lambda pattern: jax.lax.bitcast_convert_type(pattern, x.dtype)
    return (value(lower) + value(upper)) / 2
