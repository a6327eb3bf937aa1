"""Checks of the files that a fusion will write, before any work is done."""

import os
from collections.abc import Sequence
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.io.atomic import check_new
from edmf_jax.io.images import check_target

MAX_REPORT_SHOTS = 256
"""Shots in a report at most: as many as a map shows, and their pictures still fit on a page."""
_Path = str | os.PathLike


def check_outputs(out: _Path, save_map: _Path | None, report: _Path | None, sources: Sequence[_Path], preset: str,
                  force: bool) -> None:
    """Checks that the result, the map of its sources and the report can be written.

    Args:
      out, save_map, report: the files to write; None: not wanted.
      sources: the shots.
      preset: of the fusion; only "photo" makes a map.
      force: allow existing files, except the sources, to be overwritten.

    Raises:
      UserError: a wrong suffix; a file that is a source, a folder, or exists already; two names of one file; a map with
        a preset that makes none; too many shots for a report.
      MissingFileError: a folder to write into does not exist.
    """
    check_target(out)
    check_new(out, sources, force)
    if save_map is not None:
        if preset != "photo":
            raise UserError(f'{save_map}: a map is made by the preset "photo"; leave it out, or leave out the preset '
                            f"{preset!r}")
        if check_target(save_map).suffix.lower() != ".png":
            raise UserError(f"{save_map}: a map is a PNG; give it the suffix .png")
        _check_different(save_map, "map", out, "picture")
        check_new(save_map, sources, force)
    if report is not None:
        _check_report(Path(report))
        if len(sources) > MAX_REPORT_SHOTS:
            raise UserError(f"{report}: a report shows {MAX_REPORT_SHOTS} shots, and there are {len(sources)}; leave "
                            "it out")
        for other, what in ((out, "picture"), (save_map, "map")):
            _check_different(report, "report", other, what)
        check_new(report, sources, force)


def _check_report(report: Path) -> None:
    if report.suffix.lower() != ".html":
        raise UserError(f"{report}: a report is a page; give it the suffix .html")
    if report.is_dir():
        raise UserError(f"{report}: this is a folder; name the file to write")
    if not report.parent.is_dir():
        raise MissingFileError(f"{report}: the folder {report.parent} does not exist; create it first")


def _check_different(path: _Path, what: str, other: _Path | None, other_what: str) -> None:
    """Raises UserError if two outputs would be one file, also by a link."""
    if other is not None and os.path.realpath(path) == os.path.realpath(other):
        raise UserError(f"{path}: the {what} and the {other_what} would be one file; name another one")
