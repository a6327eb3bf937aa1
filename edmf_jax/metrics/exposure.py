"""MEF-SSIM and MEF-MS-SSIM: structural similarity to the patches that an ideal multi-exposure fusion would have.

Both are functions of windowed moments alone.  With patches centered by their mean, the desired patch is a combination
r = αA·A + αB·B, so its variance and its covariance with the fused patch follow from those of A, B and F.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import gaussian_kernel
from edmf_jax.core.valid_size import ValidSize, as_float, full_size, replicate_edge
from edmf_jax.metrics.bands import Planes, band_totals, cpu_fusion_barrier
from edmf_jax.metrics.windows import window_moments

WINDOW_PX, SIGMA_PX = 11, 1.5
K2 = 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001)
_CONTRAST_OFFSET = 1e-3  # added to every patch's contrast [gray levels], as the authors do
_EPSILON = 2.0**-52


def mef_ssim(a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """MEF-SSIM at one scale: contrast and structure of the fused picture against the desired patches.

    The desired patch has the larger contrast c = ‖x − μx‖ of the two sources, and the structure of their sum weighted
    with c^p, where p = min(tan(πR/2), 10) and R is the consistency of the two structures.  It is compared by SSIM
    without the luminance factor, C = (0.03 · 255)², 11×11 Gaussian window, σ = 1.5 px, averaged over the windows that
    lie inside the picture.

    In [−1, 1], no unit; higher is better.  1 where all three pictures are equal, or all constant (also black).  NaN if
    a side is shorter than 11 px.  Ma, Zeng and Wang 2015, DOI 10.1109/TIP.2015.2442920.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    return _mean_quality((a, b, fused), full_size(fused) if valid_size is None else valid_size)


def mef_ms_ssim(a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """MEF-MS-SSIM: MEF-SSIM at three scales, Π Qₛ^wₛ with w = (0.0448, 0.2856, 0.3001) / 0.6305.

    Pictures are halved between scales by averaging 2×2 px.

    In [0, 1], no unit; higher is better.  1 where all three pictures are equal, or all constant (also black).  NaN if a
    side is shorter than 44 px, or where a scale is negative.  Ma, Zeng and Wang 2015, DOI 10.1109/TIP.2015.2442920.

    Args:
      a, b, fused, valid_size: as in `mef_ssim`.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    planes = (a, b, fused)
    is_large_enough = jnp.minimum(valid_size.height, valid_size.width) >= WINDOW_PX * 2 ** (len(SCALE_WEIGHTS) - 1)
    quality = jnp.where(is_large_enough, 1.0, jnp.nan)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            planes, valid_size = halve(planes, valid_size)
        quality = quality * _mean_quality(planes, valid_size) ** (weight / sum(SCALE_WEIGHTS))
    return quality


def halve(planes: Planes, valid_size: ValidSize) -> tuple[Planes, ValidSize]:
    """Planes `[..., H, W]` at half size, and their new valid size.

    Means of 2×2 px, counted from the top left; an odd last row or column is averaged with itself.
    """

    def mean_2x2(x: jax.Array) -> jax.Array:
        x = replicate_edge(x, valid_size, ((0, x.shape[-2] % 2), (0, x.shape[-1] % 2)))
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    halved = tuple(cpu_fusion_barrier(mean_2x2, as_float(x)) for x in planes)
    return halved, ValidSize((valid_size.height + 1) // 2, (valid_size.width + 1) // 2)


def _mean_quality(planes: Planes, valid_size: ValidSize) -> jax.Array:
    halo = WINDOW_PX - 1
    if min(planes[0].shape[-2:]) <= halo:
        return jnp.full(planes[0].shape[:-2], jnp.nan)
    valid_size = valid_size.shrink(halo, halo)
    return band_totals(lambda *x: [_quality_map(*x)], planes, valid_size, halo)[0] / valid_size.pixels


def _quality_map(a: jax.Array, b: jax.Array, fused: jax.Array) -> jax.Array:
    """The quality of every window that lies inside the planes."""
    box = window_moments((a, b), ((0, 0), (1, 1), (0, 1)), np.full(WINDOW_PX, 1 / WINDOW_PX)).covariances
    aa, bb, ab = (c * WINDOW_PX**2 for c in box)
    weight_a, weight_b = _patch_weights(aa, bb, ab)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    gaussian = window_moments((a, b, fused), pairs, gaussian_kernel(WINDOW_PX, SIGMA_PX))
    aa, bb, ff, ab, af, bf = gaussian.covariances
    desired = weight_a * weight_a * aa + 2 * weight_a * weight_b * ab + weight_b * weight_b * bb
    constant = (K2 * 255) ** 2
    return (2 * (weight_a * af + weight_b * bf) + constant) / (desired + ff + constant)


def _patch_weights(aa: jax.Array, bb: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """αA, αB of the desired patch, from the centered patches' squared norms and inner product."""
    norm_a, norm_b = (jnp.sqrt(jnp.maximum(x, 0)) for x in (aa, bb))
    norm_of_sum = jnp.sqrt(jnp.maximum(aa + bb + 2 * ab, 0))
    consistency = (norm_of_sum + _EPSILON) / (norm_a + norm_b + _EPSILON)
    # tan(0.95 π/2) is 12.7, above the limit of 10 already: clipping at 0.95 changes nothing and avoids the pole.
    power = jnp.minimum(jnp.tan(jnp.minimum(consistency, 0.95) * (np.pi / 2)), 10)
    contrast_a, contrast_b = norm_a + _CONTRAST_OFFSET, norm_b + _CONTRAST_OFFSET
    raw_a, raw_b = ((c / WINDOW_PX) ** power + _EPSILON for c in (contrast_a, contrast_b))
    # Normalized weights, divided by the contrasts because they apply to structures of norm 1.
    weight_a, weight_b = (raw / (raw_a + raw_b) / c for raw, c in ((raw_a, contrast_a), (raw_b, contrast_b)))
    norm = jnp.sqrt(
        jnp.maximum(weight_a * weight_a * aa + 2 * weight_a * weight_b * ab + weight_b * weight_b * bb, 0)
    )
    scale = jnp.where(norm > 0, jnp.maximum(contrast_a, contrast_b) / jnp.where(norm > 0, norm, 1), 1)
    return weight_a * scale, weight_b * scale
