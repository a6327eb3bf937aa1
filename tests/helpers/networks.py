"""A small random network, and its forward pass compiled with few optimizations, which takes half the time."""

import jax
import numpy as np

from edmf_jax.core.model import fuse_luma, init_params, make_model
from edmf_jax.core.padded import fuse_padded
from edmf_jax.weights.store import Weights

MODEL = make_model(2)
PARAMS = jax.tree.map(lambda x: 0.3 * np.random.default_rng(x.size).standard_normal(x.shape).astype(np.float32),
                      jax.eval_shape(lambda key: init_params(MODEL, key), jax.random.key(0)))
WEIGHTS = Weights(PARAMS, {"model": {"width": 2, "dtype": "float32"}}, "small")
FAST_COMPILE = {"static_argnums": 0, "compiler_options": {"xla_backend_optimization_level": 0}}
run_unpadded, run_padded = jax.jit(fuse_luma, **FAST_COMPILE), jax.jit(fuse_padded, **FAST_COMPILE)
