"""What is kept of each shot from the first reading: enough to register it and to compare exposures, on small copies."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack import borders, shots
from edmf_jax.fusion.stack.bad_shots import BadShot
from edmf_jax.fusion.stack.evidence import noise_energy
from edmf_jax.registration.planes import reduce_picture
from edmf_jax.registration.threads import one_thread_each, usable_cores
from edmf_jax.registration.views import View

COPY_PX = 0.4e6
_READ_BYTES = 0.3e9  # of shots that are read at the same time


@dataclasses.dataclass(frozen=True)
class Sketch:
    """Small copies of one shot, in its own frame.

    Attributes:
      digest: a hash of its content.
      shape: height, width and channels of the shot.
      copy: a small copy, `[h, w, C]` in the shot's dtype.
      dark: the share of each of the copy's pixels ("cells") that is nearly black at full size, `[h, w]` in [0, 1].
      covered: the share of each cell that the shot has, `[h, w]` in [0, 1]; None: all of it.
      noise: the energy of its noise, `evidence.noise_energy`.
      view: for registration; None if the shots are registered already.
    """

    digest: bytes
    shape: tuple[int, int, int]
    copy: np.ndarray
    dark: np.ndarray
    covered: np.ndarray | None
    noise: float
    view: View | None


def reduced_copy(image: np.ndarray, most_px: float = COPY_PX) -> np.ndarray:
    """The small copy that a sketch keeps: `planes.reduce_picture`."""
    return reduce_picture(image, most_px)


def sketch(shot: shots.Masked, *, with_view: bool) -> Sketch:
    """Sketches one shot, as `shots.read_masked` gives it."""
    image, mask = shot
    copy = reduced_copy(image)
    covered = None if mask is None else cv2.resize(mask.astype(np.float32), copy.shape[1::-1],
                                                   interpolation=cv2.INTER_AREA)
    return Sketch(shots.digest(image, mask), image.shape, copy if copy is not image else image.copy(),
                  borders.dark_share(image, full_scale(image.dtype), copy.shape[:2]), covered,
                  noise_energy(image, full_scale(image.dtype), mask),
                  View(shots.squeeze_gray(image), mask=mask) if with_view else None)


@dataclasses.dataclass(frozen=True)
class Refused:
    """Instead of the sketch of a shot that can't be used; `error` says why."""

    error: BadShot

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of the shot; None if it could not be read."""
        return self.error.shape


def sketch_all(given: Sequence[shots.Shot], names: Sequence[str], *, with_views: bool, same_size: bool,
               white: int | None, report: Callable[[str], None],
               keep: Callable[[int, shots.Masked], None] = lambda number, shot: None,
               see: Callable[[int, np.ndarray], None] = lambda number, image: None) -> list[Sketch | Refused]:
    """Reads and sketches all shots, several at once.

    Args:
      given, names: the shots and what messages call them.
      with_views: whether they will be registered.
      same_size: all must have the size of the first one that can be used.
      white: as for `shots.read_masked`.
      report: called with a few words before each shot but the first.
      keep: called with the number and every shot, as read; by several threads.
      see: called with the number and the pixels of every shot; by several threads.

    Raises:
      UserError: a shot is not a picture.
    """
    def look(number: int) -> Sketch | Refused:
        try:
            shot = shots.read_masked(given[number], names[number], white)
        except BadShot as error:
            return Refused(error)
        see(number, shot.image)
        keep(number, shot)
        found = sketch(shot, with_view=with_views)
        del shot
        if found.view is not None:
            found.view.find_keypoints()  # they would be found one after the other later
        return found

    found, workers = [], _workers(given)
    with one_thread_each() if workers > 1 else contextlib.nullcontext(), ThreadPoolExecutor(workers) as pool:
        results = pool.map(look, range(len(given)))
        for name in names:
            if found:
                report(f"looking at {name}")
            found.append(next(results))
    return _compatible(found, names, same_size)


def _workers(given: Sequence[shots.Shot]) -> int:
    """How many shots are read at the same time; by the size of the first one, which has been read already."""
    first = given[0].image if isinstance(given[0], shots.Masked) else given[0]
    most = _READ_BYTES // max(first.nbytes, 1) if isinstance(first, np.ndarray) else 1
    return int(max(1, min(most, usable_cores(), len(given))))


def _compatible(found: Sequence[Sketch | Refused], names: Sequence[str], same_size: bool) -> list[Sketch | Refused]:
    """`found`, without the sketches of shots that do not fit the first one that can be used."""
    first = next((number for number, one in enumerate(found) if isinstance(one, Sketch)), None)
    checked = []
    for number, one in enumerate(found):
        error = None
        if isinstance(one, Sketch) and number != first:
            error = shots.incompatible(one.shape, names[number], found[first].shape, names[first], same_size)
        checked.append(Refused(error) if error else one)
    return checked
