"""The first pass over the shots, on small copies: registration, exposure and black edges of each.

Every decision about a picture as a whole is made here, before a pixel is fused.  So the second pass can work tile by
tile and shot by shot.
"""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import full_scale, to_unit
from edmf_jax.fusion.stack import alignment, borders, exposure, sharpness, shots, tone
from edmf_jax.fusion.stack.options import PhotoOptions
from edmf_jax.registration import Registration, warp
from edmf_jax.registration.planes import scaling_matrix

_COPY_PX = 0.4e6
_COVERED = 0.999  # of a cell; 1 up to rounding
_MAX_DARK_SHARE = 0.2  # a cell of which more is nearly black may belong to a black edge and is not measured


@dataclasses.dataclass(frozen=True)
class ShotAnalysis:
    """What is kept of one shot.

    Attributes:
      digest: a hash of its content.
      registration: None for the reference and with `align="none"`.
      copy: a small copy in the reference's frame, `[h, w, C]` float32 in [0, 1].
      valid: bool `[h, w]`, True where the shot covers the copy.
      dark: the share of each of the copy's pixels ("cells") that is nearly black at full size, `[h, w]` in [0, 1].
    """

    digest: bytes
    registration: Registration | None
    copy: np.ndarray
    valid: np.ndarray
    dark: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """Valid and not nearly black, bool `[h, w]`."""
        return self.valid & (self.dark < _MAX_DARK_SHARE)


@dataclasses.dataclass(frozen=True)
class StackAnalysis:
    """The analyses of all shots, and what follows from them; every list has one entry a shot, the reference's first.

    Attributes:
      shot_analyses: of each shot.
      curves: tone curves as of `tone.estimate`, `[C, len(GRID)]`.
      stops: exposure relative to the reference; +1 is twice the light.
      edge_regions: where the small copy has black edges, bool `[h, w]`; None: nowhere.
    """

    shot_analyses: list[ShotAnalysis]
    curves: list[np.ndarray]
    stops: tuple[float, ...]
    edge_regions: list[np.ndarray | None]

    def target_curve(self, how: str) -> np.ndarray:
        """The tone curve of the result for `PhotoOptions.exposure`; see `exposure.target_curve`."""
        if how == "reference":
            return self.curves[0]
        # Float sums depend on order, so shots are taken in the order of their digests: argument order has no effect.
        order = sorted(range(len(self.shot_analyses)), key=lambda i: self.shot_analyses[i].digest)
        curves = [self.curves[i] for i in order]
        shots_in_order = [self.shot_analyses[i] for i in order]
        scene = exposure.scene_values(curves, [shot.copy for shot in shots_in_order],
                                      [shot.usable for shot in shots_in_order])
        return exposure.target_curve(curves, scene, how)


def analyze_stack(given: Sequence[shots.Shot], names: Sequence[str], reference: np.ndarray, options: PhotoOptions,
                  keep: Callable[[int, shots.Masked], None], report: Callable[[str], None], *,
                  mask: np.ndarray | None = None, white: int | None = None) -> StackAnalysis:
    """Analyzes all shots, one after the other.

    Args:
      given, names: the shots and what messages call them.
      reference: the first one, read.
      options: only `align` and `model` matter.
      keep: called with the number and every other shot, as read.
      report: called with a few words before each shot.
      mask: of the reference, as `shots.Masked.mask`.
      white: as for `shots.read_masked`.

    Raises:
      UserError: a shot is not a picture, does not fit the reference, can't be registered, or is given twice.
    """
    small = alignment.reduced_copy(reference)
    size = alignment.reduced_copy(reference, _COPY_PX).shape[:2]
    analyses = [_analyze_shot(shots.Masked(reference, mask), None, reference.shape, size)]
    for number in range(1, len(given)):
        report(f"registering {names[number]}" if options.align != "none" else f"looking at {names[number]}")
        moving = shots.read_masked(given[number], names[number], white)
        shots.check_compatible(moving.image, names[number], reference.shape, names[0], options.align == "none")
        _check_not_repeated(shots.digest(*moving), names[number], analyses, names)
        registration = alignment.register_shot(small, reference.shape, moving.image, (names[0], names[number]), options)
        analyses.append(_analyze_shot(moving, registration, reference.shape, size))
        keep(number, moving)
    return _combine(analyses)


def _check_not_repeated(digest: bytes, name: str, analyses: Sequence[ShotAnalysis], names: Sequence[str]) -> None:
    for other, analysis in zip(names, analyses):
        if analysis.digest == digest:
            raise UserError(f"{name} is the same picture as {other}; give every shot once")


def _analyze_shot(shot: shots.Masked, registration: Registration | None, shape: tuple[int, ...], size: tuple[int, int]
                  ) -> ShotAnalysis:
    """Analyzes one shot; `shape` is the reference's, `size` height and width of all small copies."""
    image, mask = shot
    # With align="none" all shots have the reference's shape, so the same limit gives all copies the same size; the
    # factor, taken from a rounded size, need not.
    factor = size[0] * size[1] / (shape[0] * shape[1])
    most_px = _COPY_PX if registration is None else max(factor * image.shape[0] * image.shape[1], 1.0)
    small = alignment.reduced_copy(image, most_px)
    dark = borders.dark_share(image, full_scale(image.dtype), small.shape[:2])
    copy, valid = to_unit(small), np.ones(size, bool)
    # A cell belongs to the shot if all of its pixels do.
    covered = None if mask is None else cv2.resize(mask.astype(np.float32), small.shape[1::-1],
                                                   interpolation=cv2.INTER_AREA)
    if registration is not None:
        to_small, to_full = scaling_matrix(image.shape, small.shape), np.linalg.inv(scaling_matrix(shape, size))
        matrix = to_small @ registration.matrix @ to_full
        warped, valid = warp(shots.squeeze_gray(copy), matrix, size)
        copy = warped.reshape(*size, copy.shape[2])
        dark, covered = (None if plane is None else cv2.warpPerspective(
            plane, matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) for plane in (dark, covered))
    if covered is not None:
        valid = valid & (covered > _COVERED)
    return ShotAnalysis(shots.digest(image, mask), registration, copy, valid, dark)


def _combine(analyses: list[ShotAnalysis]) -> StackAnalysis:
    reference = analyses[0]
    curves, stops = [tone.reference_curve(reference.copy.shape[2])], [0.0]
    for shot in analyses[1:]:
        both = shot.usable & reference.usable
        curves.append(tone.estimate(reference.copy, shot.copy, both))
        stops.append(tone.stops_between(curves[-1], reference.copy, both))
    lumas = np.stack([_harmonized_luma(shot, curve, curves[0]) for shot, curve in zip(analyses, curves)])
    # The brightest of the other shots: the largest of all, or the second largest where that is the shot's own.
    order = np.sort(lumas, axis=0)
    regions = []
    for shot, plane in zip(analyses, lumas):
        others = np.where(plane == order[-1], order[-2], order[-1])
        region = borders.black_edges(shot.dark, sharpness.luma_of(shot.copy), others, shot.valid)
        regions.append(region if region.any() else None)
    return StackAnalysis(analyses, curves, tuple(stops), regions)


def _harmonized_luma(shot: ShotAnalysis, curve: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Luma `[h, w]` of a shot's copy at the reference's exposure; 0 where it has no pixels."""
    return sharpness.luma_of(exposure.apply(shot.copy, exposure.table(curve, target))) * shot.valid
