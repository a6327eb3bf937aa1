"""The files that a fusion is to write: what can be told of them before any work."""

import os
from collections.abc import Sequence
from pathlib import Path

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.files import check_new
from edmf_jax.images import check_target

MOST_SHOTS = 256
"""A report shows no more: as many as a map does, and their pictures still fit a page."""
_Path = str | os.PathLike


def check_outputs(out: _Path, save_map: _Path | None, report: _Path | None, sources: Sequence[_Path], preset: str,
                  force: bool) -> None:
    """Whether a picture, its map and its report can be written.

    Raises:
      UserError: another suffix than such a file has; one is a source, a folder or there already, or is the same as
        another one; a map with a preset that makes none; too many shots for a report.
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
        _check_apart(save_map, "map", out, "picture")
        check_new(save_map, sources, force)
    if report is not None:
        _check_report(Path(report))
        if len(sources) > MOST_SHOTS:
            raise UserError(f"{report}: a report shows {MOST_SHOTS} shots, and there are {len(sources)}; leave it out")
        for other, what in ((out, "picture"), (save_map, "map")):
            _check_apart(report, "report", other, what)
        check_new(report, sources, force)


def _check_report(report: Path) -> None:
    if report.suffix.lower() != ".html":
        raise UserError(f"{report}: a report is a page; give it the suffix .html")
    if report.is_dir():
        raise UserError(f"{report}: this is a folder; name the file to write")
    if not report.parent.is_dir():
        raise MissingFileError(f"{report}: the folder {report.parent} does not exist; create it first")


def _check_apart(path: _Path, what: str, other: _Path | None, other_what: str) -> None:
    """Two names of one file, also by a link."""
    if other is not None and os.path.realpath(path) == os.path.realpath(other):
        raise UserError(f"{path}: the {what} and the {other_what} would be one file; name another one")
