"""Prepares one of our data sets on disk: the call behind `edmf data build`.

`tfds.load` prepares a data set too, on first use. `build` adds what a person at a terminal
needs: the user's own copy of the files, one line about what was built or found built, and no
quiet reuse of a data set that was built from an incomplete copy.

A builder that reads published files takes `source` and `allow_missing`, and has `left_out`,
`prepared_from` and `asked_source` (see `edmf.Builder`), those of `folders.builder` also `stale`,
and `patterns` where the file names may differ; one that makes its pictures has none of them.
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
    say: Callable[[str], None] = print,
) -> tfds.core.DatasetBuilder:
    """The builder of data set `name`, prepared.

    Args:
      name: "edmf", "edmf/as_printed", "edmf_synthetic", …: a key of `tfds_edmf.BUILDERS`, with a
        config where it isn't the default one.
      source: Folder or ZIP archive of the published files; found or downloaded if None.
      patterns: For "image_pairs" and "road_mf", how the files are named: "a" and "b" -> pattern, and
        "truth" and "mask" if there are such (see `tfds_edmf.folders.patterns`).
      data_dir: Where TFDS keeps its data sets; TFDS_DATA_DIR or ~/tensorflow_datasets if None.
      allow_missing: Go on with the whole pairs of an incomplete copy. (False leaves it to the
        variable EDMF_ALLOW_MISSING.)
      force: Build anew what is already built, which is kept if that fails.
      say: Takes the lines meant for the user.

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
        say(f"The pictures of {builder.prepared_from} changed since {_full_name(builder)} was built: building anew")
        force = True
    if is_built and not force:
        _refuse_partial(builder)
        say(f"{_full_name(builder)} is already built at {builder.data_dir}: {_counts(builder)}")
        _mention_other_source(builder, say)
        return builder
    with _set_aside(builder.data_path, wanted=force):
        builder = cls(**kwargs)  # anew: it remembers what it found in data_dir
        _prepare(builder)
    say(f"{_full_name(builder)} is built at {builder.data_dir}: {_counts(builder)}")
    return builder


def _look_up(name: str) -> tuple[type[tfds.core.DatasetBuilder], str | None]:
    """Builder class and config (None: the default one) of "edmf" or "edmf/as_printed"."""
    known = [
        key for base, cls in tfds_edmf.BUILDERS.items()
        for key in (base, *(f"{base}/{config}" for config in cls.builder_configs))
    ]  # fmt: skip
    if name not in known:
        raise ValueError(f"name={name!r} is no data set of ours: {', '.join(known)}")
    base, _, config = name.partition("/")
    return tfds_edmf.BUILDERS[base], config or None


def _prepare(builder: tfds.core.DatasetBuilder) -> None:
    try:
        with _quiet():
            builder.download_and_prepare()
    except FileNotFoundError:  # the builder's own: it tells which published files to fetch
        raise
    except OSError as error:
        raise ValueError(f"{builder.data_dir} can't be written ({error}): name another --data-dir") from error
    if not builder.is_prepared():  # TFDS takes any folder of that name for a prepared one
        raise ValueError(
            f"{builder.data_dir} exists but is no finished data set: delete it or build with --force (force=True)"
        )


def _refuse_partial(builder: tfds.core.DatasetBuilder) -> None:
    """Raises where the prepared data lacks pairs and the user didn't allow that."""
    if getattr(builder, "left_out", None) and not builder.allow_missing:
        raise ValueError(
            f"{_full_name(builder)} was built at {builder.data_dir} from an incomplete copy, "
            f"{builder.prepared_from}: {_counts(builder)}. Take it as it is with --allow-missing "
            "or EDMF_ALLOW_MISSING=1, or build it anew from a complete copy with --force"
        )


def _mention_other_source(builder: tfds.core.DatasetBuilder, say: Callable[[str], None]) -> None:
    asked = getattr(builder, "asked_source", None)
    if asked and asked != builder.prepared_from:
        say(f"It was built from {builder.prepared_from}, not from {asked}: build it anew with --force if they differ")


def _full_name(builder: tfds.core.DatasetBuilder) -> str:
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def _counts(builder: tfds.core.DatasetBuilder) -> str:
    """For example: train 360 pairs, test 500 pairs (partial: 90 train pairs left out)."""
    noun = builder.layout.noun if hasattr(builder, "layout") else "pairs"
    counts = ", ".join(f"{s} {info.num_examples} {noun}" for s, info in builder.info.splits.items())
    left_out = getattr(builder, "left_out", None)
    if not left_out:
        return counts
    lacks = ", ".join(f"{count} {split}" for split, count in left_out.items())
    return f"{counts} (partial: {lacks} {noun} left out)"


@contextlib.contextmanager
def _set_aside(folder: tfds.core.Path, *, wanted: bool) -> Iterator[None]:
    """Moves an old data set out of the way; deletes it on success and puts it back on failure.

    TFDS's own overwriting deletes it first, and a source that turns out damaged would leave
    nothing. The name is one that TFDS never takes for a finished data set; one that is found
    here was left by a killed run, and is treated as this run's own.
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
    """Without TFDS's banners, TensorFlow's start-up notes, and progress bars off a terminal."""
    no_bars = not sys.stderr.isatty()
    no_notes = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    if no_bars:
        tfds.display_progress_bar(False)
    if no_notes:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if no_bars:
            tfds.display_progress_bar(True)
        if no_notes:
            os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
