"""The training loss, Eqs. 1 to 13 of the paper as docs/paper.md reads them.

Planes are `[B, H, W]` in [0, 1]; remembered outputs are `[B, K, H, W]`, one for each of K epochs.  Every loss is one
number per patch, `[B]` or `[B, K]`; the training step takes the mean over patches.  ‖·‖²_F is the mean of squares.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.filters import gaussian_filter, laplacian
from edmf_jax.core.ssim import Moments, moments, ssim, ssim_map


class LossTerms(NamedTuple):
    """Pixel, gradient and SSIM loss, without coefficients; all of one shape, `[B]` or `[B, K]`."""

    pixel: jax.Array
    grad: jax.Array
    ssim: jax.Array


class Coefficients(NamedTuple):
    """Factors of the three terms in Eqs. 7 and 8.  The paper gives none; these are MUFusion's."""

    pixel: float = 1.0
    grad: float = 10.0
    ssim: float = 10.0


def mean_square(x: jax.Array) -> jax.Array:
    """Mean of squares of each plane: `[..., H, W]` → `[...]`."""
    return jnp.mean(jnp.square(x), axis=(-2, -1))


def weighted_sum(terms: LossTerms, coefficients: Coefficients) -> jax.Array:
    """Eqs. 7 and 8: the sum of the terms times their coefficients, in the shape of a term."""
    return coefficients.pixel * terms.pixel + coefficients.grad * terms.grad + coefficients.ssim * terms.ssim


def current_loss(output: jax.Array, sources: jax.Array, masks: jax.Array) -> LossTerms:
    """Loss against the sources where each is in focus (Eqs. 2, 4, 6), terms `[B]`.

    Masks multiply the residual before the square.  Eq. 6 is misprinted; it is read as
    2 − (SSIM(M1·O, M1·I1) + SSIM(M2·O, M2·I2)).

    Args:
      output: fused planes `[B, H, W]`.
      sources, masks: `[B, 2, H, W]`; masks are 0 or 1.
    """
    residual = output[:, None] - sources
    pixel = mean_square(masks * residual).sum(1)
    grad = mean_square(masks * laplacian(residual)).sum(1)
    similarity = ssim(masks * output[:, None], masks * sources).sum(1)
    return LossTerms(pixel, grad, 2 - similarity)


def memory_loss(output: jax.Array, remembered: jax.Array) -> LossTerms:
    """Loss against the remembered outputs (Eqs. 1, 3, 5), terms `[B, K]`.

    Args:
      output: fused planes `[B, H, W]`.
      remembered: `[B, K, H, W]`.
    """
    residual = output[:, None] - remembered
    similarity = ssim(output[:, None], remembered)
    return LossTerms(mean_square(residual), mean_square(laplacian(residual)), 1 - similarity)


def source_score(output: jax.Array, sources: jax.Array) -> jax.Array:
    """S of Eqs. 9 and 10: mean SSIM to the two sources, `[B, H, W]` and `[B, 2, H, W]` → `[B]`."""
    return ssim(output[:, None], sources).mean(1)


def adaptive_ratios(score: jax.Array, remembered_scores: jax.Array, is_filled: jax.Array
                    ) -> tuple[jax.Array, jax.Array]:
    """W `[B]` and W_i `[B, K]` of Eqs. 11 and 12: softmax over the scores of the entries that exist.

    No gradient flows through them.  Entries that are not filled have ratio 0; while none is filled, W = 1.

    Args:
      score: S, `[B]`.
      remembered_scores: S_i, `[B, K]`.
      is_filled: bool `[K]`, which memory entries exist.
    """
    masked = jnp.where(is_filled[None, :], remembered_scores, -jnp.inf)
    ratios = jax.nn.softmax(jnp.concatenate([score[:, None], masked], axis=1), axis=1)
    ratios = jax.lax.stop_gradient(ratios)
    return ratios[:, 0], ratios[:, 1:]


