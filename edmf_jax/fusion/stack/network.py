"""The result's pixels by the network (`pixels="network"`): luma by the network, chroma from the shots by sharpness."""

import numpy as np

from edmf_jax.fusion.stack import composite, response, sharpness
from edmf_jax.fusion.stack.tiles import TilePlan, inside
from edmf_jax.fusion.tiling import fuse_piece
from edmf_jax.weights.store import Weights


def fuse_tile(tile_a: composite.Tile, tile_b: composite.Tile, plan: TilePlan, padded: tuple[int, int],
              weights: Weights, flat_response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fuses one tile.

    Args:
      tile_a, tile_b: the contexts of the reference and of the other shot or composite.
      plan: of the tile.
      padded: the shape that pieces are padded to, `tiling.padded_shape`.
      weights: of the network.
      flat_response: the network's, `response.measure_flat_response`.

    Returns:
      The kept part `[h, w, C]`, and bool `[h, w]`: True where the reference is the sharper one.
    """
    a, b = composite.fill_missing(tile_a, tile_b), composite.fill_missing(tile_b, tile_a)
    kept, piece = inside(plan.kept, plan.context), inside(plan.piece, plan.context)
    planes = [sharpness.luma_of(x) for x in (a, b)]
    sharp = [sharpness.local_spatial_frequency(plane) for plane in planes]
    fused = fuse_piece(weights.model, weights.params, *(plane[piece] for plane in planes), padded)
    fused = response.correct_flat_response(fused[inside(plan.kept, plan.piece)], flat_response)
    fused = _replace_missing(np.clip(fused, 0, 1), *(plane[kept] for plane in planes), tile_a.weight[kept],
                             tile_b.weight[kept])
    channel_a, channel_b = (tile.channel_weight[kept].max(-1) for tile in (tile_a, tile_b))
    from_first = channel_a * sharp[0][kept] >= channel_b * sharp[1][kept]
    if a.shape[2] == 1:
        return fused[..., None], from_first
    share = sharpness.chroma_share(*sharp)[kept]
    return sharpness.colored(fused, *sharpness.blend_chroma(a[kept], b[kept], share)), from_first


def _replace_missing(fused: np.ndarray, luma_a: np.ndarray, luma_b: np.ndarray, weight_a: np.ndarray,
                     weight_b: np.ndarray) -> np.ndarray:
    """The network's output `[h, w]`, crossfaded to the mean of the two lumas by weight where one of them is missing."""
    both = np.minimum(weight_a, weight_b)
    if not (both < 1).any():
        return fused
    total = np.maximum(weight_a + weight_b, 1e-12)
    mean = np.where(weight_a + weight_b > 0, (weight_a * luma_a + weight_b * luma_b) / total, luma_a)
    return both * fused + (1 - both) * mean
