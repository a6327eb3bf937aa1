"""What a network makes of flat areas, and how that is undone.

A network that is given the same flat plane twice should give it back.  A briefly trained one does not, above all next
to white, where its last tanh saturates: a grey veil over skies and windows.  What it makes of every
level is measured once, and its output goes through the inverse.  That also gives back the contrast that
the saturation takes.  Only preset "photo" does this; preset "paper" is the network as it is.
"""

import functools

import jax
import numpy as np

from edmf_jax.model import MIN_SIDE_PX, FusionNet, fuse_luma
from edmf_jax.weights import Weights

_LEVELS = np.linspace(0, 1, 33, dtype=np.float32)
_MOST = 0.15  # a network that is further off than this anywhere is no such network: its output stays as it is
_LEAST_SLOPE = 0.25  # more than this much contrast is not put back: noise comes with it


@functools.partial(jax.jit, static_argnums=0)
def _of_flat(model: FusionNet, params: dict, levels: jax.Array) -> jax.Array:
    planes = jax.numpy.broadcast_to(levels[:, None, None], (len(levels), MIN_SIDE_PX, MIN_SIDE_PX))
    return fuse_luma(model, params, planes, planes)


def measured(weights: Weights) -> np.ndarray:
    """The network's output for two equal flat planes of 33 levels from 0 to 1: float32 `[33]`."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(_of_flat(weights.model, weights.params, _LEVELS)).mean((1, 2))


def undone(plane: np.ndarray, response: np.ndarray) -> np.ndarray:
    """A fused plane through the inverse of `measured`; as it is where that has none."""
    if np.abs(response - _LEVELS).max() > _MOST or np.diff(response).min() < _LEAST_SLOPE / (len(_LEVELS) - 1):
        return plane
    # Beyond what flat planes give, by the slope there: edges overshoot.
    beyond = np.array([-1.0, 1.0])
    given = np.concatenate([response[:1] + beyond[:1], response, response[-1:] + beyond[1:]])
    return np.interp(plane, given, np.concatenate([beyond[:1], _LEVELS, 1 + beyond[1:]])).astype(np.float32)