def equal_ratios(score: jax.Array, remembered_scores: jax.Array, is_filled: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Second group of Fig. 14: 1 / (K + 1) each (0.2 for K = 4), 0 for entries not filled; see `adaptive_ratios`."""
    share = 1 / (is_filled.shape[0] + 1)
    return jnp.full_like(score, share), share * jnp.broadcast_to(is_filled, remembered_scores.shape).astype(score.dtype)


def no_ratios(score: jax.Array, remembered_scores: jax.Array, is_filled: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First group of Fig. 14: 1 each, 0 for entries not filled; arguments and shapes as in `adaptive_ratios`."""
    return jnp.ones_like(score), jnp.broadcast_to(is_filled, remembered_scores.shape).astype(score.dtype)


RATIOS = {"adaptive": adaptive_ratios, "equal": equal_ratios, "none": no_ratios}
"""How the losses of Eq. 13 are weighted, by its name in `loss.ratios`."""


class LossReport(NamedTuple):
    """The loss of a batch and everything that the log records of it, one row per patch."""

    total: jax.Array  # [B], Eq. 13
    current: LossTerms  # [B] each
    memory: LossTerms  # [B, K] each
    score: jax.Array  # S, [B]
    ratio: jax.Array  # W, [B]
    memory_ratios: jax.Array  # W_i, [B, K]


def total_loss(
    output: jax.Array,
    sources: jax.Array,
    masks: jax.Array,
    remembered: jax.Array,
    remembered_scores: jax.Array,
    is_filled: jax.Array,
    coefficients: Coefficients,
    ratios: str = "adaptive",
    targets: jax.Array | None = None,
) -> LossReport:
    """Eq. 13 for each patch: W · L_current + Σ W_i · L_memory^i.

    The same numbers as `current_loss`, `memory_loss` and `source_score`, but faster: every plane's SSIM window is
    applied once, and to all planes in one product.

    Args:
      output: fused planes `[B, H, W]`.
      sources, masks: `[B, 2, H, W]`.
      remembered: `[B, K, H, W]`.
      remembered_scores: S_i, `[B, K]`.
      is_filled: bool `[K]`, which memory entries exist.
      coefficients: of the three terms.
      ratios: one of `RATIOS`; adaptive is the paper's.
      targets: planes `[B, 2, H, W]` that Eqs. 2, 4 and 6 compare with; None: the sources, as in the paper.
    """
    targets = sources if targets is None else targets
    residual = output[:, None] - jnp.concatenate([targets, remembered], 1)
    weights = jnp.concatenate([masks, jnp.ones_like(remembered)], 1)
    pixel = mean_square(weights * residual)
    grad = mean_square(weights * laplacian(residual))
    masked, memory_ssim, score = _similarities(output, sources, targets, masks, remembered)
    current = LossTerms(pixel[:, :2].sum(1), grad[:, :2].sum(1), 2 - masked.sum(1))
    memory = LossTerms(pixel[:, 2:], grad[:, 2:], 1 - memory_ssim)
    ratio, memory_ratios = RATIOS[ratios](score, remembered_scores, is_filled)
    total = ratio * weighted_sum(current, coefficients)
    total = total + jnp.sum(memory_ratios * weighted_sum(memory, coefficients), axis=1)
    return LossReport(total, current, memory, score, ratio, memory_ratios)


def _similarities(output, sources, targets, masks, remembered) -> tuple[jax.Array, jax.Array, jax.Array]:
    """SSIM of masked output to masked targets `[B, 2]`, of output to remembered outputs `[B, K]`, and S `[B]`."""
    single = output[:, None]
    x = jnp.concatenate([single, masks * single], 1)
    y = jnp.concatenate([masks * targets, remembered, sources], 1)
    # For each plane of y the plane of x that it is compared with: the two masked outputs first, then the output.
    partner = np.array([1, 2] + [0] * (y.shape[1] - 2))
    statistics = moments(jnp.concatenate([x, y], 1))
    x_moments, y_moments = (Moments(*(m[:, planes] for m in statistics)) for planes in (partner, slice(3, None)))
    product = gaussian_filter(x[:, partner] * y)
    values = jnp.mean(ssim_map(x_moments, y_moments, product), axis=(-2, -1))
    return values[:, :2], values[:, 2:-2], values[:, -2:].mean(1)
