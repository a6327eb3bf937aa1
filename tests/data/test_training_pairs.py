"""Training pairs: luma planes of a split, shared out among processes."""

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from edmf_jax.core.color import luma_levels
from edmf_jax.data import training_pairs
from edmf_jax.data.tfds_reader import open_dataset
from edmf_jax.data.training_pairs import TrainingPair, exchange_pairs, load_pairs, read_pairs
from edmf_jax.errors import UserError


@pytest.fixture(scope="module")
def builder(data_dir):
    return open_dataset("edmf_synthetic/tiny", str(data_dir), log=lambda line: None)


def held(pairs):
    return [p.id for p in pairs if p.luma is not None]


def test_one_process_holds_the_luma_planes_of_all_pairs(builder):
    pairs = load_pairs(builder, "train")
    examples = list(builder.as_dataset(split="train").as_numpy_iterator())
    assert [p.id for p in pairs] == held(pairs) == [0, 1, 2, 3, 4, 5]
    for pair, example in zip(pairs, examples, strict=True):
        assert pair.luma.dtype == np.uint8 and pair.size == pair.luma.shape[1:] == example["source_a"].shape[:2]
        for plane, source in zip(pair.luma, "ab", strict=True):
            np.testing.assert_array_equal(plane, luma_levels(example[f"source_{source}"]))


def test_each_of_several_processes_reads_its_even_share(builder, monkeypatch):
    """The gathering of sizes is replaced, for there is only one process here."""
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    monkeypatch.setattr(training_pairs.distributed, "gather_rows", lambda rows: rows)
    shares = []
    for process in range(4):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        shares.append(held(load_pairs(builder, "train")))
    assert shares == [[0], [1, 2], [3], [4, 5]]


def test_exchange_keeps_reads_and_drops(builder, monkeypatch):
    pairs = [p if p.id < 3 else TrainingPair(p.id, None, p.size) for p in load_pairs(builder, "train")]
    read = []

    def recorded(builder, split, first, last):
        read.append((first, last))
        return read_pairs(builder, split, first, last)

    monkeypatch.setattr(training_pairs, "read_pairs", recorded)
    exchanged = exchange_pairs(pairs, [1, 2, 3, 5], builder, "train")
    assert held(exchanged) == [1, 2, 3, 5] and read == [(3, 4), (5, 6)]
    assert [p.size for p in exchanged] == [p.size for p in pairs]
    assert exchanged[1].luma is pairs[1].luma
    np.testing.assert_array_equal(exchanged[5].luma, load_pairs(builder, "train")[5].luma)


def test_a_part_of_a_split_and_one_that_does_not_exist(builder):
    assert [p.id for p in load_pairs(builder, "train[4:]")] == [4, 5]
    with pytest.raises(UserError, match=r"data.split='valid': edmf_synthetic/tiny has test, train"):
        load_pairs(builder, "valid")
