"""Statistics of the fused picture and of its differences from the sources: PSNR, SD, CC, SCD."""

import jax
import jax.numpy as jnp

from edmf_jax.core.valid_size import ValidSize, as_float, full_size
from edmf_jax.metrics.bands import Planes, band_totals
from edmf_jax.metrics.windows import IndexPairs

PEAK = 255.0


def psnr(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None, textbook: bool = False
) -> jax.Array:
    """PSNR of the fused picture, in dB, from the mean of its two squared errors: MSE = ½ MSE(F, A) + ½ MSE(F, B).

    It is one logarithm of the mean error, not the mean of two logarithms.

    In [48.13, ∞] dB, or [0, ∞] with `textbook`; higher is better.  +∞ where all three pictures are equal, constant and
    black ones included (a mean over pictures is then +∞ too).

    The toolbox of Table 2 scales the data to 0…1 but keeps the peak 255, so its values lie 20 log10 255 = 48.1308 dB
    above the usual ones.  That is the default; `textbook=True` gives 10 log10(255² / MSE).

    Definition of the ratio: Huynh-Thu and Ghanbari 2008, DOI 10.1049/el:20080522.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.
      textbook: the usual value instead of the toolbox's.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    squares = lambda a, b, fused: [jnp.square(fused - a) + jnp.square(fused - b)]
    error = band_totals(squares, (a, b, fused), valid_size)[0] / (2 * valid_size.pixels)
    peak = PEAK if textbook else PEAK**2
    return 20 * jnp.log10(peak / jnp.sqrt(error))


def standard_deviation(x: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """SD: the population standard deviation of the gray levels, a measure of contrast.

    In [0, 127.5] gray levels; higher is better.  0 for a constant picture.  As a fusion metric, for instance: Ma, Ma
    and Li 2019, DOI 10.1016/j.inffus.2018.02.004.

    Args:
      x: picture `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(x) if valid_size is None else valid_size
    return jnp.sqrt(_comoments((x,), ((0, 0),), valid_size)[0] / valid_size.pixels)


def correlation_coefficient(a: jax.Array, b: jax.Array, fused: jax.Array, *,
                            valid_size: ValidSize | None = None) -> jax.Array:
    """CC: the mean of Pearson's correlation of the fused picture with each source.

    In [−1, 1], no unit; higher is better.  1 where all three pictures are equal, NaN where one of them is constant.
    Deshmukh and Bhosale 2010, Int. J. Image Processing 4(5), 484–508 (no DOI).

    The toolbox of Table 2 subtracts mean(A) instead of mean(B) from B in the numerator.  That slip has no effect,
    because the other factor sums to zero; so there is no `textbook` argument.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    aa, bb, ff, af, bf = _comoments((a, b, fused), ((0, 0), (1, 1), (2, 2), (0, 2), (1, 2)), valid_size)
    return (_correlation(af, aa, ff) + _correlation(bf, bb, ff)) / 2


def sum_of_correlations_of_differences(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None
) -> jax.Array:
    """SCD = r(F − B, A) + r(F − A, B), with Pearson's correlation r.

    In [−2, 2], no unit; higher is better.  NaN where a source is constant, or the fused picture differs from a source
    only by a constant (so also where all three are equal).  Aslantas and Bendes 2015, DOI 10.1016/j.aeue.2015.09.004.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    a, b, fused = as_float(a), as_float(b), as_float(fused)
    planes = (a, b, fused - b, fused - a)
    aa, bb, xx, yy, ax, by = _comoments(planes, ((0, 0), (1, 1), (2, 2), (3, 3), (0, 2), (1, 3)), valid_size)
    return _correlation(ax, aa, xx) + _correlation(by, bb, yy)


def _comoments(planes: Planes, pairs: IndexPairs, valid_size: ValidSize) -> jax.Array:
    """Σ (x − mean x)(y − mean y) of every pair of planes, `[pairs, ...]`, centered before anything is squared."""
    # Subtract one sample first: exact for integers, so a constant plane has no deviation at all.
    first = [as_float(x)[..., :1, :1] for x in planes]
    shifts = band_totals(lambda *x: [p - c for p, c in zip(x, first)], planes, valid_size) / valid_size.pixels
    centers = [c + s[..., None, None] for c, s in zip(first, shifts)]

    def products(*planes: jax.Array) -> list[jax.Array]:
        centered = [x - center for x, center in zip(planes, centers)]
        return [centered[i] * centered[j] for i, j in pairs]

    return band_totals(products, planes, valid_size)


def _correlation(xy: jax.Array, xx: jax.Array, yy: jax.Array) -> jax.Array:
    return xy / (jnp.sqrt(xx) * jnp.sqrt(yy))
