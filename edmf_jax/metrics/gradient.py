"""Metrics of differences between neighboring pixels: spatial frequency, average gradient, edge transfer (Qabf)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.valid_size import ValidSize, full_size, replicate_edge, zero_outside
from edmf_jax.metrics.bands import band_totals, cpu_fusion_barrier


def spatial_frequency(x: jax.Array, *, valid_size: ValidSize | None = None) -> jax.Array:
    """SF = √(RF² + CF²): the root of the mean squared first differences along rows plus those along columns.

    The means are over the H·(W−1) and the (H−1)·W differences that exist.

    In [0, 361] gray levels; higher is better.  0 for a constant picture; NaN if a side is shorter than 2 px.
    Eskicioglu and Fisher 1995, DOI 10.1109/26.477498.

    Args:
      x: picture `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(x) if valid_size is None else valid_size
    squares = lambda x: [jnp.square(d) for d in _differences(x)]
    # With its edge repeated outside the valid part, the picture has no differences there.
    rows, columns = band_totals(squares, (replicate_edge(x, valid_size, ((0, 1), (0, 1))),), valid_size, halo=1)
    return jnp.sqrt(rows / valid_size.shrink(1, 0).pixels + columns / valid_size.shrink(0, 1).pixels)


def average_gradient(x: jax.Array, *, valid_size: ValidSize | None = None, textbook: bool = False) -> jax.Array:
    """AG: the mean of √((gx² + gy²) / 2).

    In [0, 255] gray levels (by default up to 255·HW/((H−1)(W−1))); higher is better.  0 for a constant picture; NaN if
    a side is shorter than 2 px.  Cui, Feng, Xu, Li and Chen 2015, DOI 10.1016/j.optcom.2014.12.032.

    The toolbox of Table 2 takes MATLAB's `gradient` (central differences, one-sided at the borders) at all H·W pixels
    and divides the sum by (H−1)(W−1).  That is the default; `textbook=True` is the paper's own definition: forward
    differences at the (H−1)(W−1) pixels that have both.

    Args:
      x: picture `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.
      textbook: the published definition instead of the toolbox's.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(x) if valid_size is None else valid_size
    if textbook:
        maps = lambda x: [_magnitude(*_differences(x))]
        sums = band_totals(maps, (x,), valid_size.shrink(1, 1), halo=1)
    else:
        row_factors, column_factors = _border_factors(x, valid_size)
        padded_factors = jnp.pad(row_factors, [(0, 0)] * (x.ndim - 2) + [(1, 1), (0, 0)])
        maps = lambda x, row_factors: [_magnitude(*_central(x, row_factors[..., 1:-1, :], column_factors))]
        sums = band_totals(maps, (replicate_edge(x, valid_size, 1), padded_factors), valid_size, halo=2)
    cells = valid_size.shrink(1, 1).pixels
    return jnp.where(cells > 0, sums[0] / cells, jnp.nan)


def central_differences(x: jax.Array, valid_size: ValidSize) -> tuple[jax.Array, jax.Array]:
    """MATLAB's `gradient`, downwards and to the right, each `[..., H, W]`.

    Central differences; one-sided differences at the borders of the valid part.
    """
    return _central(replicate_edge(x, valid_size, 1), *_border_factors(x, valid_size))


def qabf(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, valid_size: ValidSize | None = None, textbook: bool = False
) -> jax.Array:
    """Qabf: how much of the sources' Sobel edges, in strength and direction, the fused picture keeps.

    g and α are the strength and the direction of the Sobel gradient, with zero padding (so that the picture's border
    counts as an edge against black).  For each source X
      G = min(gX, gF) / max(gX, gF),   A = 1 − |αX − αF| / (π/2),
      Q = 0.9994 / (1 + exp(−15 (G − 0.5))) · 0.9879 / (1 + exp(−22 (A − 0.8)))
    and Qabf = Σ (QA gA + QB gB) / Σ (gA + gB).

    In [0, 0.9753], no unit; higher is better.  0.9753 (0.9748 with `textbook`) where all three pictures are equal,
    constant ones included (their border is an edge); NaN where both sources are black.  Xydeas and Petrović 2000,
    DOI 10.1049/el:20000267.

    The toolbox of Table 2 takes G = gF where gX = gF, so that equal edges saturate the sigmoid instead of having G = 1;
    and it does not wrap the angle, so that A reaches −1 for gradients that turn across the vertical.  That is the
    default.  With `textbook=True`, G = 1 there and A = ||αX − αF| − π/2| / (π/2), as published.  The ties gX = gF are
    exact for integer gray levels only.

    Args:
      a, b, fused: sources and fused picture, `[..., H, W]`, gray levels in 0…255.
      valid_size: true size of padded planes; None: they have no padding.
      textbook: the published definition instead of the toolbox's.

    Returns:
      One number per plane, `[...]`.
    """
    valid_size = full_size(fused) if valid_size is None else valid_size
    planes = [zero_outside(x, valid_size) for x in (a, b, fused)]
    planes = [jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1)] * 2) for x in planes]

    def maps(*planes: jax.Array) -> list[jax.Array]:
        edges_a, edges_b, edges_f = cpu_fusion_barrier(lambda *planes: [_sobel(x) for x in planes], *planes)
        transfers = [_edge_transfer(edges, edges_f, textbook) * edges.strength for edges in (edges_a, edges_b)]
        return [transfers[0] + transfers[1], edges_a.strength + edges_b.strength]

    kept, available = band_totals(maps, tuple(planes), valid_size, halo=2)
    return kept / available


