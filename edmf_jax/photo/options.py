"""What `fuse_photos` is asked for and what it answers."""

import dataclasses

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.registration import METHODS

_CHOICES = {
    "align": (*METHODS, "none"),
    "model": ("similarity", "affine", "homography"),
    "exposure": ("reference", "average", "well-exposed"),
    "pixels": ("shots", "network"),
}


@dataclasses.dataclass(frozen=True)
class PhotoOptions:
    """How photographs are fused.

    Attributes:
      align: how the shots are registered, one of `registration.METHODS`; "none": they are already, and of one size.
      model: what may lie between two shots: "similarity", "affine" or "homography".
      exposure: where the brightness of the result comes from: "reference", "average" or "well-exposed" (`exposure`).
      crop: cut to the area that all shots have; otherwise the result has the reference's frame.
      pixels: "shots": a mean of the shots, weighted by how sharp each is there (`mixing`); "network": the luma that the
        network makes of two of them, coloured by both.
    """

    align: str = "pso-sift"
    model: str = "homography"
    exposure: str = "reference"
    crop: bool = False
    pixels: str = "shots"

    def check(self) -> None:
        """Raises UserError where an option is none of its choices."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name}={getattr(self, name)!r} is unknown; use one of {', '.join(choices)}")


@dataclasses.dataclass(frozen=True)
class PhotoResult:
    """A fused photograph and where it comes from.

    Attributes:
      image: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` as the reference has it, in its dtype and range.
      sources: uint8 `[H, W]` (uint16 from 257 shots on): the number of the shot that is
        sharpest about each pixel; 0 is the reference.  With `pixels="shots"` it is the one of the largest weight
        there, with "network" the paper's mask.
      registrations: per shot, `registration.Registration`; None for the reference and where none was asked for.
      stops: per shot, its exposure relative to the reference's; +1 is twice the light.
      frame: top, left, height and width of the result within the reference, px.
    """

    image: np.ndarray
    sources: np.ndarray
    registrations: tuple
    stops: tuple[float, ...]
    frame: tuple[int, int, int, int]
