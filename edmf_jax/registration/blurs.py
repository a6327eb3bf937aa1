"""Equal blur for both shots: a tile is compared at the blur of the shot that is out of focus there.

Defocus by itself moves no correlation peak, but content that is sharp in one shot and
blurred in the other correlates so badly that a tile of 64 px is off by half a pixel.  So each shot is blurred by a
few Gaussians, in linear light as a lens does it, and each tile uses the one that makes both shots most alike:
equally blurred content is off by a few hundredths of a pixel.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from edmf_jax.registration import planes
from edmf_jax.registration.grid import TileGrid
from edmf_jax.registration.lazy import Lazy

SIGMAS_PX = (0.8, 1.2, 1.7, 2.4, 3.4, 4.8, 6.8, 9.6)
"""Standard deviations of the Gaussians; more blur would leave nothing of the band that tiles are correlated in."""
BLURS = tuple(sign * sigma for sigma in SIGMAS_PX for sign in (1, -1))
"""The candidates for a tile, standard deviations in px: positive blurs the reference, negative the moving picture."""
COARSE_BLURS = tuple(blur for blur in BLURS if abs(blur) in SIGMAS_PX[1::2])
"""Every second of them, for a first round; `rescale_blurs` then gives those around the ones that tiles chose."""
_BLACK = 4 / 255
_BLACK_MARGIN_PX = 4  # interpolation and JPEG darken the pixels next to a black border


@dataclasses.dataclass(frozen=True)
class BlurCache:
    """A shot's luma `[H, W]` in [0, 1], and planes derived from it, each computed once, when first used.

    Attributes:
      luma: float32.
      mask: bool `[H, W]`, False where the shot has no pixels (transparent ones); None: nowhere.
    """

    luma: np.ndarray
    mask: np.ndarray | None = None

    @Lazy
    def valid(self) -> np.ndarray:
        """float32 `[H, W]`: 0 in black borders, which an earlier registration left, and within 4 px of them; else 1."""
        # Noise and JPEG leave a few brighter pixels in a black border, which the mean over 3 × 3 px removes.
        black = np.pad((cv2.blur(self.luma, (3, 3)) < _BLACK).astype(np.uint8), 1, constant_values=1)
        _, parts = cv2.connectedComponents(black, connectivity=4)
        missing = (parts == parts[0, 0])[1:-1, 1:-1]
        if self.mask is not None:
            missing = missing | ~self.mask
        return np.float32(cv2.dilate(missing.astype(np.uint8), np.ones((2 * _BLACK_MARGIN_PX + 1,) * 2)) == 0)

    @Lazy
    def grid(self) -> TileGrid:
        """The tiles that this shot is cut into when it is the reference."""
        return TileGrid.of(self.luma.shape)

    @Lazy
    def _sparse_bands(self) -> dict[float, np.ndarray]:
        return {}

    def sparse_band(self, sigma_px: float) -> np.ndarray:
        """Every second pixel of `band` in both directions, `[⌈H/2⌉, ⌈W/2⌉]`."""
        if sigma_px not in self._sparse_bands:
            self._sparse_bands[sigma_px] = np.ascontiguousarray(self.band(sigma_px)[::2, ::2])
        return self._sparse_bands[sigma_px]

    @Lazy
    def _moments(self) -> dict[float, tuple[np.ndarray, np.ndarray]]:
        return {}

    def moments(self, sigma_px: float) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean and mean square of `sparse_band(sigma_px)` in each tile of the grid, `[R, C]` each."""
        if sigma_px not in self._moments:
            self._moments[sigma_px] = self.grid.half.moments(self.sparse_band(sigma_px))
        return self._moments[sigma_px]

    @Lazy
    def _linear(self) -> np.ndarray:
        """Approximately linear light; black borders take the nearest valid value, so that they make no edge."""
        luma = self.luma
        if not self.valid.all() and self.valid.any():
            _, nearest = cv2.distanceTransformWithLabels(np.uint8(1 - self.valid), cv2.DIST_L2, 3,
                                                         labelType=cv2.DIST_LABEL_PIXEL)
            valid = self.valid > 0
            values = np.zeros(nearest.max() + 1, np.float32)
            values[nearest[valid]] = luma[valid]
            luma = values[nearest]
        return np.square(luma)  # gamma 2: its inverse is a fast square root, and 2.2 gives no better result

    @Lazy
    def _bands(self) -> dict[float, np.ndarray]:
        return {}

    def band(self, sigma_px: float) -> np.ndarray:
        """`planes.bandpass_plane` of the shot blurred by `sigma_px`; 0 is no blur."""
        if sigma_px not in self._bands:
            self._bands[sigma_px] = self._make_band(sigma_px)
        return self._bands[sigma_px]

    def _make_band(self, sigma_px: float) -> np.ndarray:
        height, width = self.luma.shape
        if sigma_px < planes.HALF_SIZE_PX or min(height, width) < 16:
            linear = planes.gaussian_blur(self._linear, sigma_px) if sigma_px else self._linear
            return planes.bandpass_plane(planes.log_plane(np.sqrt(np.maximum(linear, 0))))
        # So much blur leaves nothing that half the size does not show.
        linear = planes.gaussian_blur(self._half_linear, planes.half_size_sigma(sigma_px))
        half = planes.bandpass_plane(planes.log_plane(np.sqrt(np.maximum(linear, 0))), *(x / 2 for x in planes.BAND_PX))
        return cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)

    @Lazy
    def _half_linear(self) -> np.ndarray:
        return planes.half_size(self._linear)


def rescale_blurs(blurs: Sequence[float], factor: float) -> list[float]:
    """The candidates for a picture larger by `factor`: those of `BLURS` nearest to `factor`·`blurs`, and neighbors.

    Args:
      blurs: those that tiles chose on the smaller copy.
    """
    nearest = lambda sigma: int(np.abs(np.log(np.array(SIGMAS_PX) / sigma)).argmin())
    near = {(np.sign(blur), nearest(factor * abs(blur)) + step) for blur in blurs for step in (-1, 0, 1)}
    return [sign * sigma for k, sigma in enumerate(SIGMAS_PX) for sign in (1, -1) if (sign, k) in near]
