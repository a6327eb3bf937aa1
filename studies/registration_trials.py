"""Pairs of shots to register, with a known map between them.

    python -m studies.registration_trials FOLDER [--kind rendered] [--number N]

writes the shots of one trial.  Kinds of trial:

- `rendered`: a pair of `edmf_synthetic` (thin lens, different focus and exposure), the second shot warped.
  Exact truth.
- `photograph`: one photograph made into two shots, each out of focus in the other's half,
  with different gain, gamma and noise; the second one is warped.  Exact truth.
- `pair`: a real pair as in EDMF, registered as it is and with B warped.  Such pairs are
  registered only to some px (depth, hand-held), so the test is whether the two results differ by the warp;
  two wrong results would not.
- `unrelated`: shots of two different scenes; any confidence is wrong.

A trial is a function of (seed, kind, number) and the material, so a stopped run can go on with any of them.
"""

import argparse
import dataclasses
import zlib
from pathlib import Path

import cv2
import numpy as np

from edmf_jax.io.images import read_image, write_image
from edmf_jax.registration import MODELS, transforms

KINDS = ("rendered", "photograph", "pair", "unrelated")
SIZE = (640, 480)
MAX_TURN_DEGREES, MAX_ZOOM, MAX_SHIFT, MAX_BEND = 5.0, 0.06, 0.04, 0.01  # all but the turn: shares of the size


@dataclasses.dataclass(frozen=True)
class Material:
    """What trials are made from.

    Attributes:
      seed: of everything that is drawn at random.
      model: of the maps: "similarity", "affine" or "homography"; "auto": homographies, which registration is not told.
      pictures: photographs, for `photograph`.
      pairs: the files of real pairs, for `pair`.
      size: height and width of the rendered pairs, px.
    """

    seed: int = 0
    model: str = "auto"
    pictures: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()
    size: tuple[int, int] = SIZE

    def kinds(self) -> list[str]:
        """The kinds of trial that this material is enough for."""
        return [kind for kind in KINDS if {"photograph": self.pictures, "pair": self.pairs}.get(kind, True)]

    def rng(self, kind: str, number: int) -> np.random.Generator:
        """The random numbers of one trial."""
        return np.random.default_rng((self.seed, zlib.crc32(kind.encode()), number))


@dataclasses.dataclass(frozen=True)
class Trial:
    """Two shots, uint8 `[H, W, 3]`, and the map between them.

    Attributes:
      kind: one of `KINDS`.
      reference: the first shot.
      moving: the second shot, warped.
      truth: 3×3, reference px → moving px; None for unrelated shots.
      unwarped: of a real pair, the second shot before the warp; else None.
    """

    kind: str
    reference: np.ndarray
    moving: np.ndarray
    truth: np.ndarray | None = None
    unwarped: np.ndarray | None = None


def find_material(seed: int, model: str, pictures: Path | None, pairs: Path | None) -> Material:
    """The files of a folder of photographs and of a folder with Source_A and Source_B, shuffled by the seed."""
    rng = np.random.default_rng(seed)
    picture_files = sorted(pictures.iterdir()) if pictures else []
    pair_files = []
    if pairs:
        a, b = ({path.stem.rpartition("-")[2]: path for path in (pairs / f"Source_{side}").iterdir()} for side in "AB")
        pair_files = [(a[name], b[name]) for name in sorted(a.keys() & b.keys())]
    rng.shuffle(picture_files)
    rng.shuffle(pair_files)
    return Material(seed, model, tuple(picture_files), tuple(map(tuple, pair_files)))


