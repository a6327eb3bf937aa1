"""What is kept of each shot from the first reading: enough to register it and to compare exposures, on small copies."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from edmf_jax.fusion.pixels import full_scale
from edmf_jax.fusion.stack import borders, shots
from edmf_jax.fusion.stack.evidence import noise_energy
from edmf_jax.registration.planes import reduce_picture
from edmf_jax.registration.views import View

COPY_PX = 0.4e6


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


def sketch_all(given: Sequence[shots.Shot], names: Sequence[str], first: shots.Masked, *, with_views: bool,
               same_size: bool, white: int | None, report: Callable[[str], None],
               keep: Callable[[int, shots.Masked], None] = lambda number, shot: None,
               see: Callable[[int, np.ndarray], None] = lambda number, image: None) -> Iterator[Sketch]:
    """Reads and sketches all shots, one after the other.

    Args:
      given, names: the shots and what messages call them.
      first: the first one, read.
      with_views: whether they will be registered.
      same_size: all must have the first one's size.
      white: as for `shots.read_masked`.
      report: called with a few words before each shot but the first.
      keep: called with the number and every other shot, as read.
      see: called with the number and the pixels of every shot, also of the first.

    Raises:
      UserError: a shot is not a picture, or does not fit the first one.
    """
    see(0, first.image)
    yield sketch(first, with_view=with_views)
    for number in range(1, len(given)):
        report(f"looking at {names[number]}")
        shot = shots.read_masked(given[number], names[number], white)
        shots.check_compatible(shot.image, names[number], first.image.shape, names[0], same_size)
        see(number, shot.image)
        yield sketch(shot, with_view=with_views)
        keep(number, shot)
