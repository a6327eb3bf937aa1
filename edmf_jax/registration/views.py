"""A shot as registration sees it: small copies of its luma, and what is found in them, each computed once."""

import dataclasses

import cv2
import numpy as np

from edmf_jax.registration import features, in_place, planes
from edmf_jax.registration.blurs import COARSE_BLURS, BlurCache
from edmf_jax.registration.features import Keypoints
from edmf_jax.registration.lazy import Lazy
from edmf_jax.registration.verdict import RegistrationConfig

_MIN_CONTRAST = 0.004  # standard deviation of luma in [0, 1]; one level of 8 bits
_MIN_SIDE_PX = 32  # of the whole picture
# If the largest copy is larger than `coarse_pixels` by less, it is the only one; refining on two gains nothing.
_ONE_LEVEL_FACTOR = 2.25
_WHITE = 65535
MASK_COVERED = 0.999  # of a copy's pixel; 1 up to rounding


@dataclasses.dataclass(frozen=True)
class Level:
    """A copy that maps are refined on, and the 3×3 matrix from px of the whole picture to its px."""

    cache: BlurCache
    scale: np.ndarray

    @property
    def zoom(self) -> float:
        """Px of the whole picture for one px of the copy."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.scale[:2, :2]))))


class View:
    """A shot to register: every plane that a registration needs, made from the picture once, which is not kept.

    Attributes:
      shape: height and width of the whole picture, px.
      doubts: why it can't be registered to anything; empty if it can.
      match_plane: the luma that keypoints are found in, float32 `[h, w]` in [0, 1].
      match_scale: 3×3, from px of the whole picture to px of `match_plane`.
      color_copy: for `in_place`.
    """

    def __init__(self, image: np.ndarray, config: RegistrationConfig = RegistrationConfig(),  # noqa: B008 (frozen)
                 mask: np.ndarray | None = None):
        """Makes the copies.

        Args:
          image: RGB `[H, W, 3]` or gray `[H, W]`, uint8, uint16 or floating point in [0, 1].
          config: the sizes of the copies.
          mask: bool `[H, W]`, which pixels the shot has; None: all.

        Raises:
          ValueError: an array that is no picture.
        """
        self.shape = planes.check_picture(image)
        self.color_copy = in_place.color_copy(np.asarray(image))
        self._config = config
        plane, scale = self._reduce(image, config.refine_pixels if config.refine else config.coarse_pixels)
        self.match_plane, step = planes.reduce_plane(plane, planes.reduction_factor(plane.shape, config.match_pixels))
        self.match_scale = step @ scale
        copies = [(plane, scale)]
        if plane.size > _ONE_LEVEL_FACTOR * config.coarse_pixels:
            coarse, step = planes.reduce_plane(plane, planes.reduction_factor(plane.shape, config.coarse_pixels))
            copies.insert(0, (coarse, step @ scale))
        self._copies = [(np.uint16(np.rint(copy * _WHITE)), None if mask is None else self._cover(mask, copy.shape),
                         scale) for copy, scale in copies]
        self.doubts = ""
        if min(self.shape) < _MIN_SIDE_PX:
            self.doubts = f"is smaller than {_MIN_SIDE_PX} px"
        elif plane.std() < _MIN_CONTRAST:
            self.doubts = "shows nothing but one tone"
        self._levels: tuple[Level, ...] = ()
        self._contrast_keypoints: dict[float, Keypoints] = {}

    def _reduce(self, image: np.ndarray, most_px: float) -> tuple[np.ndarray, np.ndarray]:
        """The luma of at most `most_px`, and its scale; reduced before it becomes floats, which take the memory."""
        image = np.asarray(image)
        image = planes.reduce_picture(image.astype(np.float32) if image.dtype == np.float64 else image, most_px)
        return planes.luma_plane(image), planes.scaling_matrix(self.shape, image.shape)

    def _cover(self, mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Which pixels of a copy of `shape` the shot has entirely, bool."""
        return cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA) > MASK_COVERED

    @Lazy
    def keypoints(self) -> Keypoints:
        """The larger ones of the gradient, which exposure and blur barely affect: enough for most pictures."""
        plane = planes.gradient_plane(self.match_plane, self._config.blur_px)
        return features.detect_at_half_size(plane, self._config.max_keypoints)

    def find_keypoints(self) -> None:
        """Finds the `keypoints` now, if the shot can be registered to anything."""
        if not self.doubts:
            _ = self.keypoints

    @Lazy
    def all_keypoints(self) -> Keypoints:
        """The smaller ones too."""
        plane = planes.gradient_plane(self.match_plane, self._config.blur_px)
        return features.detect(plane, self._config.max_keypoints)

    def contrast_keypoints(self, blur_px: float) -> Keypoints:
        """Those of `planes.contrast_plane`."""
        if blur_px not in self._contrast_keypoints:
            plane = planes.contrast_plane(self.match_plane, blur_px)
            self._contrast_keypoints[blur_px] = features.detect(plane, self._config.max_keypoints)
        return self._contrast_keypoints[blur_px]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The copies that maps are refined on, the coarsest first: one, or two for large pictures."""
        made = self._levels  # another thread may release them at any time
        if not made:
            self._levels = made = tuple(Level(BlurCache(np.float32(plane) / np.float32(_WHITE), mask), scale)
                                        for plane, mask, scale in self._copies)
        return made

    def prepare(self) -> None:
        """Makes the planes that a refinement begins with, ahead of their use."""
        cache = self.levels[0].cache
        for sigma_px in (0.0, *(blur for blur in COARSE_BLURS if blur > 0)):
            cache.band(sigma_px)

    @property
    def copied_pixels(self) -> int:
        """Pixels of all copies that maps are refined on."""
        return sum(plane.size for plane, *_ in self._copies)

    def release(self) -> None:
        """Frees what can be made again: the blurred planes, which take most of the memory."""
        self._levels = ()
