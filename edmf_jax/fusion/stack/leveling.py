"""What brings one shot to the target exposure: a table of values and, where that is not enough, a field of gain.

The fusion asks for one `Leveling` a shot (`analysis.StackAnalysis.leveling`) and applies it part by part.
"""

import dataclasses
import functools

import numpy as np

from edmf_jax.core.color import linear_to_srgb, luma, srgb_to_linear
from edmf_jax.fusion.pixels import to_unit
from edmf_jax.fusion.stack import exposure, tone
from edmf_jax.fusion.stack.gain_field import GainField
from edmf_jax.fusion.stack.local_light import LocalLight

_TABLE_SIZE = 65536
BRIGHTEST = float(np.sqrt(srgb_to_linear(tone.GRID[-1])))  # the root of the light at which tables end


@dataclasses.dataclass(frozen=True)
class Leveling:
    """What brings one shot to the target exposure, and where its values say less than another shot's.

    Attributes:
      tables: from the shot's values to the target exposure, `exposure.table`, `[C, 65536]`; with a field or local
        light, to the root of light at the reference's exposure.
      clipping_loss: how much the shot's clipping hides, per channel, `exposure.clipping_loss`.
      frame: shape of the reference's frame, `(H, W, …)`.
      field: None where one table is enough.
      local: what remains from place to place; None where nothing does.
      targets: with a field or local light, from the root of light, 0 … `BRIGHTEST`, to the target exposure,
        `[C, 65536]`.
    """

    tables: np.ndarray
    clipping_loss: np.ndarray
    frame: tuple[int, ...]
    field: GainField | None = None
    local: LocalLight | None = None
    targets: np.ndarray | None = None

    def apply(self, pixels: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """A part of the shot, warped into the reference's frame, at the target exposure: float32 `[h, w, C]`.

        Args:
          pixels: the shot's own values of that part, `[h, w, C]` in its dtype.
          rows, columns: where the part lies in the frame; only fields depend on it.
        """
        leveled = exposure.apply(pixels, self.tables)
        if self.targets is None:
            return leveled
        if self.field is not None:
            leveled *= np.exp2(-self.field.stops(rows, columns, self.frame) / 2)[..., None]
        if self.local is not None:
            root = leveled[..., 0] if leveled.shape[2] == 1 else luma(leveled)
            leveled *= np.exp2(-self.local.stops(root, rows, columns, self.frame) / 2)[..., None]
        return self._from_root(leveled)

    @property
    def slope(self) -> float:
        """How much the leveling amplifies noise: root mean square slope over all values and channels, without field."""
        values = np.repeat(np.linspace(0, 1, 33, dtype=np.float32)[:, None, None], len(self.tables), -1)
        leveled = exposure.apply(values, self.tables)
        leveled = leveled if self.targets is None else self._from_root(leveled)
        return float(np.sqrt(np.mean((32 * np.diff(leveled, axis=0)) ** 2)))

    def confidence(self, pixels: np.ndarray) -> np.ndarray | None:
        """Confidence in each channel of a part `[h, w, C]` in [0, 1], by its own values; None: 1 everywhere."""
        if not self.clipping_loss.any():
            return None
        return exposure.clipping_confidence(to_unit(pixels), self.clipping_loss)

    def _from_root(self, root: np.ndarray) -> np.ndarray:
        """The target's values of roots of light at the reference's exposure, `[h, w, C]`."""
        return exposure.apply(np.clip(root / np.float32(BRIGHTEST), 0, 1), self.targets)


def level(curve: np.ndarray, field: GainField | None, curves: list[np.ndarray], target: np.ndarray,
          frame: tuple[int, ...], local: LocalLight | None = None) -> Leveling:
    """The leveling of a shot whose tone curve is `curve`.

    Args:
      curve: `[C, len(tone.GRID)]`.
      field: of this shot.
      curves: of all shots that are fused.
      target: `exposure.target_curve`.
      frame: shape of the reference's frame.
      local: of this shot.
    """
    loss = exposure.clipping_loss(curve, curves, target)
    if field is None and local is None:
        return Leveling(exposure.table(curve, target), loss, tuple(frame))
    # The root of light is nearly as even to the eye as encoded values, and much faster to compute.
    root = np.tile(np.sqrt(srgb_to_linear(tone.GRID)), (len(curve), 1))
    targets = np.stack([np.interp(_seen(), tone.GRID, channel) for channel in target]).astype(np.float32)
    return Leveling(exposure.table(curve, root), loss, tuple(frame), field, local, targets)


@functools.cache
def _seen() -> np.ndarray:
    """The encoded values of the roots of light that `Leveling.targets` stands for, `[65536]`."""
    return linear_to_srgb(np.linspace(0, BRIGHTEST, _TABLE_SIZE) ** 2)
