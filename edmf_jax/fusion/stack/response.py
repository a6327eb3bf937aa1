"""Measures and corrects the network's response to flat areas.

A network that gets the same flat plane twice should return it.  A briefly trained one does not, above all near
white, where its last tanh saturates: skies and windows get a gray veil.  So the response to every level is measured
once, and the output goes through the inverse of it.  That also restores the contrast which the saturation takes away.
Only preset "photo" does this; preset "paper" leaves the network's output as it is.
"""

import functools

import jax
import numpy as np

from edmf_jax.core.model import MIN_SIDE_PX, FusionNet, fuse_luma
from edmf_jax.weights.store import Weights

_LEVELS = np.linspace(0, 1, 33, dtype=np.float32)
_MAX_ERROR = 0.15  # a response further off than this at any level is not corrected: that network does something else
_MIN_SLOPE = 0.25  # nor is a flatter one: the inverse would amplify noise more than fourfold


@functools.partial(jax.jit, static_argnums=0)
def _fuse_flat(model: FusionNet, params: dict, levels: jax.Array) -> jax.Array:
    planes = jax.numpy.broadcast_to(levels[:, None, None], (len(levels), MIN_SIDE_PX, MIN_SIDE_PX))
    return fuse_luma(model, params, planes, planes)


def measure_flat_response(weights: Weights) -> np.ndarray:
    """The network's output for two equal flat planes, at 33 levels from 0 to 1: float32 `[33]`."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(_fuse_flat(weights.model, weights.params, _LEVELS)).mean((1, 2))


def correct_flat_response(plane: np.ndarray, response: np.ndarray) -> np.ndarray:
    """A fused plane `[h, w]` through the inverse of `response`; unchanged if the response can't be inverted safely.

    `response` is that of `measure_flat_response`.
    """
    if np.abs(response - _LEVELS).max() > _MAX_ERROR or np.diff(response).min() < _MIN_SLOPE / (len(_LEVELS) - 1):
        return plane
    # Edges overshoot the range of flat planes: outside it the inverse continues with slope 1.
    beyond = np.array([-1.0, 1.0])
    given = np.concatenate([response[:1] + beyond[:1], response, response[-1:] + beyond[1:]])
    return np.interp(plane, given, np.concatenate([beyond[:1], _LEVELS, 1 + beyond[1:]])).astype(np.float32)
