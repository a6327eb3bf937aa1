"""What follows from the small copies of all shots once they are registered: exposures and black edges.

Every decision about a picture as a whole is made here, before a pixel is fused.  So the second pass can work tile by
tile and shot by shot.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from edmf_jax.fusion.pixels import over_channels, to_unit
from edmf_jax.fusion.stack import borders, exposure, leveling, local_light, sharpness, shots, tone, tone_estimate
from edmf_jax.fusion.stack.gain_field import GainField
from edmf_jax.fusion.stack.sketches import Sketch
from edmf_jax.fusion.stack.tone_samples import small_copy
from edmf_jax.registration import Registration, warp
from edmf_jax.registration.lazy import Lazy
from edmf_jax.registration.planes import scaling_matrix
from edmf_jax.registration.threads import one_thread_each, usable_cores
from edmf_jax.registration.views import MASK_COVERED
from edmf_jax.registration.warping import warp_plane

_MAX_DARK_SHARE = 0.2  # a cell of which more is nearly black may belong to a black edge and is not measured
_DARK_ALL_OVER = 0.98


@dataclasses.dataclass(frozen=True)
class ShotAnalysis:
    """What is kept of one shot.

    Attributes:
      digest: a hash of its content.
      registration: None for the reference and with `align="none"`.
      copy: a small copy in the reference's frame, `[h, w, C]` float32 in [0, 1].
      valid: bool `[h, w]`, True where the shot covers the copy.
      dark: the share of each of the copy's pixels ("cells") that is nearly black at full size, `[h, w]` in [0, 1].
      noise: the energy of its noise, `evidence.noise_energy`.
    """

    digest: bytes
    registration: Registration | None
    copy: np.ndarray
    valid: np.ndarray
    dark: np.ndarray
    noise: float

    @Lazy
    def usable(self) -> np.ndarray:
        """Valid, and not what a black edge might be, bool `[h, w]`.

        An area that is dark all over, but not as black as an edge, is a dark thing in the scene.
        """
        brightest = over_channels(np.maximum, self.copy)
        dark_thing = (self.dark > _DARK_ALL_OVER) & (brightest > borders.BLACK)
        return self.valid & ((self.dark < _MAX_DARK_SHARE) | dark_thing)


@dataclasses.dataclass(frozen=True)
class StackAnalysis:
    """The analyses of all shots, and what follows from them; every list has one entry a shot, the reference's first.

    Attributes:
      shot_analyses: of each shot.
      curves: tone curves as of `tone_estimate.compare`, `[C, len(GRID)]`.
      stops: exposure relative to the reference; +1 is twice the light.
      edge_regions: where the small copy has black edges, bool `[h, w]`; None: nowhere.
      fields: of gain in light, beside the curves; None: the curve is enough.
      local_lights: what else differs from place to place; None: nothing.
      notes: what the user should know about how the shot was leveled, to follow its name and a colon; or None.
    """

    shot_analyses: list[ShotAnalysis]
    curves: list[np.ndarray]
    stops: tuple[float, ...]
    edge_regions: list[np.ndarray | None]
    fields: list[GainField | None]
    local_lights: list[local_light.LocalLight | None]
    notes: list[str | None]

    def of(self, numbers: Sequence[int]) -> "StackAnalysis":
        """What was found about some of the shots; everything stays relative to the reference."""
        chosen = {field.name: [getattr(self, field.name)[i] for i in numbers] for field in dataclasses.fields(self)}
        return StackAnalysis(**{**chosen, "stops": tuple(chosen["stops"])})

    def leveling(self, number: int, target: np.ndarray, curves: list[np.ndarray], frame: tuple[int, ...]
                 ) -> leveling.Leveling:
        """What brings shot `number` to the target exposure.

        Args:
          number: of the shot.
          target: the tone curve of the result, from `target_curve`.
          curves: of the shots that it is fused with; clipping counts where one of them shows more.
          frame: shape of the reference's frame, `(H, W, …)`.
        """
        return leveling.level(self.curves[number], self.fields[number], curves, target, frame,
                              self.local_lights[number])

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


def analyze_stack(sketches: Sequence[Sketch], registrations: Sequence[Registration | None]) -> StackAnalysis:
    """Compares the shots in the frame of the first one.

    Args:
      sketches: of the shots that are used, the reference's first.
      registrations: of each; None for the reference, and if it is in the reference's frame.
    """
    shape, size = sketches[0].shape, sketches[0].copy.shape[:2]
    analyses, place = [], lambda pair: _place(*pair, shape, size)
    if len(sketches) == 2:  # the reference is in its place: OpenCV's own threads warp the other one
        analyses = list(map(place, zip(sketches, registrations)))
    with one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        return _combine(analyses or list(pool.map(place, zip(sketches, registrations))), pool)


def _place(one: Sketch, registration: Registration | None, shape: tuple[int, ...], size: tuple[int, int]
           ) -> ShotAnalysis:
    """The copies of one shot in the frame of the reference; `shape` is its shape, `size` that of its copy."""
    copy, dark, covered, valid = to_unit(one.copy), one.dark, one.covered, np.ones(size, bool)
    if registration is not None:
        to_small, to_full = scaling_matrix(one.shape, copy.shape), np.linalg.inv(scaling_matrix(shape, size))
        matrix = to_small @ registration.matrix @ to_full
        flow = registration.flow and registration.flow.rescaled(size, to_small[0, 0])
        warped, valid = warp(shots.squeeze_gray(copy), matrix, size, flow=flow, interpolation=cv2.INTER_CUBIC)
        copy = warped.reshape(*size, copy.shape[2])
        dark, covered = (plane if plane is None else warp_plane(plane, matrix, size, flow=flow)
                         for plane in (dark, covered))
    if covered is not None:  # a cell belongs to the shot if all of its pixels do
        valid = valid & (covered > MASK_COVERED)
    return ShotAnalysis(one.digest, registration, copy, valid, dark, one.noise)


def _combine(analyses: list[ShotAnalysis], pool: ThreadPoolExecutor) -> StackAnalysis:
    reference = analyses[0]
    equal = tone_estimate.Difference(tone.reference_curve(reference.copy.shape[2]), None, None)
    seen = small_copy(reference.copy)

    def compare(shot: ShotAnalysis, each: Callable = map) -> tone_estimate.Difference:
        return tone_estimate.compare(seen, shot.copy, shot.usable & reference.usable, each)

    def look(shot: ShotAnalysis, found: tone_estimate.Difference, each: Callable = map
             ) -> tuple[tone_estimate.Difference, float, local_light.LocalLight | None, np.ndarray]:
        both, leveled = shot.usable & reference.usable, _leveled_copy(shot, found, equal.curve)
        stops = each(lambda curve: tone.stops_between(curve, reference.copy, both), [found.curve])
        local = local_light.find(reference.copy, leveled, both, each)
        return found, next(stops), local, sharpness.luma_of(leveled)

    own_luma = pool.submit(lambda: sharpness.luma_of(_leveled_copy(reference, equal, equal.curve)))
    if len(analyses) == 2:  # one after the other on one thread would leave all cores but one without work
        looks = [look(analyses[1], compare(analyses[1], pool.map), pool.map)]
    else:
        # In two steps, each shot's second when its first is done: so the last one keeps a core waiting for less long.
        looks = pool.map(look, analyses[1:], pool.map(compare, analyses[1:]))
    itself = equal, 0.0, None, own_luma.result()
    differences, stops, local_lights, lumas = map(list, zip(itself, *looks))
    curves, fields, notes = map(list, zip(*differences))
    regions = _edge_regions(analyses, lumas, pool)
    return StackAnalysis(analyses, curves, tuple(stops), regions, fields, local_lights, notes)


def _edge_regions(analyses: list[ShotAnalysis], lumas: list[np.ndarray], pool: ThreadPoolExecutor
                  ) -> list[np.ndarray | None]:
    """Where each shot's copy has black edges, bool `[h, w]`; None: nowhere.  `lumas`: at the reference's exposure."""
    lumas = [luma * shot.valid for shot, luma in zip(analyses, lumas)]
    covering = sum(shot.valid.astype(np.int32) for shot in analyses)
    # The brightest of the other shots: the largest of all, or the second largest where that is the shot's own.
    largest, second = lumas[0], np.full_like(lumas[0], -np.inf)
    for plane in lumas[1:]:
        largest, second = np.maximum(largest, plane), np.maximum(second, np.minimum(largest, plane))

    def region_of(shot: ShotAnalysis, plane: np.ndarray) -> np.ndarray | None:
        others = np.where(plane == largest, second, largest)
        seen = covering - shot.valid > 0
        region = borders.black_edges(shot.dark, sharpness.luma_of(shot.copy), others, shot.valid, seen)
        return region if region.any() else None

    return list(pool.map(region_of, analyses, lumas))


def _leveled_copy(shot: ShotAnalysis, found: tone_estimate.Difference, target: np.ndarray) -> np.ndarray:
    """A shot's copy at the reference's exposure, `[h, w, C]`."""
    whole = [slice(0, side) for side in shot.copy.shape[:2]]
    to_reference = leveling.level(found.curve, found.field, [found.curve], target, shot.copy.shape)
    return to_reference.apply(shot.copy, *whole)
