"""Which rows of an evaluation were made by which versions of the packages.

An evaluation can be continued after an upgrade.  So `evaluation.json` keeps a list `made_by` for each method, its
stretches in the order of time:

    [{"versions": {"jax": "0.10.1", …}, "ids": ["1", "2"]}, {"versions": {"jax": "0.10.2", …}}]

The last stretch names no rows: all that no other one names are its own, also those that are still to be written.  So a
process that is killed at any moment leaves nothing to be mended.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import cv2

from edmf_jax.runtime.process import versions

_PACKAGES = ("edmf-jax", "jax", "jaxlib", "flax", "numpy", "tifffile")


class Stretch(NamedTuple):
    """Rows of a method: the versions that made them (package → version), and their ids."""

    versions: Mapping[str, str]
    ids: tuple[str, ...]


def evaluation_versions() -> dict[str, str]:
    """Versions of the packages that determine the scores."""
    # OpenCV is asked directly, because its distribution may have either of two names.
    return {**versions(_PACKAGES), "opencv": cv2.__version__}


def stretches(made_by: Sequence[Mapping[str, Any]], scored: Collection[str]) -> list[Stretch]:
    """The rows of a method by the versions that made them, in the order of time; versions that made none are left out.

    Args:
      made_by: of the method.
      scored: ids of the rows in its `scores.csv`.
    """
    left, found = dict.fromkeys(scored), []
    for entry in made_by:
        # A row that was deleted, to be scored again, belongs to the last stretch from then on.
        ids = [i for i in entry.get("ids", tuple(left)) if i in left]
        left = {i: None for i in left if i not in set(ids)}
        if ids:
            found.append(Stretch(entry["versions"], tuple(ids)))
    return found


def continued(made_by: Sequence[Mapping[str, Any]], scored: Collection[str],
              now: Mapping[str, str]) -> list[dict[str, Any]]:
    """The stretches of a method whose next rows will be made by the versions `now`.

    Args:
      made_by: of the method so far; empty for a new one.
      scored: ids of the rows in its `scores.csv`.
      now: package → version.
    """
    before = stretches(made_by, scored)
    if before and before[-1].versions == now:
        before.pop()  # it goes on
    return [{"versions": dict(s.versions), "ids": list(s.ids)} for s in before] + [{"versions": dict(now)}]


def made_by_of(entry: Mapping[str, Any], record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The stretches of a method.

    Args:
      entry: the method's, in `evaluation.json`.
      record: `evaluation.json`.  One from before 26 November 2026 knows only the versions of its last call.
    """
    return entry.get("made_by") or [{"versions": record.get("versions", {})}]


def count_pairs(count: int) -> str:
    """"1 pair" or "2 pairs"."""
    return f"{count} pair{'' if count == 1 else 's'}"


def describe_versions(made: Mapping[str, Sequence[Stretch]]) -> str:
    """A sentence if scores were made by more than one version, else "".

    Args:
      made: method's name → its rows by versions.
    """
    every = [stretch.versions for rows in made.values() for stretch in rows]
    names = sorted({name for versions in every for name in versions})
    differing = [name for name in names if len({versions.get(name) for versions in every}) > 1]
    if not differing:
        return ""
    methods = []
    for method, rows in made.items():
        parts = [f"{'all' if len(rows) == 1 else count_pairs(len(ids))} by "
                 + ", ".join(f"{name} {used.get(name, 'unknown')}" for name in differing) for used, ids in rows]
        methods.append(f"{method}: {', then '.join(parts)}")
    return f"Scores were made by more than one version: {'; '.join(methods)}."
