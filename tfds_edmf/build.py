"""Prepares one of our data sets on disk: the call behind `edmf data build`.

`tfds.load` also prepares a data set, on first use. `build` adds what a person at a terminal
needs: reading the user's own copy of the files, one line that says what was built or found, and a
refusal to silently reuse data that was built from an incomplete copy.

What `build` expects of a builder: if it reads published files, it takes `source`, `allow_missing`
and `needed_split`, and has `left_out`, `describe_left_out`, `prepared_from` and `requested_source`
(see `edmf.Builder`).
Those of `folders.builder` also have `stale`, and take `patterns` if their file names may vary. A
builder that generates its pictures has none of these.
"""

import contextlib
import functools
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping

import tensorflow_datasets as tfds

import tfds_edmf
from tfds_edmf.exclusive import alone, aside_of, left_behind
from tfds_edmf.partial import stored_splits
from tfds_edmf.sources import SourceError


def build(
    name: str,
    *,
    split: str | None = None,
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
      split: what will be read of it, "test" or "train[:90%]"; pairs that other splits lack do no harm. None: all.
      source: folder or ZIP archive of the published files; None: found or downloaded.
      patterns: for "image_pairs" and "road_mf", the file names: "a" and "b", optionally "truth" and
        "mask" → pattern (see `tfds_edmf.folders.patterns`).
      data_dir: where TFDS keeps its data sets; None: TFDS_DATA_DIR or ~/tensorflow_datasets.
      allow_missing: accept an incomplete copy and use its whole pairs; False: the variable
        EDMF_ALLOW_MISSING decides.
      force: rebuild a data set that is already built; the old one is kept if that fails.
      log: receives the lines meant for the user.

    Of several processes that build the same data set at once, one does and the others wait for it. What a killed
    process has left behind is removed.

    Raises:
      SourceError: with a message for the user.
    """
    cls, config = _look_up(name)
    kwargs = {"config": config, "data_dir": data_dir}
    if "source" in inspect.signature(cls.__init__).parameters:
        kwargs |= {"source": source, "allow_missing": allow_missing or None, "needed_split": split}
    elif source is not None:
        raise SourceError(f"source={str(source)!r}: {name} is generated, leave the source out")
    if "patterns" in inspect.signature(cls.__init__).parameters:
        kwargs["patterns"] = patterns
    elif patterns is not None:
        raise SourceError(f"patterns={dict(patterns)!r}: the files of {name} have fixed names; take image_pairs")

    make = functools.partial(cls, **kwargs)
    builder = make()
    if not force and _is_current(builder) and not left_behind(builder.data_path):
        return _reuse(builder, split, log)
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(alone(builder, log))
        except OSError as error:
            if not force and _is_current(builder):  # it can be read, if not cleaned up
                return _reuse(builder, split, log)
            raise _not_writable(builder, error) from error
        builder = make()  # a new one, because a builder caches what it found in data_dir
        if not force and _is_current(builder):
            return _reuse(builder, split, log)
        return _build_anew(builder, make, force, log)


def _build_anew(builder: tfds.core.DatasetBuilder, make: Callable[[], tfds.core.DatasetBuilder], force: bool,
                log: Callable[[str], None]) -> tfds.core.DatasetBuilder:
    """Builds a data set; `builder` is one that `make` made, to see what there is."""
    stale = _is_built(builder) and not force
    if stale:
        log(f"The pictures of {builder.prepared_from} changed since {_full_name(builder)} was built: rebuilding it")
    with _set_aside(builder.data_path, wanted=force or stale):
        builder = make()
        _prepare(builder)
    log(f"{_full_name(builder)} is built at {builder.data_dir}: {_counts(builder)}")
    return builder


def _is_built(builder: tfds.core.DatasetBuilder) -> bool:
    return builder.data_path.exists() and builder.is_prepared()


def _is_current(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether the data set is prepared, from the pictures that its source holds now."""
    return _is_built(builder) and not getattr(builder, "stale", False)


def _reuse(builder: tfds.core.DatasetBuilder, split: str | None, log: Callable[[str], None]):
    """The builder of a prepared data set, with a line that says so; raises SourceError if it lacks pairs of `split`."""
    _refuse_partial(builder, split)
    log(f"{_full_name(builder)} is already built at {builder.data_dir}: {_counts(builder)}")
    _mention_other_source(builder, log)
    return builder


def _look_up(name: str) -> tuple[type[tfds.core.DatasetBuilder], str | None]:
    """Builder class and config (None: the default one) of a name like "edmf" or "edmf/as_printed"."""
    known = [
        key for base, cls in tfds_edmf.BUILDERS.items()
        for key in (base, *(f"{base}/{config}" for config in cls.builder_configs))
    ]  # fmt: skip
    if name not in known:
        raise SourceError(f"name={name!r} is no data set of ours: {', '.join(known)}")
    base, _, config = name.partition("/")
    return tfds_edmf.BUILDERS[base], config or None


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares; raises SourceError if the result cannot be written or is not a finished data set."""
    try:
        with _quiet():
            builder.download_and_prepare()
    except FileNotFoundError:  # of our builders, with a message for the user; any other is a bug
        raise
    except OSError as error:
        raise _not_writable(builder, error) from error
    if not builder.is_prepared():  # download_and_prepare accepts any folder of that name as prepared
        raise SourceError(
            f"{builder.data_dir} exists but is no finished data set: delete it or build with --force (force=True)"
        )


def _not_writable(builder: tfds.core.DatasetBuilder, error: OSError) -> SourceError:
    return SourceError(f"{builder.data_dir} can't be written ({error}): name another --data-dir")


def _refuse_partial(builder: tfds.core.DatasetBuilder, split: str | None) -> None:
    """Raises SourceError if the prepared data lacks pairs of `split` and the user did not allow that."""
    left_out = getattr(builder, "left_out", {})
    lacking = [builder.describe_left_out(name) for name in stored_splits(split, left_out)]
    if lacking and not builder.allow_missing:
        raise SourceError(
            f"{_full_name(builder)} was built at {builder.data_dir} from an incomplete copy, "
            f"{builder.prepared_from}: {_counts(builder)}. It lacks {'; '.join(lacking)}. Use it as it is with "
            "--allow-missing or EDMF_ALLOW_MISSING=1, or rebuild it from a complete copy with --force"
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

    TFDS's own overwriting deletes the old data first, so a damaged source would leave nothing. If the process is
    killed, the next one moves it back (`exclusive.clean_up`).
    """
    aside = aside_of(folder)
    if wanted and folder.exists():
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
