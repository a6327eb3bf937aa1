"""Work done once a run or once an epoch: sending the data set to the devices, admitting an epoch to the memory."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inputs import REMEMBERED, SEED, make_pair
from benchmarks.jax_training import make_step_config, one_device, place
from benchmarks.table import Row, measured
from benchmarks.timing import interleave, stopwatch
from edmf_jax.core import memory
from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.training import steps
from edmf_jax.training.device_data import TrainingSet, put_sources
from edmf_jax.training.patches import PatchLayout, patch_table
from edmf_jax.training.state import TrainState

PAPER_PATCHES, BATCH = 106_250, 48
SMALL_PX = 16  # admission does not touch the images, so small ones are enough
PAIRS, QUICK_PAIRS, PAIR_PX = 64, 8, (768, 1024)


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """The time of admitting an epoch of the paper's size, and the rate of sending a data set to the devices."""
    return [admission_row(repeats, PAPER_PATCHES // 10 if quick else PAPER_PATCHES),
            data_row(repeats, QUICK_PAIRS if quick else PAIRS)]


def admission_row(repeats: int, patches: int) -> Row:
    """Admission as training calls it: the mean sharpness of the epoch's planes, then the change of slots."""
    step_config, mesh = make_step_config(BATCH, SMALL_PX, patches), one_device()
    params = {"conv1": {"bias": jnp.zeros(1)}}
    bank = memory.init_bank(patches, REMEMBERED, SMALL_PX)
    state = TrainState(jnp.zeros((), jnp.int32), params, step_config.optimizer.init(params), bank)
    levels = [TrainingPair(0, np.zeros((2, SMALL_PX, SMALL_PX), np.uint8))]
    table = np.zeros((patches, 3), np.int32)
    sources = put_sources(TrainingSet(levels, table, step_config.layout, SMALL_PX), mesh)
    epoch_end, current = steps.make_epoch_end(step_config), [place(state, mesh)]

    def admit() -> None:
        current[0], report = epoch_end(current[0], sources)
        jax.block_until_ready(report)

    seconds = interleave({"": stopwatch(admit)}, repeats)[""]
    return measured("edmf-jax: admission of an epoch to the bank", "ms", [1e3 * s for s in seconds],
                    f"{patches} patches; the planes stay where they are")


def data_row(repeats: int, pairs: int) -> Row:
    """From pictures in memory to the atlas on the devices, packing included."""
    rng, mesh = np.random.default_rng(SEED), one_device()
    pictures = [TrainingPair(i, make_pair(rng, *PAIR_PX)) for i in range(pairs)]
    table = patch_table([PAIR_PX] * pairs, [str(i) for i in range(pairs)], 128, 16 * pairs, 0)
    training_set = TrainingSet(pictures, table, PatchLayout(len(table), mesh.size, 8 * mesh.size), 128)

    def send() -> None:
        jax.block_until_ready(put_sources(training_set, mesh))

    seconds = interleave({"": stopwatch(send)}, repeats)[""]
    size = sum(pair.luma.nbytes for pair in pictures)
    return measured("edmf-jax: data set to the devices", "MB/s", [size / 1e6 / s for s in seconds],
                    f"{pairs} pairs of {PAIR_PX[1]}×{PAIR_PX[0]} px, {size / 1e6:.0f} MB, packing included")
