"""Preset "photo": photographs → one, in two passes over the shots and then tile by tile.

1. Every shot is analyzed (`analysis.analyze_stack`): it is registered to the reference, and its tone curve and black
   edges are found on small copies.  The target exposure follows from all tone curves.
2. Every other shot is warped into the reference's frame.  If there are several, they are gathered, at the target
   exposure, in one composite that is as sharp as the sharpest of them everywhere (`composite.Composite`).
3. Reference and composite (or the only other shot) are fused tile by tile.  `pixels="shots"` takes the weighted mean of
   all shots (`blend`) and uses no network.  `pixels="network"` lets the network fuse the luma of the two; of two shots
   it is network(reference, other).  Tiles overlap by the reach of every operation, so the result is that of the
   picture in one piece.

**Order.**  Float sums depend on order, so shots are added in content-hash order: for a given reference, the order in
which the others are given has no effect on the result, to the bit.

**Missing pixels** (`borders`) of one picture are filled from the other before the network sees them.  Where one has no
weight, the result is the other itself, with a smooth transition.

**Memory.**  The reference, one other shot at a time and its warp, in their own dtypes; for three shots and more
the composite's 21 bytes a pixel.  Everything else is done in tiles.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from edmf_jax.core.model import MIN_SIDE_PX
from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import from_unit, shrink_back, size_text
from edmf_jax.fusion.stack import alignment, blend, borders, composite, exposure, network, response, shots, tiles
from edmf_jax.fusion.stack.analysis import StackAnalysis, analyze_stack
from edmf_jax.fusion.stack.options import PhotoOptions, PhotoResult
from edmf_jax.fusion.tiling import out_of_memory_as, padded_shape
from edmf_jax.weights.store import Weights

# Rough seconds, for the progress only: for each shot, and for each megapixel of a shot or of the result.
_ANALYSIS_SECONDS = 4.0
_GATHERING_SECONDS, _NETWORK_SECONDS, _BLEND_SECONDS = 0.4, 3.0, 0.5


def fuse_photos(given: Sequence[shots.Shot], names: Sequence[str] | None = None, *,
                weights: Weights | None = None, options: PhotoOptions = PhotoOptions(),  # noqa: B008 (frozen)
                progress: Callable[[str, float], None] | None = None) -> PhotoResult:
    """Fuses photographs of one scene that differ in focus, exposure and standpoint.

    Args:
      given: the shots, the reference first: arrays `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB, uint8 or uint16 over their
        full range or floats in [0, 1], all gray or all color; or functions without arguments that return one (called
        up to three times each).  Or `shots.Masked`, with the pixels that a shot has.  uint16 that uses 10, 12 or 14
        bits only (`shots.find_white`) gives a result of the same range.
      names: what messages call the shots; `shots[0]`, … where None.
      weights: of the network; only used with `pixels="network"`.
      options: see `PhotoOptions`.
      progress: called with a few words and the share of the work that is done, in [0, 1].

    Returns:
      The result in the reference's frame, dtype and layout; see `PhotoResult`.

    Raises:
      UserError: fewer than two shots; a shot is not such a picture, black or transparent, too small, given twice, or
        can't be registered with confidence; sizes differ with `align="none"`; an unknown option; `pixels="network"`
        without weights; no common area to crop to; too little memory.
    """
    options.check()
    if options.pixels == "network" and weights is None:
        raise UserError('weights=None, but pixels="network" needs a network\'s; give some, or leave out pixels')
    names = shots.checked_names(given, names)
    as_given = shots.as_masked(given[0])
    white = shots.find_white(given, as_given)
    reference, mask = shots.read_masked(as_given, names[0], white)
    others = len(given) - 1
    report = _Progress(progress, _estimated_seconds(reference.shape, others, options))
    kept: dict[int, shots.Masked] = {}  # a single other shot is not read twice
    keep = kept.__setitem__ if others == 1 else lambda number, image: None
    analysis = analyze_stack(given, names, reference, options, keep, lambda what: report(what, _ANALYSIS_SECONDS),
                             mask=mask, white=white)
    read = lambda number: kept.pop(number) if number in kept else shots.read_masked(given[number], names[number], white)
    with out_of_memory_as(f"{names[0]}: {size_text(reference)} take more memory than there is; close other programs or "
                          "fuse smaller pictures"):
        result = _fuse_analyzed(read, names, shots.Masked(reference, mask), analysis, weights, options, report)
    if progress:
        progress("fused", 1.0)
    image = result.image if as_given.image.ndim == 3 else result.image[..., 0]
    image = image if white is None else shrink_back(image, white)
    return dataclasses.replace(result, image=image.astype(as_given.image.dtype, copy=False))


def _estimated_seconds(shape: tuple[int, ...], others: int, options: PhotoOptions) -> float:
    megapixels = shape[0] * shape[1] / 1e6
    per_megapixel = _NETWORK_SECONDS if options.pixels == "network" else _BLEND_SECONDS
    if others > 1:
        per_megapixel += others * _GATHERING_SECONDS
    return others * _ANALYSIS_SECONDS + megapixels * per_megapixel


def _fuse_analyzed(read, names, reference: shots.Masked, analysis: StackAnalysis, weights, options, report
                   ) -> PhotoResult:
    """The second pass and the fusion; `read(number)` gives another shot as `shots.read_masked` does."""
    reference, mask = reference
    use_network = options.pixels == "network"
    target = analysis.target_curve(options.exposure)
    aligned = lambda image, valid, number: composite.AlignedShot(
        image, valid, analysis.edge_regions[number], exposure.table(analysis.curves[number], target),
        exposure.clipping_loss(analysis.curves[number], analysis.curves, target))
    first = aligned(reference, mask, 0)
    covered = None if mask is None else mask.copy()
    common = np.ones(reference.shape[:2], bool) if options.crop else None
    other = None
    if len(names) > 2:
        other = composite.Composite(reference.shape, len(names), composite.POWER if use_network else blend.POWER)
    registrations = tuple(shot.registration for shot in analysis.shot_analyses)
    for number in sorted(range(1, len(names)), key=lambda i: analysis.shot_analyses[i].digest):
        image, mask = read(number)
        image, valid = alignment.warp_to_reference(image, registrations[number], reference.shape, mask)
        shot = aligned(image, None if registrations[number] is None and mask is None else valid, number)
        del image, valid, mask
        if other is None:
            other = shot
        else:
            report(f"gathering {names[number]}", _GATHERING_SECONDS * reference.shape[0] * reference.shape[1] / 1e6)
            _gather(other, shot, first, number, common, use_network)
    image, sources = _fuse_tiles(first, other, weights if use_network else None, common, covered, report)
    if covered is not None:
        image[~covered] = 0
    frame = (0, 0, *image.shape[:2]) if common is None else _crop(common, names[0])
    top, left, height, width = frame
    part = slice(top, top + height), slice(left, left + width)
    covered = None if covered is None or covered[part].all() else covered[part]
    return PhotoResult(image[part], sources[part], registrations, analysis.stops, frame, covered)


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


def _fuse_tiles(first: composite.AlignedShot, other: composite.AlignedShot | composite.Composite,
                weights: Weights | None, common: np.ndarray | None, covered: np.ndarray | None, report
                ) -> tuple[np.ndarray, np.ndarray]:
    """Fuses reference and other; blends them if `weights` is None.

    What all shots have is taken from `common`, and what the other has is added to `covered` (bool `[H, W]` each).

    Returns:
      The result `[H, W, C]` in the reference's dtype, and `PhotoResult.sources`.
    """
    use_network = weights is not None
    seconds = _NETWORK_SECONDS if use_network else _BLEND_SECONDS
    composed = isinstance(other, composite.Composite)
    shape = first.image.shape
    image = np.empty(shape, first.image.dtype)
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


class _Progress:
    """Adds up estimated seconds, and reports the share done whenever a step begins."""

    def __init__(self, report: Callable[[str, float], None] | None, total: float):
        self._report, self._total, self._done = report, total, 0.0

    def __call__(self, what: str, seconds: float) -> None:
        """Step `what` begins, which takes `seconds` of the total."""
        if self._report:
            self._report(what, min(self._done / self._total, 1.0))
        self._done += seconds
