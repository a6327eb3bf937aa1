"""The order of the shots from near to far, which the depth map and ties between equally sharp shots need."""

from collections.abc import Mapping, Sequence

import numpy as np

from edmf_jax.registration import Registration

_MIN_STEP = 2e-4  # of magnification between two shots: less says nothing
_MIN_AGREEMENT = 0.5  # |rank correlation| of magnification and time from which on the stack was taken in order


def focus_ranks(used: Sequence[int], registrations: Mapping[int, Registration | None],
                order: Sequence[int] | None = None) -> np.ndarray:
    """For each used shot its place from near (0) to far (1), evenly spaced: float64 `[N]`.

    A stack is taken from one end to the other, so this is the order in which it was taken, and its first shot counts
    as the near one: which end is near can't be told from the pictures, because focusing nearer enlarges the picture
    with some lenses and reduces it with others.  A stack whose files are in no order of focus is recognized by its
    magnification, which changes steadily with focus: where each two neighboring magnifications differ by 0.02 % or more
    and their order has little to do with that of the files (rank correlation under 0.5), theirs is taken, in the
    direction that agrees better with the files.

    Args:
      used: the numbers of the shots, the reference first.
      registrations: number → map from the reference; None: it is in the reference's frame.
      order: for each shot, by its number, its place in the order in which the stack was taken; None: its number.
    """
    place = np.array([number if order is None else order[number] for number in used])
    taken = _ranks(place)
    zoom = np.array([1.0 if registrations[n] is None else magnification(registrations[n].matrix) for n in used])
    zoomed = _ranks(zoom)
    chosen = taken
    if len(used) > 2 and np.diff(np.sort(np.log(zoom))).min() >= _MIN_STEP:
        agreement = np.corrcoef(taken, zoomed)[0, 1]
        if abs(agreement) < _MIN_AGREEMENT:
            chosen = zoomed if agreement >= 0 else len(used) - 1 - zoomed
    return chosen / (len(used) - 1)


def magnification(matrix: np.ndarray) -> float:
    """By how much a 3×3 map enlarges lengths around its origin: the root of its determinant there."""
    matrix = np.asarray(matrix, np.float64)
    return float(np.sqrt(abs(np.linalg.det(matrix / matrix[2, 2]))))


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable")
