"""The files that a fusion will write: checks before any work is done, and transparency where there are no pixels."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import check_new
from edmf_jax.io.images import ALPHA_SUFFIXES, check_target
from edmf_jax.io.metadata import Metadata
from edmf_jax.io.palette_png import MAX_SHOTS
from edmf_jax.io.shot_list import Log

MAX_REPORT_SHOTS = MAX_SHOTS
"""Shots in a report at most: as many as a map shows, and their pictures still fit on a page."""
_Path = str | os.PathLike


def check_outputs(out: _Path, save_map: _Path | None, report: _Path | None, sources: Sequence[_Path], preset: str,
                  force: bool, save_alignment: _Path | None = None, read_only: Sequence[_Path] = ()) -> None:
    """Checks that the result, the map of its sources and the report can be written.

    Args:
      out, save_map, report: the files to write; None: not wanted.
      sources: the shots.
      preset: of the fusion; only "photo" makes a map.
      save_alignment: as `save_map`, for the JSON file of the alignment.
      force: allow existing files, except the sources, to be overwritten.
      read_only: other files that are read, which must not be overwritten either.

    Raises:
      UserError: a wrong suffix; a file that is a source, a folder, or exists already; two names of one file; a map with
        a preset that makes none; too many shots for a report.
      MissingFileError: a folder to write into does not exist.
    """
    count, sources = len(sources), [*sources, *read_only]
    check_target(out)
    check_new(out, sources, force)
    if save_map is not None:
        if preset != "photo":
            raise UserError(f'{save_map}: a map is made by the preset "photo"; leave it out, or leave out the preset '
                            f"{preset!r}")
        if check_target(save_map).suffix.lower() != ".png":
            raise UserError(f"{save_map}: a map is a PNG; give it the suffix .png")
        if count > MAX_SHOTS:
            raise UserError(f"{save_map}: a map shows {MAX_SHOTS} shots, and there are {count}; leave it out")
        _check_different(save_map, "map", out, "picture")
        check_new(save_map, sources, force)
    if save_alignment is not None:
        check_alignment_target(save_alignment, sources, preset, force)
        for other, what in ((out, "picture"), (save_map, "map")):
            _check_different(save_alignment, "alignment", other, what)
    if report is not None:
        _check_file(Path(report), ".html", "a report is a page")
        if count > MAX_REPORT_SHOTS:
            raise UserError(f"{report}: a report shows {MAX_REPORT_SHOTS} shots, and there are {count}; leave it out")
        for other, what in ((out, "picture"), (save_map, "map"), (save_alignment, "alignment")):
            _check_different(report, "report", other, what)
        check_new(report, sources, force)


def check_alignment_target(path: _Path, sources: Sequence[_Path], preset: str, force: bool) -> None:
    """Checks that an alignment file can be written; errors as `check_outputs`."""
    if preset != "photo":
        raise UserError(f'{path}: the preset {preset!r} registers nothing; leave out --save-alignment, or the preset')
    _check_file(Path(path), ".json", "an alignment is a JSON file")
    check_new(path, sources, force)


def _check_file(path: Path, suffix: str, what: str) -> None:
    """Checks the suffix and the folder of a file to write; `what` says what it is."""
    if path.suffix.lower() != suffix:
        raise UserError(f"{path}: {what}; give it the suffix {suffix}")
    if path.is_dir():
        raise UserError(f"{path}: this is a folder; name the file to write")
    if not path.parent.is_dir():
        raise MissingFileError(f"{path}: the folder {path.parent} does not exist; create it first")


def _check_different(path: _Path, what: str, other: _Path | None, other_what: str) -> None:
    """Raises UserError if two outputs would be one file, also by a link."""
    if other is not None and os.path.realpath(path) == os.path.realpath(other):
        raise UserError(f"{path}: the {what} and the {other_what} would be one file; name another one")


def percent_missing(covered: np.ndarray) -> str:
    """The share of a result that no shot has; `covered` as of `with_alpha`."""
    return f"{100 * (1 - covered.mean()):.2g} %"


def with_alpha(image: np.ndarray, covered: np.ndarray | None, out: _Path, metadata: Metadata, log: Log) -> np.ndarray:
    """RGBA, with alpha 0 where bool `covered` `[H, W]` is False; the image if that is nowhere, or `out` has no alpha.

    `log` is called with a line that says which.  A single-channel image becomes RGBA too, unless its color profile is
    for gray.
    """
    if covered is None:
        return image
    missing = percent_missing(covered)
    if Path(out).suffix.lower() not in ALPHA_SUFFIXES or (image.ndim == 2 and metadata.icc):
        log(f"{out}: {missing} of it is in no shot and became black; a color picture would be transparent there in "
            f"{', '.join(ALPHA_SUFFIXES)}")
        return image
    log(f"{out}: {missing} of it is in no shot and is transparent")
    alpha = (covered * np.iinfo(image.dtype).max).astype(image.dtype)
    return np.dstack([*([image] * 3 if image.ndim == 2 else [image]), alpha])
