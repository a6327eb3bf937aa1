"""Prepares one of our data sets on disk: the call behind `edmf data build`.

`tfds.load` also prepares a data set, on first use. `build` adds what a person at a terminal
needs: reading the user's own copy of the files, one line that says what was built or found, and a
refusal to silently reuse data that was built from an incomplete copy.

What `build` expects of a builder: if it reads published files, it takes `source` and
`allow_missing`, and has `left_out`, `prepared_from` and `requested_source` (see `edmf.Builder`).
Those of `folders.builder` also have `stale`, and take `patterns` if their file names may vary. A
builder that generates its pictures has none of these.
"""

import contextlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping

import tensorflow_datasets as tfds

import tfds_edmf


def build(
    name: str,
    *,
    source: str | os.PathLike | None = None,
    patterns: Mapping[str, str | None] | None = None,
    data_dir: str | os.PathLike | None = None,
    allow_missing: bool = False,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> tfds.core.DatasetBuilder:
    """Prepares data set `name`, unless it is already prepared, and returns its builder.

    Args:
      name: "edmf", "edmf/as_printed", "edmf_synthetic", …: a key of `tfds_edmf.BUILDERS`, with a
        config if it is not the default one.
      source: folder or ZIP archive of the published files; None: found or downloaded.
      patterns: for "image_pairs" and "road_mf", the file names: "a" and "b", optionally "truth" and
        "mask" → pattern (see `tfds_edmf.folders.patterns`).
      data_dir: where TFDS keeps its data sets; None: TFDS_DATA_DIR or ~/tensorflow_datasets.
      allow_missing: accept an incomplete copy and use its whole pairs; False: the variable
        EDMF_ALLOW_MISSING decides.
      force: rebuild a data set that is already built; the old one is kept if that fails.
      log: receives the lines meant for the user.

    Raises:
      ValueError, FileNotFoundError: with a message for the user.
    """
    cls, config = _look_up(name)
    kwargs = {"config": config, "data_dir": data_dir}
    if "source" in inspect.signature(cls.__init__).parameters:
        kwargs |= {"source": source, "allow_missing": allow_missing or None}
    elif source is not None:
        raise ValueError(f"source={str(source)!r}: {name} is generated, leave the source out")
    if "patterns" in inspect.signature(cls.__init__).parameters:
        kwargs["patterns"] = patterns
    elif patterns is not None:
        raise ValueError(f"patterns={dict(patterns)!r}: the files of {name} have fixed names; take image_pairs")

    builder = cls(**kwargs)
    is_built = builder.data_path.exists() and builder.is_prepared()
    if is_built and not force and getattr(builder, "stale", False):
        log(f"The pictures of {builder.prepared_from} changed since {_full_name(builder)} was built: rebuilding it")
        force = True
    if is_built and not force:
        _refuse_partial(builder)
        log(f"{_full_name(builder)} is already built at {builder.data_dir}: {_counts(builder)}")
        _mention_other_source(builder, log)
        return builder
    with _set_aside(builder.data_path, wanted=force):
        builder = cls(**kwargs)  # a new one, because a builder caches what it found in data_dir
        _prepare(builder)
    log(f"{_full_name(builder)} is built at {builder.data_dir}: {_counts(builder)}")
    return builder


def _look_up(name: str) -> tuple[type[tfds.core.DatasetBuilder], str | None]:
    """Builder class and config (None: the default one) of a name like "edmf" or "edmf/as_printed"."""
    known = [
        key for base, cls in tfds_edmf.BUILDERS.items()
        for key in (base, *(f"{base}/{config}" for config in cls.builder_configs))
    ]  # fmt: skip
    if name not in known:
        raise ValueError(f"name={name!r} is no data set of ours: {', '.join(known)}")
    base, _, config = name.partition("/")
    return tfds_edmf.BUILDERS[base], config or None


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares; raises ValueError if the result cannot be written or is not a finished data set."""
    try:
        with _quiet():
            builder.download_and_prepare()
    except FileNotFoundError:  # raised by our builders; the message says which published files to fetch
        raise
    except OSError as error:
        raise ValueError(f"{builder.data_dir} can't be written ({error}): name another --data-dir") from error
    if not builder.is_prepared():  # download_and_prepare accepts any folder of that name as prepared
        raise ValueError(
            f"{builder.data_dir} exists but is no finished data set: delete it or build with --force (force=True)"
        )


def _refuse_partial(builder: tfds.core.DatasetBuilder) -> None:
    """Raises ValueError if the prepared data lacks pairs and the user did not allow that."""
    if getattr(builder, "left_out", None) and not builder.allow_missing:
        raise ValueError(
            f"{_full_name(builder)} was built at {builder.data_dir} from an incomplete copy, "
            f"{builder.prepared_from}: {_counts(builder)}. Use it as it is with --allow-missing "
            "or EDMF_ALLOW_MISSING=1, or rebuild it from a complete copy with --force"
        )


def _mention_other_source(builder: tfds.core.DatasetBuilder, log: Callable[[str], None]) -> None:
    """Logs a line if the prepared data came from another copy than the one the user named."""
    requested = getattr(builder, "requested_source", None)
    if requested and requested != builder.prepared_from:
        log(f"It was built from {builder.prepared_from}, not from {requested}: rebuild it with --force if they differ")


def _full_name(builder: tfds.core.DatasetBuilder) -> str:
    """For example "edmf/table2"; the name alone if the data set has no configs."""
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def _counts(builder: tfds.core.DatasetBuilder) -> str:
    """For example: train 360 pairs, test 500 pairs (partial: 90 train pairs left out)."""
    noun = getattr(builder, "noun", "pairs")
    counts = ", ".join(f"{s} {info.num_examples} {noun}" for s, info in builder.info.splits.items())
    left_out = getattr(builder, "left_out", None)
    if not left_out:
        return counts
    lacking = ", ".join(f"{count} {split}" for split, count in left_out.items())
    return f"{counts} (partial: {lacking} {noun} left out)"


@contextlib.contextmanager
def _set_aside(folder: tfds.core.Path, *, wanted: bool) -> Iterator[None]:
    """Moves an old data set aside; deletes it if the block succeeds and moves it back if it fails.

    TFDS's own overwriting deletes the old data first, so a damaged source would leave nothing.
    TFDS never treats the name used here as a finished data set. A folder of that name was left by
    a killed run and is handled like this run's own.
    """
    aside = folder.with_name(f"incomplete.replaced_{folder.name}")
    if wanted and folder.exists():
        aside.rmtree(missing_ok=True)
        folder.rename(aside)
    try:
        yield
    except BaseException:
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        raise
    aside.rmtree(missing_ok=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides TFDS's banners and TensorFlow's start-up messages, and progress bars if stderr is no terminal."""
    hide_bars = not sys.stderr.isatty()
    set_log_level = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    if hide_bars:
        tfds.display_progress_bar(False)
    if set_log_level:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if hide_bars:
            tfds.display_progress_bar(True)
        if set_log_level:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
