"""Structural similarity of a fused picture to its sources.

Wang, Bovik, Sheikh and Simoncelli 2004, DOI 10.1109/TIP.2003.819861.  Planes are
`[..., H, W]` in 0…255; `frame` gives the true size of padded planes (`frames`).
"""

import jax
import jax.numpy as jnp

from edmf_jax.filters import gaussian_kernel
from edmf_jax.metrics.bands import band_totals
from edmf_jax.metrics.frames import Frame, replicate, whole
from edmf_jax.metrics.windows import Planes, window_moments

WINDOW_PX, SIGMA_PX = 11, 1.5
K1, K2 = 0.01, 0.03
BORDERS = ("replicate", "valid")


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
    values = ssim_of_pairs((a, b), fused, frame=frame, dynamic_range=255.0 if textbook else 1.0, border=border)
    return (values[0] + values[1]) / 2


def ssim_of_pairs(
    references: Planes,
    image: jax.Array,
    *,
    frame: Frame | None = None,
    dynamic_range: float = 255.0,
    border: str = "replicate",
) -> jax.Array:
    """Mean SSIM of `image` to each of the references, `[references, ...]`; their moments are shared.

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
    if min(planes[0].shape[-2:]) < WINDOW_PX:
        return jnp.full((len(references), *image.shape[:-2]), jnp.nan, image.dtype)
    maps = lambda *planes: ssim_maps(planes[:-1], planes[-1], dynamic_range)
    return band_totals(maps, planes, frame, halo) / frame.pixels


def ssim_maps(references: Planes, image: jax.Array, dynamic_range: float) -> list[jax.Array]:
    """SSIM of `image` to each reference about every pixel of the valid region."""
    last = len(references)
    pairs = tuple((i, i) for i in range(last + 1)) + tuple((i, last) for i in range(last))
    weights = gaussian_kernel(WINDOW_PX, SIGMA_PX)
    means, covariances = window_moments((*references, image), pairs, weights)
    c1, c2 = (K1 * dynamic_range) ** 2, (K2 * dynamic_range) ** 2
    maps = []
    for i in range(last):
        luminance = (2 * means[i] * means[last] + c1) / (means[i] ** 2 + means[last] ** 2 + c1)
        contrast = (2 * covariances[last + 1 + i] + c2) / (covariances[i] + covariances[last] + c2)
        maps.append(luminance * contrast)
    return maps
