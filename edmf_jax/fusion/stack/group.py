"""The second pass: shots whose places and exposures are known → one picture, tile by tile.

See `pipeline` for the order of the sums, missing pixels and memory.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from edmf_jax.core.limits import MIN_SIDE_PX
from edmf_jax.errors import UserError
from edmf_jax.fusion.stack import alignment, blend, borders, device_choice, evidence, excluding, motion_regions, shots
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.analysis import StackAnalysis
from edmf_jax.fusion.stack.options import Chooser, PhotoOptions, PhotoResult
from edmf_jax.fusion.stack.visits import Visits
from edmf_jax.fusion.stack.weighted_mean import Blended
from edmf_jax.registration.threads import one_thread_each
from edmf_jax.runtime import devices
from edmf_jax.weights.store import Weights

# Rough seconds for each megapixel of a shot or of the result, for the progress only.
GATHERING_SECONDS, NETWORK_SECONDS, BLEND_SECONDS, CHOOSER_SECONDS = 0.25, 3.0, 0.1, 1.2
_SMALL_BYTES = 1e8  # of all shots as floats: ten of 0.8 MP


@dataclasses.dataclass(frozen=True)
class Group:
    """Shots that are fused, and what the first pass found about them; lists have one entry a shot.

    Attributes:
      names: for messages.
      read: functions that give the shots as `shots.read_masked` does.
      analysis: of these shots.
      target: the tone curve of the result.
      frame: shape of the result, `[H, W, C]`.
      dtype: of the result.
    """

    names: list[str]
    read: list[Callable[[], shots.Masked]]
    analysis: StackAnalysis
    target: np.ndarray
    frame: tuple[int, int, int]
    dtype: np.dtype

    def aligned(self, number: int) -> AlignedShot:
        """Reads a shot and warps it into the frame."""
        image, mask = self.read[number]()
        one = self.analysis.shot_analyses[number]
        image, valid = alignment.warp_to_reference(image, one.registration, self.frame, mask)
        return AlignedShot(image, None if one.registration is None and mask is None else valid,
                           self.analysis.edge_regions[number],
                           self.analysis.leveling(number, self.target, self.analysis.curves, self.frame))

    @property
    def is_small(self) -> bool:
        """Whether more may be kept of all shots than there has to be, and two steps be taken at once."""
        return 4 * math.prod(self.frame) * len(self.names) < _SMALL_BYTES


def fuse_group(group: Group, weights: Weights | Chooser | None, options: PhotoOptions, report, *,
               layers: blend.Layers | None = None, weights_override: blend.WeightsOverride | None = None,
               ranks: np.ndarray | None = None) -> PhotoResult:
    """The second pass and the fusion.

    Args:
      group: the shots.
      weights: see `pipeline.fuse_photos`.
      options: see there.
      report: called with a few words and the seconds that what begins will take.
      layers, weights_override: see `blend`; only used with `pixels="shots"`.
      ranks: for each shot its place from near (0) to far (1), for `options.tie`.
    """
    analyses = group.analysis.shot_analyses
    order = sorted(range(len(group.names)), key=lambda i: analyses[i].digest)
    if options.pixels == "network":
        from edmf_jax.fusion.stack.network import fuse_by_network  # it needs JAX, which takes its time to import

        found, moved = fuse_by_network(group, weights, [number for number in order if number], report), 0
        device = None
    else:
        worth = None if options.tie is None else ranks if options.tie == "far" else 1 - ranks
        # Masks that were edited may want a thing twice, and those that were not have it once already.
        once = options.moving == "once" and weights_override is None
        on_cpu = layers is not None or weights_override is not None  # retouching is
        pixels = len(order) * group.frame[0] * group.frame[1]
        device = None if on_cpu else devices.gpu_for(options.device, pays=pixels >= device_choice.LEAST_PIXELS)
        found, moved, device = _blend(group, weights if isinstance(weights, Chooser) else None, order, report,
                                      once=once, device=device, ranks=worth, layers=layers,
                                      weights_override=weights_override)
    frame = _crop(found.common, group.names[0]) if options.crop else (0, 0, *group.frame[:2])
    top, left, height, width = frame
    part = slice(top, top + height), slice(left, left + width)
    covered = None if found.covered[part].all() else found.covered[part]
    alone = float(np.mean(found.covered[part] & ~found.several[part]))
    confidence = None if found.confidence is None else found.confidence[part]
    return PhotoResult(found.image[part], found.sources[part], tuple(one.registration for one in analyses),
                       group.analysis.stops, frame, covered, confidence=confidence, alone=alone, moved=moved,
                       device=device and device.device_kind)


def _blend(group: Group, chooser: Chooser | None, order: list[int], report, *, once: bool, device=None,
           **more) -> tuple[Blended, int, Any | None]:
    """`blend.blend` of a group, in how many places something moved, and the device that blended.

    Args:
      group, order, report: as of `fuse_group`.
      chooser: the network that chooses; None: none.
      once: what moved is shown once.
      device: of JAX, to blend on; None: the CPU.
      more: further arguments of `blend.blend`.
    """
    megapixels, count = group.frame[0] * group.frame[1] / 1e6, len(order)
    seconds = (BLEND_SECONDS + GATHERING_SECONDS * count) * megapixels / (2 * count)
    noises = evidence.plausible_noise([one.noise for one in group.analysis.shot_analyses])
    read = (lambda number: group.aligned(number).with_whole()) if group.is_small else group.aligned
    visits = Visits(read, noises, order)
    moved = _moved(group, visits, device) if once else motion_regions.NOTHING
    if device is not None:
        from edmf_jax.fusion.stack import device_blend  # it imports JAX

        with contextlib.suppress(device_blend.TooLittle):
            blended = device_blend.blend_on_device(
                device_blend.UnmeasuredVisits(group.aligned, noises, order), group.frame, group.dtype, device=device,
                report=lambda what: report(what, seconds), ranks=more["ranks"], excluded=moved.excluded,
                params=chooser and chooser.params)
            return blended, moved.count, device
    if moved.count:
        visits = excluding.Excluding(visits, moved.excluded)
    if chooser is not None:
        from edmf_jax.fusion.stack.chooser import ChosenVisits  # it imports JAX

        choosing = CHOOSER_SECONDS * megapixels
        visits = ChosenVisits(visits, (chooser.engine, chooser.params), group.frame,
                              lambda what: report(what, choosing))
    blended = blend.blend(visits, group.frame, group.dtype, report=lambda what: report(what, seconds), **more)
    return blended, moved.count, None


def _moved(group: Group, visits: Visits, device=None) -> motion_regions.Moved:
    """What moved between the shots; small ones are read and measured meanwhile: a pair keeps one core busy at most."""
    if device is not None or not group.is_small:
        return motion_regions.find(group.analysis)
    with one_thread_each(), ThreadPoolExecutor(1) as pool:
        moved = pool.submit(motion_regions.find, group.analysis)
        for _ in visits:
            pass
        return moved.result()


def _crop(common: np.ndarray, name: str) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest rectangle that all shots cover."""
    frame = borders.largest_rectangle(common)
    if min(frame[2:]) < MIN_SIDE_PX:
        raise UserError(f"{name}: no area that all shots cover is {MIN_SIDE_PX} px wide; do without --crop, or leave "
                        "out the shot that covers the least")
    return frame
