"""Structural similarity of a fused picture to its sources: SSIM and Q_Y.

SSIM: Wang, Bovik, Sheikh and Simoncelli 2004, DOI 10.1109/TIP.2003.819861.  Planes are
`[..., H, W]` in 0…255; `frame` gives the true size of padded planes (`frames`).
"""

import jax
import jax.numpy as jnp

from edmf_jax.filters import gaussian_kernel
from edmf_jax.metrics.bands import Planes, band_totals
from edmf_jax.metrics.frames import Frame, replicate, whole
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
    frame: Frame | None = None,
    textbook: bool = False,
    border: str = "replicate",
) -> jax.Array:
    """SSIM as in Table 2: ½ SSIM(F, A) + ½ SSIM(F, B), 11×11 Gaussian window, σ = 1.5 px.

    [−1, 1], higher is better; 1 where all three are equal, constants and black
    included.  Any size with `border="replicate"`, NaN below 11 px with "valid".

    The toolbox of Table 2 hands 0…255 doubles to MATLAB's `ssim`, which takes
    their dynamic range as 1, so that nothing steadies flat regions: the
    default, 0.06 to 0.25 below the usual value.  `textbook=True` takes L = 255.

    Args:
      a, b, fused: planes of one shape.
      frame: true size of padded planes.
      textbook: L = 255 instead of 1.
      border: "replicate" repeats edge pixels and averages over every pixel, as
        MATLAB; "valid" averages over the windows that lie inside the picture.
    """
    peak = 255.0 if textbook else 1.0
    to_a, to_b = mean_similarity((a, b), fused, frame=frame, dynamic_range=peak, border=border)
    return (to_a + to_b) / 2


def mean_similarity(
    references: Planes,
    image: jax.Array,
    *,
    frame: Frame | None = None,
    dynamic_range: float = 255.0,
    border: str = "replicate",
    luminance: bool = True,
) -> jax.Array:
    """Mean SSIM of `image` to each of the references, `[references, ...]`; its own moments are computed once.

    Args:
      references, image, frame, border: as in `ssim`.
      dynamic_range: L; the constants are (0.01 L)² and (0.03 L)².
      luminance: False leaves out the luminance factor (MS-SSIM's finer scales).

    Raises:
      ValueError: an unknown border.
    """
    if border not in BORDERS:
        raise ValueError(f"ssim: border must be one of {BORDERS}, got {border!r}")
    frame = whole(image) if frame is None else frame
    halo = WINDOW_PX - 1
    planes = (*references, image)
    if border == "replicate":
        planes = tuple(replicate(x, frame, halo // 2) for x in planes)
    else:
        frame = frame.shrink(halo, halo)
    last = len(references)
    if min(planes[0].shape[-2:]) < WINDOW_PX:
        return jnp.full((last, *image.shape[:-2]), jnp.nan)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))
    constants = (K1 * dynamic_range) ** 2, (K2 * dynamic_range) ** 2

    def maps(*planes: jax.Array) -> list[jax.Array]:
        means, covariances = window_moments(planes, pairs, gaussian_kernel(WINDOW_PX, SIGMA_PX))
        variances, shared = covariances[: last + 1], covariances[last + 1 :]
        if not luminance:
            means = (0.0,) * (last + 1)
        return [
            _similarity(means[i], means[last], variances[i], variances[last], shared[i], *constants)
            for i in range(last)
        ]

    return band_totals(maps, planes, frame, halo) / frame.pixels


def yang_quality(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """Q_Y: structure kept where the sources agree, the better one where they do not.

    With SSIM over a 7×7 Gaussian window (σ = 1.5 px, valid windows, constants of
    2·10⁻¹⁶ that only settle 0/0) and λ = σA² / (σA² + σB²), ½ where both are flat:
      SSIM(A, B) ≥ 0.75:  λ SSIM(A, F) + (1 − λ) SSIM(B, F),  else  max(SSIM(A, F), SSIM(B, F)),
    averaged.  [−1, 1], higher is better; 1 where all three are equal, constants
    and black included; NaN below 7 px on a side.  Yang, Zhang, Wang and Liu
    2008, Information Fusion 9(2), 156–160; λ of flat windows as in Yu Liu's corrected
    `metricYang`, which refuses pictures below 11 px.
    """
    frame = whole(fused) if frame is None else frame
    halo = YANG_WINDOW_PX - 1
    if min(fused.shape[-2:]) <= halo:
        return jnp.full(fused.shape[:-2], jnp.nan)
    weights = gaussian_kernel(YANG_WINDOW_PX, SIGMA_PX)
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))

    def maps(*planes: jax.Array) -> list[jax.Array]:
        means, (aa, bb, ff, ab, af, bf) = window_moments(planes, pairs, weights)
        between = _similarity(means[0], means[1], aa, bb, ab, YANG_CONSTANT, YANG_CONSTANT)
        to_a = _similarity(means[0], means[2], aa, ff, af, YANG_CONSTANT, YANG_CONSTANT)
        to_b = _similarity(means[1], means[2], bb, ff, bf, YANG_CONSTANT, YANG_CONSTANT)
        flat = aa + bb == 0
        share = jnp.where(flat, 0.5, aa / jnp.where(flat, 1, aa + bb))
        return [jnp.where(between >= 0.75, share * to_a + (1 - share) * to_b, jnp.maximum(to_a, to_b))]

    frame = frame.shrink(halo, halo)
    return band_totals(maps, (a, b, fused), frame, halo)[0] / frame.pixels


def _similarity(
    mean_x: jax.Array, mean_y: jax.Array, xx: jax.Array, yy: jax.Array, xy: jax.Array, c1: float, c2: float
) -> jax.Array:
    """SSIM from windowed means and (co)variances."""
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return luminance * ((2 * xy + c2) / (xx + yy + c2))
