"""Rules that color a fused luma from two pictures at one exposure; `studies.photographs` scores them all.

    python -m studies.color_rules FOLDER

writes what each rule makes of a rendered pair with the shipped weights.  A rule takes the fused luma `[H, W]`, both
pictures `[H, W, 3]`, floats in [0, 1], and their local sharpness `[H, W]`, and returns Cb and Cr as offsets from
neutral, `[H, W]` each.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.core.color import NEUTRAL, fuse_chroma, luma, rgb_to_ycbcr
from edmf_jax.fusion import stack
from edmf_jax.fusion.pixels import from_unit
from edmf_jax.fusion.stack import PhotoOptions, composite, sharpness
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.analysis import analyze_stack
from edmf_jax.fusion.stack.shots import Masked
from edmf_jax.fusion.stack.sketches import sketch
from edmf_jax.io.images import write_image
from edmf_jax.weights.store import load_pretrained
from studies.photograph_scenes import SETTINGS, rendered_pairs

Rule = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], Sequence[np.ndarray]]


def to_one_exposure(a: np.ndarray, b: np.ndarray, options: PhotoOptions) -> tuple[np.ndarray, np.ndarray]:
    """Two registered shots as the network gets them: at one exposure, each one's missing pixels filled from the other.

    Args:
      a, b: `[H, W, 3]`, uint8.
      options: `exposure` says which one.

    Returns:
      `[H, W, 3]` float32 in [0, 1] for each.
    """
    shots = [a, b]
    analysis = analyze_stack([sketch(Masked(shot, None), with_view=False) for shot in shots], [None, None])
    target = analysis.target_curve(options.exposure)
    whole = slice(0, a.shape[0]), slice(0, a.shape[1])
    tiles = [AlignedShot(shot, None, region, analysis.leveling(number, target, analysis.curves, a.shape)).tile(*whole)
             for number, (shot, region) in enumerate(zip(shots, analysis.edge_regions))]
    return composite.fill_missing(tiles[0], tiles[1]), composite.fill_missing(tiles[1], tiles[0])


def apply_rules(fused_luma: np.ndarray, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and picture `[H, W, 3]` of every rule."""
    sharp = [sharpness.local_spatial_frequency(sharpness.luma_of(x)) for x in (a, b)]
    for name, rule in RULES.items():
        yield name, sharpness.colored(fused_luma, *rule(fused_luma, a, b, *sharp))


def _paper(fused_luma, a, b, sharp_a, sharp_b):
    (_, *first), (_, *second) = (rgb_to_ycbcr(x) for x in (a, b))
    return [np.asarray(fuse_chroma(x, y)) - np.float32(NEUTRAL) for x, y in zip(first, second)]


def _mean(fused_luma, a, b, sharp_a, sharp_b):
    return sharpness.blend_chroma(a, b, np.float32(0.5))


def _sharper(fused_luma, a, b, sharp_a, sharp_b):
    return sharpness.blend_chroma(a, b, (sharp_a >= sharp_b).astype(np.float32))


def _sharpness_share(power: int, smooth_px: int) -> Rule:
    """The first shot's share is its share of sharpness^power, box-blurred over `smooth_px`."""
    def rule(fused_luma, a, b, sharp_a, sharp_b):
        share = 1 / (1 + (sharp_b / sharp_a) ** power)
        return sharpness.blend_chroma(a, b, cv2.blur(share, (smooth_px, smooth_px)))
    return rule


def _luma_share(window_px: int) -> Rule:
    """The first shot's share is the one that explains the fused luma best around each pixel, by least squares."""
    def rule(fused_luma, a, b, sharp_a, sharp_b):
        first, second = (sharpness.luma_of(x) for x in (a, b))
        difference, size = first - second, (window_px, window_px)
        share = ((cv2.blur(difference * (fused_luma - second), size) + 5e-6)
                 / (cv2.blur(difference * difference, size) + 1e-5))
        return sharpness.blend_chroma(a, b, np.clip(share, 0, 1))
    return rule


RULES: dict[str, Rule] = {
    "the paper's: by distance from neutral": _paper,
    "mean": _mean,
    "the sharper shot's": _sharper,
    "share of sharpness⁴, 11 px": _sharpness_share(4, 11),
    "share of sharpness⁸, 11 px": _sharpness_share(8, 11),
    "share of sharpness⁸, 5 px": _sharpness_share(8, 5),
    "share of sharpness⁴, 1 px": _sharpness_share(4, 1),
    "as the fused luma mixes, 9 px": _luma_share(9),
}


def main(argv: list[str] | None = None) -> None:
    """Writes a PNG for each rule, numbered in the order of `RULES`."""
    parser = argparse.ArgumentParser(prog="python -m studies.color_rules", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an existing folder for the pictures")
    folder = parser.parse_args(argv).folder
    pair = next(rendered_pairs(SETTINGS[-1], 1))
    options = PhotoOptions(align="none", exposure="average", pixels="network")
    fused = stack.fuse_photos([pair.a, pair.b], weights=load_pretrained("edmf"), options=options).image
    sources = to_one_exposure(pair.a, pair.b, options)
    for number, (name, picture) in enumerate(apply_rules(luma(fused.astype(np.float32)) / 255, *sources)):
        path = folder / f"rule-{number}.png"
        write_image(path, from_unit(picture, np.uint8))
        print(f"{path}: {name}")


if __name__ == "__main__":
    main()
