"""A TFDS split for training: pairs of luma planes in host memory, shared out among the processes of a run."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from edmf_jax.core.color import luma_levels
from edmf_jax.data.tfds_reader import dataset_name, decode_files, read_rows, stored_ranges
from edmf_jax.runtime import distributed

_SOURCES = ("source_a", "source_b")


@dataclasses.dataclass(frozen=True)
class TrainingPair:
    """The two sources of one pair as luma planes."""

    id: int  # its published number
    luma: np.ndarray | None  # Y planes, uint8 [2, H, W]; None if only another process holds them
    size: tuple[int, int] | None = None  # height, width [px]; taken from `luma` if not given

    def __post_init__(self):
        if self.size is None:
            object.__setattr__(self, "size", self.luma.shape[1:])


def load_pairs(builder, split: str) -> list[TrainingPair]:
    """All pairs of a split, in the data set's order; this process reads the planes of its even share of them.

    A single process reads all planes.

    Args:
      builder: a prepared TFDS builder.
      split: as TFDS writes it: "train", "train[:90%]".

    Raises:
      UserError: there is no such split, or a picture cannot be used (see `read_pairs`).
    """
    total = sum(part.last - part.first for part in stored_ranges(builder, split, f"data.split={split!r}"))
    processes, process = jax.process_count(), jax.process_index()
    own = read_pairs(builder, split, process * total // processes, (process + 1) * total // processes)
    sizes = distributed.gather_rows(np.array([(p.id, *p.size) for p in own], np.int32).reshape(-1, 3)).tolist()
    luma = {p.id: p.luma for p in own}
    return [TrainingPair(number, luma.get(number), (height, width)) for number, height, width in sizes]


def exchange_pairs(pairs: list[TrainingPair], wanted: Sequence[int], builder, split: str) -> list[TrainingPair]:
    """The same pairs with the planes of exactly those `wanted`: missing ones are read, all others dropped.

    Args:
      pairs: from `load_pairs` of the same builder and split.
      wanted: ascending indices into `pairs`.
    """
    missing = [i for i in wanted if pairs[i].luma is None]
    read = {}
    for first, last in _ranges(missing):
        read.update(zip(range(first, last), read_pairs(builder, split, first, last)))
    wanted = set(wanted)
    return [dataclasses.replace(p, luma=(read[i].luma if i in read else p.luma) if i in wanted else None)
            for i, p in enumerate(pairs)]


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Groups ascending numbers into ranges [first, last)."""
    gaps = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    groups = np.split(np.asarray(numbers, int), gaps) if len(numbers) else []
    return [(int(group[0]), int(group[-1]) + 1) for group in groups]


def read_pairs(builder, split: str, first: int, last: int) -> list[TrainingPair]:
    """Reads and decodes pairs `first` … `last` − 1 of a split, and no others, on all cores.

    Raises:
      UserError: a damaged file, sources that differ in size, or more than 8 bits per channel.
    """
    name = dataset_name(builder)

    def decode(row: dict) -> TrainingPair:
        number = int(row["id"])
        images = decode_files({source: row[source] for source in _SOURCES}, name, number)
        return TrainingPair(number, np.stack([luma_levels(images[source]) for source in _SOURCES]))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(decode, read_rows(builder, split, first, last)))
