"""Pairs with a ground truth at any exposure: rendered ones, and MFI-WHU's exposed anew.

A setting says how source A and source B are exposed; with both known, the truth can be written at
whatever exposure `--exposure` asks for, from the true curves instead of estimated ones.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.exposures import CONDITIONS, to_linear, to_srgb
from edmf_jax.photo import exposure, tone
from tfds_edmf.edmf_synthetic.edmf_synthetic_dataset_builder import SIZES, Config
from tfds_edmf.edmf_synthetic.exposure import Exposure
from tfds_edmf.edmf_synthetic.pair import make_pair

LARGEST_PX = (240, 304)
"""Of MFI-WHU's pictures the middle of this height and width at the most: a shape of `metrics.buckets`, one compile."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """How the two sources are exposed.

    Attributes:
      name: what tables call it.
      stops: of A and B, `[2]`; +1 doubles the light.
      gamma: exponents of the encoded values.
      balance: added to the stops of R, G and B; B gets the opposite.
      turns: every other pair has the two exchanged, so that the reference is the darker one there.
    """

    name: str
    stops: tuple[float, float] = (0.0, 0.0)
    gamma: tuple[float, float] = (1.0, 1.0)
    balance: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turns: bool = False

    def of(self, number: int) -> tuple[Exposure, Exposure]:
        """The exposures of pair `number`; gains are `[3]`, one a channel."""
        both = [Exposure(2.0 ** (stops + sign * np.array(self.balance)), gamma)
                for stops, gamma, sign in zip(self.stops, self.gamma, (1, -1))]
        return tuple(both[::-1] if self.turns and number % 2 else both)


TINT = (0.2, 0.0, -0.2)
SETTINGS = (
    *(Setting(c.name, c.stops, c.gamma) for c in CONDITIONS.values()),
    Setting("white balance", balance=TINT, turns=True),
    Setting("two stops", (1, -1), turns=True),
    Setting("two stops, white balance", (1, -1), (0.95, 1.05), TINT, turns=True),
)
DRAWN = "as drawn"


@dataclasses.dataclass(frozen=True)
class Scene:
    """A pair, uint8 `[H, W, 3]`, the sharp picture at the reference exposure, and the sources' exposures."""

    a: np.ndarray
    b: np.ndarray
    truth: np.ndarray
    exposures: tuple[Exposure, Exposure]

    def truth_at(self, how: str) -> np.ndarray:
        """The sharp picture as `--exposure` `how` asks for it, from the true curves; uint8."""
        light = to_linear(self.truth / 255.0)
        first = self.exposures[0]
        scene = tone.encode(first.gain * light) ** first.gamma  # r: what the reference shows, carried on beyond white
        target = exposure.target_curve(true_curves(self.exposures), scene.reshape(-1, 3), how)
        out = np.stack([np.interp(scene[..., c], tone.GRID, target[c]) for c in range(3)], -1)
        return np.rint(255 * out).astype(np.uint8)


def true_curves(exposures: tuple[Exposure, ...]) -> list[np.ndarray]:
    """What `tone.estimate` estimates: `[3, len(GRID)]` for each shot, the reference's first."""
    first = exposures[0]
    light = to_linear(tone.GRID ** (1 / first.gamma))[None] / np.broadcast_to(first.gain, 3)[:, None]
    return [to_srgb(np.minimum(np.broadcast_to(e.gain, 3)[:, None] * light, 1)) ** e.gamma for e in exposures]


def rendered(setting: Setting | None, limit: int) -> Iterator[Scene]:
    """`edmf_synthetic`'s test pairs; with a `setting` the same scenes shot at those exposures, noise and all."""
    config = Config(name="default")
    for number in range(min(limit, config.test_pairs)):
        size = SIZES[number % len(SIZES)]
        pair = make_pair(config.seed, "test", number, size, setting and setting.of(number))
        exposures = tuple(Exposure(pair[f"gain_{x}"], pair[f"gamma_{x}"]) for x in "ab")
        yield Scene(pair["source_a"], pair["source_b"], pair["truth"], exposures)


def photographs(folder: Path, setting: Setting, limit: int) -> Iterator[Scene]:
    """MFI-WHU's first pairs, exposed anew as `edmf_jax.exposures` does it; the published levels are the light."""
    for number in range(1, limit + 1):
        given = [cv2.imread(str(folder / part / f"{number}.jpg")) for part in ("source_1", "source_2", "full_clear")]
        if any(picture is None for picture in given):
            continue
        exposures = setting.of(number)
        a, b, truth = (middle(picture[..., ::-1]) for picture in given)
        yield Scene(exposed(a, exposures[0]), exposed(b, exposures[1]), truth, exposures)


def exposed(picture: np.ndarray, how: Exposure) -> np.ndarray:
    """uint8 `[H, W, 3]` as a camera of this exposure would have written it."""
    light = np.minimum(how.gain * to_linear(picture / 255.0), 1)
    return np.rint(255 * to_srgb(light) ** how.gamma).astype(np.uint8)


def middle(picture: np.ndarray) -> np.ndarray:
    """The middle `LARGEST_PX` of a picture, lying or standing; all of it where it is smaller."""
    rows, columns = LARGEST_PX if picture.shape[0] <= picture.shape[1] else LARGEST_PX[::-1]
    top, left = (max(0, (side - most) // 2) for side, most in zip(picture.shape, (rows, columns)))
    return picture[top : top + rows, left : left + columns]
