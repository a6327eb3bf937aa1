"""A split for training, of TFDS or of a pack: luma planes in host memory, shared out among the processes of a run."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from ml_collections import ConfigDict

from edmf_jax.core.color import luma_levels
from edmf_jax.data.pack import SOURCES, Pack, open_pack
from edmf_jax.data.tfds_reader import dataset_name, decode_files, open_dataset, read_rows, stored_ranges
from edmf_jax.runtime import distributed


@dataclasses.dataclass(frozen=True)
class TrainingPair:
    """The two sources of one pair as luma planes."""

    id: int  # its published number
    luma: np.ndarray | None  # Y planes, uint8 [2, H, W]; None if only another process holds them
    size: tuple[int, int] | None = None  # height, width [px]; taken from `luma` if not given

    def __post_init__(self):
        if self.size is None:
            object.__setattr__(self, "size", self.luma.shape[1:])


def open_source(data: ConfigDict, log: Callable[[str], None]):
    """What `load_pairs` reads: the pack `data.file`, or without one a prepared TFDS builder.

    Args:
      data: `config.data`.
      log: receives one line that says what was built or found.

    Raises:
      UserError: there is no such file or data set, or its files cannot be had.
    """
    if data.file:
        return open_pack(data.file, data.dataset)
    return open_dataset(data.dataset, data.data_dir or None, split=data.split, allow_missing=data.allow_missing,
                        log=log)


def source_name(source) -> str:
    """A pack or builder in words: "edmf/table2/1.0.0"."""
    return f"{source.dataset} in {source.path.name}" if isinstance(source, Pack) else source.info.full_name


def load_pairs(source, split: str) -> list[TrainingPair]:
    """All pairs of a split, in the data set's order; this process reads the planes of its even share of them.

    A single process reads all planes.

    Args:
      source: a pack or a prepared TFDS builder.
      split: as TFDS writes it: "train", "train[:90%]".

    Raises:
      UserError: there is no such split, or a picture cannot be used (see `read_pairs`).
    """
    if isinstance(source, Pack):
        total = len(source.rows(split))
    else:
        total = sum(part.last - part.first for part in stored_ranges(source, split, f"data.split={split!r}"))
    processes, process = jax.process_count(), jax.process_index()
    own = read_pairs(source, split, process * total // processes, (process + 1) * total // processes)
    sizes = distributed.gather_rows(np.array([(p.id, *p.size) for p in own], np.int32).reshape(-1, 3)).tolist()
    luma = {p.id: p.luma for p in own}
    return [TrainingPair(number, luma.get(number), (height, width)) for number, height, width in sizes]


def exchange_pairs(pairs: list[TrainingPair], wanted: Sequence[int], source, split: str) -> list[TrainingPair]:
    """The same pairs with the planes of exactly those `wanted`: missing ones are read, all others dropped.

    Args:
      pairs: from `load_pairs` of the same source and split.
      wanted: ascending indices into `pairs`.
    """
    missing = [i for i in wanted if pairs[i].luma is None]
    read = {}
    for first, last in _ranges(missing):
        read.update(zip(range(first, last), read_pairs(source, split, first, last)))
    wanted = set(wanted)
    return [dataclasses.replace(p, luma=(read[i].luma if i in read else p.luma) if i in wanted else None)
            for i, p in enumerate(pairs)]


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Groups ascending numbers into ranges [first, last)."""
    gaps = [i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1]
    groups = np.split(np.asarray(numbers, int), gaps) if len(numbers) else []
    return [(int(group[0]), int(group[-1]) + 1) for group in groups]


def read_pairs(source, split: str, first: int, last: int) -> list[TrainingPair]:
    """Reads and decodes pairs `first` … `last` − 1 of a split, and no others, on all cores.

    Raises:
      UserError: a damaged file, sources that differ in size, or more than 8 bits per channel.
    """
    if isinstance(source, Pack):
        rows = source.rows(split)[first:last]
        return [TrainingPair(source.pairs[row].id, planes) for row, planes in zip(rows, source.read(rows))]
    name = dataset_name(source)

    def decode(row: dict) -> TrainingPair:
        number = int(row["id"])
        images = decode_files({feature: row[feature] for feature in SOURCES}, name, number)
        return TrainingPair(number, np.stack([luma_levels(images[feature]) for feature in SOURCES]))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(decode, read_rows(source, split, first, last)))
