"""Preset "photo": photographs → one, in two passes over the shots and then tile by tile.

1. Every shot is read and sketched (`sketches`).  Then neighbors in focus are registered to each other (`alignment`),
   and tone curves and black edges are found on the small copies (`analysis`).  The target exposure follows from all
   tone curves.
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
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pieces import out_of_memory_as
from edmf_jax.fusion.pixels import shrink_back
from edmf_jax.fusion.stack import alignment, dust, shots
from edmf_jax.fusion.stack.alignment import Alignment, Known
from edmf_jax.fusion.stack.analysis import StackAnalysis, analyze_stack
from edmf_jax.fusion.stack.focus_order import focus_ranks
from edmf_jax.fusion.stack.group import (
    BLEND_SECONDS,
    CHOOSER_SECONDS,
    GATHERING_SECONDS,
    NETWORK_SECONDS,
    Group,
    fuse_group,
)
from edmf_jax.fusion.stack.options import Chooser, PhotoOptions, PhotoResult
from edmf_jax.fusion.stack.sensor import Peaks
from edmf_jax.fusion.stack.sensor_repair import replace
from edmf_jax.fusion.stack.sketches import Refused, Sketch, sketch_all
from edmf_jax.weights.store import Weights

# Rough seconds, for the progress only: for each shot, and for each megapixel of a shot or of the result.
_LOOKING_SECONDS, _REGISTERING_SECONDS = 0.3, 0.7
_MOST_ALONE = 0.02  # of the frame: a share that one shot alone may show without a word


def fuse_photos(given: Sequence[shots.Shot], names: Sequence[str] | None = None, *,
                weights: Weights | Chooser | None = None, options: PhotoOptions = PhotoOptions(),  # noqa: B008
                known: Known | None = None, progress: Callable[[str, float], None] | None = None,
                left_out: Callable[[str, str], None] = alignment.ignore,
                warn: Callable[[str], None] = lambda line: None,
                aligned: Callable[[Alignment, Sequence[Sketch | Refused]], None] = lambda found, sketches: None,
                order: Sequence[int] | None = None, **hooks: Callable | None) -> PhotoResult:
    """Fuses photographs of one scene that differ in focus, exposure and standpoint.

    Args:
      given: the shots, the one whose frame, exposure and dtype the result has first; the order of the others is free.
        Arrays `[H, W]`, `[H, W, 1]` or `[H, W, 3]` RGB, uint8 or uint16 over their
        full range or floats in [0, 1], all gray or all color; or functions without arguments that return one (called
        up to three times each).  Or `shots.Masked`, with the pixels that a shot has.  uint16 that uses 10, 12 or 14
        bits only (`shots.find_white`) gives a result of the same range.
      names: what messages call the shots; `shots[0]`, … where None.
      weights: with `pixels="network"` the network's; with "shots" a `Chooser` chooses among the shots, and other
        weights are not used.
      options: see `PhotoOptions`.
      known: how the shots lie, from an earlier run, as a function of their shapes; they are not registered then.
      progress: called with a few words and the share of the work that is done, in [0, 1].
      left_out: called with the name and the reason of each shot that is not used, before the long work.
      warn: called with a line for each map that is used in spite of doubts.
      aligned: called once with the alignment and what it was found on.
      order: for each shot its place in the order in which the stack was taken; None: as given.
      hooks: `layers` and `weights_override` of `group.fuse_group`; their number is that of the shot as given.

    Returns:
      The result in the reference's frame, dtype and layout; see `PhotoResult`.  If the first shot can't be placed among
      the others and is left out, the reference is the next one that is used.

    Raises:
      UserError: fewer than two shots; a shot is not such a picture, black or transparent, too small; no two differ;
        shots can't be placed (see `PhotoOptions.on_bad_shot`); sizes differ with `align="none"`; an unknown option;
        `pixels="network"` without weights; no common area to crop to; too little memory.
    """
    (result,) = fuse_parts(given, lambda used: [used], names, weights=weights, options=options, known=known,
                           progress=progress, left_out=left_out, warn=warn, aligned=aligned, order=order, **hooks)
    return result


def fuse_parts(given: Sequence[shots.Shot], parts: Callable[[Sequence[int]], Sequence[Sequence[int]]],
               names: Sequence[str] | None = None, *, part_count: int = 1,
               weights: Weights | Chooser | None = None,
               options: PhotoOptions = PhotoOptions(),  # noqa: B008 (frozen)
               known: Known | None = None, progress: Callable[[str, float], None] | None = None,
               left_out: Callable[[str, str], None] = alignment.ignore,
               warn: Callable[[str], None] = lambda line: None,
               aligned: Callable[[Alignment, Sequence[Sketch | Refused]], None] = lambda found, sketches: None,
               order: Sequence[int] | None = None, **hooks: Callable | None) -> Iterator[PhotoResult]:
    """Fuses several groups of the shots of one scene, each into a picture; arguments and errors as of `fuse_photos`.

    All shots are registered and compared once, so all results have the reference's frame, dtype and layout, and the
    same target exposure, whether or not the reference is in their group.

    Args:
      parts: called with the numbers of the shots that are used, the reference first; gives the groups, of two shots or
        more.  The first of a group takes the reference's part in the fusion.
      part_count: about how many groups there will be, for the progress.

    Yields:
      The result of each group; its shots are `PhotoResult.used`.
    """
    options.check()
    if options.pixels == "network" and not isinstance(weights, Weights):
        raise UserError(f'weights={weights and weights.name!r}, but pixels="network" needs those of a network that '
                        "fuses luma; give some, or leave out pixels")
    names = shots.checked_names(given, names)
    as_given = shots.as_masked(given[0])
    white = shots.find_white(given, as_given)
    report = _Progress(progress, _estimated_seconds(as_given.image.shape, len(given) - 1, options, part_count,
                                                    isinstance(weights, Chooser)))
    kept = shots.Kept(2 if len(given) == 2 else 1)
    stack = _first_pass([as_given, *given[1:]], names, white, options, known, kept, report, left_out=left_out,
                        warn=warn, aligned=aligned, order=order)
    used = stack.alignment.used
    if used[0] != 0:
        as_given = shots.as_masked(given[used[0]])
    dtype, is_gray = as_given.image.dtype, as_given.image.ndim == 2
    del as_given

    if white is not None and hooks.get("layers"):  # of 10 bits in 16, layers have the range of the result, too
        write = hooks["layers"]
        hooks["layers"] = lambda number, picture, *rest: write(number, picture * np.float32(white / 65535), *rest)

    def read(number: int) -> shots.Masked:
        shot = kept.take(number) or shots.read_masked(given[number], names[number], white)
        return shots.Masked(dust.even_out(replace(shot.image, stack.hot), *stack.dust), shot.mask)

    for part in parts(used):
        group = Group([names[number] for number in part], [functools.partial(read, number) for number in part],
                       stack.analysis.of([used.index(number) for number in part]), stack.target, stack.frame,
                       np.dtype(np.float32) if np.issubdtype(dtype, np.floating) else dtype)
        with out_of_memory_as(f"{group.names[0]}: {stack.frame[1]}×{stack.frame[0]} px take more memory than there is; "
                              "close other programs or fuse smaller pictures"):
            result = fuse_group(group, weights, options, report, **_hooks_of(part, hooks, used, stack.ranks))
        if result.moved:
            warn(f"something moved in {result.moved} {'place' if result.moved == 1 else 'places'}, and is shown as one "
                 "shot has it; --moving as-found shows all that is sharp")
        if result.alone > stack.most_alone and len(part) == len(used):  # slabs are not cropped
            warn(f"{100 * result.alone:.0f} % of the frame, at its edges, are in one shot only; --crop cuts them off")
        image = result.image[..., 0] if is_gray else result.image
        image = image if white is None else shrink_back(image, white)
        yield dataclasses.replace(result, image=image.astype(dtype, copy=False), used=tuple(part),
                                  reference=used[0], left_out=dict(stack.alignment.left_out))
    if progress:
        progress("fused", 1.0)


class _Stack(NamedTuple):
    """What the first pass finds about all shots; lists have one entry a shot that is used, the reference first.

    Attributes:
      alignment: which shots are used, and how they lie.
      analysis: of those.
      target: the tone curve of the result.
      frame: shape of the reference, `(H, W, C)`.
      hot: the hot pixels, flat indices `[N]`.
      dust: the spots of dust, and the shape of the small copies that they are on.
      ranks: for each shot its place from near (0) to far (1); None: they are not asked for.
      most_alone: the share of the frame that one shot alone may show without a word.
    """

    alignment: Alignment
    analysis: StackAnalysis
    target: np.ndarray
    frame: tuple[int, int, int]
    hot: np.ndarray
    dust: tuple[list[dust.Spot], tuple[int, ...]]
    ranks: np.ndarray | None
    most_alone: float


def _first_pass(given: Sequence[shots.Shot], names: Sequence[str], white: int | None, options: PhotoOptions,
                known: Known | None, kept: shots.Kept, report: "_Progress", *, left_out: Callable[[str, str], None],
                warn: Callable[[str], None], aligned: Callable[[Alignment, Sequence[Sketch | Refused]], None],
                order: Sequence[int] | None) -> _Stack:
    """Reads, registers and compares all shots; arguments as of `fuse_photos`, and `kept` for shots to fuse."""
    peaks, registers = Peaks(), options.align != "none" and known is None
    sketches = sketch_all(given, names, white=white, keep=kept.keep,
                          see=peaks.see if options.hot_pixels == "replace" else lambda number, image: None,
                          with_views=registers, same_size=options.align == "none" and known is None,
                          report=lambda what: report(what, _LOOKING_SECONDS))
    found = alignment.align_sketches(sketches, names, options, known=known, left_out=left_out, warn=warn,
                                     report=report.part("registering", len(given) * _REGISTERING_SECONDS))
    aligned(found, sketches)
    kept.keep_only(found.used)
    hot = peaks.hot_pixels(found.used, found.registrations, sketches)
    if len(hot):
        warn(f"{len(hot)} hot pixels replaced" if len(hot) > 1 else "1 hot pixel replaced")
    spots = dust.find(found.used, found.registrations, sketches) if options.hot_pixels == "replace" else []
    if spots:
        warn(f"{len(spots)} spots of dust evened out" if len(spots) > 1 else "1 spot of dust evened out")
    ranks = None if options.tie is None else focus_ranks(found.used, found.registrations, order)
    shown = [sketches[number] for number in found.used]
    analysis = analyze_stack(shown, [found.registrations[number] for number in found.used])
    for number, note in zip(found.used, analysis.notes):
        if note:
            warn(f"{names[number]}: {note}")
    # Transparent shots are expected to end, and a crop to be without what one alone has.
    quiet = options.crop or any(one.covered is not None for one in shown)
    return _Stack(found, analysis, analysis.target_curve(options.exposure), shown[0].shape, hot,
                  (spots, shown[0].copy.shape), ranks,
                  1.0 if quiet else _MOST_ALONE)


def _hooks_of(part: Sequence[int], hooks: Mapping[str, Callable | None], used: Sequence[int], ranks: np.ndarray | None
              ) -> dict:
    """The hooks that were given, called with the number of the shot as given instead of its number in the group."""
    found = {name: lambda number, *rest, hook=hook: hook(part[number], *rest) for name, hook in hooks.items() if hook}
    return found if ranks is None else {**found, "ranks": ranks[[used.index(number) for number in part]]}


def _estimated_seconds(shape: tuple[int, ...], others: int, options: PhotoOptions, part_count: int,
                       chooses: bool) -> float:
    megapixels = math.prod(shape[:2]) / 1e6
    per_megapixel = part_count * (NETWORK_SECONDS if options.pixels == "network" else BLEND_SECONDS)
    if others > 1:
        per_megapixel += others * GATHERING_SECONDS
    if chooses:
        per_megapixel += (others + 1) * CHOOSER_SECONDS
    registering = 0 if options.align == "none" else (others + 1) * _REGISTERING_SECONDS
    return others * _LOOKING_SECONDS + registering + megapixels * per_megapixel


class _Progress:
    """Adds up estimated seconds, and reports the share done whenever a step begins."""

    def __init__(self, report: Callable[[str, float], None] | None, total: float):
        self._report, self._total, self._done = report, total, 0.0

    def part(self, what: str, seconds: float) -> Callable[[float], None]:
        """A function that reports the share done of a step that takes `seconds` of the total."""
        start = self._done
        self._done += seconds
        return lambda share: self._report and self._report(what, min((start + share * seconds) / self._total, 1.0))

    def __call__(self, what: str, seconds: float) -> None:
        """Step `what` begins, which takes `seconds` of the total."""
        if self._report:
            self._report(what, min(self._done / self._total, 1.0))
        self._done += seconds
