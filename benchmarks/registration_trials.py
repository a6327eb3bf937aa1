"""Pairs of shots to register, with what is known about the map between them.

Kinds of trial:

- `rendered`: a pair of `edmf_synthetic` (thin lens, differing focus and exposure), one shot warped.  Exact truth.
- `photograph`: one photograph made into two shots, each with the other half out of focus,
  of differing gain, gamma and noise; one is warped.  Exact truth.
- `pair`: a real pair as in EDMF, registered as it is and with B warped.  Such pairs are
  registered only to some px (depth, hand-held), so what is measured is whether the two results differ by the warp,
  as two wrong ones would not.
- `unrelated`: two different scenes; any confidence is wrong there.

A trial is a function of (seed, kind, number) and the material, so a stopped run can go on with any of them.
"""

import dataclasses
import zlib
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.images import read_image
from edmf_jax.registration import transforms

KINDS = ("rendered", "photograph", "pair", "unrelated")
SIZE = (640, 480)
TURN_DEGREES, ZOOM, SHIFT, BEND = 5.0, 0.06, 0.04, 0.01  # the largest; zoom, shift and bend as shares of the size


@dataclasses.dataclass(frozen=True)
class Material:
    """What trials are made of.

    Attributes:
      seed: of everything that is drawn.
      model: of the maps: "similarity", "affine" or "homography".
      pictures: photographs, for `photograph`.
      pairs: the files of real pairs, for `pair`.
      size: height and width of the rendered pairs, px.
    """

    seed: int = 0
    model: str = "homography"
    pictures: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()
    size: tuple[int, int] = SIZE

    def kinds(self) -> list[str]:
        """The kinds of trial that there is material for."""
        return [kind for kind in KINDS if {"photograph": self.pictures, "pair": self.pairs}.get(kind, True)]

    def rng(self, kind: str, number: int) -> np.random.Generator:
        """Of one trial."""
        return np.random.default_rng((self.seed, zlib.crc32(kind.encode()), number))


@dataclasses.dataclass(frozen=True)
class Trial:
    """Two shots, uint8 `[H, W, 3]`, and what is known.

    Attributes:
      truth: 3×3, reference px → moving px; None for unrelated shots.
      still: of a real pair the second shot as it is, before the warp.
    """

    kind: str
    reference: np.ndarray
    moving: np.ndarray
    truth: np.ndarray | None = None
    still: np.ndarray | None = None


def material(seed: int, model: str, pictures: Path | None, pairs: Path | None) -> Material:
    """From a folder of photographs and a folder with Source_A and Source_B, in an order drawn from the seed."""
    rng = np.random.default_rng(seed)
    files = sorted(pictures.iterdir()) if pictures else []
    both = []
    if pairs:
        sides = [{path.stem.rpartition("-")[2]: path for path in (pairs / f"Source_{side}").iterdir()} for side in "AB"]
        both = [(sides[0][name], sides[1][name]) for name in sorted(sides[0].keys() & sides[1].keys())]
    rng.shuffle(files)
    rng.shuffle(both)
    return Material(seed, model, tuple(files), tuple(map(tuple, both)))


def make_trial(given: Material, kind: str, number: int) -> Trial:
    """Trial `number` of a kind."""
    rng = given.rng(kind, number)
    if kind == "unrelated":
        # Shots of all kinds in turn, each beside the one before it of its kind.
        kinds = [k for k in given.kinds() if k != "unrelated"]
        which, at = kinds[number % len(kinds)], number // len(kinds)
        return Trial(kind, make_trial(given, which, at).reference, make_trial(given, which, at + 1).moving)
    if kind == "rendered":
        from tfds_edmf.edmf_synthetic.pair import make_pair

        rendered = make_pair(given.seed, "registration", number, given.size)
        first, second = rendered["source_a"], rendered["source_b"]
        matrix = random_map(rng, first.shape, given.model)
        return Trial(kind, first, move(second, matrix), matrix)
    if kind == "photograph":
        image = _colour(given.pictures[number % len(given.pictures)])
        matrix = random_map(rng, image.shape, given.model)
        return Trial(kind, *two_shots(rng, image, matrix), matrix)
    first, second = (_colour(path) for path in given.pairs[number % len(given.pairs)])
    matrix = random_map(rng, first.shape, given.model)
    return Trial(kind, first, move(second, matrix), matrix, second)


def _colour(path: Path) -> np.ndarray:
    image = read_image(path)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)


def random_map(rng: np.random.Generator, shape: tuple[int, ...], model: str) -> np.ndarray:
    """A transformation as between two hand-held shots with focus breathing, reference px → moving px."""
    ends = transforms.corners(shape)
    middle, size = ends.mean(0), max(shape[:2])
    angle, zoom = np.radians(rng.uniform(-TURN_DEGREES, TURN_DEGREES)), 1 + rng.uniform(-ZOOM, ZOOM)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (ends - middle) @ turn.T + middle + rng.uniform(-SHIFT, SHIFT, 2) * size
    if model == "similarity":
        return np.vstack([np.c_[turn, moved[0] - turn @ ends[0]], [0, 0, 1]])
    bend = rng.uniform(-BEND, BEND, (4, 2)) * size
    if model == "affine":
        return np.vstack([cv2.getAffineTransform(np.float32(ends[:3]), np.float32((moved + bend)[:3])), [0, 0, 1]])
    return cv2.getPerspectiveTransform(np.float32(ends), np.float32(moved + bend))


def move(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The moving picture that `matrix` (reference → moving) registers to `image`; black where nothing is known."""
    return cv2.warpPerspective(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC)


def two_shots(rng: np.random.Generator, image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two shots of a photograph, uint8: opposite halves in focus, differing exposure; the second one moved."""
    height, width = image.shape[:2]
    direction, middle = rng.uniform(0, 2 * np.pi), rng.uniform(-0.25, 0.25)
    y, x = np.mgrid[:height, :width]
    far = (x / width - 0.5) * np.cos(direction) + (y / height - 0.5) * np.sin(direction) > middle
    far = cv2.GaussianBlur(np.float32(far), (0, 0), 6)[..., None]
    linear = (np.float32(image) / 255) ** 2.2
    radius = rng.uniform(1.0, 5.0) * max(height, width) / 800
    size = 2 * int(np.ceil(radius)) + 1
    dy, dx = np.mgrid[:size, :size] - size // 2
    disc = np.clip(radius + 0.5 - np.hypot(dx, dy), 0, 1)
    soft = cv2.filter2D(linear, -1, np.float32(disc / disc.sum()))
    stops = rng.uniform(0.2, 1.0) * rng.choice([-1, 1])
    shots = []
    for part, sign in ((far, 0.5), (1 - far, -0.5)):
        shot = linear + part * (soft - linear)
        if sign < 0:
            shot = np.clip(move(shot, matrix), 0, 1)
        shot = np.clip(shot * 2 ** (sign * stops), 0, 1) ** (rng.uniform(0.9, 1.1) / 2.2)
        noisy = shot * 255 + rng.normal(0, rng.uniform(0.5, 2.0), shot.shape)
        shots.append(np.uint8(np.clip(np.rint(noisy), 0, 255)))
    return shots[0], shots[1]
