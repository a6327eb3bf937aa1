"""TFDS builder of `edmf_synthetic`: 64 rendered multi-focus pairs, no download."""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_edmf.edmf_synthetic.pair import make_pair
from tfds_edmf.exclusive import BuildsAlone
from tfds_edmf.info import OwnInfo

# Mostly portrait, like EDMF; some odd heights and widths; few sizes, because each may cost the
# user a compilation.
SIZES = ((336, 252), (321, 241), (288, 217), (257, 193), (240, 320), (231, 175))

DESCRIPTION = """
Rendered multi-focus pairs with known exposure differences and all-in-focus ground truth.
Scenes of textured objects at several depths, seen through a thin lens focused near and
far: blur by depth, with occlusion computed in linear light.
"""


@dataclasses.dataclass(kw_only=True)
class RenderConfig(tfds.core.BuilderConfig):
    """Which pairs are generated.

    Attributes:
        seed: seed of all random numbers.
        sizes: (height, width), px; the pairs take turns.
        train_pairs, test_pairs: number of pairs per split.
    """

    seed: int = 2024
    sizes: tuple[tuple[int, int], ...] = SIZES
    train_pairs: int = 48
    test_pairs: int = 16


class Builder(BuildsAlone, tfds.core.GeneratorBasedBuilder):
    """`edmf_synthetic`: scenes of layers, two shots of each, and the ground truth.

    **How a pair is made.** A scene is a list of flat layers from back to front: a wall, a hedge, a
    ground that recedes from the camera in thin slices, objects standing on it (`scene`, `objects`,
    `plants`). A thin lens (f = 8.7 mm, f/1.8, 20 µm per pixel) focuses once near and once far. In
    linear light, the color and coverage of each layer are blurred by the disc of its distance, and
    the layer is drawn over what lies behind it (`lens`). Each shot is then exposed (gain on light,
    clipping, sRGB curve, gamma), gets its own sensor noise (standard deviation 0.5 to 1.5 levels)
    and is rounded to 8 bits (`exposure`). The kinds of scene and the sizes take turns; everything
    else is drawn from the seed. Either source may be the near one, with equal probability.

    **Features.** Images are uint8 [H, W, C], PNG.

    - `id` int32: number of the pair in its split, from 0.
    - `source_a`, `source_b` [H, W, 3] RGB: the shots.
    - `truth` [H, W, 3] RGB: all in focus, without noise and border, at the reference exposure,
      which lies midway: gain_a · gain_b = gamma_a · gamma_b = 1. `reexpose(truth, gain_a,
      gamma_a)` is the truth at A's exposure; its docstring states how exactly.
    - `focus_map` [H, W, 1]: 255 where source A blurs the visible surface less than B; 0 where it
      blurs it more, or equally (which hardly ever happens). Within a blur radius outside the
      outline of a near object, choosing by this map is not optimal: the shot that is focused on
      the wall shows the blur of the object there.
    - `attainable` [H, W, 1]: 255 where one of the shots contains the truth: at least 98 % of the
      pixel come from surfaces blurred by at most 0.75 px. 0 where no shot does: where a
      defocused foreground spreads beyond its outline, and on ground midway between the focus
      distances. No fusion can be right there; score on the whole picture and on this mask, and
      state which.
    - `blur_a`, `blur_b` [H, W, 1]: radius of the blur disc at the visible surface, in 1/16 px.
    - `gain_a`, `gain_b` float32: factor on light, relative to the reference; about 1/6 of the
      pairs have 1, the others differ by 0.26 stops in the median and by at most 1.3.
    - `gamma_a`, `gamma_b` float32: exponent of the encoded picture, 0.9 to 1.1.
    - `border_a`, `border_b` int32 [4]: number of rows or columns at the top, bottom, left and
      right that a black registration border touches. All are zero, except in one source of about
      40 % of the pairs. The border is in that source only, not in `truth` or the maps.

    **What to expect.** PSNR against `truth` on the 48 training pairs, without borders:

        method                                                       whole picture  attainable
        mean of the sources                                          27.4 dB        28.1 dB
        larger spatial frequency over 19 x 19 px                     29.1 dB        31.8 dB
        the same, after leveling both to the reference exposure      32.9 dB        38.7 dB
        `focus_map`, after leveling                                  33.4 dB        44.7 dB
        whichever source is nearer to the truth, after leveling      36.0 dB

    **Limits.** Layers are flat, so a ball is equally sharp everywhere. Surfaces look the same in
    both shots, and the sources are registered exactly. There is no motion, chromatic aberration,
    vignetting or JPEG compression. Colors and shapes are plausible, but do not have the statistics
    of photographs: measure on EDMF, too. Where a brighter shot is clipped, no compensation restores
    the truth, attainable or not. The same versions of numpy and OpenCV on the same kind of processor
    give the same bytes; OpenCV 4.10 and 5.0 give the same scenes, with picture averages that differ
    by at most 0.3 levels.

    License: Apache-2.0, like this package; made without any photograph or font.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        RenderConfig(name="default", description="48 + 16 pairs, 231 to 336 px high; 20 seconds."),
        RenderConfig(
            name="tiny",
            description="6 + 2 pairs of about 96 x 80 px, for tests; a second.",
            sizes=((96, 80), (97, 81)),
            train_pairs=6,
            test_pairs=2,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        rgb = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
        plane = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
        number = tfds.features.Scalar(dtype=np.float32)
        widths = tfds.features.Tensor(shape=(4,), dtype=np.int32)
        return OwnInfo(
            builder=self,
            description=DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(dtype=np.int32),
                    "source_a": rgb,
                    "source_b": rgb,
                    "truth": rgb,
                    "focus_map": plane,
                    "attainable": plane,
                    "blur_a": plane,
                    "blur_b": plane,
                    "gain_a": number,
                    "gain_b": number,
                    "gamma_a": number,
                    "gamma_b": number,
                    "border_a": widths,
                    "border_b": widths,
                }
            ),
            license="Apache-2.0",
            # Keeps the numeric order, on which resuming and the tables depend.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        config = self.builder_config
        return {
            "train": self._generate_examples("train", config.train_pairs),
            "test": self._generate_examples("test", config.test_pairs),
        }

    def _generate_examples(self, split: str, pairs: int):
        config = self.builder_config
        for index in range(pairs):
            size = config.sizes[index % len(config.sizes)]
            yield index, make_pair(config.seed, split, index, size)
