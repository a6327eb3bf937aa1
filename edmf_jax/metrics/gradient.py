"""Average gradient, spatial frequency and the edge transfer Qabf.

Planes are `[..., H, W]` in 0…255; `frame` gives the true size of padded planes
(`frames`).  One number per plane.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.metrics.bands import band_totals, stage
from edmf_jax.metrics.frames import Frame, blacken, replicate, whole


def spatial_frequency(x: jax.Array, *, frame: Frame | None = None) -> jax.Array:
    """SF = √(RF² + CF²), the mean squared first differences along rows and columns.

    Means over the H·(W−1) and (H−1)·W differences there are.  [0, 361] grey
    levels, higher is better; 0 for a constant picture, NaN below 2 px on a side.
    Eskicioglu and Fisher 1995, DOI 10.1109/26.477498.
    """
    frame = whole(x) if frame is None else frame
    squares = lambda x: [jnp.square(d) for d in _differences(x)]
    # Repeated beyond the frame, the picture has no differences there.
    rows, columns = band_totals(squares, (replicate(x, frame, ((0, 1), (0, 1))),), frame, halo=1)
    return jnp.sqrt(rows / frame.shrink(1, 0).pixels + columns / frame.shrink(0, 1).pixels)


def average_gradient(x: jax.Array, *, frame: Frame | None = None, textbook: bool = False) -> jax.Array:
    """AG, the mean of √((gx² + gy²) / 2).

    [0, 255] grey levels (to 255·HW/((H−1)(W−1)) by default), higher is better; 0
    for a constant picture, NaN below 2 px on a side.  Cui, Feng, Xu, Li and Chen
    2015, DOI 10.1016/j.optcom.2014.12.032.

    The toolbox of Table 2 takes MATLAB's `gradient` (central differences,
    one-sided at the borders) at all H·W pixels and divides by (H−1)(W−1): the
    default.  `textbook=True` is the paper's own: forward differences at the
    (H−1)(W−1) pixels that have both.
    """
    frame = whole(x) if frame is None else frame
    if textbook:
        maps = lambda x: [_steepness(*_differences(x))]
        sums = band_totals(maps, (x,), frame.shrink(1, 1), halo=1)
    else:
        tall, wide = _border_factors(x, frame)
        padded_tall = jnp.pad(tall, [(0, 0)] * (x.ndim - 2) + [(1, 1), (0, 0)])
        maps = lambda x, tall: [_steepness(*_central(x, tall[..., 1:-1, :], wide))]
        sums = band_totals(maps, (replicate(x, frame, 1), padded_tall), frame, halo=2)
    cells = frame.shrink(1, 1).pixels
    return jnp.where(cells > 0, sums[0] / cells, jnp.nan)


def central_differences(x: jax.Array, frame: Frame) -> tuple[jax.Array, jax.Array]:
    """MATLAB's `gradient`, down and to the right: central differences, one-sided at the borders of the frame."""
    return _central(replicate(x, frame, 1), *_border_factors(x, frame))


def qabf(
    a: jax.Array, b: jax.Array, fused: jax.Array, *, frame: Frame | None = None, textbook: bool = False
) -> jax.Array:
    """Qabf, how much of the sources' Sobel edges, in strength and direction, the fused picture keeps.

    With strength g and direction α of the Sobel gradient (zero padding, so that
    the picture's frame counts as an edge to black), for each source X
      G = min(gX, gF) / max(gX, gF),   A = 1 − |αX − αF| / (π/2),
      Q = 0.9994 / (1 + exp(−15 (G − 0.5))) · 0.9879 / (1 + exp(−22 (A − 0.8)))
    and Qabf = Σ (QA gA + QB gB) / Σ (gA + gB).  [0, 0.9753], higher is better;
    0.9753 where all three are equal, constants included (their frame is an
    edge), NaN where both sources are black.  Xydeas and Petrović 2000,
    DOI 10.1049/el:20000267.

    The toolbox of Table 2 has G = gF where gX = gF (so that equal edges
    saturate instead of G = 1), and does not wrap the angle, so that A reaches
    −1 for gradients that turn across the vertical: the default.  With
    `textbook=True`, G = 1 there and A = ||αX − αF| − π/2| / (π/2), as published.
    The ties are exact for integer grey levels only.
    """
    frame = whole(fused) if frame is None else frame
    planes = [blacken(x, frame) for x in (a, b, fused)]
    planes = [jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1)] * 2) for x in planes]

    def maps(*planes: jax.Array) -> list[jax.Array]:
        edges_a, edges_b, edges_f = stage(lambda *planes: [_sobel(x) for x in planes], *planes)
        transfers = [_edge_transfer(edges, edges_f, textbook) * edges.strength for edges in (edges_a, edges_b)]
        return [transfers[0] + transfers[1], edges_a.strength + edges_b.strength]

    kept, available = band_totals(maps, tuple(planes), frame, halo=2)
    return kept / available


