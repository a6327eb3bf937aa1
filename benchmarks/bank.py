"""What happens once a run or once an epoch: the data set to the devices, the epoch into the memory."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inputs import REMEMBERED, SEED, make_pair
from benchmarks.ours import make_recipe, one_device, place
from benchmarks.table import Row, measured
from benchmarks.timing import interleave, stopwatch
from edmf_jax import memory, steps
from edmf_jax.data import Pair, TrainingSet, put_sources
from edmf_jax.patches import Layout, patch_table
from edmf_jax.state import TrainState

PAPER_PATCHES, BATCH = 106_250, 48
SMALL_PX = 16  # admission touches no image: small ones do
PAIRS, QUICK_PAIRS, PAIR_PX = 64, 8, (768, 1024)


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """Admission of an epoch of the paper's size, and the way of a data set to the devices."""
    return [admission_row(repeats, PAPER_PATCHES // 10 if quick else PAPER_PATCHES),
            data_row(repeats, QUICK_PAIRS if quick else PAIRS)]


def admission_row(repeats: int, patches: int) -> Row:
    """Mean sharpness of the epoch's planes and the change of slots, as training calls it."""
    recipe, mesh = make_recipe(BATCH, SMALL_PX, patches), one_device()
    params = {"conv1": {"bias": jnp.zeros(1)}}
    bank = memory.init_bank(patches, REMEMBERED, SMALL_PX)
    state = TrainState(jnp.zeros((), jnp.int32), params, recipe.optimizer.init(params), bank)
    levels = [Pair(0, np.zeros((2, SMALL_PX, SMALL_PX), np.uint8))]
    table = np.zeros((patches, 3), np.int32)
    sources = put_sources(TrainingSet(levels, table, recipe.layout, SMALL_PX), mesh)
    epoch_end, current = steps.make_epoch_end(recipe), [place(state, mesh)]

    def admit() -> None:
        current[0], report = epoch_end(current[0], sources)
        jax.block_until_ready(report)

    seconds = interleave({"": stopwatch(admit)}, repeats)[""]
    return measured("edmf-jax: admission of an epoch to the bank", "ms", [1e3 * s for s in seconds],
                    f"{patches} patches; the planes stay where they are")


def data_row(repeats: int, pairs: int) -> Row:
    """Pictures in memory → atlas on the devices, packing included."""
    rng, mesh = np.random.default_rng(SEED), one_device()
    pictures = [Pair(i, make_pair(rng, *PAIR_PX)) for i in range(pairs)]
    table = patch_table([PAIR_PX] * pairs, [str(i) for i in range(pairs)], 128, 16 * pairs, 0)
    training_set = TrainingSet(pictures, table, Layout(len(table), mesh.size, 8 * mesh.size), 128)

    def send() -> None:
        jax.block_until_ready(put_sources(training_set, mesh))

    seconds = interleave({"": stopwatch(send)}, repeats)[""]
    size = sum(pair.luma.nbytes for pair in pictures)
    return measured("edmf-jax: data set to the devices", "MB/s", [size / 1e6 / s for s in seconds],
                    f"{pairs} pairs of {PAIR_PX[1]}×{PAIR_PX[0]} px, {size / 1e6:.0f} MB, packing included")
