"""The record of a finished fusion, from which reports are made: shots, settings, result, and how it came about."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from edmf_jax.fusion.stack import PhotoOptions, PhotoResult
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.registration import Registration
from edmf_jax.weights.store import Weights


@dataclasses.dataclass(frozen=True)
class FusionRecord:
    """A finished fusion.

    Attributes:
      names: the paths of the shots that were used, the reference first.
      output: the path of the result.
      weights: of the network; None if none was used.
      options: None with preset "paper".
      image: the result to show, `[H, W]` or `[H, W, 3]`, uint8 or uint16 over its full range, without alpha.
      result: what `stack.fuse_photos` returned; None with preset "paper".
      seconds: how long it took.
      left_out: the path of each shot that was not used → why.
      alignment: the path of the file that said how the shots lie; None: they were registered.
    """

    names: Sequence[str]
    output: str
    weights: Weights | Chooser | None
    options: PhotoOptions | None
    image: np.ndarray
    result: PhotoResult | None
    seconds: float
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    alignment: str | None = None

    @property
    def sources(self) -> np.ndarray | None:
        """`PhotoResult.sources`; None with preset "paper"."""
        return self.result and self.result.sources

    @property
    def registrations(self) -> Sequence[Registration | None]:
        """One per shot; None for the reference and for shots that were not registered."""
        return self.result.registrations if self.result else [None] * len(self.names)

    @property
    def neighbors(self) -> Sequence[int | None]:
        """For each shot the position, among `names`, of the one that it was registered to; None if unknown."""
        if self.result is None:
            return [None] * len(self.names)
        position = {number: i for i, number in enumerate(self.result.used)}
        return [None if one is None else position.get(one.neighbor) for one in self.registrations]

    @property
    def stops(self) -> Sequence[float] | None:
        """Each shot's exposure relative to the reference's; None with preset "paper", which does not measure it."""
        return self.result and self.result.stops

    @property
    def frame(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of the result within the reference, px."""
        return self.result.frame if self.result else (0, 0, *self.image.shape[:2])
