"""One epoch of the paper, 106,250 patches of 256² in batches of 48, with the whole bank on the device."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fusing import free_bytes
from benchmarks.inputs import REMEMBERED, SEED
from benchmarks.ours import GPU_STEPS_PER_CALL, Steps, make_recipe, one_device
from benchmarks.table import Row, left_out, measured
from edmf_jax import memory
from edmf_jax.data import Pair, TrainingSet, put_sources
from edmf_jax.model import init_params
from edmf_jax.patches import patch_table
from edmf_jax.state import TrainState, shardings, to_devices

PATCHES, PATCH_PX, BATCH = 106_250, 256, 48
PAIRS, PAIR_PX = 500, (720, 720)  # about as many pixels as the training pictures have
ROOM_BYTES = 4 * 10**9  # besides the bank: sources, activations
WHOLE_EPOCH_S = 240  # an epoch that would take longer is measured for as long, and scaled
NAME, UNIT = "edmf-jax: one paper epoch, bank resident", "s"


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """The row, or why there is none; nothing at all on a CPU, where it is no use to wait."""
    if jax.default_backend() == "cpu":
        return []
    needed, free = memory.bank_bytes(PATCHES, REMEMBERED, PATCH_PX) + ROOM_BYTES, free_bytes()
    if needed > free:
        return [left_out(NAME, UNIT, f"takes {needed / 1e9:.1f} GB on the device, {free / 1e9:.1f} GB are free")]
    return [epoch_row(PATCHES, PATCH_PX, BATCH, PAIRS, PAIR_PX, WHOLE_EPOCH_S / (8 if quick else 1))]


def flat_state(recipe, mesh) -> TrainState:
    """A state whose bank remembers four epochs of flat planes, made on the device."""

    def make() -> TrainState:
        params = init_params(recipe.model, jax.random.key(0))
        bank = memory.init_bank(recipe.layout.places, REMEMBERED, recipe.patch_px)
        shades = jnp.arange(REMEMBERED + 1, dtype=jnp.uint8)[None, :, None, None] * 40
        bank = memory.MemoryBank(bank.images + shades, bank.scores, bank.sharpness, bank.slots,
                                 jnp.arange(1, REMEMBERED + 1, dtype=jnp.int32), bank.epoch_sharpness, bank.free)
        state = TrainState(jnp.zeros((), jnp.int32), params, recipe.optimizer.init(params), bank)
        return to_devices(state, mesh.size)

    return jax.jit(make, out_shardings=shardings(mesh, jax.eval_shape(make)))()


def epoch_row(patches: int, patch_px: int, batch: int, pairs: int, pair_px: tuple[int, int], limit_s: float,
              steps_per_call: int = GPU_STEPS_PER_CALL) -> Row:
    """Plays the epoch's steps for at most `limit_s` seconds; the epoch's time."""
    rng, mesh = np.random.default_rng(SEED), one_device()
    recipe = make_recipe(batch, patch_px, patches, steps_per_call=steps_per_call)
    pictures = [Pair(i, rng.integers(0, 256, (2, *pair_px), np.uint8)) for i in range(pairs)]
    table = patch_table([pair_px] * pairs, [str(i) for i in range(pairs)], patch_px, patches, 0)
    sources = put_sources(TrainingSet(pictures, table, recipe.layout, patch_px), mesh)
    order = jax.device_put(recipe.layout.device_order(SEED, 0, 1))
    steps = Steps(recipe, flat_state(recipe, mesh), sources, order)
    steps.play()
    whole, done, began = recipe.layout.steps_per_epoch, 0, time.perf_counter()
    while done < whole and time.perf_counter() - began < limit_s:
        steps.play()
        done += steps_per_call
    seconds = (time.perf_counter() - began) * whole / done
    how = "played whole" if done >= whole else f"scaled from {done} of {whole} steps"
    return measured(NAME, UNIT, [seconds], f"{patches} patches of {patch_px}², batch {batch}; {how}")
