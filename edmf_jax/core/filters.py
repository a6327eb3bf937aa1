"""Padding, windows and differential filters on gray planes, as pure jax.numpy functions.

A plane is `[..., H, W]`, floating point, any range; leading axes are batch axes and never mix.

No filter is written as a convolution: one-channel convolutions are 20 to 50 times slower on XLA's CPU backend and
leave the matrix units of a GPU or TPU idle.  Short filters are sums of shifted slices; how the Gaussian window is
written depends on the platform (`WINDOW_FORMS`).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def reflect_pad(x: jax.Array, pad: int, axes: tuple[int, ...] = (-2, -1)) -> jax.Array:
    """Adds `pad` mirrored samples on both sides of each of `axes`; the edge sample is not repeated.

    The same values as `jnp.pad(mode="reflect")`, written as a concatenation of slices because its gradient is
    twice as fast.

    Raises:
      ValueError: an axis is not longer than `pad`.
    """
    for axis in axes:
        size = x.shape[axis]
        if size <= pad:
            raise ValueError(
                f"reflect_pad: pad={pad} needs more than {pad} samples on axis {axis}, got shape {x.shape}")
        if pad == 0:
            continue
        before = jnp.flip(jax.lax.slice_in_dim(x, 1, pad + 1, axis=axis % x.ndim), axis)
        after = jnp.flip(jax.lax.slice_in_dim(x, size - pad - 1, size - 1, axis=axis % x.ndim), axis)
        x = jnp.concatenate([before, x, after], axis)
    return x


def correlate1d(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
    """Correlation with a short fixed kernel along one axis, valid samples only: `n → n − len(weights) + 1`."""
    axis = axis % x.ndim
    length = x.shape[axis] - len(weights) + 1
    terms = [float(w) * jax.lax.slice_in_dim(x, i, i + length, axis=axis) for i, w in enumerate(weights)]
    return sum(terms[1:], terms[0])


def gaussian_kernel(size_px: int, sigma_px: float) -> np.ndarray:
    """`size_px` samples of a Gaussian with standard deviation `sigma_px`, centered, float64 with sum 1."""
    offsets = np.arange(size_px) - (size_px - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma_px**2))
    return weights / weights.sum()


def band_matrix(weights: np.ndarray, length: int) -> np.ndarray:
    """The matrix M for which `x @ M` is the valid correlation of x with `weights`.

    Shape `[length, length − len(weights) + 1]`.
    """
    columns = length - len(weights) + 1
    matrix = np.zeros((length, columns))
    for i, weight in enumerate(weights):
        matrix[np.arange(columns) + i, np.arange(columns)] = weight
    return matrix


def gaussian_filter(x: jax.Array, size_px: int = 11, sigma_px: float = 1.5) -> jax.Array:
    """Gaussian-weighted local mean over `size_px`×`size_px`, valid region: `[..., H − size_px + 1, W − size_px + 1]`.

    Written as the platform that it is compiled for needs it, see `WINDOW_FORMS`.
    """
    weights = gaussian_kernel(size_px, sigma_px)
    forms = {platform: functools.partial(_WINDOWS[form], weights=weights) for platform, form in WINDOW_FORMS.items()}
    return jax.lax.platform_dependent(x, **forms, default=functools.partial(shifted_window, weights=weights))


def window_form(platform: str) -> str:
    """How `gaussian_filter` is written for a device's `platform` ("cpu", "gpu" or "tpu"), in words."""
    return WINDOW_FORMS.get("cuda" if platform == "gpu" else platform, _SHIFTED)


def banded_window(x: jax.Array, weights: np.ndarray) -> jax.Array:
    """Correlation of planes with `weights` along both axes, valid region, as two products with banded matrices."""
    rows, columns = (jnp.asarray(band_matrix(weights, n), x.dtype) for n in x.shape[-2:])
    # Full precision: the bfloat16 or TF32 of a matrix unit has errors larger than the variances of SSIM.
    full = jax.lax.Precision.HIGHEST
    return jnp.einsum("hv,...hw,wu->...vu", rows, x, columns, precision=full, optimize=[(1, 2), (0, 1)])


def shifted_window(x: jax.Array, weights: np.ndarray) -> jax.Array:
    """The same as `banded_window`, as two sums of shifted slices."""
    return correlate1d(correlate1d(x, weights, -1), weights, -2)


_BANDED, _SHIFTED = "products with banded matrices", "sums of shifted slices"
_WINDOWS = {_BANDED: banded_window, _SHIFTED: shifted_window}
WINDOW_FORMS = {"cpu": _BANDED, "cuda": _SHIFTED, "rocm": _SHIFTED, "tpu": _BANDED}
"""How the Gaussian window is written, by the platform as JAX names it when it compiles.

On a CPU XLA takes half a minute to compile the gradient of the shifted sums, and fuses them into a program ten times
slower than the products.  On a GPU the sums become a single exact float32 loop: half the time of products in full
precision, and 35 s less to compile.  On a TPU the compiled products move half as many bytes (docs/scaling.md).
"""


def box_filter(x: jax.Array, window_px: int) -> jax.Array:
    """Local mean over an odd `window_px`×`window_px` square with reflected borders; same size out.

    Raises:
      ValueError: the window is even, or larger than the reflection of the plane allows.
    """
    if window_px % 2 == 0 or window_px < 1:
        raise ValueError(f"box_filter: window_px must be odd and positive, got {window_px}")
    weights = np.full(window_px, 1 / window_px)
    padded = reflect_pad(x, window_px // 2)
    return correlate1d(correlate1d(padded, weights, -2), weights, -1)


def laplacian(x: jax.Array) -> jax.Array:
    """4-neighbor Laplacian with reflected borders (∇ of Eqs. 3 and 4, as in MUFusion's code); same size out."""
    padded = reflect_pad(x, 1)
    middle = padded[..., 1:-1, 1:-1]
    vertical = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]
    horizontal = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return vertical + horizontal - 4 * middle
