"""MEF-SSIM: the structure that a fused picture should have, from its sources' patches.

Ma, Zeng and Wang 2015, DOI 10.1109/TIP.2015.2442920.  Planes are `[..., H, W]` in
0…255; `frame` gives the true size of padded planes (`frames`).

Everything is a function of windowed moments: with patches centred by their mean,
the desired patch is a combination r = αA·A + αB·B, so that its variance and its
covariance with the fused patch follow from those of A, B and F.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.filters import gaussian_kernel
from edmf_jax.metrics.bands import Planes, band_totals, stage
from edmf_jax.metrics.frames import Frame, real, replicate, whole
from edmf_jax.metrics.windows import window_moments

WINDOW_PX, SIGMA_PX = 11, 1.5
K2 = 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001)
_FLOOR = 1e-3  # added to every patch's contrast [grey levels], as the authors do
_EPS = 2.0**-52


def mef_ssim(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """MEF-SSIM at one scale: contrast and structure of the fused picture against the patches it should have.

    The desired patch has the larger contrast c = ‖x − μx‖ of the sources and
    the structure of their sum weighted with c^p, p = min(tan(πR/2), 10), R the
    consistency of the two structures.  Compared as SSIM without luminance,
    C = (0.03 · 255)², 11×11 Gaussian window, σ = 1.5 px, valid windows, averaged.
    [−1, 1], higher is better; 1 where all three are equal, constants and black
    included; NaN below 11 px on a side.
    """
    return _mean_quality((a, b, fused), whole(fused) if frame is None else frame)


def mef_ms_ssim(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """MEF-MS-SSIM: MEF-SSIM at three scales, Π Qₛ^wₛ with w = (0.0448, 0.2856, 0.3001) / 0.6305.

    Pictures are averaged over 2×2 px and halved between scales.  [0, 1], higher is
    better; NaN below 44 px on a side, or where a scale is negative.
    """
    frame = whole(fused) if frame is None else frame
    planes = (a, b, fused)
    large_enough = jnp.minimum(frame.height, frame.width) >= WINDOW_PX * 2 ** (len(SCALE_WEIGHTS) - 1)
    quality = jnp.where(large_enough, 1.0, jnp.nan)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            planes, frame = halve(planes, frame)
        quality = quality * _mean_quality(planes, frame) ** (weight / sum(SCALE_WEIGHTS))
    return quality


def halve(planes: Planes, frame: Frame) -> tuple[Planes, Frame]:
    """Means over 2×2 px, from the top left; an odd last row or column is averaged with itself."""

    def half(x: jax.Array) -> jax.Array:
        x = replicate(x, frame, ((0, x.shape[-2] % 2), (0, x.shape[-1] % 2)))
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    halved = tuple(stage(half, real(x)) for x in planes)
    return halved, Frame((frame.height + 1) // 2, (frame.width + 1) // 2)


def _mean_quality(planes: Planes, frame: Frame) -> jax.Array:
    halo = WINDOW_PX - 1
    if min(planes[0].shape[-2:]) <= halo:
        return jnp.full(planes[0].shape[:-2], jnp.nan)
    frame = frame.shrink(halo, halo)
    return band_totals(lambda *x: [_quality(*x)], planes, frame, halo)[0] / frame.pixels


def _quality(a: jax.Array, b: jax.Array, fused: jax.Array) -> jax.Array:
    """The quality map of the valid region."""
    square = window_moments((a, b), ((0, 0), (1, 1), (0, 1)), np.full(WINDOW_PX, 1 / WINDOW_PX)).covariances
    aa, bb, ab = (c * WINDOW_PX**2 for c in square)
    weight_a, weight_b = _patch_weights(aa, bb, ab)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    round_window = window_moments((a, b, fused), pairs, gaussian_kernel(WINDOW_PX, SIGMA_PX))
    aa, bb, ff, ab, af, bf = round_window.covariances
    desired = weight_a * weight_a * aa + 2 * weight_a * weight_b * ab + weight_b * weight_b * bb
    constant = (K2 * 255) ** 2
    return (2 * (weight_a * af + weight_b * bf) + constant) / (desired + ff + constant)


def _patch_weights(aa: jax.Array, bb: jax.Array, ab: jax.Array) -> tuple[jax.Array, jax.Array]:
    """αA, αB of the desired patch from the squared norms and the product of the centred patches."""
    norm_a, norm_b = (jnp.sqrt(jnp.maximum(x, 0)) for x in (aa, bb))
    both = jnp.sqrt(jnp.maximum(aa + bb + 2 * ab, 0))
    consistency = (both + _EPS) / (norm_a + norm_b + _EPS)
    # tan(0.95 π/2) is 12.7 already: the limit of 10 also keeps clear of the pole.
    power = jnp.minimum(jnp.tan(jnp.minimum(consistency, 0.95) * (np.pi / 2)), 10)
    contrast_a, contrast_b = norm_a + _FLOOR, norm_b + _FLOOR
    raw_a, raw_b = ((c / WINDOW_PX) ** power + _EPS for c in (contrast_a, contrast_b))
    share_a, share_b = (raw / (raw_a + raw_b) / c for raw, c in ((raw_a, contrast_a), (raw_b, contrast_b)))
    norm = jnp.sqrt(jnp.maximum(share_a * share_a * aa + 2 * share_a * share_b * ab + share_b * share_b * bb, 0))
    scale = jnp.where(norm > 0, jnp.maximum(contrast_a, contrast_b) / jnp.where(norm > 0, norm, 1), 1)
    return share_a * scale, share_b * scale
