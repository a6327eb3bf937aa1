"""Bicubic upsampling ×2 of `[B, H, W, C]`, in two ways of writing, the first with two ways for its gradient.

Both follow PyTorch's "bicubic": a = −0.75, half-pixel centers, clamped edges.  `jax.image.resize` differs: it has
a = −0.5 and renormalizes the weights at the edges.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

_CUBIC_A = -0.75  # PyTorch's, which MUFusion's weights need
# Output 2i is at source position i − ¼, which is ¾ after sample i − 1; output 2i + 1 is at i + ¼.
_PHASES = ((-2, 0.75), (-1, 0.25))  # the first of four taps relative to i, and the position after the second


def cubic_weights(phase: float) -> np.ndarray:
    """Four taps of the cubic convolution kernel (a = −0.75) for a position `phase` samples after the second tap."""
    d = np.abs(phase - np.array([-1.0, 0.0, 1.0, 2.0]))
    near = (_CUBIC_A + 2) * d**3 - (_CUBIC_A + 3) * d**2 + 1
    far = _CUBIC_A * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, far)


def upsample2(x: jax.Array) -> jax.Array:
    """`[B, H, W, C]` → `[B, 2H, 2W, C]`."""
    for axis in (1, 2):
        shape = list(x.shape)
        shape[axis] *= 2
        x = jnp.stack(upsampled_phases(x, axis), axis + 1).reshape(shape)
    return x


def upsampled_phases(x: jax.Array, axis: int) -> list[jax.Array]:
    """The even and the odd samples of `x` upsampled along an axis, each of the shape of `x`."""
    size = x.shape[axis]
    pads = [(2, 2) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = jnp.pad(x, pads, mode="edge")
    phases = []
    for first, phase in _PHASES:
        taps = [float(w) * jax.lax.slice_in_dim(padded, 2 + first + t, 2 + first + t + size, axis=axis)
                for t, w in enumerate(cubic_weights(phase))]
        phases.append(sum(taps[1:], taps[0]))
    return phases


@jax.custom_vjp
def upsample2_cpu(x: jax.Array) -> jax.Array:
    """`upsample2` with another way of writing its gradient, equal but for rounding.

    The gradient that JAX derives writes 16 arrays on a CPU, one for each tap, and adds them up; this one is a filter.
    """
    return upsample2(x)


def _cpu_backward(_, gradient):
    for axis in (2, 1):
        gradient = _collected(gradient, axis)
    return (gradient,)


upsample2_cpu.defvjp(lambda x: (upsample2(x), None), _cpu_backward)


def _collected(y: jax.Array, axis: int) -> jax.Array:
    """The transpose of upsampling along an axis: 2n samples → n, each the sum of those that were made from it."""
    size = y.shape[axis] // 2
    pairs = y.reshape(*y.shape[:axis], size, 2, *y.shape[axis + 1 :])
    pairs = jnp.pad(pairs, [(4, 4) if a == axis else (0, 0) for a in range(pairs.ndim)])
    terms = []
    for parity, (first, phase) in enumerate(_PHASES):
        samples = jax.lax.index_in_dim(pairs, parity, axis + 1, keepdims=False)
        for tap, weight in enumerate(cubic_weights(phase)):
            start = 2 - first - tap  # sample i of the padded input gave to output i − 2 − first − tap
            terms.append(float(weight) * jax.lax.slice_in_dim(samples, start, start + size + 4, axis=axis))
    padded = sum(terms[1:], terms[0])
    # The two samples before and after the ends were copies of the first and the last.
    ends = [jnp.sum(jax.lax.slice_in_dim(padded, *span, axis=axis), axis, keepdims=True)
            for span in ((0, 3), (size + 1, size + 4))]
    return jnp.concatenate([ends[0], jax.lax.slice_in_dim(padded, 3, size + 1, axis=axis), ends[1]], axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def upsample2_padded(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """`reflect_pad(upsample2(x)[:, :height, :width], 1)`: `[B, H, W, C]` → `[B, height + 2, width + 2, C]`.

    `size` is (height, width), and x has half of it, rounded up.  A sum over the few samples that any output needs,
    with weights that depend on the position: so borders need no copy, and a GPU computes it in two passes instead of
    five, and its gradient in two.
    """
    for axis in (1, 2):
        x = _expand(x, axis, size[axis - 1])
    return x


def _bands(size: int, cropped: int) -> tuple[int, dict[int, np.ndarray]]:
    """One axis of `upsample2_padded` by pairs of outputs: their number n, and offset → weights float64 `[n, 2]`.

    Pair i of outputs takes sample i + offset with these weights.
    """
    pairs = -(-(cropped + 2) // 2)
    output = np.arange(cropped + 2)
    inside = cropped - 1 - np.abs(cropped - 1 - np.abs(output - 1))  # where the reflected border is taken from
    bands = {}
    for parity, (first, phase) in enumerate(_PHASES):
        of_phase = inside % 2 == parity
        pair, half = np.divmod(output[of_phase], 2)
        for tap, weight in enumerate(cubic_weights(phase)):
            sample = np.clip(inside[of_phase] // 2 + first + tap, 0, size - 1)
            for offset in np.unique(sample - pair):
                chosen = sample - pair == offset
                bands.setdefault(int(offset), np.zeros((pairs, 2)))[pair[chosen], half[chosen]] += weight
    return pairs, dict(sorted(bands.items()))


def _moved(x: jax.Array, offset: int, length: int, axis: int) -> jax.Array:
    """Samples offset, …, offset + length − 1 along an axis, 0 where there are none."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (-offset, offset + length - x.shape[axis], 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), pads)


def _along(weights: np.ndarray, axis: int, ndim: int, dtype) -> jax.Array:
    """Weights as an array of `ndim` axes that varies along `axis` (and the next, if they have two)."""
    shape = [1] * ndim
    shape[axis : axis + weights.ndim] = weights.shape
    return jnp.asarray(weights.reshape(shape), dtype)


def _expand(x: jax.Array, axis: int, cropped: int) -> jax.Array:
    pairs, bands = _bands(x.shape[axis], cropped)
    total = sum(_along(weights, axis, x.ndim + 1, x.dtype) * jnp.expand_dims(_moved(x, offset, pairs, axis), axis + 1)
                for offset, weights in bands.items())
    shape = list(x.shape)
    shape[axis] = 2 * pairs
    return jax.lax.slice_in_dim(total.reshape(shape), 0, cropped + 2, axis=axis)


def _contract(y: jax.Array, axis: int, size: int) -> jax.Array:
    """The transpose of `_expand`, to `size` samples."""
    pairs, bands = _bands(size, y.shape[axis] - 2)
    y = _moved(y, 0, 2 * pairs, axis)
    halves = [jax.lax.slice_in_dim(y, parity, None, 2, axis) for parity in (0, 1)]
    terms = []
    for offset, weights in bands.items():
        pair = sum(_along(weights[:, parity], axis, y.ndim, y.dtype) * half for parity, half in enumerate(halves))
        terms.append(_moved(pair, -offset, size, axis))
    return sum(terms[1:], terms[0])


def _padded_forward(x, size):
    return upsample2_padded(x, size), None


def _padded_backward(size, _, gradient):
    for axis in (2, 1):
        gradient = _contract(gradient, axis, -(-size[axis - 1] // 2))
    return (gradient,)


upsample2_padded.defvjp(_padded_forward, _padded_backward)
