"""Fidelity to a ground truth, where one exists: PSNR, SSIM, MS-SSIM, ΔE 2000.

Planes are `[..., H, W]` in 0…255, colour pictures `[..., H, W, 3]` sRGB in 0…255;
`frame` gives the true size of padded ones (`frames`).  One number per picture.
"""

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics.bands import band_totals
from edmf_jax.metrics.exposure import halve
from edmf_jax.metrics.fidelity import PEAK
from edmf_jax.metrics.frames import Frame, real, whole
from edmf_jax.metrics.structure import WINDOW_PX, mean_similarity

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def psnr(image: jax.Array, truth: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """10 log10(255² / MSE) dB.  [0, ∞), higher is better; +∞ for equal pictures.

    Huynh-Thu and Ghanbari 2008, DOI 10.1049/el:20080522.
    """
    frame = whole(image) if frame is None else frame
    error = band_totals(lambda x, y: [jnp.square(x - y)], (image, truth), frame)[0] / frame.pixels
    return 20 * jnp.log10(PEAK / jnp.sqrt(error))


def ssim(image: jax.Array, truth: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """SSIM with an 11×11 Gaussian window (σ = 1.5 px), L = 255, averaged over valid windows.

    [−1, 1], higher is better; 1 for equal pictures, constants and black
    included; NaN below 11 px on a side.  Wang, Bovik, Sheikh and Simoncelli
    2004, DOI 10.1109/TIP.2003.819861.
    """
    return mean_similarity((truth,), image, frame=frame, dynamic_range=PEAK, border="valid")[0]


def ms_ssim(image: jax.Array, truth: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """MS-SSIM: contrast and structure at five scales, luminance at the coarsest, Π valueₛ^wₛ.

    w = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), L = 255, SSIM's window at each
    scale, 2×2 px averaged in between.  [0, 1], higher is better, a negative
    scale counts as 0; 1 for equal pictures; NaN below 176 px on a side.
    Wang, Simoncelli and Bovik 2003, DOI 10.1109/ACSSC.2003.1292216.
    """
    frame = whole(image) if frame is None else frame
    smallest = WINDOW_PX * 2 ** (len(SCALE_WEIGHTS) - 1)
    value = jnp.where(jnp.minimum(frame.height, frame.width) >= smallest, 1.0, jnp.nan)
    planes = (image, truth)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            planes, frame = halve(planes, frame)
        coarsest = scale == len(SCALE_WEIGHTS) - 1
        part = mean_similarity((planes[1],), planes[0], frame=frame, border="valid", luminance=coarsest)[0]
        value = value * jnp.maximum(part, 0) ** weight
    return value


def delta_e_2000(image: jax.Array, truth: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """Mean CIEDE2000 colour difference of sRGB pictures `[..., H, W, 3]` in 0…255 (D65, 2°; kL = kC = kH = 1).

    [0, about 120], *lower* is better; 0 for equal pictures, 1 is just noticeable.
    Sharma, Wu and Dalal 2005, DOI 10.1002/col.20070.
    """
    planes = tuple(jnp.moveaxis(x, -1, 0) for x in (image, truth))
    frame = whole(planes[0]) if frame is None else frame
    # Rows on the second axis from the last for the bands, the channels in front.
    maps = lambda x, y: [ciede2000(srgb_to_lab(x), srgb_to_lab(y))]
    return band_totals(maps, planes, frame)[0] / frame.pixels


def srgb_to_lab(rgb: jax.Array) -> jax.Array:
    """CIE L*a*b* (D65, 2°) of sRGB in 0…255 (IEC 61966-2-1), channels on the first axis."""
    value = real(rgb) / PEAK
    linear = jnp.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
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
    """CIEDE2000 difference of L*a*b* colours, channels on the first axis."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    chroma7 = ((jnp.hypot(a1, b1) + jnp.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * jnp.sqrt(chroma7 / (chroma7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = jnp.hypot(a1, b1), jnp.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    grey = c1 * c2 == 0
    turn = h2 - h1
    turn = jnp.where(jnp.abs(turn) > np.pi, turn - 2 * np.pi * jnp.sign(turn), turn)
    hue_step = jnp.where(grey, 0, 2 * jnp.sqrt(c1 * c2) * jnp.sin(turn / 2))
    around = jnp.abs(h1 - h2) > np.pi
    hue = (h1 + h2) / 2 + jnp.where(around, jnp.where(h1 + h2 < 2 * np.pi, np.pi, -np.pi), 0.0)
    hue = jnp.where(grey, h1 + h2, hue)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = (
        1 - 0.17 * jnp.cos(hue - np.radians(30)) + 0.24 * jnp.cos(2 * hue)
        + 0.32 * jnp.cos(3 * hue + np.radians(6)) - 0.20 * jnp.cos(4 * hue - np.radians(63))
    )  # fmt: skip
    away = jnp.square(lightness - 50)
    step_l = (l2 - l1) / (1 + 0.015 * away / jnp.sqrt(20 + away))
    step_c = (c2 - c1) / (1 + 0.045 * chroma)
    step_h = hue_step / (1 + 0.015 * chroma * weight)
    blue = np.radians(30) * jnp.exp(-jnp.square((hue - np.radians(275)) / np.radians(25)))
    chroma7 = chroma**7
    rotation = -jnp.sin(2 * blue) * 2 * jnp.sqrt(chroma7 / (chroma7 + 25.0**7))
    square = step_l * step_l + step_c * step_c + step_h * step_h + rotation * step_c * step_h
    return jnp.sqrt(jnp.maximum(square, 0))


def _hue(a: jax.Array, b: jax.Array) -> jax.Array:
    """The hue angle in [0, 2π); 0 for grey."""
    grey = (a == 0) & (b == 0)
    angle = jnp.where(grey, 0, jnp.arctan2(b, jnp.where(grey, 1, a)))
    return jnp.where(angle < 0, angle + 2 * np.pi, angle)
