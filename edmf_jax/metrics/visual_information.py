"""Visual information fidelity in the pixel domain, at four scales (vifp).

Sheikh and Bovik 2006, DOI 10.1109/TIP.2005.859378, in the multi-scale pixel form of the authors' `vifp_mscale`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import gaussian_kernel
from edmf_jax.core.valid_size import ValidSize, as_float, full_size
from edmf_jax.metrics.bands import Planes, band_totals, cpu_fusion_barrier
from edmf_jax.metrics.windows import window_moments

WINDOWS_PX = (17, 9, 5, 3)
NOISE_VARIANCE = 2.0
MINIMUM_PX = 41
_TINY = 1e-10


def vif(a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """VIF as in Table 2: vifp(A, F) + vifp(B, F), a sum, each with the source as reference (see `vifp`).

    In [0, ∞), no unit; higher is better.  2 where all three pictures are equal; above 2 only for a fused picture of
    more contrast than its sources; 0 for a constant fused picture.  NaN where a source is constant (0/0), or if a side
    is shorter than 41 px.  Sheikh and Bovik 2006, DOI 10.1109/TIP.2005.859378.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    parts = _vifp((a, b), fused, full_size(fused) if valid_size is None else valid_size)
    return parts[0] + parts[1]


def vifp(reference: jax.Array, distorted: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """The information that the distorted picture carries about the reference, divided by the reference's own.

    Gaussian windows of 17, 9, 5 and 3 px (σ a fifth of that), noise variance 2 gray levels², pictures halved between
    scales.

    In [0, ∞), no unit; higher is better.  1 for equal pictures, 0 for a constant distorted one.  NaN for a constant
    reference, or if a side is shorter than 41 px.  Sheikh and Bovik 2006, DOI 10.1109/TIP.2005.859378.

    Args:
      reference, distorted: pictures `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    return _vifp((reference,), distorted, full_size(distorted) if valid_size is None else valid_size)[0]


def _vifp(references: Planes, distorted: jax.Array, valid_size: ValidSize) -> list[jax.Array]:
    """vifp of each reference; the moments of the distorted picture are shared."""
    if min(distorted.shape[-2:]) < MINIMUM_PX:
        return [jnp.full(distorted.shape[:-2], jnp.nan)] * len(references)
    last = len(references)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))
    planes, sums = (*references, distorted), 0.0
    for scale, size in enumerate(WINDOWS_PX):
        weights = gaussian_kernel(size, size / 5)
        if scale:
            planes = tuple(_halve(jnp.stack(planes), weights))
            valid_size = ValidSize((valid_size.height - size + 2) // 2, (valid_size.width - size + 2) // 2)

        def maps(*planes: jax.Array, weights: np.ndarray = weights) -> list[jax.Array]:
            covariances = window_moments(planes, pairs, weights).covariances
            variances, with_distorted = covariances[: last + 1], covariances[last + 1 :]
            carried = [_information(variances[i], variances[last], with_distorted[i]) for i in range(last)]
            return carried + [jnp.log1p(v / NOISE_VARIANCE) for v in variances[:last]]

        sums += band_totals(maps, planes, valid_size.shrink(size - 1, size - 1), halo=size - 1)
    is_large_enough = (valid_size.height >= WINDOWS_PX[-1]) & (valid_size.width >= WINDOWS_PX[-1])
    return [jnp.where(is_large_enough, sums[i] / sums[last + i], jnp.nan) for i in range(last)]


def _information(var_x: jax.Array, var_y: jax.Array, covariance: jax.Array) -> jax.Array:
    """log(1 + g²σx² / (σv² + σn²)) of the channel y = g x + v; variances below 10⁻¹⁰ count as 0."""
    gain = covariance / (var_x + _TINY)
    noise = var_y - gain * covariance
    x_is_constant, y_is_constant = var_x < _TINY, var_y < _TINY
    noise = jnp.where(x_is_constant | (gain < 0), var_y, noise)
    noise = jnp.where(y_is_constant, 0, noise)
    gain = jnp.where(x_is_constant | y_is_constant | (gain < 0), 0, gain)
    return jnp.log1p(gain * gain * var_x / (jnp.maximum(noise, _TINY) + NOISE_VARIANCE))


def _halve(x: jax.Array, weights: np.ndarray) -> jax.Array:
    """`x` filtered with the window, without padding, every second sample kept from the first on."""
    rows = cpu_fusion_barrier(lambda y: _filter_and_halve(as_float(y), weights, -2), x)
    return cpu_fusion_barrier(lambda y: _filter_and_halve(y, weights, -1), rows)


def _filter_and_halve(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
    axis = axis % x.ndim
    length = x.shape[axis] - len(weights) + 1
    tap = lambda i: jax.lax.slice_in_dim(x, i, i + length, stride=2, axis=axis)
    # Filtering the differences from the middle sample keeps a constant region exactly constant.
    middle = tap(len(weights) // 2)
    return middle + sum(float(w) * (tap(i) - middle) for i, w in enumerate(weights))
