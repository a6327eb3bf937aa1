"""A training step compiled without data, for what XLA says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from edmf_jax.core import memory
from edmf_jax.core.losses import Coefficients
from edmf_jax.core.model import init_params, make_model
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.state import DEVICES, Sources, TrainState
from edmf_jax.training.steps import StepConfig, make_sharded_step


def temporary_bytes(width: int, batch: int, patch_px: int, remembered: int = 4) -> int:
    """Temporaries of one step on one device of this platform."""
    layout = PatchLayout(2 * batch, 1, batch)
    config = StepConfig(make_model(width), optax.adam(1e-4), Coefficients(1, 10, 10), 19, patch_px, layout)

    def state():
        params = init_params(config.model, jax.random.key(0))
        bank = memory.init_bank(layout.bank_rows, remembered, patch_px)
        return TrainState(jnp.zeros((), jnp.int32), params, config.optimizer.init(params), bank)

    shape = jax.ShapeDtypeStruct
    sources = Sources(shape((1, 2, 512, 4096), jnp.uint8), shape((1, layout.bank_rows, 2), jnp.int32),
                      shape((1, layout.bank_rows), bool))
    order = shape((1, layout.steps_per_epoch, batch), jnp.int32)
    step = make_sharded_step(config, Mesh(np.array(jax.devices()[:1]), (DEVICES,)))
    compiled = step.lower(jax.eval_shape(state), sources, order, 1).compile()
    return compiled.memory_analysis().temp_size_in_bytes
