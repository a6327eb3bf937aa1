"""Photographs → one (preset "photo"): two passes over the shots, then tile by tile what is to be seen of each.

1. Every shot is looked at (`study`): registered to the reference, its tone curve and black
   edges found on small copies.  From all curves follows the target's exposure.
2. Every other shot is warped, brought to that exposure and, where there is more than one,
   gathered in one composite that is sharp wherever one of them is (`layers.Composite`).
3. `pixels="shots"`: the weighted mean goes on over the reference (`mixing`); the network is not asked.
   `pixels="network"`: it fuses the luma of the reference and of the composite; two shots are
   network(reference, other), nothing in between.  Either is done in tiles with the
   whole reach of everything around them: what comes out is that of the picture in one piece.

**Order.**  All that is summed over shots is summed in the order of their contents' digests, so for a
given reference the result is the same to the bit in whatever order the others are given.

**Missing pixels** (`borders`) of one are filled from the other before the network sees them, and
where one has no say the result is the other itself, with a smooth passage.

**Memory**: the reference, one other shot and its warp at a time, as they came; for three
shots and more 21 bytes a pixel of the composite.  Everything else is done in tiles.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.model import MIN_SIDE_PX
from edmf_jax.photo import alignment, borders, exposure, layers, mixing, response, sharpness, shots
from edmf_jax.photo.options import PhotoOptions, PhotoResult
from edmf_jax.photo.study import Study, study
from edmf_jax.tiling import HALO_PX, fuse_piece, padded_shape, pieces, within
from edmf_jax.weights import Weights

MIXING_TILE_PX = 524
# The network's: with the margin 272 px, a shape of `metrics.buckets`; 528 px take 0.3 GB more and a third more time.
TILE_PX = 268
REACH_PX = borders.REACH_PX + sharpness.COLOUR_REACH_PX
_NETWORK, _GATHERING = 3.0, 0.4  # seconds a megapixel, about, beside `_LOOK` for each shot: for the progress only
_MIXING = 0.5
_LOOK = 4.0

Tile = tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]


def fuse_photos(given: Sequence[shots.Shot], names: Sequence[str] | None = None, *,
                weights: Weights | None = None, options: PhotoOptions = PhotoOptions(),  # noqa: B008 (frozen)
                progress: Callable[[str, float], None] | None = None) -> PhotoResult:
    """Fuses photographs of one scene that differ in focus, exposure and standpoint.

    Args:
      given: the shots, the reference first: arrays `[H, W]`, `[H, W, 1]` or `[H, W, 3]`
        RGB, uint8 or uint16 over their full range or floats in [0, 1], all grey or all colour;
        or functions without arguments that read one (called up to twice each).
      names: what messages call them; `shots[0]`, … where None.
      weights: the network's; only `pixels="network"` looks at them.
      options: see `PhotoOptions`.
      progress: called with a few words and the share of the work that is done, [0, 1].

    Returns:
      The result in the reference's frame, dtype and layout; see `PhotoResult`.

    Raises:
      UserError: fewer than two shots; one that is no such picture, black, too small, given
        twice or not to be registered with confidence; sizes that differ with `align="none"`; an
        unknown option; `pixels="network"` without weights; no common area to crop to; too little memory.
    """
    options.check()
    if options.pixels == "network" and weights is None:
        raise UserError('weights=None, but pixels="network" needs a network\'s; give some, or leave out pixels')
    names = shots.checked_names(given, names)
    as_given = shots.raw(given[0])
    reference = shots.read(as_given, names[0])
    megapixels = reference.shape[0] * reference.shape[1] / 1e6
    others = len(given) - 1
    last = _NETWORK if options.pixels == "network" else _MIXING
    done = _Progress(progress, others * _LOOK + (others > 1) * others * megapixels * _GATHERING + megapixels * last)
    kept: dict[int, np.ndarray] = {}
    keep = kept.__setitem__ if others == 1 else lambda number, image: None
    seen = study(given, names, reference, options, keep, lambda what: done(what, _LOOK))
    try:
        result = _fuse_studied(given, names, reference, seen, kept, weights, options, done)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"{names[0]}: {shots.size(reference)} take more memory than there is; close other programs or "
                        "fuse smaller pictures") from error
    if progress:
        progress("fused", 1.0)
    image = result.image if as_given.ndim == 3 else result.image[..., 0]
    return dataclasses.replace(result, image=image.astype(as_given.dtype, copy=False))


def _fuse_studied(given, names, reference, seen: Study, kept, weights, options, done) -> PhotoResult:
    """The second pass and the third step; `kept` has the shots that need not be read again."""
    asked = options.pixels == "network"
    power, sharp_of = (layers.POWER, layers.sharp_of) if asked else (mixing.POWER, mixing.strength_of)
    target = seen.target(options.exposure)
    layer = lambda image, real, number: layers.Layer(
        image, real, seen.regions[number], exposure.table(seen.curves[number], target),
        exposure.hidden(seen.curves[number], seen.curves, target))
    first = layer(reference, None, 0)
    common = np.ones(reference.shape[:2], bool) if options.crop else None
    other = None if len(given) == 2 else layers.Composite(reference.shape, len(given), power)
    for number in sorted(range(1, len(given)), key=lambda i: seen.looks[i].digest):
        image = kept.pop(number) if number in kept else shots.read(given[number], names[number])
        found = seen.looks[number].found
        image, real = alignment.into_frame(image, found, reference.shape)
        moved = layer(image, None if found is None else real, number)
        del image, real
        if other is None:
            other = moved
        else:
            done(f"gathering {names[number]}", _GATHERING * reference.shape[0] * reference.shape[1] / 1e6)
            _gather(other, moved, first, number, common, sharp_of)
    image, sources = _fuse_tiles(first, other, weights if asked else None, common, done)
    frame = (0, 0, *image.shape[:2]) if common is None else _crop(common, names[0])
    top, left, height, width = frame
    part = slice(top, top + height), slice(left, left + width)
    return PhotoResult(image[part], sources[part], tuple(look.found for look in seen.looks), seen.stops, frame)


def tiles(shape: tuple[int, ...], tile_px: int, reach_px: int) -> Iterator[Tile]:
    """Rows and columns of what is looked at, of what the network gets, and of what is kept, tile by tile.

    `reach_px` is how much is looked at around what the network gets.
    """
    for rows, kept_rows in pieces(shape[0], tile_px):
        for columns, kept_columns in pieces(shape[1], tile_px):
            around = tuple(slice(max(part.start - reach_px, 0), min(part.stop + reach_px, side))
                           for part, side in zip((rows, columns), shape))
            yield around, (rows, columns), (kept_rows, kept_columns)


def _gather(composite: layers.Composite, moved: layers.Layer, first: layers.Layer, number: int,
            common: np.ndarray | None, sharp_of: Callable[[np.ndarray], np.ndarray]) -> None:
    """Adds a shot to the composite; what it lacks is the reference's, with no say."""
    for around, _, kept in _tiles_of(first.image.shape, sharp_of is layers.sharp_of):
        tile = moved.tile(*around)
        pixels, say = layers.filled(tile, first.tile(*around)), tile.own.min(-1)
        inside = _inside(kept, around)
        composite.add(kept, pixels[inside], say[inside], sharp_of(pixels)[inside], number)
        if common is not None:
            common[kept] &= say[inside] > 0