def _differences(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First differences down and to the right, of all pixels that have both."""
    corner = x[..., :-1, :-1]
    return x[..., 1:, :-1] - corner, x[..., :-1, 1:] - corner


def _steepness(down: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.sqrt((down * down + right * right) / 2)


def _central(padded: jax.Array, tall: jax.Array, wide: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Central differences of planes with one repeated pixel all round, where the factors are those of the border."""
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    right = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    return down * tall, right * wide


def _border_factors(x: jax.Array, frame: Frame) -> tuple[jax.Array, jax.Array]:
    """2 in the first and last row, 1 between, `[..., H, 1]`, and the same for columns, `[..., 1, W]`.

    A central difference that meets a repeated pixel is half the one-sided difference.
    """
    batch = (1,) * (x.ndim - 2)

    def factors(shape: tuple[int, ...], size: int | jax.Array, axis: int) -> jax.Array:
        place = jax.lax.broadcasted_iota(jnp.int32, shape, axis)
        return jnp.where((place == 0) | (place == size - 1), 2.0, 1.0)

    height, width = x.shape[-2:]
    return factors((*batch, height, 1), frame.height, x.ndim - 2), factors((*batch, 1, width), frame.width, x.ndim - 1)


class _Edges(NamedTuple):
    """Sobel gradients by strength and direction: a vector (across, up) turned into the right half plane."""

    strength: jax.Array
    across: jax.Array
    up: jax.Array


def _sobel(x: jax.Array) -> _Edges:
    """Edges of the valid region; upright, as arctan(y/0) is in the toolbox, where there is no gradient."""
    smooth = lambda y, axis: _slice(y, 0, axis) + 2 * _slice(y, 1, axis) + _slice(y, 2, axis)
    slope = lambda y, axis: _slice(y, 2, axis) - _slice(y, 0, axis)
    across, up = slope(smooth(x, -2), -1), -slope(smooth(x, -1), -2)
    strength = jnp.sqrt(across * across + up * up)
    up = jnp.where(across == 0, jnp.where(up == 0, 1, jnp.abs(up)), jnp.where(across < 0, -up, up))
    return _Edges(strength, jnp.abs(across), up)


def _slice(x: jax.Array, start: int, axis: int) -> jax.Array:
    """Two samples fewer along `axis`, from `start` on."""
    return jax.lax.slice_in_dim(x, start, x.shape[axis] - 2 + start, axis=axis % x.ndim)


def _edge_transfer(source: _Edges, fused: _Edges, textbook: bool) -> jax.Array:
    """Q about every pixel."""
    largest = jnp.maximum(source.strength, fused.strength)
    ratio = jnp.minimum(source.strength, fused.strength) / jnp.where(largest == 0, 1, largest)
    ratio = jnp.where(source.strength == fused.strength, 1.0 if textbook else fused.strength, ratio)
    # The angle between two directions from their cross and dot products: one arctangent instead of two.
    cross = jnp.abs(source.across * fused.up - source.up * fused.across)
    turn = _angle(cross, source.across * fused.across + source.up * fused.up) / (np.pi / 2)
    alignment = jnp.abs(turn - 1) if textbook else 1 - turn
    strength_kept = 0.9994 / (1 + jnp.exp(-15 * (ratio - 0.5)))
    direction_kept = 0.9879 / (1 + jnp.exp(-22 * (alignment - 0.8)))
    return strength_kept * direction_kept


def _angle(y: jax.Array, x: jax.Array) -> jax.Array:
    """arctan2(y, x) for y ≥ 0 and not both 0, in [0, π]; in float32 by a polynomial, ten times faster on a CPU."""
    if y.dtype != jnp.float32:
        return jnp.arctan2(y, x)
    small, large = jnp.minimum(y, jnp.abs(x)), jnp.maximum(y, jnp.abs(x))
    steep = small > np.tan(np.pi / 8) * large
    t = jnp.where(steep, small - large, small) / jnp.where(steep, small + large, large)
    # arctan t = t + t³ P(t²) for |t| ≤ tan(π/8), least squares, to 5e-9.
    square = t * t
    series = ((0.07902481 * square - 0.13824411) * square + 0.19971874) * square - 0.33332756
    angle = jnp.where(steep, np.pi / 4, 0.0) + (t + t * square * series)
    angle = jnp.where(y > jnp.abs(x), np.pi / 2 - angle, angle)
    return jnp.where(x < 0, np.pi - angle, angle)
