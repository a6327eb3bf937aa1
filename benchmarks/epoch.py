"""One epoch of the paper, 106,250 patches of 256² in batches of 48, with the whole bank on the device."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fusing import free_bytes
from benchmarks.inputs import REMEMBERED, SEED
from benchmarks.jax_training import GPU_STEPS_PER_CALL, Steps, make_step_config, one_device
from benchmarks.table import Row, left_out, measured
from edmf_jax.core import memory
from edmf_jax.core.model import init_params
from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.training.device_data import TrainingSet, put_sources
from edmf_jax.training.patches import patch_table
from edmf_jax.training.state import TrainState, shardings, to_devices

PATCHES, PATCH_PX, BATCH = 106_250, 256, 48
PAIRS, PAIR_PX = 500, (720, 720)  # about as many pixels as the training pictures have
OTHER_BYTES = 4 * 10**9  # besides the bank: sources, activations
MAX_SECONDS = 240  # a longer epoch is measured for this long, and scaled
NAME, UNIT = "edmf-jax: one paper epoch, bank resident", "s"


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """The row, or the reason why it is left out; no row on a CPU, which would take too long."""
    if jax.default_backend() == "cpu":
        return []
    needed, free = memory.bank_bytes(PATCHES, REMEMBERED, PATCH_PX) + OTHER_BYTES, free_bytes()
    if needed > free:
        return [left_out(NAME, UNIT, f"takes {needed / 1e9:.1f} GB on the device, {free / 1e9:.1f} GB are free")]
    return [epoch_row(PATCHES, PATCH_PX, BATCH, PAIRS, PAIR_PX, MAX_SECONDS / (8 if quick else 1))]


def flat_state(step_config, mesh) -> TrainState:
    """A training state, made on the device, whose bank holds four epochs of flat planes."""

    def make() -> TrainState:
        params = init_params(step_config.model, jax.random.key(0))
        bank = memory.init_bank(step_config.layout.bank_rows, REMEMBERED, step_config.patch_px)
        shades = jnp.arange(REMEMBERED + 1, dtype=jnp.uint8)[None, :, None, None] * 40
        bank = memory.MemoryBank(bank.images + shades, bank.scores, bank.sharpness, bank.slots,
                                 jnp.arange(1, REMEMBERED + 1, dtype=jnp.int32), bank.epoch_sharpness, bank.free)
        state = TrainState(jnp.zeros((), jnp.int32), params, step_config.optimizer.init(params), bank)
        return to_devices(state, mesh.size)

    return jax.jit(make, out_shardings=shardings(mesh, jax.eval_shape(make)))()


def epoch_row(patches: int, patch_px: int, batch: int, pairs: int, pair_px: tuple[int, int], limit_s: float,
              steps_per_call: int = GPU_STEPS_PER_CALL) -> Row:
    """The time of an epoch: all its steps, or as many as fit in `limit_s` seconds, scaled."""
    rng, mesh = np.random.default_rng(SEED), one_device()
    step_config = make_step_config(batch, patch_px, patches, steps_per_call=steps_per_call)
    pictures = [TrainingPair(i, rng.integers(0, 256, (2, *pair_px), np.uint8)) for i in range(pairs)]
    table = patch_table([pair_px] * pairs, [str(i) for i in range(pairs)], patch_px, patches, 0)
    sources = put_sources(TrainingSet(pictures, table, step_config.layout, patch_px), mesh)
    order = jax.device_put(step_config.layout.device_order(SEED, 0, 1))
    steps = Steps(step_config, flat_state(step_config, mesh), sources, order)
    steps.run()
    whole, done, began = step_config.layout.steps_per_epoch, 0, time.perf_counter()
    while done < whole and time.perf_counter() - began < limit_s:
        steps.run()
        done += steps_per_call
    seconds = (time.perf_counter() - began) * whole / done
    how = "run completely" if done >= whole else f"scaled from {done} of {whole} steps"
    return measured(NAME, UNIT, [seconds], f"{patches} patches of {patch_px}², batch {batch}; {how}")
