import dataclasses
import mmap
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core import memory


class PlainMemory:
    """Algorithm 1 as a plain list of (epoch, mean spatial frequency, planes)."""

    def __init__(self, slots: int):
        self.slots, self.entries = slots, []

    def end_of_epoch(self, epoch, sharpness, planes) -> bool:
        if len(self.entries) < self.slots:
            self.entries.append((epoch, sharpness, planes))
            return True
        worst = min(self.entries, key=lambda entry: (entry[1], entry[0]))  # the oldest of equals
        if sharpness > worst[1]:
            self.entries[self.entries.index(worst)] = (epoch, sharpness, planes)
            return True
        return False


admit = jax.jit(memory.admit)
write = jax.jit(memory.write)
read = jax.jit(memory.read)


def run_both(scores, slots=4, patches=5, px=3, seed=0):
    """Runs epochs of the given mean spatial frequencies through both implementations; yields both after each."""
    rng = np.random.default_rng(seed)
    bank, plain = memory.init_bank(patches, slots, px), PlainMemory(slots)
    for epoch, score in enumerate(np.asarray(scores, np.float32), 1):
        planes = rng.integers(0, 256, (patches, px, px)).astype(np.uint8)
        for numbers in np.array_split(rng.permutation(patches), 2):
            values = jnp.full(len(numbers), score)
            bank = write(bank, jnp.asarray(numbers), jnp.asarray(planes[numbers]), values, values)
        bank, admitted = admit(bank, epoch, score)
        assert bool(admitted) == plain.end_of_epoch(epoch, float(score), planes)
        yield bank, plain


SCORES = {
    "random": np.random.default_rng(1).random(40),
    "ties": np.random.default_rng(2).integers(0, 3, 40),
    "all equal": np.ones(12),
    "rising": np.arange(12),
    "falling: never admitted after the fourth": -np.arange(12.0),
    "fewer than four": [3.0, 1.0, 2.0],
    "zeros and black pictures": np.zeros(6),
}


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("slots", [1, 4])
def test_equals_the_plain_algorithm_1(scores, slots):
    for bank, plain in run_both(scores, slots):
        entry_of = {int(e): k for k, e in enumerate(bank.epochs) if e != memory.EMPTY}
        assert set(entry_of) == {epoch for epoch, _, _ in plain.entries}
        images, kept = read(bank, jnp.arange(5))
        for epoch, sharpness, planes in plain.entries:
            np.testing.assert_array_equal(images[:, entry_of[epoch]], planes)
            np.testing.assert_allclose(kept[:, entry_of[epoch]], sharpness)
            assert float(bank.epoch_sharpness[entry_of[epoch]]) == pytest.approx(sharpness)
        used = {int(s) for s in bank.slots}
        assert int(bank.free) not in used
        assert used | {int(bank.free)} == set(range(slots + 1))


def test_an_epoch_whose_sharpness_is_nan_is_not_admitted():
    bank = memory.init_bank(2, 4, 3)
    _, admitted = admit(bank, 1, jnp.float32(jnp.nan))
    assert not bool(admitted)


def test_padding_is_dropped_when_written_and_harmless_when_read(rng):
    bank = memory.init_bank(3, 4, 2)
    levels = jnp.asarray(rng.integers(1, 256, (4, 2, 2)), jnp.uint8)
    new = write(bank, jnp.array([2, 3, 0, 3]), levels, jnp.ones(4), jnp.ones(4))
    slot = int(bank.free)
    np.testing.assert_array_equal(new.images[2, slot], levels[0])
    np.testing.assert_array_equal(new.images[0, slot], levels[2])
    assert int(new.images[1].max()) == 0
    assert read(new, jnp.array([3, 9]))[0].shape == (2, 4, 2, 2)


def test_admission_moves_no_pictures():
    bank = memory.init_bank(3, 4, 2)
    new, _ = memory.admit(bank, 1, jnp.float32(1))
    assert new.images is bank.images


def test_quantize_clips_and_rounds_to_eight_bits():
    values = jnp.array([-0.5, 0.0, 0.5 / 255, 1.5 / 255, 0.5, 1.0, 1.2])
    np.testing.assert_array_equal(memory.quantize(values), [0, 0, 0, 2, 128, 255, 255])
    levels = jnp.arange(256).astype(jnp.uint8)
    np.testing.assert_array_equal(memory.quantize(memory.dequantize(levels)), levels)


