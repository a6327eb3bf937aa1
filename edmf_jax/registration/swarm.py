"""The map from matches by particle swarm optimization (PSO), batched and jitted over all particles and matches.

The swarm is the constricted one of Clerc and Kennedy 2002 (DOI 10.1109/4235.985692)
with the whole swarm as one neighborhood.  Positions are the images of the control points (`transforms`), so one
compiled program serves any picture size; matches are padded to a fixed number with weight 0.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.registration import transforms

_INERTIA, _ACCELERATION = 0.7298, 1.49618
# One stage for each: the distance from which on a match counts as wrong, in units of `limit`.  A wide basin of
# attraction first, a sharp one at the end.
_TRUNCATION_FACTORS = (4.0, 2.0, 1.0)
_START_DRAWS = 8  # pairs of matches that each particle's start is chosen from


def objective(controls: jax.Array, points: jax.Array, targets: jax.Array, weights: jax.Array,
              limit: jax.Array) -> jax.Array:
    """Weighted mean over matches of min(d² / limit², 1), in [0, 1], for every particle: `[P]`.

    Args:
      controls: `[P, 2 | 3 | 4, 2]`.
      points, targets: the matches `[N, 2]`, in the unit square's scale.
      weights: `[N]`, 0 for padding.
      limit: the distance d from which on a match counts as wrong, in the same scale.
    """
    mapped = transforms.project(transforms.from_controls(controls, jnp), points, jnp)
    squares = jnp.sum((mapped - targets[None]) ** 2, -1) / limit**2
    return jnp.minimum(squares, 1) @ weights / jnp.maximum(weights.sum(), 1e-9)


def _move(carry, key, data, limit):
    """One move of all particles, as a step of `jax.lax.scan`."""
    position, velocity, best, best_cost = carry
    leader = best[jnp.argmin(best_cost)][None]
    cognitive, social = jax.random.uniform(key, (2, *position.shape))
    pull = cognitive * (best - position) + social * (leader - position)
    velocity = _INERTIA * velocity + _ACCELERATION * pull
    position = position + velocity
    cost = objective(position, *data, limit)
    better = cost < best_cost
    best = jnp.where(better[:, None, None], position, best)
    return (position, velocity, best, jnp.where(better, cost, best_cost)), None


@functools.partial(jax.jit, static_argnames="steps")
def _search(key: jax.Array, start: jax.Array, data: tuple, limit: jax.Array, steps: int) -> tuple:
    """The best control points `[K, 2]` and their cost, after `steps` moves in each stage."""
    best, velocity = start, jnp.zeros_like(start)
    for stage, factor in enumerate(_TRUNCATION_FACTORS):
        keys = jax.random.split(jax.random.fold_in(key, stage), steps)
        stage_limit = factor * limit
        # Costs under different truncations are not comparable, so each stage evaluates its best positions anew.
        carry = best, velocity, best, objective(best, *data, stage_limit)
        (_, velocity, best, cost), _ = jax.lax.scan(lambda c, k, w=stage_limit: _move(c, k, data, w), carry, keys)
    leader = jnp.argmin(cost)
    return best[leader], cost[leader]


def search(points: np.ndarray, targets: np.ndarray, model: str, *, limit: float, seed: int = 0, particles: int = 128,
           steps: int = 50, max_matches: int = 512) -> tuple[np.ndarray, float]:
    """The 3×3 matrix that most matches agree with, and its objective in [0, 1].

    Args:
      points, targets: matches `[N, 2]`, N ≥ 2, in the unit square's scale, the best
        first: only the first `max_matches` are used.
      model: "similarity", "affine" or "homography".
      limit: the distance from which on a match counts as wrong, same scale.
      seed: the same arguments give the same result on one kind of device.
      particles, steps: size of the swarm; moves in each of the three stages.

    Raises:
      ValueError: an unknown model, or fewer than two matches.
    """
    transforms.check_model(model)
    if len(points) < 2:
        raise ValueError(f"a swarm needs two matches or more, got {len(points)}")
    points, targets = points[:max_matches], targets[:max_matches]
    pad = ((0, max_matches - len(points)), (0, 0))
    data = (np.pad(points, pad), np.pad(targets, pad), np.arange(max_matches) < len(points))
    start = _start_positions(np.random.default_rng(seed), points, targets, transforms.CONTROL_POINTS[model], particles)
    # A swarm of 128 keeps no accelerator busy, and initializing one takes seconds and most of its memory.
    with jax.default_device(_cpu()):
        controls, cost = _search(jax.random.key(seed), jnp.asarray(start, jnp.float32),
                                 tuple(jnp.asarray(x, jnp.float32) for x in data), jnp.float32(limit), steps)
    return transforms.from_controls(np.asarray(controls, np.float64)), float(cost)


def _cpu() -> jax.Device | None:
    """The CPU as JAX sees it; None, which means JAX's default, if JAX_PLATFORMS excludes it."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


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
