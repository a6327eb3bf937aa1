"""The transformation by particle swarm, batched and jitted: every particle against every match at once.

The swarm is the constricted one of Clerc and Kennedy 2002 (DOI 10.1109/4235.985692)
with one neighbourhood.  Positions are images of control points (`transforms`), so one
program serves any picture size; matches are padded to a fixed number with weight 0.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.registration import transforms

_INERTIA, _PULL = 0.7298, 1.49618
_WIDER = (4.0, 2.0, 1.0)  # the truncation, times the last: a wide basin first, sharp at the end


def objective(controls: jax.Array, points: jax.Array, targets: jax.Array, weights: jax.Array,
              limit: jax.Array) -> jax.Array:
    """Weighted mean over matches of min(d² / limit², 1), in [0, 1], for every particle: `[P]`.

    Args:
      controls: `[P, 2 | 3 | 4, 2]`.
      points, targets: the matches `[N, 2]`, in the unit square's scale.
      weights: `[N]`, 0 for padding.
      limit: where a match counts as wrong, in the same scale.
    """
    found = transforms.project(transforms.from_controls(controls, jnp), points, jnp)
    squares = jnp.sum((found - targets[None]) ** 2, -1) / limit**2
    return jnp.minimum(squares, 1) @ weights / jnp.maximum(weights.sum(), 1e-9)


def _move(carry, key, data, limit):
    position, velocity, best, best_cost = carry
    leader = best[jnp.argmin(best_cost)][None]
    own, social = jax.random.uniform(key, (2, *position.shape))
    velocity = _INERTIA * velocity + _PULL * (own * (best - position) + social * (leader - position))
    position = position + velocity
    cost = objective(position, *data, limit)
    better = cost < best_cost
    best = jnp.where(better[:, None, None], position, best)
    return (position, velocity, best, jnp.where(better, cost, best_cost)), None


@functools.partial(jax.jit, static_argnames="steps")
def _search(key: jax.Array, start: jax.Array, data: tuple, limit: jax.Array, steps: int) -> tuple:
    best, velocity = start, jnp.zeros_like(start)
    for stage, wider in enumerate(_WIDER):
        keys = jax.random.split(jax.random.fold_in(key, stage), steps)
        width = wider * limit
        # Costs under another truncation are other numbers, so each stage values its places anew.
        carry = best, velocity, best, objective(best, *data, width)
        (_, velocity, best, cost), _ = jax.lax.scan(lambda c, k, w=width: _move(c, k, data, w), carry, keys)
    leader = jnp.argmin(cost)
    return best[leader], cost[leader]


def search(points: np.ndarray, targets: np.ndarray, model: str, *, limit: float, seed: int = 0, particles: int = 128,
           steps: int = 50, most_matches: int = 1024) -> tuple[np.ndarray, float]:
    """The 3×3 matrix that most matches agree with, and its objective in [0, 1].

    Args:
      points, targets: matches `[N, 2]`, N ≥ 2, in the unit square's scale; the best
        first, for only the first `most_matches` are used.
      model: "similarity", "affine" or "homography".
      limit: the distance at which a match counts as wrong, same scale.
      seed: the same arguments give the same result on one kind of device.
      particles, steps: size of the swarm; moves in each of the three stages.

    Raises:
      ValueError: an unknown model, or fewer than two matches.
    """
    transforms.check_model(model)
    if len(points) < 2:
        raise ValueError(f"a swarm needs two matches or more, got {len(points)}")
    points, targets = points[:most_matches], targets[:most_matches]
    pad = ((0, most_matches - len(points)), (0, 0))
    data = (np.pad(points, pad), np.pad(targets, pad), np.arange(most_matches) < len(points))
    start = _start(np.random.default_rng(seed), points, targets, transforms.CONTROLS[model], particles)
    controls, cost = _search(jax.random.key(seed), jnp.asarray(start, jnp.float32),
                             tuple(jnp.asarray(x, jnp.float32) for x in data), jnp.float32(limit), steps)
    return transforms.from_controls(np.asarray(controls, np.float64)), float(cost)


def _start(rng: np.random.Generator, points: np.ndarray, targets: np.ndarray, controls: np.ndarray,
           particles: int) -> np.ndarray:
    """Where the particles begin, `[particles, k, 2]`: at similarities through two matches each, drawn at random.

    Of eight draws each particle takes the one whose matches lie farthest apart, which tells rotation and scale best.
    """
    draws = rng.integers(0, len(points), (8, particles, 2))
    z, t = points @ np.array([1, 1j]), targets @ np.array([1, 1j])
    apart = np.abs(z[draws[..., 0]] - z[draws[..., 1]])
    first, second = draws[apart.argmax(0), np.arange(particles)].T
    span = z[second] - z[first]
    turn = np.where(np.abs(span) > 1e-6, (t[second] - t[first]) / np.where(span == 0, 1, span), 1)
    shift = t[first] - turn * z[first]
    placed = turn[:, None] * (controls @ np.array([1, 1j])) + shift[:, None]
    return np.stack([placed.real, placed.imag], -1)