def make_trial(material: Material, kind: str, number: int) -> Trial:
    """Trial `number` of a kind."""
    rng = material.rng(kind, number)
    if kind == "unrelated":
        # The first shot of a trial and the second shot of the next trial of its kind; the kinds take turns.
        kinds = [k for k in material.kinds() if k != "unrelated"]
        other, index = kinds[number % len(kinds)], number // len(kinds)
        return Trial(kind, make_trial(material, other, index).reference, make_trial(material, other, index + 1).moving)
    if kind == "rendered":
        from tfds_edmf.edmf_synthetic.pair import make_pair

        rendered = make_pair(material.seed, "registration", number, material.size)
        first, second = rendered["source_a"], rendered["source_b"]
        matrix = random_map(rng, first.shape, material.model)
        return Trial(kind, first, warp_shot(second, matrix), matrix)
    if kind == "photograph":
        image = _read_color(material.pictures[number % len(material.pictures)])
        matrix = random_map(rng, image.shape, material.model)
        return Trial(kind, *two_shots(rng, image, matrix), matrix)
    first, second = (_read_color(path) for path in material.pairs[number % len(material.pairs)])
    matrix = random_map(rng, first.shape, material.model)
    return Trial(kind, first, warp_shot(second, matrix), matrix, second)


def _read_color(path: Path) -> np.ndarray:
    image = read_image(path)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)


def random_map(rng: np.random.Generator, shape: tuple[int, ...], model: str) -> np.ndarray:
    """A random 3×3 map, reference px → moving px, as between hand-held shots with focus breathing."""
    corners = transforms.corners(shape)
    middle, size = corners.mean(0), max(shape[:2])
    angle = np.radians(rng.uniform(-MAX_TURN_DEGREES, MAX_TURN_DEGREES))
    zoom = 1 + rng.uniform(-MAX_ZOOM, MAX_ZOOM)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - middle) @ turn.T + middle + rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * size
    if model == "similarity":
        return np.vstack([np.c_[turn, moved[0] - turn @ corners[0]], [0, 0, 1]])
    bend = rng.uniform(-MAX_BEND, MAX_BEND, (4, 2)) * size
    if model == "affine":
        return np.vstack([cv2.getAffineTransform(np.float32(corners[:3]), np.float32((moved + bend)[:3])), [0, 0, 1]])
    return cv2.getPerspectiveTransform(np.float32(corners), np.float32(moved + bend))


def warp_shot(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The moving shot for which `matrix` is the map from `image`; black outside `image`."""
    return cv2.warpPerspective(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC)


def two_shots(rng: np.random.Generator, image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two shots of a photograph, uint8: opposite halves in focus, different exposure, the second one warped."""
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
    blurred = cv2.filter2D(linear, -1, np.float32(disc / disc.sum()))
    stops = rng.uniform(0.2, 1.0) * rng.choice([-1, 1])
    shots = []
    for part, sign in ((far, 0.5), (1 - far, -0.5)):
        shot = linear + part * (blurred - linear)
        if sign < 0:
            shot = np.clip(warp_shot(shot, matrix), 0, 1)
        shot = np.clip(shot * 2 ** (sign * stops), 0, 1) ** (rng.uniform(0.9, 1.1) / 2.2)
        noisy = shot * 255 + rng.normal(0, rng.uniform(0.5, 2.0), shot.shape)
        shots.append(np.uint8(np.clip(np.rint(noisy), 0, 255)))
    return shots[0], shots[1]


def add_material_options(parser: argparse.ArgumentParser) -> None:
    """The options that `find_material` needs."""
    parser.add_argument("--model", default="auto", choices=MODELS,
                        help="of the maps, which registration is told; auto: homographies, which it is not told "
                             "(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the trials (default: %(default)s)")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--pairs", type=Path, help="a folder with Source_A and Source_B")


def main(argv: list[str] | None = None) -> None:
    """Writes the shots of one trial as PNG and prints the map."""
    parser = argparse.ArgumentParser(prog="python -m studies.registration_trials", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an existing folder for the shots")
    parser.add_argument("--kind", choices=KINDS, default="rendered", help="default: %(default)s")
    parser.add_argument("--number", type=int, default=0, help="of the trial (default: %(default)s)")
    add_material_options(parser)
    options = parser.parse_args(argv)
    material = find_material(options.seed, options.model, options.pictures, options.pairs)
    if options.kind not in material.kinds():
        parser.error(f"--kind {options.kind} needs --{'pairs' if options.kind == 'pair' else 'pictures'} DIR")
    trial = make_trial(material, options.kind, options.number)
    write_image(options.folder / "reference.png", trial.reference)
    write_image(options.folder / "moving.png", trial.moving)
    print("no map: unrelated scenes" if trial.truth is None else trial.truth)


if __name__ == "__main__":
    main()
