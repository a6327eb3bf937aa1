"""Opens TFDS data sets, reads the stored rows of a split and decodes their image files.

`training_pairs` and `pairs` are built on this module.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.images import decode_image


class StoredRange(NamedTuple):
    """Rows `first` … `last` − 1 of a stored split."""

    split: str
    first: int
    last: int


def import_tfds():
    """Imports tensorflow_datasets and registers the builders of `tfds_edmf`.

    Raises:
      UserError: TensorFlow or TFDS is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow only reads files here: no start-up notes
    try:
        import tensorflow_datasets as tfds

        import tfds_edmf  # noqa: F401  (registers the builders)
    except ImportError as error:
        raise UserError(
            f'training reads its data with TensorFlow Datasets, which can\'t be imported ({error}); '
            'install it with: pip install "edmf-jax[train]"'
        ) from error
    return tfds


def keep_tensorflow_on_the_cpu() -> None:
    """TensorFlow only reads files here, and would take most of a GPU's memory from JAX."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # the caller's program has used TensorFlow already
        for kind in ("GPU", "TPU"):
            tf.config.set_visible_devices([], kind)


def open_dataset(name: str, data_dir: str | None = None, *, split: str | None = None,
                 log: Callable[[str], None] = print, **options):
    """The prepared TFDS builder of data set `name`; builds the data set first if it is not in `data_dir`.

    Args:
      name: "edmf", "edmf/as_printed", "edmf_synthetic", …
      data_dir: where TFDS keeps prepared data; None: its default.
      split: what will be read of it; pairs that other splits lack do no harm.  None: all of it.
      log: receives one line that says what was built or found.
      options: `source`, `patterns`, `allow_missing` and `force` of `tfds_edmf.build.build`.

    Raises:
      UserError: there is no such data set, or its files cannot be had.
    """
    import_tfds()
    from tfds_edmf.build import build
    from tfds_edmf.sources import SourceError

    try:
        return build(name, data_dir=data_dir, split=split, log=log, **options)
    except SourceError as error:
        raise (MissingFileError if isinstance(error, FileNotFoundError) else UserError)(str(error)) from error


def dataset_name(builder) -> str:
    """Name and config of a builder, "edmf/table2"; the name alone if it has no configs."""
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def stored_ranges(builder, split: str, label: str = "") -> list[StoredRange]:
    """The ranges of stored rows that a split consists of, in reading order.

    Args:
      builder: a prepared TFDS builder.
      split: as TFDS writes it: "train", "train[:90%]", "train+test".
      label: what the error message calls the split: the user's option or field with its value.

    Raises:
      UserError: there is no such split.
    """
    tfds, stored = import_tfds(), builder.info.splits
    try:
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(stored)
        return [StoredRange(p.splitname, p.from_ or 0, stored[p.splitname].num_examples if p.to is None else p.to)
                for p in parts]
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(f"{label or f'split {split!r}'}: {dataset_name(builder)} has {', '.join(sorted(stored))}, and "
                        "parts of them like 'train[:90%]'") from error


def read_rows(builder, split: str, first: int = 0, last: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows `first` … `last` − 1 of a split in stored order, and no others; images are the bytes of their files.

    Args:
      builder: a prepared TFDS builder.
      split: as TFDS writes it.
      first, last: positions in the split; `last` None reads to its end.

    Raises:
      UserError: there is no such split.
    """
    tfds = import_tfds()
    images = [name for name, feature in builder.info.features.items() if isinstance(feature, tfds.features.Image)]
    decoders = {name: tfds.decode.SkipDecoding() for name in images}
    passed = 0
    for part in stored_ranges(builder, split):
        length = part.last - part.first
        low = part.first + min(max(first - passed, 0), length)
        high = part.last if last is None else part.first + min(max(last - passed, 0), length)
        passed += length
        if low < high:
            keep_tensorflow_on_the_cpu()
            rows = builder.as_dataset(
                split=tfds.core.ReadInstruction(part.split, from_=low, to=high, unit="abs"), decoders=decoders,
                shuffle_files=False, read_config=tfds.ReadConfig(try_autocache=False))  # each row is read once
            yield from rows.as_numpy_iterator()


def decode_files(files: Mapping[str, bytes], dataset: str, pair_id: int | str) -> dict[str, np.ndarray]:
    """Decodes the image files of one pair: uint8 `[H, W]` or `[H, W, 3]` RGB, all of one height and width.

    Args:
      files: feature ("source_a", "source_b", "truth") → bytes of the image file.
      dataset, pair_id: what an error message calls the pair.

    Raises:
      UserError: a damaged file, sizes that differ, or more than 8 bits per channel.
    """
    images = {name: decode_image(data, f"{dataset} {pair_id} {name}") for name, data in files.items()}
    (first, reference), *_ = images.items()
    size = reference.shape[:2]
    for name, image in images.items():
        if image.dtype != np.uint8 or image.shape[:2] != size:
            raise UserError(f"{dataset} pair {pair_id}: {name} is {image.dtype} {image.shape[:2]}, {first} is {size} "
                            "(height, width); the pictures of a pair are 8-bit and of one size")
    return images
