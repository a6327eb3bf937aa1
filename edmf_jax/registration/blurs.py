"""One blur for both shots: what a tile shows is compared at the blur of the shot that is out of focus there.

Defocus moves no correlation peak by itself, but content that one shot shows sharp and
the other one blurred agrees so badly that a tile of 64 px is off by half a pixel.  So each shot is blurred by a
few Gaussians, in linear light as a lens does it, and each tile takes the one that makes both shots alike:
the same content blurred alike is off by a few hundredths.
"""

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.registration import planes

SIGMAS_PX = (0.8, 1.2, 1.7, 2.4, 3.4, 4.8, 6.8, 9.6)
"""Standard deviations; beyond them nothing is left of what the band-pass lets through."""
BLURS = tuple(sign * sigma for sigma in SIGMAS_PX for sign in (1, -1))
"""What a tile may take: its standard deviation, positive for the reference's, negative for the moving picture's."""
_BLACK = 4 / 255
_BLACK_RIM_PX = 4  # interpolation and JPEG darken what lies beside a black edge


@dataclasses.dataclass(frozen=True)
class Bank:
    """A shot's luma `[H, W]` in [0, 1], and what is made of it when it is asked for, once."""

    luma: np.ndarray

    @functools.cached_property
    def known(self) -> np.ndarray:
        """float32 `[H, W]`: 0 in black edges, which an earlier registration left, and next to them; 1 elsewhere."""
        # Noise and JPEG leave single levels in a black edge, which a mean over a few pixels takes out.
        black = np.pad((cv2.blur(self.luma, (3, 3)) < _BLACK).astype(np.uint8), 1, constant_values=1)
        _, parts = cv2.connectedComponents(black, connectivity=4)
        outside = (parts == parts[0, 0])[1:-1, 1:-1].astype(np.uint8)
        return np.float32(cv2.dilate(outside, np.ones((2 * _BLACK_RIM_PX + 1,) * 2)) == 0)

    @functools.cached_property
    def _light(self) -> np.ndarray:
        """About linear; black edges continued from beside them, where they would be edges of the content."""
        luma = self.luma
        if not self.known.all() and self.known.any():
            _, nearest = cv2.distanceTransformWithLabels(np.uint8(1 - self.known), cv2.DIST_L2, 3,
                                                         labelType=cv2.DIST_LABEL_PIXEL)
            known = self.known > 0
            values = np.zeros(nearest.max() + 1, np.float32)
            values[nearest[known]] = luma[known]
            luma = values[nearest]
        return np.square(luma)  # a square, for roots are cheap; gamma 2.2 is no better

    @functools.cached_property
    def _bands(self) -> dict[float, np.ndarray]:
        return {}

    def band(self, sigma_px: float) -> np.ndarray:
        """`planes.band_plane` of the logarithm at that blur."""
        if sigma_px not in self._bands:
            light = planes.soft(self._light, sigma_px) if sigma_px else self._light
            self._bands[sigma_px] = planes.band_plane(planes.log_plane(np.sqrt(np.maximum(light, 0))))
        return self._bands[sigma_px]



def scaled(blurs: Sequence[float], factor: float) -> list[float]:
    """Those of `BLURS` that some on a copy come near to on a picture larger by `factor`, their neighbours included."""
    nearest = lambda sigma: int(np.abs(np.log(np.array(SIGMAS_PX) / sigma)).argmin())
    near = {(np.sign(blur), nearest(factor * abs(blur)) + step) for blur in blurs for step in (-1, 0, 1)}
    return [sign * sigma for k, sigma in enumerate(SIGMAS_PX) for sign in (1, -1) if (sign, k) in near]