def _tiles_of(shape: tuple[int, ...], asked: bool) -> Iterator[Tile]:
    """`tiles` for the network, or for mixing, where what is kept is `HALO_PX` inside of the piece already."""
    return tiles(shape, TILE_PX, REACH_PX) if asked else tiles(shape, MIXING_TILE_PX, mixing.REACH_PX - HALO_PX)


def _fuse_tiles(first: layers.Layer, other, weights: Weights | None, common: np.ndarray | None, done
                ) -> tuple[np.ndarray, np.ndarray]:
    """The result `[H, W, C]` in the reference's dtype, and the map of sources; by mixing where there are no weights."""
    asked, seconds = weights is not None, _MIXING if weights is None else _NETWORK
    shape, full = first.image.shape, shots.full_scale(first.image.dtype)
    image = np.empty(shape, first.image.dtype)
    sources = other.sources if isinstance(other, layers.Composite) else np.ones(shape[:2], np.uint8)
    padded, flat = padded_shape(shape[:2], TILE_PX), response.measured(weights) if asked else None
    for around, piece, kept in _tiles_of(shape, asked):
        done("fusing", seconds * (kept[0].stop - kept[0].start) * (kept[1].stop - kept[1].start) / 1e6)
        tile_a, tile_b = first.tile(*around), other.tile(*around)
        if asked:
            fused, from_first = _fuse_tile(tile_a, tile_b, around, piece, kept, padded, weights, flat)
        else:
            gathered = other.weights(kept) if isinstance(other, layers.Composite) else None
            fused, from_first = mixing.mixed(tile_a, tile_b, _inside(kept, around), gathered)
        sources[kept][from_first] = 0
        if common is not None:
            inside = _inside(kept, around)
            common[kept] &= (tile_a.say[inside] > 0) & (tile_b.say[inside] > 0)
        fused = np.clip(fused, 0, 1) * np.float32(full)
        image[kept] = np.rint(fused) if np.issubdtype(image.dtype, np.integer) else fused
    return image, sources


