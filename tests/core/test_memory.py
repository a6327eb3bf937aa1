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
