"""The two focus distances, and the depth scale that scenes are laid out in.

Depth is measured in pixels of blur: depth 0 is the near focus and depth `span_px` the far one. An
object at depth z has blur radius |z| px in the near shot and |span_px − z| px in the far shot (a
little less there, because the sensor is nearer to the lens).
"""

import dataclasses

import numpy as np

from tfds_edmf.edmf_synthetic.lens import Lens

# Range of the blur radius of one focus distance when focused at the other. Smaller for scenes with
# a ground from one to the other: its middle is sharp in neither shot, blurred by up to half of this.
SPAN_PX = {
    "table": (2.2, 5.5),
    "street": (2.2, 8.5),
    "hedge": (2.2, 8.5),
    "page": (2.0, 4.0),
    "fence": (2.2, 8.5),
}


@dataclasses.dataclass(frozen=True)
class Depths:
    """The two focus distances and the relation between depth and distance.

    Attributes:
        near_mm, far_mm: focus distances.
        span_px: approximate blur radius of one focus distance when focused at the other.
    """

    near_mm: float
    far_mm: float
    span_px: float

    def vergence(self, depth_px: float) -> float:
        """1/distance [1/mm] at a depth: affine in the depth, and positive, so nothing lies beyond infinity."""
        step = (1 / self.near_mm - 1 / self.far_mm) / self.span_px
        return max(1 / self.near_mm - depth_px * step, 0.05 / self.far_mm)


def sample_depths(rng, kind: str, size: tuple[int, int], lens: Lens) -> Depths:
    """Focus distances whose mutual blur is drawn from SPAN_PX (reduced for small pictures).

    Args:
        rng: source of all random numbers.
        kind: kind of scene, a key of SPAN_PX.
        size: height and width of the picture, px.
        lens: the camera.
    """
    span = rng.uniform(*SPAN_PX[kind]) * np.clip(min(size) / 240, 0.55, 1)
    # The far focus is 1/(1 − share) times as far away as the near one: 1.5 to 3 times.
    share = rng.uniform(0.35, 0.67)
    # Blur radius per unit of vergence, exact for a focus at infinity; the span is then computed exactly.
    scale = lens.blur_radius_px(1.0, 1e9)
    near = share * scale / span
    far = near / (1 - share)
    return Depths(near, far, float(lens.blur_radius_px(far, near)))
