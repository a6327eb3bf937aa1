"""Places of one shot found in another, which a pair leaves for the adjustment of its stack."""

import dataclasses

import numpy as np

from edmf_jax.registration import transforms


@dataclasses.dataclass(frozen=True)
class TileMatches:
    """Places of one shot found in another.

    Attributes:
      points, targets: (x, y) `[T, 2]`, px: in the first shot, and in the second.
      information: inverses of the targets' covariances, `[T, 2, 2]`, 1/px².
      blurs: as in `shifts.TileShifts`, `[T]`, px of the copies.
    """

    points: np.ndarray
    targets: np.ndarray
    information: np.ndarray
    blurs: np.ndarray

    def moved(self, first: np.ndarray, second: np.ndarray) -> "TileMatches":
        """The same in px of other copies, to which `first` and `second`, 3×3 scalings, map."""
        factor = np.sqrt(abs(np.linalg.det(second[:2, :2])))
        return TileMatches(transforms.project(first, self.points), transforms.project(second, self.targets),
                           self.information / factor**2, self.blurs)

    def every(self, step: int) -> "TileMatches":
        """Only every `step`-th place."""
        return TileMatches(*(getattr(self, field.name)[::step] for field in dataclasses.fields(self)))
