"""The options of `fuse_photos` and its result."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.registration import METHODS, MODELS

_CHOICES = {
    "align": (*METHODS, "best-effort", "none"),
    "model": MODELS,
    "on_bad_shot": ("auto", "skip", "stop"),
    "exposure": ("reference", "average", "well-exposed"),
    "pixels": ("shots", "network"),
    "hot_pixels": ("replace", "keep"),
    "moving": ("once", "as-found"),
    "tie": (None, "near", "far"),
    "device": ("auto", "cpu", "gpu"),
}


@dataclasses.dataclass(frozen=True)
class PhotoOptions:
    """How photographs are fused.

    Attributes:
      align: how the shots are registered, one of `registration.METHODS`; "best-effort": by the first of them, and where
        no map can be trusted by the best there is; "none": they are registered already, and of one size.
      model: the kind of map between two shots: "similarity", "affine" or "homography"; "auto": whichever the evidence
        carries.
      on_bad_shot: what happens if a shot can't be placed, or can't be used at all (`bad_shots.BadShot`): "skip" leaves
        it out, "stop" ends the run; "auto": stops if there are two shots, otherwise skips.
      exposure: where the brightness of the result comes from: "reference", "average" or "well-exposed" (`exposure`).
      crop: cut to the area that all shots cover; otherwise the result has the reference's frame.
      pixels: "shots": a mean of the shots, weighted by local sharpness (`blend`); "network": the network fuses the
        luma, and the chroma is a mean of the shots'.
      hot_pixels: "replace" those that the shots themselves betray (`sensor`); "keep" all pixels as they are.
      moving: what stands elsewhere in another shot is shown "once", as one shot has it (`motion_regions`); "as-found":
        wherever a shot that has it is the sharpest.  Only with `pixels="shots"`, and without masks.
      tie: which shot gets the larger weight where two are equally sharp: the "near" or the "far" one (`focus_order`);
        None: neither.
      device: where shots are blended with `pixels="shots"`: on the "cpu", on a "gpu", or "auto": on a GPU if there is
        one that JAX knows and the shots are large enough to pay for its start (`device_choice`).
    """

    align: str = "pso-sift"
    model: str = "auto"
    exposure: str = "reference"
    crop: bool = False
    pixels: str = "shots"
    on_bad_shot: str = "auto"
    hot_pixels: str = "replace"
    moving: str = "once"
    tie: str | None = None
    device: str = "cpu"

    def check(self) -> None:
        """Raises UserError if an option is not one of its choices, or excludes another."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = ", ".join(filter(None, choices))
                raise UserError(f"{name}={getattr(self, name)!r} is unknown; use one of {known}")
        if self.tie is not None and self.pixels == "network":
            raise UserError(f"tie={self.tie!r} (--{self.tie}-first): a network knows no near and far; leave it out, or "
                            "leave out --pixels network")


@dataclasses.dataclass(frozen=True)
class Chooser:
    """The network that chooses among the shots, ready to run (`chooser`); made by `chooser_engine.load`.

    Attributes:
      name: the shipped name or the file that the parameters come from.
      params: of `core.chooser`.
      engine: what computes it, a `chooser_engine.Engine`.
      runtime: what that is, for people: "ONNX Runtime 1.22.0 on the CPU".
    """

    name: str
    params: Mapping[str, Mapping[str, np.ndarray]]
    engine: Any
    runtime: str


@dataclasses.dataclass(frozen=True)
class PhotoResult:
    """A fused photograph and how it was made.

    Attributes:
      image: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` like the reference, in its dtype and range.
      sources: uint8 `[H, W]` (uint16 from 257 shots on): for each pixel the number of the sharpest shot among those
        that were used; 0 is the reference.  With `pixels="shots"` it is the shot of the largest weight, with "network"
        that of the largest local spatial frequency, as in the paper's focus mask.
      confidence: float32 `[H, W]` in [0, 1]: how far the largest weight is from an even share; None: not known.
      alone: the share of the frame that one shot alone shows, in [0, 1]; it is as sharp there as that shot.
      device: what blended the shots, if it was no CPU: "NVIDIA H200"; None: the CPU.
      moved: in how many places something moved, so that one shot or some that agree were taken there.
      registrations: for each shot that was used its `registration.Registration`; None for the reference and with
        `align="none"`.
      stops: for each of them its exposure relative to the reference's; +1 is twice the light.
      frame: top, left, height and width of the result within the reference, px.
      covered: bool `[H, W]`, False where no shot has a pixel (`shots.Masked`) and the image is 0; None: nowhere.
      used: the numbers, among the shots as given, of those that were used, the reference first (in a group of
        `fuse_parts` in the group's order).
      reference: the number, among the shots as given, of the reference.
      left_out: number, among the shots as given → why it was not used.
    """

    image: np.ndarray
    sources: np.ndarray
    registrations: tuple
    stops: tuple[float, ...]
    frame: tuple[int, int, int, int]
    covered: np.ndarray | None = None
    used: tuple[int, ...] = ()
    reference: int = 0
    left_out: Mapping[int, str] = dataclasses.field(default_factory=dict)
    confidence: np.ndarray | None = None
    alone: float = 0.0
    moved: int = 0
    device: str | None = None
