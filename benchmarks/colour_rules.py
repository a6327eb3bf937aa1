"""Ways to colour a fused luma from two pictures at one exposure, all scored by `benchmarks.photographs`.

A rule takes the fused luma `[H, W]`, both pictures `[H, W, 3]`, floats in [0, 1], and their local
sharpness `[H, W]`, and gives Cb and Cr as offsets from neutral.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from edmf_jax.color import NEUTRAL, fuse_chroma, rgb_to_ycbcr
from edmf_jax.photo import PhotoOptions, exposure, layers, sharpness
from edmf_jax.photo.study import study


def levelled(a: np.ndarray, b: np.ndarray, options: PhotoOptions) -> tuple[np.ndarray, np.ndarray]:
    """Two registered shots as the network is given them: at one exposure, what one lacks filled from the other."""
    shots = [a, b]
    seen = study(shots, ["a", "b"], a, options, lambda *_: None, lambda _: None)
    target = seen.target(options.exposure)
    whole = slice(0, a.shape[0]), slice(0, a.shape[1])
    tiles = [layers.Layer(shot, None, region, exposure.table(curve, target),
                          exposure.hidden(curve, seen.curves, target)).tile(*whole)
             for shot, region, curve in zip(shots, seen.regions, seen.curves)]
    return layers.filled(tiles[0], tiles[1]), layers.filled(tiles[1], tiles[0])


def all_of(luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and picture `[H, W, 3]` of every rule."""
    sharp = [sharpness.local_spatial_frequency(sharpness.luma_of(x)) for x in (a, b)]
    for name, rule in RULES.items():
        yield name, sharpness.coloured(luma, *rule(luma, a, b, *sharp))


def _paper(luma, a, b, sharp_a, sharp_b):
    (_, *first), (_, *second) = (rgb_to_ycbcr(x) for x in (a, b))
    return [np.asarray(fuse_chroma(x, y)) - np.float32(NEUTRAL) for x, y in zip(first, second)]


def _mean(luma, a, b, sharp_a, sharp_b):
    return sharpness.mixed_chroma(a, b, np.float32(0.5))


def _sharper(luma, a, b, sharp_a, sharp_b):
    return sharpness.mixed_chroma(a, b, (sharp_a >= sharp_b).astype(np.float32))


def _share(power, smooth_px):
    def rule(luma, a, b, sharp_a, sharp_b):
        share = 1 / (1 + (sharp_b / sharp_a) ** power)
        return sharpness.mixed_chroma(a, b, cv2.blur(share, (smooth_px, smooth_px)))
    return rule


def _as_luma(window_px):
    """The share that explains the fused luma best about each pixel, by least squares."""
    def rule(luma, a, b, sharp_a, sharp_b):
        first, second = (sharpness.luma_of(x) for x in (a, b))
        apart, size = first - second, (window_px, window_px)
        share = (cv2.blur(apart * (luma - second), size) + 5e-6) / (cv2.blur(apart * apart, size) + 1e-5)
        return sharpness.mixed_chroma(a, b, np.clip(share, 0, 1))
    return rule


RULES = {
    "the paper's: by distance from neutral": _paper,
    "mean": _mean,
    "the sharper shot's": _sharper,
    "share of sharpness⁴, 11 px": _share(4, 11),
    "share of sharpness⁸, 11 px": _share(8, 11),
    "share of sharpness⁸, 5 px": _share(8, 5),
    "share of sharpness⁴, 1 px": _share(4, 1),
    "as the fused luma mixes, 9 px": _as_luma(9),
}
