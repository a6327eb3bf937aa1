"""Visual information fidelity in the pixel domain, at four scales (vifp).

Sheikh and Bovik 2006, DOI 10.1109/TIP.2005.859378, in the multi-scale pixel
form of the authors' `vifp_mscale`.  Planes are `[..., H, W]` in 0…255; `frame`
gives the true size of padded planes (`frames`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.filters import gaussian_kernel
from edmf_jax.metrics.bands import Planes, band_totals, stage
from edmf_jax.metrics.frames import Frame, real, whole
from edmf_jax.metrics.windows import window_moments

WINDOWS_PX = (17, 9, 5, 3)
NOISE_VARIANCE = 2.0
SMALLEST_PX = 41
_TINY = 1e-10


def vif(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """VIF as in Table 2: vifp(A, F) + vifp(B, F), a sum, each with the source as reference.

    [0, ∞), higher is better; 2 where all three are equal, above 2 only for a
    fused picture of more contrast than its sources.  NaN where a source is
    constant (0/0) or a side is shorter than 41 px.  `vifp` gives the parts.
    """
    parts = _vifp((a, b), fused, whole(fused) if frame is None else frame)
    return parts[0] + parts[1]


def vifp(reference: jax.Array, distorted: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """Information about the reference that the distorted picture carries, over what the reference has itself.

    Windows of 17, 9, 5, 3 px (σ a fifth of that), noise variance 2 grey
    levels², halved between scales.  [0, ∞), 1 for equal pictures; NaN for a
    constant reference and below 41 px on a side.
    """
    return _vifp((reference,), distorted, whole(distorted) if frame is None else frame)[0]


def _vifp(references: Planes, distorted: jax.Array, frame: Frame) -> list[jax.Array]:
    """vifp of each reference; the moments of the distorted picture are shared."""
    if min(distorted.shape[-2:]) < SMALLEST_PX:
        return [jnp.full(distorted.shape[:-2], jnp.nan)] * len(references)
    last = len(references)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))
    planes, sums = (*references, distorted), 0.0
    for scale, size in enumerate(WINDOWS_PX):
        weights = gaussian_kernel(size, size / 5)
        if scale:
            planes = tuple(_halve(jnp.stack(planes), weights))
            frame = Frame((frame.height - size + 2) // 2, (frame.width - size + 2) // 2)

        def maps(*planes: jax.Array, weights: np.ndarray = weights) -> list[jax.Array]:
            covariances = window_moments(planes, pairs, weights).covariances
            variances, shared = covariances[: last + 1], covariances[last + 1 :]
            carried = [_information(variances[i], variances[last], shared[i]) for i in range(last)]
            return carried + [jnp.log1p(v / NOISE_VARIANCE) for v in variances[:last]]

        sums += band_totals(maps, planes, frame.shrink(size - 1, size - 1), halo=size - 1)
    large_enough = (frame.height >= WINDOWS_PX[-1]) & (frame.width >= WINDOWS_PX[-1])
    return [jnp.where(large_enough, sums[i] / sums[last + i], jnp.nan) for i in range(last)]


def _information(var_x: jax.Array, var_y: jax.Array, covariance: jax.Array) -> jax.Array:
    """log(1 + g²σx² / (σv² + σn²)) of the channel y = g x + v; variances below 10⁻¹⁰ count as none."""
    gain = covariance / (var_x + _TINY)
    noise = var_y - gain * covariance
    flat_x, flat_y = var_x < _TINY, var_y < _TINY
    noise = jnp.where(flat_x | (gain < 0), var_y, noise)
    noise = jnp.where(flat_y, 0, noise)
    gain = jnp.where(flat_x | flat_y | (gain < 0), 0, gain)
    return jnp.log1p(gain * gain * var_x / (jnp.maximum(noise, _TINY) + NOISE_VARIANCE))


def _halve(x: jax.Array, weights: np.ndarray) -> jax.Array:
    """Every second sample, from the first, of the valid part of `x` filtered with the window."""
    return stage(lambda y: _filter_half(y, weights, -1), stage(lambda y: _filter_half(real(y), weights, -2), x))


def _filter_half(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
    axis = axis % x.ndim
    length = x.shape[axis] - len(weights) + 1
    tap = lambda i: jax.lax.slice_in_dim(x, i, i + length, stride=2, axis=axis)
    # About the middle sample: what is flat stays exactly so.
    middle = tap(len(weights) // 2)
    return middle + sum(float(w) * (tap(i) - middle) for i, w in enumerate(weights))
