"""The result's pixels by the network (`pixels="network"`): luma by the network, chroma from the shots by sharpness."""

import collections
import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from edmf_jax.fusion.pixels import from_unit
from edmf_jax.fusion.stack import composite, holes, response, sharpness, tiles
from edmf_jax.fusion.stack.aligned import AlignedShot, Tile
from edmf_jax.fusion.stack.tiles import TilePlan, inside
from edmf_jax.fusion.stack.weighted_mean import Blended
from edmf_jax.fusion.tiling import fuse_pieces, padded_shape
from edmf_jax.weights.store import Weights

# Rough seconds for each megapixel of a shot or of the result, for the progress only.
_GATHERING_SECONDS, _NETWORK_SECONDS = 0.4, 3.0


def fuse_by_network(group, weights: Weights, others: list[int], report) -> Blended:
    """The network fuses the reference and the only other shot, or the composite of all others.

    Args:
      group: the shots, a `group.Group`.
      weights: of the network.
      others: the numbers of all shots but the reference, in the order in which they are gathered.
      report: as for `group.fuse_group`.
    """
    first = group.aligned(0)
    if first.valid is not None and group.analysis.shot_analyses[0].registration is not None:
        # Others are filled from it, so it must not be black where it has nothing.
        first = dataclasses.replace(first, image=holes.fill(first.image, first.valid))
    covered, common = np.ones(group.frame[:2], bool), np.ones(group.frame[:2], bool)
    if first.valid is not None:
        covered[:] = first.valid
    other = composite.Composite(group.frame, len(group.names)) if len(others) > 1 else group.aligned(others[0])
    if len(others) > 1:
        for number in others:
            report(f"gathering {group.names[number]}", _GATHERING_SECONDS * group.frame[0] * group.frame[1] / 1e6)
            _gather(other, group.aligned(number), first, number, common)
    image, sources = _fuse_tiles(first, other, group.dtype, weights, common, covered, report)
    image[~covered] = 0
    return Blended(image, sources, None, covered, common, several=covered)


def _gather(gathered: composite.Composite, shot: AlignedShot, first: AlignedShot, number: int, common: np.ndarray
            ) -> None:
    """Adds a shot to the composite; pixels that it lacks are filled from the reference and get no weight."""
    for plan in tiles.plan_tiles(first.image.shape):
        tile = shot.tile(*plan.context)
        pixels, weight = composite.fill_missing(tile, first.tile(*plan.context)), tile.channel_weight.min(-1)
        kept = inside(plan.kept, plan.context)
        gathered.add(plan.kept, pixels[kept], weight[kept], composite.tile_sharpness(pixels)[kept], number)
        common[plan.kept] &= weight[kept] > 0


def _fuse_tiles(first: AlignedShot, other: AlignedShot | composite.Composite, dtype: np.dtype, weights: Weights,
                common: np.ndarray, covered: np.ndarray, report) -> tuple[np.ndarray, np.ndarray]:
    """Fuses reference and other by the network.

    What all shots have is taken from `common`, and what the other has is added to `covered` (bool `[H, W]` each).

    Returns:
      The result `[H, W, C]` in `dtype`, and `PhotoResult.sources`.
    """
    shape = first.image.shape
    image = np.empty(shape, dtype)
    sources = other.sources if isinstance(other, composite.Composite) else np.ones(shape[:2], np.uint8)
    padded, flat_response = padded_shape(shape[:2], tiles.NETWORK_TILE_PX), response.measure_flat_response(weights)
    waiting: collections.deque[_Prepared] = collections.deque()  # for the network

    def lumas() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for plan in tiles.plan_tiles(shape):
            report("fusing", _NETWORK_SECONDS * (plan.kept[0].stop - plan.kept[0].start)
                   * (plan.kept[1].stop - plan.kept[1].start) / 1e6)
            tile = _prepare(first.tile(*plan.context), other.tile(*plan.context), plan)
            waiting.append(tile)
            yield tile.piece

    for fused in fuse_pieces(weights.model, weights.params, lumas(), padded):
        tile = waiting.popleft()
        kept = tile.plan.kept
        sources[kept][tile.from_first] = 0
        common[kept] &= (tile.weights[0] > 0) & (tile.weights[1] > 0)
        covered[kept] |= tile.weights[1] > 0
        image[kept] = from_unit(_finish(fused, tile, flat_response), image.dtype)
    return image, sources


class _Prepared(NamedTuple):
    """One tile for which the network is to be run; all but `plan` and `piece` are of its kept part.

    Attributes:
      plan: of the tile.
      piece: what the network gets, lumas of the reference and of the other `[h, w]`.
      lumas, weights: of both, `[h, w]` each.
      from_first: bool `[h, w]`: True where the reference is the sharper one.
      chroma: Cb and Cr `[h, w]` of the result; None: it is gray.
    """

    plan: TilePlan
    piece: tuple[np.ndarray, np.ndarray]
    lumas: tuple[np.ndarray, np.ndarray]
    weights: tuple[np.ndarray, np.ndarray]
    from_first: np.ndarray
    chroma: tuple[np.ndarray, np.ndarray] | None


def _prepare(tile_a: Tile, tile_b: Tile, plan: TilePlan) -> _Prepared:
    """What a tile needs besides the network, from the contexts of the reference and of the other shot or composite."""
    a, b = composite.fill_missing(tile_a, tile_b), composite.fill_missing(tile_b, tile_a)
    kept, piece = inside(plan.kept, plan.context), inside(plan.piece, plan.context)
    planes = [sharpness.luma_of(x) for x in (a, b)]
    sharp = [sharpness.local_spatial_frequency(plane) for plane in planes]
    channel_a, channel_b = (tile.channel_weight[kept].max(-1) for tile in (tile_a, tile_b))
    from_first = channel_a * sharp[0][kept] >= channel_b * sharp[1][kept]
    chroma = None
    if a.shape[2] != 1:
        chroma = sharpness.blend_chroma(a[kept], b[kept], sharpness.chroma_share(*sharp)[kept])
    return _Prepared(plan, tuple(plane[piece] for plane in planes), tuple(plane[kept] for plane in planes),
                     (tile_a.weight[kept], tile_b.weight[kept]), from_first, chroma)


def _finish(fused: np.ndarray, tile: _Prepared, flat_response: np.ndarray) -> np.ndarray:
    """The kept part `[h, w, C]` of a tile, from the network's output for its piece."""
    fused = response.correct_flat_response(fused[inside(tile.plan.kept, tile.plan.piece)], flat_response)
    fused = _replace_missing(np.clip(fused, 0, 1), *tile.lumas, *tile.weights)
    return fused[..., None] if tile.chroma is None else sharpness.colored(fused, *tile.chroma)


def _replace_missing(fused: np.ndarray, luma_a: np.ndarray, luma_b: np.ndarray, weight_a: np.ndarray,
                     weight_b: np.ndarray) -> np.ndarray:
    """The network's output `[h, w]`, crossfaded to the mean of the two lumas by weight where one of them is missing."""
    both = np.minimum(weight_a, weight_b)
    if not (both < 1).any():
        return fused
    total = np.maximum(weight_a + weight_b, 1e-12)
    mean = np.where(weight_a + weight_b > 0, (weight_a * luma_a + weight_b * luma_b) / total, luma_a)
    return both * fused + (1 - both) * mean