def _fuse_tile(tile_a, tile_b, around, piece, kept, padded, weights, flat) -> tuple[np.ndarray, np.ndarray]:
    """The network's: one tile's kept part `[h, w, C]`, and where the reference is the sharper one, bool `[h, w]`."""
    a, b = layers.filled(tile_a, tile_b), layers.filled(tile_b, tile_a)
    inside, within_piece = _inside(kept, around), _inside(piece, around)
    planes = [sharpness.luma_of(x) for x in (a, b)]
    sharp = [sharpness.local_spatial_frequency(plane) for plane in planes]
    # By default a GPU or TPU multiplies float32 numbers at less than float32 precision.
    with jax.default_matmul_precision("highest"):
        fused = fuse_piece(weights.model, weights.params, *(plane[within_piece] for plane in planes), padded)
    fused = np.clip(response.undone(fused[_inside(kept, piece)], flat), 0, 1)
    say_a, say_b = tile_a.say[inside], tile_b.say[inside]
    both = np.minimum(say_a, say_b)
    if (both < 1).any():
        total = np.maximum(say_a + say_b, 1e-12)
        one = np.where(say_a + say_b > 0, (say_a * planes[0][inside] + say_b * planes[1][inside]) / total,
                       planes[0][inside])
        fused = both * fused + (1 - both) * one
    own_a, own_b = (tile.own[inside].max(-1) for tile in (tile_a, tile_b))
    from_first = own_a * sharp[0][inside] >= own_b * sharp[1][inside]
    if a.shape[2] == 1:
        return fused[..., None], from_first
    share = sharpness.chroma_share(*sharp)[inside]
    return sharpness.coloured(fused, *sharpness.mixed_chroma(a[inside], b[inside], share)), from_first


def _inside(part: tuple[slice, slice], whole: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (within(p, w) for p, w in zip(part, whole))
    return rows, columns


def _crop(common: np.ndarray, name: str) -> tuple[int, int, int, int]:
    frame = borders.largest_rectangle(common)
    if min(frame[2:]) < MIN_SIDE_PX:
        raise UserError(f"{name}: no area that all shots have is {MIN_SIDE_PX} px wide; do without --crop, or leave "
                        "out the shot that shows the least")
    return frame


class _Progress:
    """Adds up estimated seconds and reports their share when the next step begins."""

    def __init__(self, report: Callable[[str, float], None] | None, total: float):
        self._report, self._total, self._done = report, total, 0.0

    def __call__(self, what: str, seconds: float) -> None:
        """`what` begins, which takes `seconds` of the total."""
        if self._report:
            self._report(what, min(self._done / self._total, 1.0))
        self._done += seconds
