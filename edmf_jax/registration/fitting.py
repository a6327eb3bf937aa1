"""Robust least squares for the transformation, by Gauss–Newton on the control points, in float64."""

import numpy as np

from edmf_jax.registration import transforms

_STEP = 1e-5  # of the unit square, for central differences
_DAMPING = 1e-9  # of the largest diagonal element: a degenerate direction stays where it is


def to_controls(matrix: np.ndarray, model: str) -> np.ndarray:
    """The control points of the map nearest to `matrix` within `model`; exact where it belongs to it."""
    return transforms.project(matrix, transforms.CONTROLS[model])


def jacobian(controls: np.ndarray, points: np.ndarray) -> np.ndarray:
    """d position / d parameter at `points` `[N, 2]`: `[N, 2, parameters]`."""
    steps = np.eye(controls.size).reshape(-1, *controls.shape) * _STEP
    ahead, behind = (transforms.project(transforms.from_controls(controls + s), points) for s in (steps, -steps))
    return np.moveaxis(ahead - behind, 0, -1) / (2 * _STEP)


def fit(matrix: np.ndarray, points: np.ndarray, targets: np.ndarray, model: str, *, limit: float,
        information: np.ndarray | None = None, rounds: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimises Σ ρ(rᵀ A r) over the model, r the distance to the target, from `matrix` on.

    ρ is Tukey's: what lies beyond `limit` has no weight.

    Args:
      points, targets: `[N, 2]`, in the unit square's scale.
      information: A, `[N, 2, 2]`; identity where None.
      limit: of the root of rᵀ A r.

    Returns:
      The matrix, the weights `[N]` in [0, 1], and the covariance of the parameters for the scatter that the fit leaves.
    """
    controls = to_controls(matrix, model)
    information = np.broadcast_to(np.eye(2), (len(points), 2, 2)) if information is None else information
    for _ in range(rounds):
        normal, gradient, weights, _ = _normal(controls, points, targets, information, limit)
        step = np.linalg.solve(normal, gradient).reshape(controls.shape)
        controls = controls + step
        if np.abs(step).max() < 1e-9:
            break
    normal, _, weights, squares = _normal(controls, points, targets, information, limit)
    freedom = max(1.0, 2 * weights.sum() - controls.size)
    covariance = np.linalg.inv(normal) * (weights * squares).sum() / freedom
    return transforms.from_controls(controls), weights, covariance


def _normal(controls, points, targets, information, limit):
    slopes = jacobian(controls, points)
    apart = targets - transforms.project(transforms.from_controls(controls), points)
    squares = np.einsum("ni,nij,nj->n", apart, information, apart)
    weights = np.maximum(0, 1 - squares / limit**2) ** 2
    weighted = np.einsum("n,nij,njk->nik", weights, information, slopes)
    normal = np.einsum("nik,nil->kl", slopes, weighted)
    normal = normal + np.eye(len(normal)) * (_DAMPING * np.diag(normal).max() + 1e-12)
    return normal, np.einsum("nik,ni->k", weighted, apart), weights, squares


def corner_deviation(matrix: np.ndarray, covariance: np.ndarray, model: str, points: np.ndarray) -> np.ndarray:
    """Standard deviation of where the fitted map sends `points` (the corners, say), `[N]`, in the fit's scale."""
    slopes = jacobian(to_controls(matrix, model), points)
    return np.sqrt(np.einsum("nik,kl,nil->n", slopes, covariance, slopes))
