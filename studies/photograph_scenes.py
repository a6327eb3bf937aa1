"""Pairs with a ground truth at any exposure: rendered ones, and MFI-WHU's with changed exposures.

    python -m studies.photograph_scenes FOLDER [--setting NAME] [--number N]

writes a rendered pair and its truths.  A setting says how source A and source B are exposed.  With both known, the
truth can be computed at any exposure that `--exposure` asks for, from the true tone curves instead of estimated ones.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.core.exposures import CONDITIONS
from edmf_jax.fusion.stack import exposure, tone
from edmf_jax.io.images import write_image
from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import SIZES, RenderConfig
from tfds_edmf.edmf_synthetic.exposure import Exposure
from tfds_edmf.edmf_synthetic.pair import make_pair

EXPOSURES = ("reference", "average", "well-exposed")
MAX_SIZE_PX = (240, 304)
"""Height and width that MFI-WHU's pictures are cropped to: a bucket of `core.buckets`, so metrics compile once."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """How the two sources are exposed.

    Attributes:
      name: as in the tables.
      stops: exposure of A and of B; +1 doubles the light.
      gamma: exponents of the encoded values.
      balance: added to the stops of A's R, G and B, and subtracted from those of B's.
      alternates: exchanges the two exposures in every other pair, so that the reference is the darker one there.
    """

    name: str
    stops: tuple[float, float] = (0.0, 0.0)
    gamma: tuple[float, float] = (1.0, 1.0)
    balance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alternates: bool = False

    def exposures(self, number: int) -> tuple[Exposure, Exposure]:
        """The exposures of pair `number`; gains are `[3]`, one a channel."""
        both = [Exposure(2.0 ** (stops + sign * np.array(self.balance)), gamma)
                for stops, gamma, sign in zip(self.stops, self.gamma, (1, -1))]
        return tuple(both[::-1] if self.alternates and number % 2 else both)


TINT = (0.2, 0.0, -0.2)
SETTINGS = (
    *(Setting(c.name, c.stops, c.gamma) for c in CONDITIONS.values()),
    Setting("white balance", balance=TINT, alternates=True),
    Setting("two stops", (1, -1), alternates=True),
    Setting("two stops, white balance", (1, -1), (0.95, 1.05), TINT, alternates=True),
)
AS_RENDERED = "as drawn"
"""How tables call rendered pairs with the exposures that `edmf_synthetic` drew at random."""


@dataclasses.dataclass(frozen=True)
class ExposedPair:
    """Two sources of known exposures and their truth.

    Attributes:
      a, b: the sources, uint8 `[H, W, 3]`.
      truth: the sharp scene at gain 1 and gamma 1, uint8 `[H, W, 3]`.
      exposures: of A and B.
    """

    a: np.ndarray
    b: np.ndarray
    truth: np.ndarray
    exposures: tuple[Exposure, Exposure]

    def truth_at(self, how: str) -> np.ndarray:
        """The sharp scene at the exposure that `--exposure` `how` asks for, from the true curves; uint8."""
        light = srgb_to_linear(self.truth / 255.0)
        first = self.exposures[0]
        scene = linear_to_srgb(first.gain * light) ** first.gamma  # as the reference shows it, continued beyond white
        target = exposure.target_curve(true_curves(self.exposures), scene.reshape(-1, 3), how)
        out = np.stack([np.interp(scene[..., c], tone.GRID, target[c]) for c in range(3)], -1)
        return np.rint(255 * out).astype(np.uint8)


def true_curves(exposures: tuple[Exposure, ...]) -> list[np.ndarray]:
    """The curves that `tone_estimate.compare` finds: `[3, len(GRID)]` for each shot, the reference's first."""
    first = exposures[0]
    light = srgb_to_linear(tone.GRID ** (1 / first.gamma))[None] / np.broadcast_to(first.gain, 3)[:, None]
    return [linear_to_srgb(np.minimum(np.broadcast_to(e.gain, 3)[:, None] * light, 1)) ** e.gamma for e in exposures]


def rendered_pairs(setting: Setting | None, limit: int) -> Iterator[ExposedPair]:
    """The first test pairs of `edmf_synthetic`; with a `setting`, the same scenes shot at its exposures, with noise."""
    config = RenderConfig(name="default")
    for number in range(min(limit, config.test_pairs)):
        size = SIZES[number % len(SIZES)]
        pair = make_pair(config.seed, "test", number, size, setting and setting.exposures(number))
        exposures = tuple(Exposure(pair[f"gain_{x}"], pair[f"gamma_{x}"]) for x in "ab")
        yield ExposedPair(pair["source_a"], pair["source_b"], pair["truth"], exposures)


def photograph_pairs(folder: Path, setting: Setting, limit: int) -> Iterator[ExposedPair]:
    """MFI-WHU's first pairs with the setting's exposures, applied to the published levels as `core.exposures` does."""
    for number in range(1, limit + 1):
        pictures = [cv2.imread(str(folder / part / f"{number}.jpg")) for part in ("source_1", "source_2", "full_clear")]
        if any(picture is None for picture in pictures):
            continue
        exposures = setting.exposures(number)
        a, b, truth = (crop_middle(picture[..., ::-1]) for picture in pictures)
        yield ExposedPair(apply_exposure(a, exposures[0]), apply_exposure(b, exposures[1]), truth, exposures)


def apply_exposure(picture: np.ndarray, how: Exposure) -> np.ndarray:
    """uint8 `[H, W, 3]` as a camera of this exposure would have written it."""
    light = np.minimum(how.gain * srgb_to_linear(picture / 255.0), 1)
    return np.rint(255 * linear_to_srgb(light) ** how.gamma).astype(np.uint8)


def crop_middle(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, `MAX_SIZE_PX` at most; height and width exchanged for a portrait."""
    rows, columns = MAX_SIZE_PX if picture.shape[0] <= picture.shape[1] else MAX_SIZE_PX[::-1]
    top, left = (max(0, (side - most) // 2) for side, most in zip(picture.shape, (rows, columns)))
    return picture[top : top + rows, left : left + columns]


def main(argv: list[str] | None = None) -> None:
    """Writes a rendered pair and its truth at each exposure as PNG."""
    parser = argparse.ArgumentParser(prog="python -m studies.photograph_scenes", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an existing folder for the pictures")
    parser.add_argument("--setting", choices=[setting.name for setting in SETTINGS], metavar="NAME",
                        help="exposures of the sources: %(choices)s (default: drawn at random)")
    parser.add_argument("--number", type=int, default=0, choices=range(RenderConfig(name="default").test_pairs),
                        metavar="N", help="of the test pair (default 0)")
    given = parser.parse_args(argv)
    setting = next((setting for setting in SETTINGS if setting.name == given.setting), None)
    *_, pair = rendered_pairs(setting, given.number + 1)
    pictures = {"a": pair.a, "b": pair.b} | {f"truth-{how}": pair.truth_at(how) for how in EXPOSURES}
    for name, picture in pictures.items():
        write_image(given.folder / f"{name}.png", picture)


if __name__ == "__main__":
    main()
