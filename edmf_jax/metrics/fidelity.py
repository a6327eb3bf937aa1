"""Statistics of the fused picture and of its differences from the sources: PSNR, SD, CC, SCD.

Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes
(`frames`).  One number per plane.
"""

import jax
import jax.numpy as jnp

from edmf_jax.metrics.bands import Planes, band_totals
from edmf_jax.metrics.frames import Frame, real, whole

PEAK = 255.0


def psnr(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None, textbook: bool = False
) -> jax.Array:
    """PSNR of the fused picture, in dB, from the mean of its two squared errors: MSE = ½ MSE(F, A) + ½ MSE(F, B).

    One logarithm of the mean error, not the mean of two.  Higher is better; +∞
    where all three are equal (and so is then a mean over pictures).  Definition
    of the ratio: Huynh-Thu and Ghanbari 2008, DOI 10.1049/el:20080522.

    The toolbox of Table 2 scales the data to 0…1 and keeps the peak 255, so that
    its values lie 20 log10 255 = 48.1308 dB above the usual ones: the default,
    48.13 dB at least.  `textbook=True` gives 10 log10(255² / MSE), 0 dB at least.
    """
    frame = whole(fused) if frame is None else frame
    squares = lambda a, b, fused: [jnp.square(fused - a) + jnp.square(fused - b)]
    error = band_totals(squares, (a, b, fused), frame)[0] / (2 * frame.pixels)
    peak = PEAK if textbook else PEAK**2
    return 20 * jnp.log10(peak / jnp.sqrt(error))


def standard_deviation(x: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """SD, the population standard deviation of the grey levels.

    [0, 127.5], higher is better (contrast); 0 for a constant picture.  As a
    fusion metric, for instance: Ma, Ma and Li 2019, DOI 10.1016/j.inffus.2018.02.004.
    """
    frame = whole(x) if frame is None else frame
    return jnp.sqrt(_comoments((x,), ((0, 0),), frame)[0] / frame.pixels)


def correlation_coefficient(a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """CC, the mean of Pearson's correlation of the fused picture with each source.

    [−1, 1], higher is better; 1 where all three are equal, NaN where one is
    constant.  Deshmukh and Bhosale 2010, Int. J. Image Processing 4(5), 484–508 (no DOI).

    The toolbox of Table 2 takes mean(A) off B in the numerator: a slip without
    effect, because the other factor sums to zero, so there is nothing to choose.
    """
    frame = whole(fused) if frame is None else frame
    aa, bb, ff, af, bf = _comoments((a, b, fused), ((0, 0), (1, 1), (2, 2), (0, 2), (1, 2)), frame)
    return (_correlation(af, aa, ff) + _correlation(bf, bb, ff)) / 2


def sum_of_correlations_of_differences(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None
) -> jax.Array:
    """SCD = r(F − B, A) + r(F − A, B), with Pearson's correlation r.

    [−2, 2], higher is better; NaN where a source is constant or the fused
    picture differs from one by a constant only.  Aslantas and Bendes 2015,
    DOI 10.1016/j.aeue.2015.09.004.
    """
    frame = whole(fused) if frame is None else frame
    a, b, fused = real(a), real(b), real(fused)
    planes = (a, b, fused - b, fused - a)
    aa, bb, xx, yy, ax, by = _comoments(planes, ((0, 0), (1, 1), (2, 2), (3, 3), (0, 2), (1, 3)), frame)
    return _correlation(ax, aa, xx) + _correlation(by, bb, yy)


def _comoments(planes: Planes, pairs: tuple[tuple[int, int], ...], frame: Frame) -> jax.Array:
    """Σ (x − mean x)(y − mean y) of every pair of planes, `[pairs, ...]`, centred before anything is squared."""
    # About a sample first: exact for integers, so that a constant plane has no deviation at all.
    first = [real(x)[..., :1, :1] for x in planes]
    shifts = band_totals(lambda *x: [p - c for p, c in zip(x, first)], planes, frame) / frame.pixels
    centres = [c + s[..., None, None] for c, s in zip(first, shifts)]

    def products(*planes: jax.Array) -> list[jax.Array]:
        centred = [x - centre for x, centre in zip(planes, centres)]
        return [centred[i] * centred[j] for i, j in pairs]

    return band_totals(products, planes, frame)


def _correlation(xy: jax.Array, xx: jax.Array, yy: jax.Array) -> jax.Array:
    return xy / (jnp.sqrt(xx) * jnp.sqrt(yy))
