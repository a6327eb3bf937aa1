"""Robust least squares for the transformation, by Gauss–Newton on the control points, in float64."""

import numpy as np

from edmf_jax.registration import transforms

_STEP = 1e-5  # of the unit square, for central differences
_UNKNOWN = 1e12  # a variance beyond any limit; infinity times a slope of 0 would be no number
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


def jackknife(matrix: np.ndarray, points: np.ndarray, targets: np.ndarray, model: str, blocks: np.ndarray, *,
              limit: float, information: np.ndarray | None = None) -> np.ndarray:
    """Covariance of the fitted parameters where errors within a block may be alike: delete-one-block jackknife.

    (B − 1)/B Σ δδᵀ, δ the step that leaving one of B blocks out means, for weights and slopes as they are at
    `matrix`, the fit's result: then no fit has to be repeated.  The cluster-robust CR3 of MacKinnon and White (1985,
    DOI 10.1016/0304-4076(85)90158-7).  Unlike `fit`'s it does not take every point for a new witness, and a place
    that only one block holds, beyond which the map is extrapolated, counts in full.

    Args:
      blocks: which block each point belongs to, `[N]` integers.
      points, targets, model, limit, information: as `fit` had them.

    Returns:
      `[parameters, parameters]`; beyond any limit where all points are in one block.
    """
    controls = to_controls(matrix, model)
    slopes, weighted, apart, *_ = _terms(controls, points, targets, information, limit)
    names = np.unique(blocks)
    if len(names) < 2:
        return np.eye(controls.size) * _UNKNOWN
    steps = []
    for name in names:
        normal = _damped(np.einsum("nik,nil->kl", slopes[blocks != name], weighted[blocks != name]))
        here = blocks == name
        steps.append(np.linalg.solve(normal, np.einsum("nik,ni->k", weighted[here], apart[here])))
    return (1 - 1 / len(names)) * np.einsum("bk,bl->kl", steps, steps)


def _terms(controls, points, targets, information, limit):
    """Per point: slopes, the same under weight and information, residual, weight, square of the residual."""
    information = np.broadcast_to(np.eye(2), (len(points), 2, 2)) if information is None else information
    slopes = jacobian(controls, points)
    apart = targets - transforms.project(transforms.from_controls(controls), points)
    squares = np.einsum("ni,nij,nj->n", apart, information, apart)
    weights = np.maximum(0, 1 - squares / limit**2) ** 2
    return slopes, np.einsum("n,nij,njk->nik", weights, information, slopes), apart, weights, squares


def _normal(controls, points, targets, information, limit):
    slopes, weighted, apart, weights, squares = _terms(controls, points, targets, information, limit)
    normal = _damped(np.einsum("nik,nil->kl", slopes, weighted))
    return normal, np.einsum("nik,ni->k", weighted, apart), weights, squares


def _damped(normal: np.ndarray) -> np.ndarray:
    return normal + np.eye(len(normal)) * (_DAMPING * np.diag(normal).max() + 1e-12)


def corner_deviation(matrix: np.ndarray, covariance: np.ndarray, model: str, points: np.ndarray) -> np.ndarray:
    """Standard deviation of where the fitted map sends `points` (the corners, say), `[N]`, in the fit's scale."""
    slopes = jacobian(to_controls(matrix, model), points)
    return np.sqrt(np.einsum("nik,kl,nil->n", slopes, covariance, slopes))
