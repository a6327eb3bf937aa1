"""Structural similarity of a fused picture to its sources: SSIM and Q_Y."""

import jax
import jax.numpy as jnp

from edmf_jax.core.filters import gaussian_kernel
from edmf_jax.core.valid_size import ValidSize, full_size, replicate_edge
from edmf_jax.metrics.bands import Planes, band_totals
from edmf_jax.metrics.windows import window_moments

WINDOW_PX, SIGMA_PX = 11, 1.5
K1, K2 = 0.01, 0.03
BORDERS = ("replicate", "valid")
YANG_WINDOW_PX, YANG_CONSTANT = 7, 2e-16


def ssim(
    a: jax.Array,
    b: jax.Array,
    fused: jax.Array,
    *,
    valid_size: ValidSize | None = None,
    textbook: bool = False,
    border: str = "replicate",
) -> jax.Array:
    """SSIM as in Table 2: ½ SSIM(F, A) + ½ SSIM(F, B), with an 11×11 Gaussian window, σ = 1.5 px.

    In [−1, 1], no unit; higher is better.  1 where all three pictures are equal, constant and black ones included.
    With `border="valid"`, NaN if a side is shorter than 11 px; "replicate" takes any size.

    The toolbox of Table 2 hands 0…255 doubles to MATLAB's `ssim`, which then takes their dynamic range L as 1, so that
    its constants no longer stabilize flat regions.  That is the default, 0.06 to 0.25 below the usual value;
    `textbook=True` takes L = 255.

    Wang, Bovik, Sheikh and Simoncelli 2004, DOI 10.1109/TIP.2003.819861.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.
      textbook: L = 255 instead of 1.
      border: "replicate" repeats edge pixels and averages over every pixel, as MATLAB does; "valid" averages over the
        windows that lie inside the picture.

    Returns:
      One number per plane, `[...]`.

    Raises:
      ValueError: an unknown border.
    """
    dynamic_range = 255.0 if textbook else 1.0
    to_a, to_b = mean_similarity((a, b), fused, valid_size=valid_size, dynamic_range=dynamic_range, border=border)
    return (to_a + to_b) / 2


def mean_similarity(
    references: Planes,
    image: jax.Array,
    *,
    valid_size: ValidSize | None = None,
    dynamic_range: float = 255.0,
    border: str = "replicate",
    luminance: bool = True,
) -> jax.Array:
    """Mean SSIM of `image` to each of the references; the moments of `image` are computed only once.

    Args:
      references: planes `[..., H, W]`, gray levels in 0…255.
      image: planes of the same shape.
      valid_size, border: as in `ssim`.
      dynamic_range: L; the constants are (0.01 L)² and (0.03 L)².
      luminance: False leaves out the luminance factor (for MS-SSIM's finer scales).

    Returns:
      `[references, ...]`; NaN if a side is shorter than 11 px and `border` is "valid".

    Raises:
      ValueError: an unknown border.
    """
    if border not in BORDERS:
        raise ValueError(f"ssim: border must be one of {BORDERS}, got {border!r}")
    valid_size = full_size(image) if valid_size is None else valid_size
    halo = WINDOW_PX - 1
    planes = (*references, image)
    if border == "replicate":
        planes = tuple(replicate_edge(x, valid_size, halo // 2) for x in planes)
    else:
        valid_size = valid_size.shrink(halo, halo)
    last = len(references)
    if min(planes[0].shape[-2:]) < WINDOW_PX:
        return jnp.full((last, *image.shape[:-2]), jnp.nan)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))
    constants = (K1 * dynamic_range) ** 2, (K2 * dynamic_range) ** 2

    def maps(*planes: jax.Array) -> list[jax.Array]:
        means, covariances = window_moments(planes, pairs, gaussian_kernel(WINDOW_PX, SIGMA_PX))
        variances, with_image = covariances[: last + 1], covariances[last + 1 :]
        if not luminance:
            means = (0.0,) * (last + 1)
        return [
            _similarity(means[i], means[last], variances[i], variances[last], with_image[i], *constants)
            for i in range(last)
        ]

    return band_totals(maps, planes, valid_size, halo) / valid_size.pixels


def yang_quality(a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """Q_Y: the sources' structure where they agree, the better preserved one where they do not.

    SSIM is taken over a 7×7 Gaussian window (σ = 1.5 px, windows inside the picture, constants of 2·10⁻¹⁶ that only
    settle 0/0).  With λ = σA² / (σA² + σB²), or ½ where both windows are constant, the value is the mean of
      λ SSIM(A, F) + (1 − λ) SSIM(B, F)   where SSIM(A, B) ≥ 0.75,
      max(SSIM(A, F), SSIM(B, F))         elsewhere.

    In [−1, 1], no unit; higher is better.  1 where all three pictures are equal, constant and black ones included.  NaN
    if a side is shorter than 7 px.

    Yang, Zhang, Wang and Liu 2008, Information Fusion 9(2), 156–160, DOI 10.1016/j.inffus.2006.09.001; λ of constant
    windows as in Yu Liu's corrected `metricYang`, which refuses pictures below 11 px.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    halo = YANG_WINDOW_PX - 1
    if min(fused.shape[-2:]) <= halo:
        return jnp.full(fused.shape[:-2], jnp.nan)
    weights = gaussian_kernel(YANG_WINDOW_PX, SIGMA_PX)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

    def maps(*planes: jax.Array) -> list[jax.Array]:
        means, (aa, bb, ff, ab, af, bf) = window_moments(planes, pairs, weights)
        a_to_b = _similarity(means[0], means[1], aa, bb, ab, YANG_CONSTANT, YANG_CONSTANT)
        to_a = _similarity(means[0], means[2], aa, ff, af, YANG_CONSTANT, YANG_CONSTANT)
        to_b = _similarity(means[1], means[2], bb, ff, bf, YANG_CONSTANT, YANG_CONSTANT)
        both_constant = aa + bb == 0
        weight = jnp.where(both_constant, 0.5, aa / jnp.where(both_constant, 1, aa + bb))
        return [jnp.where(a_to_b >= 0.75, weight * to_a + (1 - weight) * to_b, jnp.maximum(to_a, to_b))]

    valid_size = valid_size.shrink(halo, halo)
    return band_totals(maps, (a, b, fused), valid_size, halo)[0] / valid_size.pixels


def _similarity(
    mean_x: jax.Array, mean_y: jax.Array, xx: jax.Array, yy: jax.Array, xy: jax.Array, c1: float, c2: float
) -> jax.Array:
    """The SSIM map, from windowed means and (co)variances."""
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return luminance * ((2 * xy + c2) / (xx + yy + c2))
