"""The map from matches by particle swarm optimization (PSO): all particles against all matches at once.

The swarm is the constricted one of Clerc and Kennedy 2002 (DOI 10.1109/4235.985692) with the whole swarm as one
neighborhood.  Positions are the images of the control points (`transforms`).

NumPy in float32: a swarm of 128 keeps no accelerator busy, and takes 30 to 80 ms, less than a
fifth of what importing JAX does.
"""

import numpy as np

from edmf_jax.registration import transforms

_INERTIA, _ACCELERATION = np.float32(0.7298), np.float32(1.49618)
# One stage for each: the distance from which on a match counts as wrong, in units of `limit`.  A wide basin of
# attraction first, a sharp one at the end.
_TRUNCATION_FACTORS = (4.0, 2.0, 1.0)
_START_DRAWS = 8  # pairs of matches that each particle's start is chosen from
_HORIZON = np.float32(1e-6)  # as in `transforms.project`


def objective(controls: np.ndarray, points: np.ndarray, targets: np.ndarray, limit: float) -> np.ndarray:
    """Mean over matches of min(d² / limit², 1), in [0, 1], for every particle: float32 `[P]`.

    Args:
      controls: `[P, 2 | 3 | 4, 2]`.
      points, targets: the matches `[N, 2]`, in the unit square's scale.
      limit: the distance d from which on a match counts as wrong, in the same scale.
    """
    homogeneous = np.vstack([points.T, np.ones(len(points))]).astype(np.float32)
    matrices = transforms.from_controls(np.asarray(controls, np.float32))
    mapped = (matrices.reshape(-1, 3) @ homogeneous).reshape(len(matrices), 3, -1)
    # In units of the limit, with one division for each match: they are most of the time.
    inverse = np.float32(1 / limit) / np.maximum(mapped[:, 2], _HORIZON)
    squares = np.float32(0)
    for axis in (0, 1):
        difference = mapped[:, axis] * inverse
        difference -= (targets[:, axis] / limit).astype(np.float32)
        squares = squares + np.square(difference, out=difference)
    return np.minimum(squares, 1, out=squares).mean(-1)


def search(points: np.ndarray, targets: np.ndarray, model: str, *, limit: float, seed: int = 0, particles: int = 128,
           steps: int = 50, max_matches: int = 256) -> tuple[np.ndarray, float]:
    """The 3×3 matrix that most matches agree with, and its objective in [0, 1].

    Args:
      points, targets: matches `[N, 2]`, N ≥ 2, in the unit square's scale, the best
        first: only the first `max_matches` are used.
      model: "similarity", "affine" or "homography".
      limit: the distance from which on a match counts as wrong, same scale.
      seed: the same arguments give the same result.
      particles, steps: size of the swarm; moves in each of the three stages.

    Raises:
      ValueError: an unknown model, or fewer than two matches.
    """
    transforms.check_model(model)
    if len(points) < 2:
        raise ValueError(f"a swarm needs two matches or more, got {len(points)}")
    points, targets = points[:max_matches], targets[:max_matches]
    rng = np.random.default_rng(seed)
    best = _start_positions(rng, points, targets, transforms.CONTROL_POINTS[model], particles).astype(np.float32)
    velocity = np.zeros_like(best)
    for factor in _TRUNCATION_FACTORS:
        # Costs under different truncations are not comparable, so each stage evaluates its best positions anew.
        position, cost = best, objective(best, points, targets, factor * limit)
        for _ in range(steps):
            cognitive, social = rng.random((2, *position.shape), np.float32)
            pull = cognitive * (best - position) + social * (best[cost.argmin()] - position)
            velocity = _INERTIA * velocity + _ACCELERATION * pull
            position = position + velocity
            moved_cost = objective(position, points, targets, factor * limit)
            better = moved_cost < cost
            best = np.where(better[:, None, None], position, best)
            cost = np.where(better, moved_cost, cost)
    leader = cost.argmin()
    return transforms.from_controls(best[leader].astype(np.float64)), float(cost[leader])


def _start_positions(rng: np.random.Generator, points: np.ndarray, targets: np.ndarray, controls: np.ndarray,
                     particles: int) -> np.ndarray:
    """Initial positions of the particles, `[particles, K, 2]`: similarities through two matches each, drawn at random.

    Each particle takes, of eight draws, the one whose two matches are farthest apart: it determines rotation and
    scale best.  Points are complex numbers here, so that a similarity is one product and one sum.
    """
    draws = rng.integers(0, len(points), (_START_DRAWS, particles, 2))
    z, t = points @ np.array([1, 1j]), targets @ np.array([1, 1j])
    distance = np.abs(z[draws[..., 0]] - z[draws[..., 1]])
    first, second = draws[distance.argmax(0), np.arange(particles)].T
    span = z[second] - z[first]
    rotation = np.where(np.abs(span) > 1e-6, (t[second] - t[first]) / np.where(span == 0, 1, span), 1)
    shift = t[first] - rotation * z[first]
    mapped = rotation[:, None] * (controls @ np.array([1, 1j])) + shift[:, None]
    return np.stack([mapped.real, mapped.imag], -1)
