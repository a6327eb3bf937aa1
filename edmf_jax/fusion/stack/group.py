"""The second pass: shots whose places and exposures are known → one picture, tile by tile.

See `pipeline` for the order of the sums, missing pixels and memory.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from edmf_jax.core.model import MIN_SIDE_PX
from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import from_unit
from edmf_jax.fusion.stack import alignment, blend, borders, composite, exposure, holes, network, response, shots, tiles
from edmf_jax.fusion.stack.analysis import StackAnalysis
from edmf_jax.fusion.stack.options import PhotoOptions, PhotoResult
from edmf_jax.fusion.tiling import padded_shape
from edmf_jax.weights.store import Weights

# Rough seconds for each megapixel of a shot or of the result, for the progress only.
GATHERING_SECONDS, NETWORK_SECONDS, BLEND_SECONDS = 0.4, 3.0, 0.5


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

    def aligned(self, number: int) -> composite.AlignedShot:
        """Reads a shot and warps it into the frame."""
        image, mask = self.read[number]()
        one, curves = self.analysis.shot_analyses[number], self.analysis.curves
        image, valid = alignment.warp_to_reference(image, one.registration, self.frame, mask)
        return composite.AlignedShot(
            image, None if one.registration is None and mask is None else valid, self.analysis.edge_regions[number],
            exposure.table(curves[number], self.target), exposure.clipping_loss(curves[number], curves, self.target))


def fuse_group(group: Group, weights: Weights | None, options: PhotoOptions, report) -> PhotoResult:
    """The second pass and the fusion."""
    use_network = options.pixels == "network"
    first = group.aligned(0)
    if first.valid is not None and group.analysis.shot_analyses[0].registration is not None:
        # Others are filled from it, so it must not be black where it has nothing.
        first = dataclasses.replace(first, image=holes.fill(first.image, first.valid))
    covered = None if first.valid is None else first.valid.copy()
    common = np.ones(group.frame[:2], bool) if options.crop else None
    other = None
    if len(group.names) > 2:
        other = composite.Composite(group.frame, len(group.names), composite.POWER if use_network else blend.POWER)
    analyses = group.analysis.shot_analyses
    for number in sorted(range(1, len(group.names)), key=lambda i: analyses[i].digest):
        shot = group.aligned(number)
        if other is None:
            other = shot
        else:
            report(f"gathering {group.names[number]}", GATHERING_SECONDS * group.frame[0] * group.frame[1] / 1e6)
            _gather(other, shot, first, number, common, use_network)
        del shot
    image, sources = _fuse_tiles(first, other, group.dtype, weights if use_network else None, common, covered, report)
    if covered is not None:
        image[~covered] = 0
    frame = (0, 0, *image.shape[:2]) if common is None else _crop(common, group.names[0])
    top, left, height, width = frame
    part = slice(top, top + height), slice(left, left + width)
    covered = None if covered is None or covered[part].all() else covered[part]
    return PhotoResult(image[part], sources[part], tuple(one.registration for one in analyses), group.analysis.stops,
                       frame, covered)


def _gather(gathered: composite.Composite, shot: composite.AlignedShot, first: composite.AlignedShot, number: int,
            common: np.ndarray | None, use_network: bool) -> None:
    """Adds a shot to the composite; pixels that it lacks are filled from the reference and get no weight."""
    sharpness_of = composite.tile_sharpness if use_network else blend.tile_focus_measure
    for plan in tiles.plan_tiles(first.image.shape, use_network):
        tile = shot.tile(*plan.context)
        pixels, weight = composite.fill_missing(tile, first.tile(*plan.context)), tile.channel_weight.min(-1)
        inside = tiles.inside(plan.kept, plan.context)
        gathered.add(plan.kept, pixels[inside], weight[inside], sharpness_of(pixels)[inside], number)
        if common is not None:
            common[plan.kept] &= weight[inside] > 0


def _fuse_tiles(first: composite.AlignedShot, other: composite.AlignedShot | composite.Composite, dtype: np.dtype,
                weights: Weights | None, common: np.ndarray | None, covered: np.ndarray | None, report
                ) -> tuple[np.ndarray, np.ndarray]:
    """Fuses reference and other; blends them if `weights` is None.

    What all shots have is taken from `common`, and what the other has is added to `covered` (bool `[H, W]` each).

    Returns:
      The result `[H, W, C]` in `dtype`, and `PhotoResult.sources`.
    """
    use_network = weights is not None
    seconds = NETWORK_SECONDS if use_network else BLEND_SECONDS
    composed = isinstance(other, composite.Composite)
    shape = first.image.shape
    image = np.empty(shape, dtype)
    sources = other.sources if composed else np.ones(shape[:2], np.uint8)
    if use_network:
        padded, flat_response = padded_shape(shape[:2], tiles.NETWORK_TILE_PX), response.measure_flat_response(weights)
    for plan in tiles.plan_tiles(shape, use_network):
        report("fusing", seconds * (plan.kept[0].stop - plan.kept[0].start)
               * (plan.kept[1].stop - plan.kept[1].start) / 1e6)
        tile_a, tile_b = first.tile(*plan.context), other.tile(*plan.context)
        inside = tiles.inside(plan.kept, plan.context)
        if use_network:
            fused, from_first = network.fuse_tile(tile_a, tile_b, plan, padded, weights, flat_response)
        else:
            log_weights = other.log_weights(plan.kept) if composed else None
            fused, from_first = blend.blend_pair(tile_a, tile_b, inside, log_weights)
        sources[plan.kept][from_first] = 0
        if common is not None:
            common[plan.kept] &= (tile_a.weight[inside] > 0) & (tile_b.weight[inside] > 0)
        if covered is not None:
            covered[plan.kept] |= tile_b.weight[inside] > 0
        image[plan.kept] = from_unit(fused, image.dtype)
    return image, sources


def _crop(common: np.ndarray, name: str) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest rectangle that all shots cover."""
    frame = borders.largest_rectangle(common)
    if min(frame[2:]) < MIN_SIDE_PX:
        raise UserError(f"{name}: no area that all shots cover is {MIN_SIDE_PX} px wide; do without --crop, or leave "
                        "out the shot that covers the least")
    return frame