def _differences(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First differences downwards and to the right, at all pixels that have both: `[..., H − 1, W − 1]`."""
    corner = x[..., :-1, :-1]
    return x[..., 1:, :-1] - corner, x[..., :-1, 1:] - corner


def _magnitude(down: jax.Array, right: jax.Array) -> jax.Array:
    """The gradient's magnitude as AG defines it, with the factor √½."""
    return jnp.sqrt((down * down + right * right) / 2)


def _central(padded: jax.Array, row_factors: jax.Array, column_factors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Central differences downwards and to the right of planes with one repeated pixel on every side.

    The factors are those of `_border_factors`.
    """
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    right = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    return down * row_factors, right * column_factors


def _border_factors(x: jax.Array, valid_size: ValidSize) -> tuple[jax.Array, jax.Array]:
    """2 in the first and last valid row, else 1, `[..., H, 1]`; and the same for columns, `[..., 1, W]`.

    A central difference that uses a repeated edge pixel is half the one-sided difference.
    """
    batch = (1,) * (x.ndim - 2)

    def factors(shape: tuple[int, ...], size: int | jax.Array, axis: int) -> jax.Array:
        index = jax.lax.broadcasted_iota(jnp.int32, shape, axis)
        return jnp.where((index == 0) | (index == size - 1), 2.0, 1.0)

    height, width = x.shape[-2:]
    return (factors((*batch, height, 1), valid_size.height, x.ndim - 2),
            factors((*batch, 1, width), valid_size.width, x.ndim - 1))


class _Edges(NamedTuple):
    """Sobel gradients: their strength, and their direction as a vector (across, up) with across ≥ 0."""

    strength: jax.Array
    across: jax.Array
    up: jax.Array


def _sobel(x: jax.Array) -> _Edges:
    """Edges of planes `[..., H, W]`, without padding: `[..., H − 2, W − 2]`.

    Where the gradient is zero, its direction is upright, as arctan(y/0) is in the toolbox.
    """
    smooth = lambda y, axis: _shifted(y, 0, axis) + 2 * _shifted(y, 1, axis) + _shifted(y, 2, axis)
    slope = lambda y, axis: _shifted(y, 2, axis) - _shifted(y, 0, axis)
    across, up = slope(smooth(x, -2), -1), -slope(smooth(x, -1), -2)
    strength = jnp.sqrt(across * across + up * up)
    up = jnp.where(across == 0, jnp.where(up == 0, 1, jnp.abs(up)), jnp.where(across < 0, -up, up))
    return _Edges(strength, jnp.abs(across), up)


def _shifted(x: jax.Array, start: int, axis: int) -> jax.Array:
    """`x` from sample `start` on along `axis`, two samples shorter."""
    return jax.lax.slice_in_dim(x, start, x.shape[axis] - 2 + start, axis=axis % x.ndim)


def _edge_transfer(source: _Edges, fused: _Edges, textbook: bool) -> jax.Array:
    """Q of every pixel, for one source."""
    largest = jnp.maximum(source.strength, fused.strength)
    ratio = jnp.minimum(source.strength, fused.strength) / jnp.where(largest == 0, 1, largest)
    ratio = jnp.where(source.strength == fused.strength, 1.0 if textbook else fused.strength, ratio)
    # The angle between two directions, from their cross and dot products: one arctangent instead of two.
    cross = jnp.abs(source.across * fused.up - source.up * fused.across)
    angle = _arctan2(cross, source.across * fused.across + source.up * fused.up) / (np.pi / 2)
    alignment = jnp.abs(angle - 1) if textbook else 1 - angle
    strength_kept = 0.9994 / (1 + jnp.exp(-15 * (ratio - 0.5)))
    direction_kept = 0.9879 / (1 + jnp.exp(-22 * (alignment - 0.8)))
    return strength_kept * direction_kept


def _arctan2(y: jax.Array, x: jax.Array) -> jax.Array:
    """arctan2(y, x) in [0, π], for y ≥ 0 and (x, y) ≠ (0, 0); in float32 a polynomial, ten times faster on a CPU."""
    if y.dtype != jnp.float32:
        return jnp.arctan2(y, x)
    small, large = jnp.minimum(y, jnp.abs(x)), jnp.maximum(y, jnp.abs(x))
    steep = small > np.tan(np.pi / 8) * large
    t = jnp.where(steep, small - large, small) / jnp.where(steep, small + large, large)
    # arctan t = t + t³ P(t²) for |t| ≤ tan(π/8), by least squares, with an error below 5e-9.
    square = t * t
    series = ((0.07902481 * square - 0.13824411) * square + 0.19971874) * square - 0.33332756
    angle = jnp.where(steep, np.pi / 4, 0.0) + (t + t * square * series)
    angle = jnp.where(y > jnp.abs(x), np.pi / 2 - angle, angle)
    return jnp.where(x < 0, np.pi - angle, angle)
