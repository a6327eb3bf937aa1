"""Fidelity to a ground truth, where one exists: PSNR, SSIM, MS-SSIM, ΔE 2000."""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import srgb_to_linear
from edmf_jax.core.valid_size import ValidSize, as_float, full_size
from edmf_jax.metrics.bands import band_totals
from edmf_jax.metrics.exposure import halve
from edmf_jax.metrics.fidelity import PEAK
from edmf_jax.metrics.structure import WINDOW_PX, mean_similarity

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(image: jax.Array, truth: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """PSNR = 10 log10(255² / MSE) dB.

    In [0, ∞] dB; higher is better.  +∞ for equal pictures, constant and black ones included.  Huynh-Thu and Ghanbari
    2008, DOI 10.1049/el:20080522.

    Args:
      image, truth: pictures `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(image) if valid_size is None else valid_size
    error = band_totals(lambda x, y: [jnp.square(x - y)], (image, truth), valid_size)[0] / valid_size.pixels
    return 20 * jnp.log10(PEAK / jnp.sqrt(error))


def ssim(image: jax.Array, truth: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """SSIM with an 11×11 Gaussian window (σ = 1.5 px), L = 255, averaged over the windows that lie inside the picture.

    In [−1, 1], no unit; higher is better.  1 for equal pictures, constant and black ones included.  NaN if a side is
    shorter than 11 px.  Wang, Bovik, Sheikh and Simoncelli 2004, DOI 10.1109/TIP.2003.819861.

    Args:
      image, truth: pictures `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    return mean_similarity((truth,), image, valid_size=valid_size, dynamic_range=PEAK, border="valid")[0]


def ms_ssim(image: jax.Array, truth: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """MS-SSIM: contrast and structure at five scales, luminance at the coarsest, Π valueₛ^wₛ.

    w = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), L = 255, the window of `ssim` at each scale, halved between scales by
    averaging 2×2 px.  A negative value at a scale counts as 0.

    In [0, 1], no unit; higher is better.  1 for equal pictures, constant and black ones included.  NaN if a side is
    shorter than 176 px.  Wang, Simoncelli and Bovik 2003, DOI 10.1109/ACSSC.2003.1292216.

    Args:
      image, truth: pictures `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(image) if valid_size is None else valid_size
    minimum_px = WINDOW_PX * 2 ** (len(SCALE_WEIGHTS) - 1)
    value = jnp.where(jnp.minimum(valid_size.height, valid_size.width) >= minimum_px, 1.0, jnp.nan)
    planes = (image, truth)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            planes, valid_size = halve(planes, valid_size)
        is_coarsest = scale == len(SCALE_WEIGHTS) - 1
        at_scale = mean_similarity(
            (planes[1],), planes[0], valid_size=valid_size, border="valid", luminance=is_coarsest
        )[0]
        value = value * jnp.maximum(at_scale, 0) ** weight
    return value


def delta_e_2000(image: jax.Array, truth: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """Mean CIEDE2000 color difference of sRGB pictures (D65, 2° observer; kL = kC = kH = 1).

    From 0 to about 120, no unit; *lower* is better.  0 for equal pictures, constant and black ones included; 1 is just
    noticeable.  Sharma, Wu and Dalal 2005, DOI 10.1002/col.20070.

    Args:
      image, truth: sRGB pictures `[..., H, W, 3]` in 0…255.
      valid_size: true size of padded pictures; None: they have no padding.

    Returns:
      One number per picture, `[...]`.
    """
    planes = tuple(jnp.moveaxis(x, -1, 0) for x in (image, truth))
    valid_size = full_size(planes[0]) if valid_size is None else valid_size
    # Channels in front, because `band_totals` needs rows on the last axis but one.
    maps = lambda x, y: [ciede2000(srgb_to_lab(x), srgb_to_lab(y))]
    return band_totals(maps, planes, valid_size)[0] / valid_size.pixels


def srgb_to_lab(rgb: jax.Array) -> jax.Array:
    """CIE L*a*b* (D65, 2° observer) of sRGB in 0…255 (IEC 61966-2-1), channels on the first axis: `[3, ...]`."""
    value = as_float(rgb) / PEAK
    linear = srgb_to_linear(value, jnp)
    to_xyz = (
        (0.412453, 0.357580, 0.180423),
        (0.212671, 0.715160, 0.072169),
        (0.019334, 0.119193, 0.950227),
    )
    white = (0.95047, 1.0, 1.08883)
    xyz = [sum(m * c for m, c in zip(row, linear)) / w for row, w in zip(to_xyz, white)]
    x, y, z = (jnp.where(t > 0.008856, jnp.cbrt(t), 7.787 * t + 16 / 116) for t in xyz)
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(first: jax.Array, second: jax.Array) -> jax.Array:
    """CIEDE2000 difference of L*a*b* colors `[3, ...]`, channels on the first axis: `[...]`.

    The comments give the symbols of Sharma, Wu and Dalal 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = first, second
    chroma7 = ((jnp.hypot(a1, b1) + jnp.hypot(a2, b2)) / 2) ** 7
    a_scale = 1.5 - 0.5 * jnp.sqrt(chroma7 / (chroma7 + 25.0**7))  # 1 + G
    a1, a2 = a1 * a_scale, a2 * a_scale
    c1, c2 = jnp.hypot(a1, b1), jnp.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    one_is_gray = c1 * c2 == 0
    hue_angle = h2 - h1  # Δh′
    hue_angle = jnp.where(jnp.abs(hue_angle) > np.pi, hue_angle - 2 * np.pi * jnp.sign(hue_angle), hue_angle)
    hue_difference = jnp.where(one_is_gray, 0, 2 * jnp.sqrt(c1 * c2) * jnp.sin(hue_angle / 2))  # ΔH′
    wraps = jnp.abs(h1 - h2) > np.pi
    hue = (h1 + h2) / 2 + jnp.where(wraps, jnp.where(h1 + h2 < 2 * np.pi, np.pi, -np.pi), 0.0)
    hue = jnp.where(one_is_gray, h1 + h2, hue)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue_weight = (  # T
        1 - 0.17 * jnp.cos(hue - np.radians(30)) + 0.24 * jnp.cos(2 * hue)
        + 0.32 * jnp.cos(3 * hue + np.radians(6)) - 0.20 * jnp.cos(4 * hue - np.radians(63))
    )  # fmt: skip
    from_middle = jnp.square(lightness - 50)
    l_term = (l2 - l1) / (1 + 0.015 * from_middle / jnp.sqrt(20 + from_middle))
    c_term = (c2 - c1) / (1 + 0.045 * chroma)
    h_term = hue_difference / (1 + 0.015 * chroma * hue_weight)
    rotation_angle = np.radians(30) * jnp.exp(-jnp.square((hue - np.radians(275)) / np.radians(25)))  # Δθ, for blue
    chroma7 = chroma**7
    rotation = -jnp.sin(2 * rotation_angle) * 2 * jnp.sqrt(chroma7 / (chroma7 + 25.0**7))  # R_T
    square = l_term * l_term + c_term * c_term + h_term * h_term + rotation * c_term * h_term
    return jnp.sqrt(jnp.maximum(square, 0))


def _hue(a: jax.Array, b: jax.Array) -> jax.Array:
    """The hue angle in [0, 2π); 0 for gray."""
    gray = (a == 0) & (b == 0)
    angle = jnp.where(gray, 0, jnp.arctan2(b, jnp.where(gray, 1, a)))
    return jnp.where(angle < 0, angle + 2 * np.pi, angle)