def test_bank_bytes_is_what_init_takes():
    bank = memory.init_bank(7, 4, 16)
    assert memory.bank_bytes(7, 4, 16) == bank.images.nbytes + bank.scores.nbytes + bank.sharpness.nbytes
    assert memory.bank_bytes(106_250, 4, 256) / 1e9 == pytest.approx(34.8, abs=0.05)


def remembered_epochs(scores, admission, slots=2):
    """Runs epochs of the given mean spatial frequencies; yields the set of remembered epochs after each."""
    bank = memory.init_bank(1, slots, 2)
    for epoch, score in enumerate(scores, 1):
        bank = write(bank, jnp.array([0]), jnp.full((1, 2, 2), epoch, jnp.uint8), jnp.ones(1), jnp.ones(1))
        bank, _ = memory.admit(bank, epoch, jnp.float32(score), admission)
        images, _ = read(bank, jnp.array([0]))
        epochs = [int(e) for e in bank.epochs]
        kept = [int(p[0, 0]) for p, e in zip(images[0], epochs) if e != memory.EMPTY]
        assert kept == [e for e in epochs if e > 0]
        yield {e for e in epochs if e != memory.EMPTY}


def test_rule_latest_remembers_the_latest_epochs_however_blurred():
    assert list(remembered_epochs([3.0, 2.0, 1.0, 0.0], memory.Admission("latest"))) == [{1}, {1, 2}, {2, 3}, {3, 4}]
    assert list(remembered_epochs([3.0, 2.0, 1.0], memory.Admission("latest"), slots=1)) == [{1}, {2}, {3}]


def test_epochs_before_the_first_are_not_remembered():
    sharpest = remembered_epochs([9.0, 8.0, 1.0, 2.0, 0.5], memory.Admission(first_epoch=3))
    assert list(sharpest) == [set(), set(), {3}, {3, 4}, {3, 4}]
    assert list(remembered_epochs([1.0, 1.0, 1.0], memory.Admission("latest", 2))) == [set(), {2}, {2, 3}]


def test_planes_beyond_2_31_pixels_are_read():
    """The first and the last row, 2.1 GB apart in memory that the system only maps: the rest is never touched."""
    px, slots = 256, 5
    rows = 2**31 // (slots * px * px) + 3
    images = np.frombuffer(mmap.mmap(-1, rows * slots * px * px), np.uint8).reshape(rows, slots, px, px)
    assert images.size > 2**31
    for row in (0, rows - 1):
        images[row, 3] = row % 251 + 1
    on_device = jax.device_put(images, may_alias=True)
    assert on_device.unsafe_buffer_pointer() == images.ctypes.data  # no copy, which would touch all of it
    bank = dataclasses.replace(memory.init_bank(rows, 4, 1), images=on_device,
                               slots=jnp.array([3, 0, 1, 2], jnp.int32))
    planes, _ = read(bank, jnp.array([rows - 1, 0]))
    assert [int(planes[i, 0].min()) for i in (0, 1)] == [(rows - 1) % 251 + 1, 1]
    assert not planes[:, 1:].any()


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("patches", [106_256, 2_000_000])
def test_no_number_in_the_program_counts_the_pixels_of_a_large_bank(patches, platform):
    """Planes are addressed by row and slot, which fit 32 bits; the bank is never flattened."""
    shape = jax.ShapeDtypeStruct
    bank = jax.eval_shape(lambda: memory.init_bank(patches, 4, 256))
    batch = shape((48,), np.int32), shape((48, 256, 256), np.uint8), shape((48,), np.float32), shape((48,), np.float32)
    for program in (jax.jit(memory.read).trace(bank, batch[0]), jax.jit(memory.write).trace(bank, *batch)):
        text = program.lower(lowering_platforms=(platform,)).as_text()
        axes = [int(n) for dims in re.findall(r"tensor<((?:\d+x)+)", text) for n in dims.split("x") if n]
        assert max(axes) == patches
        assert f"tensor<{patches}x5x256x256xui8>" in text


def test_rows_of_a_batch_are_declared_unique():
    bank = jax.eval_shape(lambda: memory.init_bank(6, 4, 4))
    batch = [jax.ShapeDtypeStruct(s, d) for s, d in (((3,), np.int32), ((3, 4, 4), np.uint8), ((3,), np.float32))]
    text = jax.jit(memory.write).lower(bank, *batch, batch[-1]).as_text()
    assert text.count('"stablehlo.scatter"') == text.count("unique_indices = true") == 3
