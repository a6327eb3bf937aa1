"""Robust least squares for the map: Gauss–Newton on the control points, in float64."""

import numpy as np

from edmf_jax.registration import transforms

_DIFFERENCE_STEP = 1e-5  # of the unit square, for central differences
_UNKNOWN_VARIANCE = 1e12  # larger than any limit; infinity would give NaN times a slope of 0
_DAMPING = 1e-9  # of the largest diagonal element: keeps a degenerate direction where it is
_CONVERGED = 1e-6  # largest step of a parameter, of the unit square


def to_controls(matrix: np.ndarray, model: str) -> np.ndarray:
    """The images `[K, 2]` of the model's control points under `matrix`; exact if `matrix` belongs to the model."""
    return transforms.project(matrix, transforms.CONTROL_POINTS[model])


def jacobian(controls: np.ndarray, points: np.ndarray) -> np.ndarray:
    """d position / d parameter at `points` `[N, 2]`: `[N, 2, parameters]`.

    The matrix's elements are differentiated by central differences, the projection in closed form.
    """
    steps = np.eye(controls.size).reshape(-1, *controls.shape) * _DIFFERENCE_STEP
    matrices = transforms.from_controls(controls + np.concatenate([steps, -steps, np.zeros((1, *controls.shape))]))
    plus, minus = np.split(matrices[:-1], 2)
    slopes, matrix = ((plus - minus) / (2 * _DIFFERENCE_STEP)).reshape(-1, 9), matrices[-1]
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1)
    w = homogeneous @ matrix[2]
    w = np.where(w > 1e-6, w, 1e-6)[:, None]
    mapped = homogeneous @ matrix[:2].T / w
    scaled, moved = homogeneous / w, homogeneous @ slopes[:, 6:].T / w
    return np.stack([scaled @ slopes[:, 3 * row : 3 * row + 3].T - mapped[:, row, None] * moved for row in (0, 1)], 1)


def fit(matrix: np.ndarray, points: np.ndarray, targets: np.ndarray, model: str, *, limit: float,
        information: np.ndarray | None = None, rounds: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimizes Σ ρ(√(rᵀ A r)) over the model, with r the residual vector of a match, starting from `matrix`.

    ρ is Tukey's biweight: matches beyond `limit` have no weight.

    Args:
      points, targets: `[N, 2]`, in the unit square's scale.
      information: A, `[N, 2, 2]`; None is the identity.
      limit: of √(rᵀ A r).
      rounds: Gauss–Newton steps at most.

    Returns:
      The matrix; the weights `[N]` in [0, 1]; the covariance of the parameters, estimated from the fit's residuals.
    """
    controls = to_controls(matrix, model)
    for _ in range(rounds):
        normal, gradient, weights, _ = _normal_equations(controls, points, targets, information, limit)
        step = np.linalg.solve(normal, gradient).reshape(controls.shape)
        controls = controls + step
        if np.abs(step).max() < _CONVERGED:
            break
    normal, _, weights, squares = _normal_equations(controls, points, targets, information, limit)
    degrees_of_freedom = max(1.0, 2 * weights.sum() - controls.size)
    covariance = np.linalg.inv(normal) * (weights * squares).sum() / degrees_of_freedom
    return transforms.from_controls(controls), weights, covariance


def leave_out(matrix: np.ndarray, points: np.ndarray, targets: np.ndarray, model: str, blocks: np.ndarray, *,
              limit: float, information: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What changes if each of several blocks of points is left out of the fit, in closed form.

    Weights and slopes are kept as they are at `matrix`, so no fit is repeated.

    Args:
      matrix: the result of `fit`.
      blocks: the block that each point belongs to, `[N]` integers.
      points, targets, model, limit, information: as given to `fit`.

    Returns:
      The covariance of the parameters if errors are correlated within blocks, `[parameters, parameters]`, beyond any
      limit if all points are in one block: the delete-one-block jackknife (B − 1)/B Σ δδᵀ, with δ the change of the
      parameters, which is the cluster-robust CR3 of MacKinnon and White (1985, DOI 10.1016/0304-4076(85)90158-7).
      Unlike the covariance of `fit` it does not treat all points as independent, and a part of the picture that only
      one block covers, so that the other blocks extrapolate to it, counts in full.
      And the residuals `[N, 2]` of each point under the fit without its block: by how much the others mispredict it;
      as much beyond any limit if there is one block.
    """
    controls = to_controls(matrix, model)
    slopes, weighted, residuals, *_ = _terms(controls, points, targets, information, limit)
    labels = np.unique(blocks)
    if len(labels) < 2:
        return np.eye(controls.size) * _UNKNOWN_VARIANCE, np.full_like(residuals, _UNKNOWN_VARIANCE**0.5)
    predicted = residuals.copy()
    flat = lambda terms: terms.reshape(-1, controls.size)  # products of matrices [2·N, K] are quicker
    parts = [np.flatnonzero(blocks == label) for label in labels]
    own = np.stack([flat(slopes[part]).T @ flat(weighted[part]) for part in parts])
    sides = np.stack([residuals[part].ravel() @ flat(weighted[part]) for part in parts])
    total = own.sum(0)
    changes = np.linalg.solve(np.stack([_damp(total - block) for block in own]), sides[..., None])[..., 0]
    for part, change in zip(parts, changes):
        predicted[part] += slopes[part] @ change
    return (1 - 1 / len(labels)) * changes.T @ changes, predicted


def _terms(controls, points, targets, information, limit):
    """Per point: slopes, slopes times weight and information, residual vector, weight, squared residual rᵀ A r."""
    information = np.broadcast_to(np.eye(2), (len(points), 2, 2)) if information is None else information
    slopes = jacobian(controls, points)
    residuals = targets - transforms.project(transforms.from_controls(controls), points)
    squares = ((information @ residuals[..., None])[..., 0] * residuals).sum(-1)
    weights = np.maximum(0, 1 - squares / limit**2) ** 2
    return slopes, (weights[:, None, None] * information) @ slopes, residuals, weights, squares


def _normal_equations(controls, points, targets, information, limit):
    """The damped normal matrix, its right-hand side, weights `[N]` and squared residuals `[N]`."""
    slopes, weighted, residuals, weights, squares = _terms(controls, points, targets, information, limit)
    # Products of matrices [2·N, K]: a fifth of the time that sums over both axes take.
    flat = weighted.reshape(-1, controls.size)
    return _damp(slopes.reshape(flat.shape).T @ flat), residuals.ravel() @ flat, weights, squares


def _damp(normal: np.ndarray) -> np.ndarray:
    return normal + np.eye(len(normal)) * (_DAMPING * np.diag(normal).max() + 1e-12)


def corner_deviation(matrix: np.ndarray, covariance: np.ndarray, model: str, points: np.ndarray) -> np.ndarray:
    """Standard deviation of the images of `points` `[N, 2]` (usually the corners) under the fitted map, `[N]`.

    In the scale of the fit, both components together.
    """
    slopes = jacobian(to_controls(matrix, model), points)
    return np.sqrt(np.einsum("nik,kl,nil->n", slopes, covariance, slopes))
