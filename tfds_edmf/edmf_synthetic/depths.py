"""Where the two shots focus, and the unit of depth that the scenes are laid out in.

The unit of depth is the blur it makes: depth 0 is the near focus, depth `span` the far
focus, and a thing at depth z has blur radius |z| px in the near shot and |span − z| px in
the far shot (a little less there, for the sensor is nearer to the lens).
"""

import dataclasses

import numpy as np

from tfds_edmf.edmf_synthetic.lens import Lens

# Blur radius of one focus distance seen from the other. Less where a ground leads from one
# to the other, for its middle is sharp in neither shot: half of this at the worst.
SPAN_PX = {
    "table": (2.2, 5.5),
    "street": (2.2, 8.5),
    "hedge": (2.2, 8.5),
    "page": (2.0, 4.0),
    "fence": (2.2, 8.5),
}


@dataclasses.dataclass(frozen=True)
class Depths:
    """The two focus distances and the scale between blur and distance.

    Attributes:
        near_mm, far_mm: focus distances.
        span_px: blur radius at one when focused at the other, about.
    """

    near_mm: float
    far_mm: float
    span_px: float

    def vergence(self, depth_px: float) -> float:
        """1/distance, 1/mm, at a depth: affine, and never beyond infinity."""
        step = (1 / self.near_mm - 1 / self.far_mm) / self.span_px
        return max(1 / self.near_mm - depth_px * step, 0.05 / self.far_mm)


def sample_depths(rng, kind: str, size: tuple[int, int], lens: Lens) -> Depths:
    """Focus distances whose mutual blur is drawn from SPAN_PX (less in small pictures)."""
    span = rng.uniform(*SPAN_PX[kind]) * np.clip(min(size) / 240, 0.55, 1)
    # The far focus lies 1/(1 − share) times as far away as the near one: 1.5 to 3 times.
    share = rng.uniform(0.35, 0.67)
    # Blur per vergence, for a far-away focus; then the exact span of the distances found.
    scale = lens.blur_radius_px(1.0, 1e9)
    near = share * scale / span
    far = near / (1 - share)
    return Depths(near, far, float(lens.blur_radius_px(far, near)))
