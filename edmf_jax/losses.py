"""The training loss, Eqs. 1 to 13 of the paper, as NOTES reads them.

Planes are `[B, H, W]` in [0, 1]; remembered outputs are `[B, K, H, W]`, one for
each of K epochs.  Every loss is one number per patch, `[B]` or `[B, K]`; the
mean over patches is the step's business.  ‖·‖²_F is the mean of squares.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.filters import gaussian_filter, laplacian
from edmf_jax.ssim import Moments, moments, ssim, ssim_map


class Parts(NamedTuple):
    """Pixel, gradient and SSIM loss, not yet weighed; all of one shape, `[B]` or `[B, K]`."""

    pixel: jax.Array
    grad: jax.Array
    ssim: jax.Array


class Coefficients(NamedTuple):
    """What the parts are multiplied by in Eqs. 7 and 8 (the paper gives none; MUFusion's are 1, 10, 10)."""

    pixel: float = 1.0
    grad: float = 10.0
    ssim: float = 10.0


def mean_square(x: jax.Array) -> jax.Array:
    """Mean of squares of each plane: `[..., H, W]` → `[...]`."""
    return jnp.mean(jnp.square(x), axis=(-2, -1))


def weighted_sum(parts: Parts, coefficients: Coefficients) -> jax.Array:
    """Eqs. 7 and 8: the parts' sum under the coefficients, shaped as the parts."""
    return coefficients.pixel * parts.pixel + coefficients.grad * parts.grad + coefficients.ssim * parts.ssim


def current_loss(output: jax.Array, sources: jax.Array, masks: jax.Array) -> Parts:
    """Loss against the sources where each is in focus (Eqs. 2, 4, 6), parts `[B]`.

    Masks multiply the residual before the square; Eq. 6 is misprinted and is
    2 − (SSIM(M1·O, M1·I1) + SSIM(M2·O, M2·I2)).

    Args:
      output: fused planes `[B, H, W]`.
      sources, masks: `[B, 2, H, W]`; masks are 0 or 1.
    """
    residual = output[:, None] - sources
    pixel = mean_square(masks * residual).sum(1)
    grad = mean_square(masks * laplacian(residual)).sum(1)
    similarity = ssim(masks * output[:, None], masks * sources).sum(1)
    return Parts(pixel, grad, 2 - similarity)


def memory_loss(output: jax.Array, remembered: jax.Array) -> Parts:
    """Loss against the remembered outputs (Eqs. 1, 3, 5), parts `[B, K]`.

    Args:
      output: fused planes `[B, H, W]`.
      remembered: `[B, K, H, W]`.
    """
    residual = output[:, None] - remembered
    similarity = ssim(output[:, None], remembered)
    return Parts(mean_square(residual), mean_square(laplacian(residual)), 1 - similarity)


def source_score(output: jax.Array, sources: jax.Array) -> jax.Array:
    """S of Eqs. 9 and 10: mean SSIM to the two sources, `[B, H, W]` and `[B, 2, H, W]` → `[B]`."""
    return ssim(output[:, None], sources).mean(1)


def equal_ratios(score: jax.Array, remembered_scores: jax.Array, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fig. 14's second group, shapes as in `adaptive_ratios`: 1 / (K + 1) each (0.2 for K = 4) of what is held."""
    share = 1 / (held.shape[0] + 1)
    return jnp.full_like(score, share), share * jnp.broadcast_to(held, remembered_scores.shape).astype(score.dtype)


def no_ratios(score: jax.Array, remembered_scores: jax.Array, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Fig. 14's first group, shapes as in `adaptive_ratios`: 1 each, 0 where none is held."""
    return jnp.ones_like(score), jnp.broadcast_to(held, remembered_scores.shape).astype(score.dtype)


def adaptive_ratios(score: jax.Array, remembered_scores: jax.Array, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """W `[B]` and W_i `[B, K]` of Eqs. 11 and 12: softmax over the scores of what exists.

    Constant under differentiation.  Entries that are not `held` get ratio 0;
    where none is, W = 1.

    Args:
      score: S, `[B]`;  remembered_scores: S_i, `[B, K]`;  held: bool `[K]`.
    """
    masked = jnp.where(held[None, :], remembered_scores, -jnp.inf)
    ratios = jax.nn.softmax(jnp.concatenate([score[:, None], masked], axis=1), axis=1)
    ratios = jax.lax.stop_gradient(ratios)
    return ratios[:, 0], ratios[:, 1:]


RATIOS = {"adaptive": adaptive_ratios, "equal": equal_ratios, "none": no_ratios}
"""`loss.ratios` → what the losses of Eq. 13 are multiplied by."""


class LossReport(NamedTuple):
    """Everything a log wants of one batch, one row per patch."""

    total: jax.Array  # [B], Eq. 13
    current: Parts  # [B] each
    memory: Parts  # [B, K] each
    score: jax.Array  # S, [B]
    ratio: jax.Array  # W, [B]
    memory_ratios: jax.Array  # W_i, [B, K]


def total_loss(
    output: jax.Array,
    sources: jax.Array,
    masks: jax.Array,
    remembered: jax.Array,
    remembered_scores: jax.Array,
    held: jax.Array,
    coefficients: Coefficients,
    ratios: str = "adaptive",
    targets: jax.Array | None = None,
) -> LossReport:
    """Eq. 13 for each patch: W · L_current + Σ W_i · L_memory^i.

    The same numbers as `current_loss`, `memory_loss` and `source_score`, in a
    writing that windows every plane once and all of them in one product.

    Args:
      output: fused planes `[B, H, W]`.
      sources, masks: `[B, 2, H, W]`.
      remembered: `[B, K, H, W]`;  remembered_scores: S_i, `[B, K]`;  held: bool `[K]`.
      ratios: one of `RATIOS`; adaptive is the paper's.
      targets: what Eqs. 2, 4 and 6 compare with, `[B, 2, H, W]`; None: the sources, as in the paper.
    """
    targets = sources if targets is None else targets
    residual = output[:, None] - jnp.concatenate([targets, remembered], 1)
    weights = jnp.concatenate([masks, jnp.ones_like(remembered)], 1)
    pixel = mean_square(weights * residual)
    grad = mean_square(weights * laplacian(residual))
    masked, memory_ssim, score = _similarities(output, sources, targets, masks, remembered)
    current = Parts(pixel[:, :2].sum(1), grad[:, :2].sum(1), 2 - masked.sum(1))
    memory = Parts(pixel[:, 2:], grad[:, 2:], 1 - memory_ssim)
    ratio, memory_ratios = RATIOS[ratios](score, remembered_scores, held)
    total = ratio * weighted_sum(current, coefficients)
    total = total + jnp.sum(memory_ratios * weighted_sum(memory, coefficients), axis=1)
    return LossReport(total, current, memory, score, ratio, memory_ratios)


def _similarities(output, sources, targets, masks, remembered) -> tuple[jax.Array, jax.Array, jax.Array]:
    """SSIM of the masked output to the masked targets `[B, 2]`, to what is remembered `[B, K]`, and S `[B]`."""
    once = output[:, None]
    x = jnp.concatenate([once, masks * once], 1)
    y = jnp.concatenate([masks * targets, remembered, sources], 1)
    # Each plane of x goes with which of y: the two masked outputs first, then the output with the rest.
    partner = np.array([1, 2] + [0] * (y.shape[1] - 2))
    statistics = moments(jnp.concatenate([x, y], 1))
    of_x, of_y = (Moments(*(m[:, part] for m in statistics)) for part in (partner, slice(3, None)))
    product = gaussian_filter(x[:, partner] * y)
    values = jnp.mean(ssim_map(of_x, of_y, product), axis=(-2, -1))
    return values[:, :2], values[:, 2:-2], values[:, -2:].mean(1)
